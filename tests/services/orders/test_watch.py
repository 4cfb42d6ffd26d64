"""WatchOrder over a socket."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest

from pygrpc.services.orders import Limits
from pygrpc.services.orders.store import Order
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    DELIVERED,
    FILLED,
    PARTIAL,
    PENDING,
    PROCESSING,
    SELL,
    SHIPPED,
    advance,
    cancel,
    create,
    euros,
    failure_at_read,
    get,
    limit,
    purchase,
    rest_of,
    running,
    watch,
)
from tests.services.support import until


async def test_a_watch_tells_the_state_the_changes_and_the_end(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order, other = await create(server.stub, purchase()), await create(server.stub, purchase())
        call = watch(server.stub, order)
        first = await call.read()
        assert (first.order, first.update.order_id) == (order, order.id)
        assert (first.update.old_status, first.update.new_status, first.update.revision) == (0, PENDING, 1)
        await advance(server.stub, other, PROCESSING)
        request = order_pb2.UpdateOrderStatusRequest(order_id=order.id, status=PROCESSING, message="packing")
        changed = (await server.stub.UpdateOrderStatus(request)).order
        second = await call.read()
        assert not second.HasField("order")
        assert second.update == order_pb2.OrderStatusUpdate(
            order_id=order.id,
            old_status=PENDING,
            new_status=PROCESSING,
            updated_at=changed.updated_at,
            message="packing",
            revision=2,
        )
        await advance(server.stub, order, SHIPPED, DELIVERED)
        rest = await rest_of(call, client_aio)
        assert [(each.update.old_status, each.update.new_status) for each in rest] == [
            (PROCESSING, SHIPPED),
            (SHIPPED, DELIVERED),
        ]
        assert server.service.feed.readers == 0
        # Of an order that is final, there is only the state.
        [last] = await rest_of(watch(server.stub, order), client_aio)
        assert (last.update.new_status, last.order.status) == (DELIVERED, DELIVERED)


async def test_a_watch_tells_each_trade(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order = await create(server.stub, limit(SELL, 5, 900))
        call = watch(server.stub, order)
        await call.read()
        trades = [(await server.stub.CreateOrder(limit(BUY, quantity, 1000))).trades[0] for quantity in (1, 2, 9)]
        updates = [each.update for each in await rest_of(call, client_aio)]
        assert [update.trade for update in updates] == trades
        assert trades[2].price == euros(900)
        assert [(update.old_status, update.new_status, update.filled_quantity) for update in updates] == [
            (PENDING, PARTIAL, 1),
            (PARTIAL, PARTIAL, 3),
            (PARTIAL, FILLED, 5),
        ]


async def test_a_watch_ends_with_a_cancelled_order(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order = await create(server.stub, limit(BUY))
        call = watch(server.stub, order)
        await call.read()
        await cancel(server.stub, order, "changed my mind")
        [last] = await rest_of(call, client_aio)
        assert (last.update.new_status, last.update.message) == (CANCELLED, "changed my mind")


async def test_a_watch_ends_when_the_client_cancels(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order = await create(server.stub, purchase())
        call = watch(server.stub, order)
        await call.read()
        assert server.service.feed.readers == 1
        call.cancel()
        await until(lambda: server.service.feed.readers == 0)
        assert server.service.feed.followed == 0
        assert (await advance(server.stub, order, PROCESSING)).status == PROCESSING


@pytest.mark.parametrize("order_id", ["none", ""])
async def test_a_watch_of_no_order(client_aio: ModuleType, order_id: str) -> None:
    async with running(client_aio) as server:
        call = server.stub.WatchOrder(order_pb2.WatchOrderRequest(order_id=order_id))
        read, failure = await failure_at_read(call, client_aio)
        assert (read, failure.code) == ([], "NOT_FOUND" if order_id else "INVALID_ARGUMENT")
        assert server.service.feed.readers == 0


class Meanwhile:
    """A store in which something happens while the state of an order is read for a watch."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.before_reading: Any = None
        self.after_reading: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def get(self, order_id: str) -> Order:
        if self.before_reading:
            await self.before_reading()
        order: Order = await self.store.get(order_id)
        if self.after_reading:
            await self.after_reading()
        return order


@pytest.mark.parametrize("when", ["before_reading", "after_reading"])
async def test_a_change_while_the_state_is_read_is_told_once(client_aio: ModuleType, when: str) -> None:
    async with running(client_aio, wrap=Meanwhile) as server:
        order = await create(server.stub, purchase())
        setattr(server.store, when, lambda: advance(server.stub, order, PROCESSING))
        call = watch(server.stub, order)
        first = await call.read()
        setattr(server.store, when, None)
        await advance(server.stub, order, SHIPPED)
        seen = [first.update.revision, (await call.read()).update.revision]
        if when == "after_reading":
            seen.append((await call.read()).update.revision)
        assert seen == ([2, 3] if when == "before_reading" else [1, 2, 3])
        await advance(server.stub, order, DELIVERED)
        assert [each.update.revision for each in await rest_of(call, client_aio)] == [4]


async def test_watches_that_begin_among_changes_have_no_gap(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        last = 40
        order = await create(server.stub, limit(SELL, last))

        async def trade() -> None:
            for _ in range(last):
                await server.stub.CreateOrder(limit(BUY))

        async def follow(begin: int) -> list[int]:
            while (await get(server.stub, order)).filled_quantity < begin:
                pass
            return [each.update.filled_quantity for each in await rest_of(watch(server.stub, order), client_aio)]

        trading = asyncio.create_task(trade())
        for seen in await asyncio.gather(*(follow(begin) for begin in range(0, last, 5))):
            assert seen == list(range(seen[0], last + 1))
        await trading


async def test_a_watcher_that_does_not_read_takes_no_memory_and_misses_nothing(client_aio: ModuleType) -> None:
    # Large updates fill the windows of HTTP/2 sooner.
    limits = Limits(product_length=8000, import_lines=100, import_bytes=2**20, quantity=10**6)
    product_id = "x" * 8000
    async with running(client_aio, limits=limits, queue_limit=64, bound=60.0) as server:
        order = await create(server.stub, limit(SELL, 10**6, product_id=product_id))
        call = watch(server.stub, order)
        await call.read()
        changes = 0
        line = order_pb2.ImportOrdersRequest(order=limit(BUY, product_id=product_id))
        while server.service.feed.followed:
            changes += 100
            assert changes < 10_000
            assert (await server.stub.ImportOrders(iter([line] * 100))).success_count == 100
        await cancel(server.stub, order)
        rest = await rest_of(call, client_aio)
        assert [each.update.revision for each in rest] == list(range(2, changes + 3))


async def test_watches_end_when_the_server_shuts_down(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order = await create(server.stub, purchase())
        call = watch(server.stub, order)
        await call.read()
        server.service.shut_down()
        for ended in (call, watch(server.stub, order)):
            read, failure = await failure_at_read(ended, client_aio)
            assert (read, failure.code, failure.message) == ([], "UNAVAILABLE", "the server is shutting down")
