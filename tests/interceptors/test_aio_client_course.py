"""Intercepted calls of the asyncio API in their course: requests written one by one, cancellation, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pygrpc
import pygrpc.aio
from tests.interceptors.aio_peers import (
    KINDS,
    LIBRARIES,
    channel,
    finish,
    interceptors_of,
    passing,
    start,
)


@LIBRARIES
async def test_requests_written_one_by_one(lib: Any) -> None:
    seen = []

    async def look(continuation: Any, details: Any, requests: Any) -> Any:
        async def passed() -> AsyncIterator[bytes]:
            async for request in requests:
                seen.append(request)
                yield request.upper()

        return await continuation(details, passed())

    interceptors = interceptors_of(lib, look)
    async with channel(lib, interceptors[2], interceptors[3]) as made:
        call = made.stream_unary("/s/stream_unary")(timeout=20)
        for request in (b"a", b"b", b"c"):
            await call.write(request)
        await call.done_writing()
        assert await call == b"A,B,C"
        echo = made.stream_stream("/s/stream_stream")(timeout=20)
        for request in (b"d", b"e"):
            await echo.write(request)
            assert await echo.read() == request.upper()
        await echo.done_writing()
        assert await echo.read() is lib.aio.EOF
        assert await echo.code() is lib.StatusCode.OK
    assert seen == [b"a", b"b", b"c", b"d", b"e"]


@LIBRARIES
async def test_writing_when_it_is_not_allowed(lib: Any) -> None:
    async with channel(lib, *interceptors_of(lib, passing)) as made:
        iterating = start(made, "stream_stream", b"x")
        with pytest.raises(lib.aio.UsageError, match="may not be mixed"):
            await iterating.write(b"y")
        with pytest.raises(lib.aio.UsageError, match="may not be mixed"):
            await iterating.done_writing()
        assert await finish(iterating, "stream_stream") == [b"x"]
        over = made.stream_unary("/s/stream_unary")(timeout=20)
        await over.write(b"fail")
        await over.done_writing()
        assert await over.code() is lib.StatusCode.NOT_FOUND
        with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
            await over.write(b"y")
        cancelled = made.stream_unary("/s/stream_unary")(timeout=20)
        cancelled.cancel()
        with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
            await cancelled.write(b"y")


async def test_writing_behind_the_last_request() -> None:
    async with channel(pygrpc, *interceptors_of(pygrpc, passing)) as made:
        call = made.stream_stream("/s/stream_stream")(timeout=20)
        await call.done_writing()
        with pytest.raises(asyncio.InvalidStateError, match="half closed"):
            await call.write(b"y")
        await call.done_writing()
        assert await call.read() is pygrpc.aio.EOF


@LIBRARIES
async def test_a_write_ends_when_the_call_does(lib: Any) -> None:
    async def deaf(continuation: Any, details: Any, requests: Any) -> Any:
        return await continuation(details, iter([b"fail"]))

    async with channel(lib, interceptors_of(lib, deaf)[2]) as made:
        call = made.stream_unary("/s/stream_unary")(timeout=20)
        with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
            for _ in range(3):
                await call.write(b"nobody takes it")
        assert await call.code() is lib.StatusCode.NOT_FOUND


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_before_the_call_is_made(lib: Any, kind: str) -> None:
    begun = asyncio.Event()

    async def stuck(continuation: Any, details: Any, request: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with channel(lib, *interceptors_of(lib, stuck)) as made:
        call = start(made, kind, b"x")
        await begun.wait()
        assert not call.done()
        assert not call.cancelled()
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finish(call, kind)
        assert call.cancelled()
        assert call.done()
        assert not call.cancel()
        assert await call.code() is lib.StatusCode.CANCELLED
        assert await call.details() == "Locally cancelled by application!"
        assert await call.initial_metadata() is None
        assert await call.trailing_metadata() is None
        assert await call.debug_error_string() == ""


@LIBRARIES
async def test_cancelled_while_the_call_is_on_its_way(lib: Any) -> None:
    sent = asyncio.Event()

    async def look(continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)
        sent.set()
        return call

    async with channel(lib, *interceptors_of(lib, look)) as made:
        call = start(made, "unary_unary", b"hang")
        await sent.wait()
        if lib is pygrpc:
            # In grpcio this waits for the end of a call with one response.
            await call.wait_for_connection()
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()
        assert await call.code() is lib.StatusCode.CANCELLED


@LIBRARIES
async def test_who_waits_is_cancelled(lib: Any) -> None:
    sent = asyncio.Event()

    async def look(continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)
        sent.set()
        return call

    async with channel(lib, *interceptors_of(lib, look)) as made:
        call = start(made, "unary_unary", b"hang")

        async def wait() -> Any:
            return await call

        task = asyncio.create_task(wait())
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await call.code() is lib.StatusCode.CANCELLED


async def test_asking_for_the_code_may_be_given_up() -> None:
    """grpcio takes the cancellation of the question for one of the call."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(continuation: Any, details: Any, request: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await continuation(details, request)

    async with channel(pygrpc, *interceptors_of(pygrpc, slow)) as made:
        call = start(made, "unary_unary", b"x")
        asking = asyncio.create_task(call.code())
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        assert await call == b"x"


@LIBRARIES
async def test_done_callbacks(lib: Any) -> None:
    async with channel(lib, *interceptors_of(lib, passing)) as made:
        told = asyncio.Event()
        calls: list[Any] = []
        call = start(made, "unary_unary", b"x")

        def callback(done: Any) -> None:
            calls.append(done)
            told.set()

        call.add_done_callback(callback)
        await call
        await told.wait()
        call.add_done_callback(callback)
        await told.wait()
        assert calls[0] is call
        stream = start(made, "unary_stream", b"x")
        assert await stream.read() == b"x"
        told.clear()
        stream.add_done_callback(callback)
        assert await finish(stream, "unary_stream") == [b"more"]
        await told.wait()
        assert calls[-1] is stream


@LIBRARIES
async def test_cancelled_before_the_interceptors_begin(lib: Any) -> None:
    async with channel(lib, *interceptors_of(lib, passing)) as made:
        call = start(made, "unary_unary", b"x")
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await call
        assert call.cancelled()
        assert await call.code() is lib.StatusCode.CANCELLED


@LIBRARIES
@pytest.mark.parametrize("outcome", ["call", "response", "status"])
async def test_several_wait_for_slow_interceptors(lib: Any, outcome: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(continuation: Any, details: Any, request: Any) -> Any:
        begun.set()
        await go_on.wait()
        if outcome == "status":
            raise lib.aio.AioRpcError(lib.StatusCode.ABORTED, lib.aio.Metadata(), lib.aio.Metadata(), "no")
        return request if outcome == "response" else await continuation(details, request)

    async with channel(lib, *interceptors_of(lib, slow)) as made:
        call = start(made, "unary_unary", b"x")

        async def wait() -> Any:
            return await call

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await begun.wait()
        go_on.set()
        async with asyncio.timeout(20):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if outcome == "status":
            assert [each.code() for each in results] == [lib.StatusCode.ABORTED] * 3  # type: ignore[union-attr]
        else:
            assert results == [b"x"] * 3
            assert await call == b"x"


async def test_an_interceptor_closes_the_channel() -> None:
    made: list[Any] = []

    async def closing(continuation: Any, details: Any, request: Any) -> Any:
        await made[0].close()
        await asyncio.Event().wait()

    async with channel(pygrpc, *interceptors_of(pygrpc, closing)) as one:
        made.append(one)
        call = start(one, "unary_unary", b"x")
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await call
        assert call.cancelled()
        assert not one.chains
