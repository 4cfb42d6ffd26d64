"""Requests that come from an iterable of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck
from tests.behaviour.peers import Peers, Witness, collect, never

streaming = pytest.mark.parametrize("arity", ["su", "ss"])


def generator() -> Iterator[bytes]:
    yield b"a"
    yield b"b"


async def async_generator() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[bytes]:
        return async_generator()


SOURCES = {
    "list": lambda: [b"a", b"b"],
    "tuple": lambda: (b"a", b"b"),
    "iterator": lambda: iter([b"a", b"b"]),
    "generator": generator,
    "async generator": async_generator,
    "async iterable": AsyncIterable,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@streaming
async def test_takes_requests_from(peers: Peers, arity: str, source: Any) -> None:
    async with peers.serve(**ECHO) as link:
        expected = [b"a,b"] if arity == "su" else [b"a", b"b"]
        assert await collect(link.method(arity)(source())) == expected


@streaming
async def test_empty_iterator_ends_the_requests(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        assert await collect(link.method(arity)([])) == ([b""] if arity == "su" else [])


@streaming
async def test_none_is_no_iterator(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity)(None)
        await call.write(b"a")
        await call.done_writing()
        assert await collect(call) == [b"a"]


async def test_requests_depend_on_responses(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def requests() -> AsyncIterator[bytes]:
            yield b"1"
            for _ in range(3):
                yield await received.get() + b"1"

        messages = []
        async for message in link.ss(requests()):
            messages.append(message)
            received.put_nowait(message)
        assert messages == [b"1", b"11", b"111", b"1111"]


def raises() -> Iterator[bytes]:
    yield b"a"
    raise ValueError("no more")


async def raises_async() -> AsyncIterator[bytes]:
    yield b"a"
    raise ValueError("no more")


@pytest.mark.parametrize("source", [raises, raises_async])
@streaming
async def test_iterator_that_raises_ends_the_call(peers: Peers, arity: str, source: Any) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.method(arity)(source())
        if peers.client.api == "aio":
            with pytest.raises(asyncio.CancelledError):
                await collect(call)
            assert call.cancelled()
            assert await call.code() is peers.client.code.CANCELLED
        else:
            assert (await link.failure(call)).details() == "Exception iterating requests!"
            assert await call.code() is peers.client.code.UNKNOWN


async def test_server_sees_the_cancellation_by_an_iterator_that_raises(peers: Peers) -> None:
    stuck = Stuck()

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        await stuck.started
        raise ValueError("no more")

    async with peers.serve(**stuck.all) as link:
        call = link.ss(requests())
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        code = peers.client.code
        assert await call.code() is (code.CANCELLED if peers.client.api == "aio" else code.UNKNOWN)


async def test_cancelling_a_call_stops_its_iterator(peers: Peers) -> None:
    stuck = Stuck()
    stopped = Witness()

    async def requests() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await never()
        finally:
            stopped()

    async with peers.serve(**stuck.all) as link:
        call = link.ss(requests())
        await stuck.started
        call.cancel()
        await stopped


async def test_status_before_the_requests_end_stops_the_iterator(peers: Peers) -> None:
    async def refuse(requests: Any, context: Any) -> bytes:
        await context.read()
        await context.abort(peers.server.code.FAILED_PRECONDITION, "enough")
        return b""

    refused = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        await refused.wait()
        yield b"b"

    async with peers.serve(su=refuse) as link:
        call = link.su(requests())
        assert await call.code() is peers.client.code.FAILED_PRECONDITION
        refused.set()
        assert (await link.failure(call)).details() == "enough"
