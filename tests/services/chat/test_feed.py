"""Messages on their way, without a server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pygrpc.services.chat import SqliteChatStore
from pygrpc.services.chat.feed import ChatFeed
from pygrpc.services.chat.store import Session
from pygrpc.services.errors import StoreError
from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from tests.services.support import until


async def store_of_a_room() -> SqliteChatStore:
    store = await SqliteChatStore.open(":memory:")
    await store.create_room("Room", "", "ann", "r", 10)
    await store.join(Session("s", "server", "r", "ann", "Ann"), history=0, most=10)
    return store


async def ended(task: asyncio.Task[Any], store: SqliteChatStore) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_a_reader_who_does_not_read_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 2, poll=1.0)
    running = asyncio.create_task(feed.run())
    dropped: list[str] = []
    await feed.catch_up()
    with (
        caplog.at_level(logging.WARNING, "pygrpc"),
        feed.follow("r", lambda: dropped.append("slow")) as slow,
        feed.follow("r", lambda: dropped.append("quick")) as quick,
    ):
        for number in range(5):
            await store.send("r", "ann", str(number), keep=10)
            assert (await anext(quick)).content == str(number)
        assert (dropped, feed.readers) == (["slow"], 1)
        with pytest.raises(ReaderTooSlow):
            await anext(slow)
        feed.close()
        with pytest.raises(ShuttingDown):
            await anext(quick)
    assert [record.getMessage() for record in caplog.records] == ["A client in room r is too slow and was dropped."]
    with pytest.raises(ShuttingDown), feed.follow("r", lambda: None):
        raise AssertionError
    await ended(running, store)


async def test_a_burst_longer_than_the_queue_reaches_those_who_read() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    with feed.follow("r", lambda: None) as outbox:
        for number in range(100):
            await store.send("r", "ann", str(number), keep=1000)
        running = asyncio.create_task(feed.run())
        contents = [(await anext(outbox)).content for _ in range(101)]
        assert contents == ["Ann joined the room", *map(str, range(100))]
    await ended(running, store)


async def test_what_nobody_was_there_for_is_passed_by() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    await feed.catch_up()
    running = asyncio.create_task(feed.run())
    with feed.follow("r", lambda: None) as outbox:
        await store.send("r", "ann", "now", keep=1000)
        assert (await anext(outbox)).content == "now"
    await ended(running, store)


async def test_a_store_that_fails_for_a_while_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = await store_of_a_room()
    reading = store.after
    failing = True

    async def after(position: int, limit: int) -> Any:
        if failing:
            raise StoreError("disk I/O error")
        return await reading(position, limit)

    store.after = after  # type: ignore[method-assign]
    feed = ChatFeed(store, 4, poll=1.0)
    running = asyncio.create_task(feed.run())
    with caplog.at_level(logging.ERROR, "pygrpc"), feed.follow("r", lambda: None) as outbox:
        await store.send("r", "ann", "first", keep=1000)
        await until(lambda: bool(caplog.records))
        failing = False
        await store.send("r", "ann", "second", keep=1000)
        assert [(await anext(outbox)).content for _ in range(3)] == ["Ann joined the room", "first", "second"]
    assert caplog.records[0].getMessage() == "The chat database cannot be read: disk I/O error"
    await ended(running, store)
