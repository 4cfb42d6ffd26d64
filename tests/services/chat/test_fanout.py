"""Hints about messages of other processes, which are noticed at once then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pygrpc.services.chat import DatabaseChatStore
from pygrpc.services.chat.feed import TOPIC, ChatFeed
from pygrpc.services.chat.rooms import ChatRooms
from pygrpc.services.chat.store import Session
from pygrpc.services.fanout import Fanout, LocalFanout
from pygrpc.services.fanout.redis import RedisFanout
from tests.services.chat.support import BOUND
from tests.services.servers.redis import RedisServer

NEVER = 3600.0


class Hints(LocalFanout):
    """A fan-out to other processes, of which the test says whether it works."""

    shared = True
    healthy = True


@asynccontextmanager
async def stores(path: Path) -> AsyncIterator[tuple[DatabaseChatStore, DatabaseChatStore]]:
    """The stores of two processes on one file, with a room."""
    here, there = await DatabaseChatStore.open(str(path)), await DatabaseChatStore.open(str(path))
    await here.create_room("Room", "", "ann", "r", 10)
    await here.join(Session("s", "server", "r", "ann", "Ann"), history=0, most=10)
    async with asyncio.timeout(BOUND):
        yield here, there
    await here.close()
    await there.close()


@asynccontextmanager
async def reading(
    store: DatabaseChatStore, fanout: Fanout, *, poll: float = NEVER, poll_besides_hints: float = NEVER
) -> AsyncIterator[Callable[[], object]]:
    """Reads the room through a feed."""
    feed = ChatFeed(store, 10, poll, fanout, poll_besides_hints=poll_besides_hints)
    running = asyncio.create_task(feed.run())
    await feed.catch_up()
    with feed.follow("r", lambda: None) as reader:
        messages = reader.after(0)

        async def content() -> str:
            return (await anext(messages)).content

        yield content
        feed.close()
    running.cancel()
    await asyncio.wait((running,))


async def test_a_message_of_another_process_comes_with_its_hint(tmp_path: Path, redis_server: RedisServer) -> None:
    async with stores(tmp_path / "chat.db") as (here, there):
        fanouts = [RedisFanout(redis_server.url, channel=str(tmp_path)) for _ in range(2)]
        for fanout in fanouts:
            await fanout.open()
        ChatRooms(there, fanout=fanouts[1])
        async with reading(here, fanouts[0]) as heard:
            for text in ("one", "two"):
                await there.send("r", "ann", text, keep=10)
                assert await heard() == text
        for fanout in fanouts:
            await fanout.close()


async def test_a_hint_that_is_lost_costs_time_and_no_message(tmp_path: Path) -> None:
    async with (
        stores(tmp_path / "chat.db") as (here, there),
        reading(here, Hints(), poll_besides_hints=0.005) as heard,
    ):
        await there.send("r", "ann", "one", keep=10)
        assert await heard() == "one"


async def test_without_hints_the_store_is_asked_more_often(tmp_path: Path) -> None:
    async with stores(tmp_path / "chat.db") as (here, there):
        fanout = Hints()
        async with reading(here, fanout, poll=0.005) as heard:
            await there.send("r", "ann", "one", keep=10)
            fanout.healthy = False
            # As a fan-out does when that has changed.
            fanout.publish(TOPIC)
            assert await heard() == "one"
            await there.send("r", "ann", "two", keep=10)
            assert await heard() == "two"


@pytest.mark.parametrize("closed", [False, True])
async def test_departures_are_told_to_others_even_when_the_feed_is_closed(tmp_path: Path, closed: bool) -> None:
    async with stores(tmp_path / "chat.db") as (here, _):
        fanout, told = LocalFanout(), []
        fanout.listen(TOPIC, lambda: told.append(1))
        feed = ChatFeed(here, 10, NEVER, fanout)
        if closed:
            feed.close()
        await here.end_session("s")
        assert told
