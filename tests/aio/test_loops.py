"""Event loops: one after the other, at once in threads, and those that are the wrong one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from pygrpc import ChannelConnectivity, aio
from pygrpc.aio.loops import start_now, start_task
from tests.aio.support import connected, failure, make_server, method, serving


async def call_once() -> None:
    async with connected() as channel:
        assert await method(channel, "uu")(b"x") == b"x"


def test_fifty_loops_one_after_the_other() -> None:
    for _ in range(50):
        asyncio.run(call_once())


def test_several_loops_in_threads_at_once() -> None:
    async def many() -> None:
        async with connected() as channel:
            assert await asyncio.gather(*(method(channel, "uu")(b"%d" % i) for i in range(20))) == [
                b"%d" % i for i in range(20)
            ]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(asyncio.run, many()) for _ in range(8)]:
            done.result(20)


def test_a_channel_outlives_its_loop() -> None:
    channel = aio.insecure_channel("passthrough:///unused")

    async def use() -> None:
        async with serving() as target:
            channel._target = aio.insecure_channel(target)._target  # type: ignore[attr-defined]
            for arity, request in (("uu", b"x"), ("ss", iter([b"x"]))):
                call = method(channel, arity)(request)
                assert [each async for each in call] == [b"x"] if arity == "ss" else await call == b"x"
        # The connection is lost with the server, before the loop ends.
        while (state := channel.get_state()) is ChannelConnectivity.READY:
            await channel.wait_for_state_change(state)

    for _ in range(3):
        asyncio.run(use())
    asyncio.run(channel.close())
    assert channel.get_state() is ChannelConnectivity.SHUTDOWN


@contextlib.contextmanager
def fresh_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is set as this thread's own and not running."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_channel_in_another_loop_is_refused() -> None:
    channel = aio.insecure_channel("127.0.0.1:1")

    async def use() -> None:
        await failure(method(channel, "uu")(b"x"))

    async def misuse() -> None:
        with pytest.raises(aio.UsageError, match="belongs to another event loop"):
            method(channel, "uu")(b"x")
        with pytest.raises(aio.UsageError, match="belongs to another event loop"):
            await channel.close()

    with fresh_loop() as loop:
        loop.run_until_complete(use())
        asyncio.run(misuse())
        asyncio.set_event_loop(loop)
        loop.run_until_complete(channel.close())


def test_a_call_may_be_made_before_its_loop_runs() -> None:
    with fresh_loop() as loop:
        server = make_server()
        port = server.add_insecure_port("127.0.0.1:0")
        loop.run_until_complete(server.start())
        channel = aio.insecure_channel(f"127.0.0.1:{port}")
        assert loop.run_until_complete(method(channel, "uu")(b"x")) == b"x"
        loop.run_until_complete(channel.close())
        loop.run_until_complete(server.stop(None))


def test_the_state_may_be_asked_outside_of_a_loop() -> None:
    channel = aio.insecure_channel("127.0.0.1:1")
    assert channel.get_state(try_to_connect=True) is ChannelConnectivity.IDLE

    async def use() -> None:
        await failure(method(channel, "uu")(b"x"))
        await channel.close()

    asyncio.run(use())


async def test_tasks_are_made_by_the_factory_of_the_loop_if_it_has_one() -> None:
    loop = asyncio.get_running_loop()
    made: list[asyncio.Task[object]] = []

    async def answer() -> int:
        return 42

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coroutine, loop=loop))
        return made[-1]

    task = start_task(loop, answer(), "a name")
    assert (await task, task.get_name()) == (42, "a name")
    assert await start_now(loop, answer(), "of a served call") == 42
    assert not made
    loop.set_task_factory(factory)
    try:
        assert await start_task(loop, answer(), "another") == 42
        assert await start_now(loop, answer(), "a third") == 42
        assert len(made) == 2
    finally:
        loop.set_task_factory(None)
