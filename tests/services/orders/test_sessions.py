"""One call of MatchOrders, without a server. What it does with a client is in test_match."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.orders import Limits
from pygrpc.services.orders.feed import OrderFeed
from pygrpc.services.orders.sessions import MatchSession
from pygrpc.services.outbox import ReaderTooSlow
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.stores import opened
from tests.services.orders.support import BOUND, BUY, limit


class Changed:
    """A store with some methods of its own."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@asynccontextmanager
async def sessions(kind: type[Changed] = Changed, queue_limit: int = 8) -> AsyncIterator[MatchSession]:
    """A session on a store, without a client."""
    async with opened() as store, asyncio.timeout(BOUND):
        changed: Any = kind(store)
        feed = OrderFeed(changed, queue_limit, 1.0)
        async with feed.reading() as reader:
            yield MatchSession(changed, reader, Limits(), queue_limit)


async def requests(*given: order_pb2.CreateOrderRequest) -> AsyncIterator[order_pb2.MatchOrdersRequest]:
    for request in given:
        yield order_pb2.MatchOrdersRequest(place=request)


class Defective(Changed):
    """Something breaks that should not."""

    async def create(self, orders: Any, *, most: int) -> Any:
        raise ZeroDivisionError


async def test_a_defect_ends_the_call_and_leaves_nothing_followed() -> None:
    async with sessions(Defective) as session:
        with pytest.raises(ZeroDivisionError):
            await session.listen(requests(limit(BUY)))
        assert session.outbox.ended
        assert session._reader.known == {}


class Unreadable(Changed):
    """The state of an order cannot be read."""

    async def get(self, order_id: str) -> Any:
        raise StoreError("disk I/O error")


async def test_a_repeated_order_that_cannot_be_read_is_not_followed() -> None:
    async with sessions(Unreadable) as session:
        store: Any = session._store
        await MatchSession(store, session._reader, Limits(), 8).listen(requests(limit(BUY, key="k")))
        [order_id] = session._reader.known
        session._reader.forget(order_id)
        await session.listen(requests(limit(BUY, key="k")))
        assert (await anext(session.outbox)).error.reason == "STORAGE_FAILED"
        assert session._reader.known == {}


class Lost(Changed):
    """What a reader has missed cannot be read."""

    async def since(self, order_id: str, revision: int, limit: int) -> Any:
        raise StoreError("disk I/O error")


async def test_updates_that_cannot_be_read_end_the_call() -> None:
    async with sessions(Lost, queue_limit=1) as session:
        await session.listen(requests(limit(BUY)))
        session._reader.queue.fail(ReaderTooSlow())
        with pytest.raises(StoreError):
            await session.tell()
        assert session.outbox.ended


async def test_answers_wait_for_a_client_that_reads_slowly() -> None:
    async with sessions(queue_limit=2) as session:
        listening = asyncio.create_task(session.listen(requests(*[limit(BUY)] * 6)))
        answers = [each.WhichOneof("event") async for each in session.outbox]
        await listening
        assert answers == ["placed"] * 6
