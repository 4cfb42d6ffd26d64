"""The way from the store to those who follow orders, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import LocalFanout
from pygrpc.services.orders.feed import TOPIC, OrderFeed, Reader
from pygrpc.services.orders.store import Change, Status
from pygrpc.services.outbox import ShuttingDown
from tests.services.support import until


class Log:
    """A store that has nothing but changes."""

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self.changes: list[Change] = []
        self.reads = 0
        self.broken = False
        self.listeners: list[Callable[[list[Change]], None]] = []

    def listen(self, listener: Callable[[list[Change]], None]) -> None:
        self.listeners.append(listener)

    def add(self, order_id: str, *, tell: bool = True) -> None:
        position = len(self.changes) + 1
        change = Change(position, order_id, position, Status.PENDING, Status.PROCESSING, 0, 1, "", None)
        self.changes.append(change)
        for listener in self.listeners if tell else ():
            listener([change])

    async def after(self, position: int, limit: int) -> list[Change]:
        self.reads += 1
        if self.broken:
            raise StoreError("disk I/O error")
        return self.changes[position : position + limit]

    async def since(self, order_id: str, revision: int, limit: int) -> list[Change]:
        found = [change for change in self.changes if change.order_id == order_id and change.revision > revision]
        return found[:limit]

    async def latest(self) -> int:
        return len(self.changes)


@asynccontextmanager
async def running(log: Any, **given: Any) -> AsyncIterator[OrderFeed]:
    feed = OrderFeed(log, **({"queue_limit": 8, "poll": 0.001} | given))
    task = asyncio.create_task(feed.run())
    async with asyncio.timeout(20):
        yield feed
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


@asynccontextmanager
async def following(feed: OrderFeed, *order_ids: str) -> AsyncIterator[tuple[Reader, list[int]]]:
    """Follows orders; the revisions of what has come are in the list."""
    seen: list[int] = []

    async def read(reader: Reader) -> None:
        async for change in reader:
            seen.append(change.revision)

    async with feed.reading() as reader:
        for order_id in order_ids:
            reader.follow(order_id, 0)
        reading = asyncio.create_task(read(reader))
        yield reader, seen
        reading.cancel()
        await asyncio.wait((reading,))


async def test_each_reader_gets_the_changes_of_its_orders_in_order() -> None:
    log = Log()
    async with running(log) as feed, following(feed, "a") as (_, one), following(feed, "a", "b") as (two, both):
        for order_id in ("a", "b", "c", "a"):
            log.add(order_id)
        await until(lambda: both == [1, 2, 4])
        assert one == [1, 4]
        two.forget("a")
        for order_id in ("a", "b"):
            log.add(order_id)
        await until(lambda: both == [1, 2, 4, 6])
        assert one == [1, 4, 5]
        assert feed.readers == 2
    assert (feed.readers, feed.followed) == (0, 0)


async def test_what_was_stored_while_nobody_was_there_is_passed_by() -> None:
    log = Log()
    async with running(log) as feed:
        for _ in range(100):
            log.add("a")
        async with following(feed, "a") as (_, seen):
            log.add("a")
            await until(lambda: seen == [101])
        reads = log.reads
        log.add("a")
        async with following(feed, "b") as (_, seen), following(feed, "a") as (_, other):
            log.add("b")
            log.add("a")
            await until(lambda: seen == [103] and other == [104])
        assert log.reads <= reads + 4


async def test_a_long_log_is_read_in_pieces() -> None:
    log = Log()
    async with running(log) as feed, following(feed, "a") as (_, seen):
        for _ in range(50):
            log.add("a")
        await until(lambda: seen == list(range(1, 51)))
        assert log.reads >= 13


@pytest.mark.parametrize("hint", [False, True])
async def test_changes_of_other_processes_are_found(hint: bool) -> None:
    log, fanout = Log(shared=True), LocalFanout()
    async with running(log, poll=1000.0 if hint else 0.001, fanout=fanout) as feed, following(feed, "a") as (_, seen):
        await until(lambda: log.reads > 0)
        log.add("a", tell=False)
        if hint:
            fanout.publish(TOPIC)
        await until(lambda: seen == [1])


class Hints(LocalFanout):
    """A fan-out that says it reaches other processes."""

    shared = True
    healthy = True


async def test_with_hints_the_store_is_asked_less_often() -> None:
    log, fanout = Log(shared=True), Hints()
    async with (
        running(log, poll=0.001, fanout=fanout, poll_besides_hints=1000.0) as feed,
        following(feed, "a") as (_, seen),
    ):
        assert feed._interval() == 1000.0
        log.add("a")
        await until(lambda: seen == [1])
        # A fan-out that has lost its connection tells so by a hint.
        fanout.healthy = False
        assert feed._interval() == 0.001
        fanout.publish(TOPIC)
        log.add("a", tell=False)
        await until(lambda: seen == [1, 2])
    assert feed._interval() is None
    assert OrderFeed(Log(), 8, 0.001)._interval() is None  # type: ignore[arg-type]


async def test_a_store_that_fails_for_a_while_loses_nothing() -> None:
    log = Log(shared=True)
    async with running(log) as feed, following(feed, "a") as (_, seen):
        log.broken = True
        log.add("a")
        reads = log.reads
        await until(lambda: log.reads > reads + 3)
        assert seen == []
        log.broken = False
        await until(lambda: seen == [1])


async def test_a_reader_that_lags_gets_what_it_missed_from_the_store() -> None:
    log = Log()
    async with running(log) as feed, feed.reading() as slow, following(feed, "a") as (_, seen):
        slow.follow("a", 0)
        slow.follow("b", 2)
        changes = aiter(slow)
        for order_id in ("a", "b", "b", *"ababababababababababab"):
            log.add(order_id)
        await until(lambda: len(seen) == 12)
        # Its queue has overflowed, and nothing more is put in.
        assert [slow in readers for readers in feed._followers.values()] == [False]
        expected = {"a": [1, *range(4, 26, 2)], "b": [3, *range(5, 26, 2)]}
        got: dict[str, list[int]] = {"a": [], "b": []}
        for _ in range(6):
            change = await anext(changes)
            got[change.order_id].append(change.revision)
        # What comes while it catches up comes once.
        log.add("a")
        log.add("b")
        expected["a"].append(26)
        expected["b"].append(27)
        while got != expected:
            change = await anext(changes)
            got[change.order_id].append(change.revision)
        log.add("b")
        assert (await anext(changes)).revision == 28
        assert len(slow.queue._items) == 0


async def test_an_order_may_be_forgotten_while_its_changes_are_read() -> None:
    log = Log()
    async with running(log) as feed, feed.reading() as reader:
        reader.follow("a", 0)
        reader.follow("b", 0)
        changes = aiter(reader)
        for _ in range(20):
            log.add("a")
        await until(lambda: reader.queue.ended)
        assert (await anext(changes)).revision == 1
        reader.forget("a")
        log.add("b")
        assert (await anext(changes)).order_id == "b"
        assert reader.known.keys() == {"b"}


async def test_a_closed_feed_has_no_readers() -> None:
    log = Log()
    async with running(log) as feed:
        async with feed.reading() as reader, feed.reading() as lagging:
            lagging.follow("a", 0)
            for _ in range(20):
                log.add("a")
            await until(lambda: lagging.queue.ended)
            feed.close()
            for each in (reader, lagging):
                with pytest.raises(ShuttingDown):
                    await anext(aiter(each))
            with pytest.raises(ShuttingDown):
                await feed.stored("a", 0)
        with pytest.raises(ShuttingDown):
            async with feed.reading():
                raise AssertionError
