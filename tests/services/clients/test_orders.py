"""The client of the order service: each call, and watches and sessions that go on after a connection broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from pygrpc.services.clients import matching
from pygrpc.services.clients.matching import MatchSession
from pygrpc.services.clients.orders import keyed
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.clients.support import collected, fails, quick, until, world
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    DELIVERED,
    FILLED,
    PARTIAL,
    PROCESSING,
    SELL,
    SHIPPED,
    item,
    limit,
)

__all__ = ["quick"]


def purchase(key: str = "") -> order_pb2.CreateOrderRequest:
    return order_pb2.CreateOrderRequest(user_id="ann", items=[item(), item("pear", 2)], idempotency_key=key)


class Reader:
    """Reads a session in the background."""

    def __init__(self, session: MatchSession) -> None:
        self.updates: list[order_pb2.OrderStatusUpdate] = []
        self.task = asyncio.create_task(self._read(session))

    async def _read(self, session: MatchSession) -> None:
        async for update in session:
            self.updates.append(update)

    def of(self, order_id: str) -> list[tuple[int, int]]:
        """The revisions and statuses of an order."""
        return [(each.revision, each.new_status) for each in self.updates if each.order_id == order_id]


async def test_every_call_but_the_session(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        orders = here.clients.orders
        first = (await orders.create(purchase())).order
        assert await orders.get(first.id) == first
        assert (await orders.update_status(first.id, PROCESSING)).status == PROCESSING
        assert (await orders.cancel(first.id, "no more")).status == CANCELLED
        sold = (await orders.create(limit(SELL, 3, 900))).order
        bought = await orders.create(limit(BUY, 2, 1000))
        assert [each.quantity for each in bought.trades] == [2]
        book = await orders.book("apple", "EUR")
        assert [each.quantity for each in book.asks] == [1]
        assert [each.quantity for each in await collected(orders.trades(sold.id, page_size=1))] == [2]
        assert len(await collected(orders.list(page_size=1))) == 3
        assert [each.id for each in await collected(orders.list("ann", FILLED))] == [bought.order.id]
        with fails("NOT_FOUND"):
            await orders.get("00000000-0000-4000-8000-000000000000")


async def test_many_orders(tmp_path: Path) -> None:
    async def requests() -> AsyncIterator[order_pb2.CreateOrderRequest]:
        yield purchase("a")
        yield order_pb2.CreateOrderRequest(user_id="ann")
        yield purchase("a")

    async with world(tmp_path) as here:
        response = await here.clients.orders.create_many(requests())
        assert (response.success_count, response.failure_count) == (2, 1)
        assert [each.existed for each in response.orders] == [False, True]
        assert (await here.clients.orders.create_many([purchase("b")])).success_count == 1


def test_a_key_is_made_up_once() -> None:
    request = purchase()
    assert keyed(request).idempotency_key != ""
    assert request.idempotency_key == ""
    assert keyed(purchase("mine")).idempotency_key == "mine"


@pytest.mark.usefixtures("quick")
async def test_an_order_whose_answer_was_lost_is_created_once(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        orders = here.clients.orders
        await orders.create(purchase())
        link = here.proxy.open_links[0]
        link.hold(link.down)
        creating = asyncio.create_task(orders.create(purchase()))
        async with here.more() as others:
            while len(await collected(others.orders.list())) < 2:
                pass
            here.cut()
            # The channel makes the call again; the server knows the key.
            assert (await creating).existed
            assert len(await collected(others.orders.list())) == 2


@pytest.mark.usefixtures("quick")
async def test_a_watch_goes_on_without_gap_and_duplicate(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.more() as others:
        order = (await here.clients.orders.create(purchase())).order
        async with aclosing(here.clients.orders.watch(order.id)) as updates:
            assert (await anext(updates)).order == order
            here.cut()
            await others.orders.update_status(order.id, PROCESSING)
            update = (await anext(updates)).update
            assert (update.revision, update.new_status) == (2, PROCESSING)
            here.proxy.refuse()
            here.cut()
            await others.orders.update_status(order.id, SHIPPED)
            await others.orders.update_status(order.id, DELIVERED)
            here.proxy.accept()
            update = (await anext(updates)).update
            assert (update.revision, update.old_status, update.new_status) == (4, PROCESSING, DELIVERED)
            assert await collected(updates) == []


async def test_a_session(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.clients.orders.match() as session:
        heard = Reader(session)
        sold = (await session.place(limit(SELL, 5))).order
        bought = await session.place(limit(BUY, 2))
        assert (bought.order.status, len(bought.trades)) == (FILLED, 1)
        await until(lambda: heard.of(sold.id) == [(2, PARTIAL)])
        assert (await session.cancel(sold.id)).status == CANCELLED
        await until(lambda: heard.of(sold.id) == [(2, PARTIAL), (3, CANCELLED)])
        with fails("FAILED_PRECONDITION"):
            await session.cancel(sold.id)
        with fails("INVALID_ARGUMENT"):
            await session.place(limit(SELL, 0))
        session.leave()
        await heard.task
        with fails("FAILED_PRECONDITION"):
            await session.place(limit(SELL))


@pytest.mark.usefixtures("quick")
async def test_a_session_goes_on_without_gap_and_duplicate(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.more() as others, here.clients.orders.match() as session:
        heard = Reader(session)
        orders = [(await session.place(limit(SELL, 100))).order for _ in range(3)]
        for turn in range(1, 4):
            here.proxy.refuse()
            here.cut()
            # Of each order something is bought while the session is away.
            for _ in range(2):
                await others.orders.create(limit(BUY, 2))
            here.proxy.accept()
            expected = 2 * turn
            await until(lambda: len(heard.of(orders[0].id)) > 0 and heard.of(orders[0].id)[-1][0] > expected)  # noqa: B023
        # All is bought while it is there.
        await others.orders.create(limit(BUY, 288))
        for order in orders:
            await until(lambda: heard.of(order.id) != [] and heard.of(order.id)[-1][1] == FILLED)  # noqa: B023
            revisions = [revision for revision, _ in heard.of(order.id)]
            assert revisions == sorted(set(revisions))
            assert revisions[-1] == (await others.orders.get(order.id)).revision
        assert session._open == {}
        session.leave()
        await heard.task


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("arrives", [True, False], ids=["stored", "lost"])
async def test_a_command_under_way_is_carried_out_once(tmp_path: Path, arrives: bool) -> None:
    async with world(tmp_path) as here, here.more() as others, here.clients.orders.match() as session:
        heard = Reader(session)
        first = (await session.place(limit(SELL, 10))).order
        link = here.proxy.open_links[0]
        before = link.up.received
        link.hold(link.down if arrives else link.up)
        placing = asyncio.create_task(session.place(limit(SELL, 7)))
        cancelling = asyncio.create_task(session.cancel(first.id))
        await until(lambda: link.up.received > before)
        if arrives:
            while (await others.orders.get(first.id)).status != CANCELLED:
                pass
        here.cut()
        assert (await placing).existed is arrives
        assert (await cancelling).status == CANCELLED
        assert [each.quantity for each in (await others.orders.book("apple", "EUR")).asks] == [7]
        await until(lambda: heard.of(first.id) == [(2, CANCELLED)])
        session.leave()
        await heard.task


@pytest.mark.usefixtures("quick")
async def test_a_session_survives_the_restart_of_the_server(tmp_path: Path) -> None:
    told: list[Any] = []
    async with world(tmp_path) as here, here.clients.orders.match(interrupted=told.append) as session:
        heard = Reader(session)
        order = (await session.place(limit(SELL, 10))).order
        await here.serving.restart()
        await session.place(limit(BUY, 10))
        await until(lambda: heard.of(order.id) == [(2, FILLED)])
        assert [each and each.code.name for each in told] == ["UNAVAILABLE", None]
        session.leave()
        await heard.task


async def test_a_session_that_ends_leaves_the_orders(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        async with here.clients.orders.match() as session:
            order = (await session.place(limit(SELL, 10))).order
        assert (await here.clients.orders.get(order.id)).status not in matching.FINAL
