"""Client interceptors of the asyncio API, with the channels of either library; the server is pygrpc's."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pygrpc
import pygrpc.aio
from pygrpc.aio import intercepted_call, stand_ins
from pygrpc.aio.interceptor import ClientInterceptors
from tests.interceptors.aio_peers import (
    KINDS,
    LIBRARIES,
    adding,
    channel,
    finish,
    interceptors_of,
    passing,
    start,
    trailing,
)


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_interceptor_is_asked_first(lib: Any, kind: str) -> None:
    interceptors = [*interceptors_of(lib, adding("first")), *interceptors_of(lib, adding("second"))]
    async with channel(lib, *interceptors) as made:
        call = start(made, kind, b"ping", metadata=[("x-own", "1")])
        expected = {"unary_stream": [b"ping", b"more"], "stream_stream": [b"ping"]}.get(kind, b"ping")
        assert await finish(call, kind) == expected
        assert await trailing(call) == [("x-own", "1"), ("x-seen", "first"), ("x-seen", "second")]
        assert await call.code() is lib.StatusCode.OK
        assert await call.details() == ""
        assert call.done()
        assert not call.cancelled()
        assert not call.cancel()
        await call.wait_for_connection()


@LIBRARIES
async def test_details(lib: Any) -> None:
    seen = []

    async def look(continuation: Any, details: Any, request: Any) -> Any:
        seen.append((details, request))
        return await continuation(details, request)

    async with channel(lib, *interceptors_of(lib, look)) as made:
        await start(made, "unary_unary", b"x", wait_for_ready=True)
    ((details, request),) = seen
    assert isinstance(details, lib.aio.ClientCallDetails)
    assert request == b"x"
    assert details.method == b"/s/unary_unary"
    assert details.timeout == 20
    assert isinstance(details.metadata, lib.aio.Metadata)
    assert details.credentials is None
    assert details.wait_for_ready is True


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_call(lib: Any, kind: str) -> None:
    codes = []

    async def look(continuation: Any, details: Any, request: Any) -> Any:
        made = await continuation(details, request)
        if not kind.startswith("stream"):
            codes.append(await made.code())
        return made

    async with channel(lib, *interceptors_of(lib, look)) as made:
        call = start(made, kind, b"fail")
        with pytest.raises(lib.aio.AioRpcError) as caught:
            await finish(call, kind)
        assert caught.value.code() is await call.code() is lib.StatusCode.NOT_FOUND
        assert await call.details() == "nothing here"
    assert codes == ([] if kind.startswith("stream") else [lib.StatusCode.NOT_FOUND])


@LIBRARIES
async def test_a_response_in_place_of_a_call(lib: Any) -> None:
    async def cached(continuation: Any, details: Any, request: Any) -> Any:
        return b"cached"

    async with channel(lib, interceptors_of(lib, cached)[0]) as made:
        call = start(made, "unary_unary", b"x")
        assert await call == b"cached"
        assert await call.code() is lib.StatusCode.OK
        assert await call.details() == ""
        assert await call.initial_metadata() is None
        assert await call.trailing_metadata() is None
        assert await call.debug_error_string() is None
        assert call.done()
        assert not call.cancelled()
        assert not call.cancel()
        await call.wait_for_connection()


async def test_responses_in_place_of_calls_that_were_never_made() -> None:
    async def cached(continuation: Any, details: Any, request: Any) -> Any:
        async def responses() -> AsyncIterator[bytes]:
            yield b"cached"

        return b"cached" if b"stream_unary" in details.method else responses()

    async with channel(pygrpc, *interceptors_of(pygrpc, cached)) as made:
        for kind in KINDS[1:]:
            call = start(made, kind, b"x")
            assert await finish(call, kind) == ([b"cached"] if kind.endswith("stream") else b"cached")
            assert await call.code() is pygrpc.StatusCode.OK
            told: list[Any] = []
            call.add_done_callback(told.append)
            assert told == [call]


@LIBRARIES
async def test_an_iterator_in_place_of_a_call(lib: Any) -> None:
    async def louder(continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)

        async def responses() -> AsyncIterator[bytes]:
            async for response in call:
                yield response.upper()

        return responses()

    interceptors = interceptors_of(lib, louder)
    async with channel(lib, interceptors[1], interceptors[3]) as made:
        for kind, expected in (("unary_stream", [b"X", b"MORE"]), ("stream_stream", [b"X"])):
            call = start(made, kind, b"x", metadata=[("x-own", "1")])
            assert await finish(call, kind) == expected
            assert await trailing(call) == [("x-own", "1")]
            assert await call.code() is lib.StatusCode.OK
            assert await call.details() == ""
            assert [pair async for pair in _pairs(await call.initial_metadata())] == []
            assert call.done()
            assert not call.cancelled()
        reading = start(made, "unary_stream", b"x")
        assert [await reading.read() for _ in range(3)] == [b"X", b"MORE", lib.aio.EOF]


async def _pairs(metadata: Any) -> AsyncIterator[Any]:
    for pair in metadata:
        yield pair


@LIBRARIES
async def test_a_call_may_be_made_again(lib: Any) -> None:
    async def retry(continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)
        if await call.code() is lib.StatusCode.NOT_FOUND:
            call = await continuation(details, b"again")
        return call

    async with channel(lib, interceptors_of(lib, retry)[0]) as made:
        assert await start(made, "unary_unary", b"fail") == b"again"


@LIBRARIES
async def test_what_an_interceptor_raises(lib: Any) -> None:
    class Mistake(Exception):
        pass

    async def raises(continuation: Any, details: Any, request: Any) -> Any:
        raise Mistake

    async with channel(lib, *interceptors_of(lib, raises)) as made:
        for kind in KINDS:
            call = start(made, kind, b"x")
            with pytest.raises(Mistake):
                await finish(call, kind)
            with pytest.raises(Mistake):
                await call.code()
            assert call.done()
            assert not call.cancelled()
            assert not call.cancel()
            told: list[Any] = []
            call.add_done_callback(told.append)
            assert told == [call]


@LIBRARIES
async def test_an_interceptor_may_raise_a_status(lib: Any) -> None:
    async def refuses(continuation: Any, details: Any, request: Any) -> Any:
        metadata = lib.aio.Metadata(("x-why", "so"))
        raise lib.aio.AioRpcError(lib.StatusCode.CANCELLED, metadata, metadata, "refused", "debug")

    async with channel(lib, *interceptors_of(lib, refuses)) as made:
        call = start(made, "unary_unary", b"x")
        with pytest.raises(lib.aio.AioRpcError):
            await call
        assert await call.code() is lib.StatusCode.CANCELLED
        assert await call.details() == "refused"
        assert await call.debug_error_string() == "debug"
        assert [tuple(pair) for pair in await call.initial_metadata()] == [("x-why", "so")]
        assert await trailing(call) == [("x-why", "so")]
        assert call.cancelled()
        writing = made.stream_unary("/s/stream_unary")()
        with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
            await writing.write(b"x")


@LIBRARIES
async def test_closing_the_channel_cancels_the_interceptors(lib: Any) -> None:
    begun = asyncio.Event()

    async def stuck(continuation: Any, details: Any, request: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with channel(lib, *interceptors_of(lib, stuck)) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
        await made.close()
        assert await call.code() is lib.StatusCode.CANCELLED
        if lib is pygrpc:
            # grpcio finds out when the interceptor goes on, which this one never does.
            with pytest.raises(lib.aio.UsageError):
                await start(made, "unary_unary", b"x")


async def test_a_dropped_call_is_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stuck(continuation: Any, details: Any, request: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with channel(pygrpc, *interceptors_of(pygrpc, stuck)) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
        del call
        gc.collect()
        await ended.wait()


@LIBRARIES
async def test_iterating_keeps_the_call(lib: Any) -> None:
    async with channel(lib, *interceptors_of(lib, passing)) as made:
        assert [response async for response in start(made, "unary_stream", b"x")] == [b"x", b"more"]
        assert [response async for response in start(made, "stream_stream", b"x")] == [b"x"]
        assert await start(made, "stream_unary", b"x") == b"x"


async def test_time_remaining() -> None:
    async with channel(pygrpc, *interceptors_of(pygrpc, passing)) as made:
        call = start(made, "unary_unary", b"x", timeout=100)
        before = call.time_remaining()
        await call
        assert 0 < call.time_remaining() <= before <= 100
        endless = start(made, "unary_unary", b"x", timeout=None)
        assert endless.time_remaining() is None
        await endless


async def test_compression_passes_through() -> None:
    async with channel(pygrpc, *interceptors_of(pygrpc, passing)) as made:
        assert await start(made, "unary_unary", b"x" * 1000, compression=pygrpc.Compression.Gzip) == b"x" * 1000


async def test_one_class_of_several_kinds() -> None:
    """grpcio asks such an interceptor about its first kind only."""

    class Both(pygrpc.aio.UnaryUnaryClientInterceptor, pygrpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(client_call_details, b"one")

        async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(client_call_details, b"many")

    async with channel(pygrpc, Both()) as made:
        assert await start(made, "unary_unary", b"x") == b"one"
        assert await finish(start(made, "unary_stream", b"x"), "unary_stream") == [b"many", b"more"]


@LIBRARIES
async def test_what_is_no_interceptor(lib: Any) -> None:
    with pytest.raises(ValueError, match="must be UnaryUnaryClientInterceptor or"):
        lib.aio.insecure_channel("localhost:1", interceptors=[object()])


async def test_a_channel_without_interceptors_makes_plain_calls() -> None:
    async with channel(pygrpc) as made:
        call = start(made, "unary_unary", b"x")
        assert not isinstance(call, intercepted_call.InterceptedCall)
        await call
    assert ClientInterceptors(None).unary_unary == []


async def test_stand_ins_take_no_requests() -> None:
    finished = stand_ins.StreamUnaryCallResponse(b"response")
    with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
        await finished.write(b"x")
    await finished.done_writing()
    assert finished.time_remaining() is None
    iterated = stand_ins.StreamStreamCallResponseIterator(None, None)  # type: ignore[arg-type]
    for attempt in (iterated.write(b"x"), iterated.done_writing(), iterated.read()):
        with pytest.raises(pygrpc.aio.UsageError, match="may not be mixed"):
            await attempt
    assert iterated.done()
    assert not iterated.cancelled()
    assert not iterated.cancel()
    assert iterated.time_remaining() is None
    assert await iterated.debug_error_string() is None
    await iterated.wait_for_connection()
