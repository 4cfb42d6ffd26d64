"""What the feeds of all services have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.feeds import Feed
from tests.services.support import until


class Entry(NamedTuple):
    position: int


class Entries:
    """A store that other processes may write to."""

    shared = True

    def __init__(self) -> None:
        self.stored: list[Entry] = []
        self.asked = 0
        self.works = True
        self.committed: Callable[[Any], None] = lambda entries: None

    def listen(self, listener: Callable[[Any], None]) -> None:
        self.committed = listener

    async def after(self, position: int, limit: int) -> list[Entry]:
        self.asked += 1
        if not self.works:
            raise StoreError("disk I/O error")
        return self.stored[position : position + limit]

    async def latest(self) -> int:
        return len(self.stored)


class EntryFeed(Feed[Entry]):
    topic = "entries"
    database = "database of entries"

    def __init__(self, store: Entries) -> None:
        super().__init__(store, 4, 0.001, None, 0.001)
        self.read = True
        self.published: list[Entry] = []

    def _has_readers(self) -> bool:
        return self.read

    def _publish(self, entry: Entry) -> None:
        self.published.append(entry)


async def test_a_store_that_fails_is_told_of_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    store = Entries()
    feed = EntryFeed(store)
    running = asyncio.create_task(feed.run())
    with caplog.at_level(logging.ERROR, "pygrpc"):
        for outage in (1, 2):
            store.works = False
            asked = store.asked
            await until(lambda asked=asked: store.asked >= asked + 5)  # type: ignore[misc]
            assert len(caplog.records) == outage
            store.works = True
            store.stored.append(Entry(outage))
            await until(lambda outage=outage: len(feed.published) == outage)  # type: ignore[misc]
    assert {record.getMessage() for record in caplog.records} == {
        "The database of entries cannot be read: disk I/O error"
    }
    assert feed.published == store.stored
    running.cancel()
    await asyncio.wait((running,))


async def test_a_store_is_not_asked_while_nobody_reads() -> None:
    store = Entries()
    feed = EntryFeed(store)
    feed.read = False
    running = asyncio.create_task(feed.run())
    store.stored.extend(map(Entry, range(1, 11)))
    store.committed(store.stored)
    await until(lambda: not feed._news.is_set())
    assert store.asked == 0
    await feed.catch_up()
    feed.read = True
    store.stored.append(Entry(11))
    store.committed(store.stored[-1:])
    await until(lambda: len(feed.published) == 1)
    assert feed.published == [Entry(11)]
    running.cancel()
    await asyncio.wait((running,))
