"""Messages on their way, without a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.chat import DatabaseChatStore
from pygrpc.services.chat.feed import ChatFeed, Reader
from pygrpc.services.chat.store import Kind, Message, Session
from pygrpc.services.errors import StoreError
from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from tests.services.support import until


async def store_of_a_room() -> DatabaseChatStore:
    store = await DatabaseChatStore.open(":memory:")
    await store.create_room("Room", "", "ann", "r", 10)
    await store.join(Session("s", "server", "r", "ann", "Ann"), history=0, most=10)
    return store


async def ended(task: asyncio.Task[Any], store: DatabaseChatStore) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_a_client_that_stops_reading_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 2, poll=1.0, patience=0.0)
    running = asyncio.create_task(feed.run())
    dropped = asyncio.Event()
    await feed.catch_up()
    with (
        caplog.at_level(logging.WARNING, "pygrpc"),
        feed.follow("r", dropped.set) as slow,
        feed.follow("r", lambda: pytest.fail("it reads")) as quick,
    ):
        heard = quick.after(1)
        for number in range(5):
            await store.send("r", "ann", str(number), keep=10)
            assert (await anext(heard)).content == str(number)
        await dropped.wait()
        assert feed.readers == 1
        with pytest.raises(ReaderTooSlow):
            await anext(slow.after(1))
        feed.close()
        with pytest.raises(ShuttingDown):
            await anext(heard)
    assert [record.getMessage() for record in caplog.records] == [
        "A client in room r has stopped reading and was dropped."
    ]
    with pytest.raises(ShuttingDown), feed.follow("r", lambda: None):
        raise AssertionError
    await ended(running, store)


async def test_a_client_that_stops_while_it_catches_up_is_dropped() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 2, poll=1.0)
    running = asyncio.create_task(feed.run())
    dropped = asyncio.Event()
    await feed.catch_up()
    with feed.follow("r", dropped.set) as reader:
        for number in range(5):
            await store.send("r", "ann", str(number), keep=10)
        await until(lambda: feed.readers == 0)
        feed.patience = 0.0
        heard = reader.after(1)
        assert (await anext(heard)).content == "0"
        await dropped.wait()
        with pytest.raises(ReaderTooSlow):
            await anext(heard)
    await ended(running, store)


async def test_what_the_queue_has_no_room_for_comes_from_the_store() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    running = asyncio.create_task(feed.run())
    await feed.catch_up()
    with feed.follow("r", lambda: pytest.fail("it reads")) as reader:
        heard = reader.after(1)
        contents = []
        for number in range(100):
            await store.send("r", "ann", str(number), keep=1000)
            if number == 50:
                await until(lambda: feed.readers == 0)
            if number > 60:
                contents.append((await anext(heard)).content)
        assert feed.readers == 0
        while len(contents) < 100:
            contents.append((await anext(heard)).content)
        assert contents == list(map(str, range(100)))
        # And it has its queue back.
        waiting = asyncio.ensure_future(anext(heard))
        await until(lambda: feed.readers == 1)
        await store.send("r", "ann", "live", keep=1000)
        assert (await waiting).content == "live"
        await store.send("r", "ann", "last", keep=1000)
        await until(lambda: bool(reader.outbox._items))
        reader.finish()
        assert [message.content async for message in heard] == ["last"]
    await ended(running, store)


async def test_a_room_that_does_not_keep_what_a_client_has_missed_drops_it() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    running = asyncio.create_task(feed.run())
    await feed.catch_up()
    with feed.follow("r", lambda: None) as reader:
        for number in range(300):
            await store.send("r", "ann", str(number), keep=10)
        await until(lambda: feed.readers == 0)
        with pytest.raises(ReaderTooSlow):
            await anext(reader.after(1))
    await ended(running, store)


async def test_a_client_that_catches_up_hears_of_the_end() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 2, poll=1.0)
    running = asyncio.create_task(feed.run())
    await feed.catch_up()
    with feed.follow("r", lambda: None) as reader, feed.follow("r", lambda: None) as other:
        for number in range(5):
            await store.send("r", "ann", str(number), keep=10)
        await until(lambda: feed.readers == 0)
        heard, finished = reader.after(1), other.after(1)
        assert (await anext(heard)).content == (await anext(finished)).content == "0"
        other.finish()
        assert [message.content async for message in finished] == []
        feed.close()
        with pytest.raises(ShuttingDown):
            await anext(heard)
    await ended(running, store)


@given(
    limit=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(["say", "read", "turn"]), st.integers(1, 9)), max_size=40),
)
async def test_every_reader_gets_every_message_once_and_in_order(limit: int, steps: list[tuple[str, int]]) -> None:
    store: Any = StoreInMemory()
    feed = ChatFeed(store, limit, poll=1.0)
    await feed.catch_up()
    with feed.follow("r", lambda: None) as slow, feed.follow("r", lambda: None) as quick:
        found: list[int] = []
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(collect(quick, found))]
        heard = slow.after(0)
        sequences: list[int] = []
        for what, count in [*steps, ("say", 1), ("read", 1000)]:
            for _ in range(count):
                if what == "say":
                    store.add()
                elif what == "turn":
                    await asyncio.sleep(0)
                elif len(sequences) < len(store.messages):
                    sequences.append((await anext(heard)).sequence)
        await until(lambda: len(found) == len(store.messages))
        assert sequences == found == list(range(1, len(store.messages) + 1))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def collect(reader: Reader, found: list[int]) -> None:
    async for message in reader.after(0):
        found.append(message.sequence)


class StoreInMemory:
    """What a feed needs of a store, with one room."""

    shared = False

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._listener: Callable[[list[Message]], None] = lambda messages: None

    def add(self) -> None:
        number = len(self.messages) + 1
        self.messages.append(Message(number, "r", number, "ann", "Ann", str(number), 0, Kind.USER))
        self._listener(self.messages[-1:])

    def listen(self, listener: Callable[[list[Message]], None]) -> None:
        self._listener = listener

    async def latest(self) -> int:
        await asyncio.sleep(0)
        return len(self.messages)

    async def after(self, position: int, limit: int) -> list[Message]:
        await asyncio.sleep(0)
        return self.messages[position : position + limit]

    async def since(self, room_id: str, sequence: int, limit: int) -> list[Message]:
        return await self.after(sequence, limit)


async def test_a_burst_longer_than_the_queue_reaches_those_who_read() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    with feed.follow("r", lambda: None) as reader:
        for number in range(100):
            await store.send("r", "ann", str(number), keep=1000)
        running = asyncio.create_task(feed.run())
        heard = reader.after(0)
        contents = [(await anext(heard)).content for _ in range(101)]
        assert contents == ["Ann joined the room", *map(str, range(100))]
    await ended(running, store)


async def test_what_nobody_was_there_for_is_passed_by() -> None:
    store = await store_of_a_room()
    feed = ChatFeed(store, 4, poll=1.0)
    await feed.catch_up()
    running = asyncio.create_task(feed.run())
    with feed.follow("r", lambda: None) as reader:
        await store.send("r", "ann", "now", keep=1000)
        assert (await anext(reader.after(0))).content == "now"
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
    with caplog.at_level(logging.ERROR, "pygrpc"), feed.follow("r", lambda: None) as reader:
        await store.send("r", "ann", "first", keep=1000)
        await until(lambda: bool(caplog.records))
        failing = False
        await store.send("r", "ann", "second", keep=1000)
        heard = reader.after(0)
        assert [(await anext(heard)).content for _ in range(3)] == ["Ann joined the room", "first", "second"]
    assert caplog.records[0].getMessage() == "The chat database cannot be read: disk I/O error"
    await ended(running, store)
