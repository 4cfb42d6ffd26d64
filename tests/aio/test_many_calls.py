"""Many calls at once on one channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.aio.support import connected, method

COUNT = 1000


class Barrier:
    """Lets handlers go on when all of them are there; knows how many were there at most."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.here = self.most = 0
        self.full = asyncio.Event()

    async def wait(self) -> None:
        self.here += 1
        self.most = max(self.most, self.here)
        if self.here >= self.count:
            self.full.set()
        try:
            await self.full.wait()
        finally:
            self.here -= 1


async def test_a_thousand_unary_calls() -> None:
    barrier = Barrier(COUNT)

    async def handler(request: bytes, context: Any) -> bytes:
        await barrier.wait()
        return request

    async with connected(uu=handler) as channel:
        call = method(channel, "uu")
        requests = [b"%d" % number for number in range(COUNT)]
        assert await asyncio.gather(*map(call, requests)) == requests
        assert barrier.most == COUNT
        assert len(channel._connections.transports) == 1


async def test_a_thousand_streams() -> None:
    barrier = Barrier(COUNT)

    async def handler(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await barrier.wait()
        async for request in requests:
            yield request

    async with connected(ss=handler) as channel:

        async def converse(number: int) -> None:
            call = method(channel, "ss")()
            for turn in range(3):
                message = b"%d %d" % (number, turn)
                await call.write(message)
                assert await call.read() == message
            await call.done_writing()
            assert not await call.read()

        await asyncio.gather(*map(converse, range(COUNT)))
        assert barrier.most == COUNT


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_thousand_calls_within_the_servers_limit(limit: int) -> None:
    barrier = Barrier(limit)

    async def handler(request: bytes, context: Any) -> bytes:
        await barrier.wait()
        return request

    async with connected(uu=handler, server_options=[("grpc.max_concurrent_streams", limit)]) as channel:
        # The limit is known once the server's SETTINGS are here.
        await channel.channel_ready()
        call = method(channel, "uu")
        requests = [b"%d" % number for number in range(COUNT)]
        assert await asyncio.gather(*map(call, requests)) == requests
        assert barrier.most == limit


async def test_a_thousand_calls_that_are_cancelled() -> None:
    barrier = Barrier(COUNT + 1)
    ended = [0]
    all_ended = asyncio.Event()

    async def handler(request: bytes, context: Any) -> bytes:
        try:
            await barrier.wait()
        finally:
            ended[0] += 1
            if ended[0] == COUNT:
                all_ended.set()
        return request

    async with connected(uu=handler) as channel:
        calls = [method(channel, "uu")(b"x") for _ in range(COUNT)]
        while barrier.here < COUNT:
            await asyncio.sleep(0)
        for call in calls:
            assert call.cancel()
        await all_ended.wait()
        assert all(call.cancelled() for call in calls)
        # The connection is as good as new: a thousand resets are no abuse.
        barrier.full.set()
        assert await method(channel, "uu")(b"y") == b"y"


async def test_a_thousand_deadlines_on_one_timer() -> None:
    async with connected(uu=never_answer) as channel:
        calls = [method(channel, "uu")(b"x", timeout=0.05 + number / 100_000) for number in range(COUNT)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {error.code().name for error in results} == {"DEADLINE_EXCEEDED"}


async def never_answer(request: bytes, context: Any) -> bytes:
    await asyncio.get_running_loop().create_future()
    return b""
