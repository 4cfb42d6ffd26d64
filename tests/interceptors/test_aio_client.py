"""Client interceptors of the asyncio API, with the channels of either library; the server is pygrpc's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

import pygrpc
import pygrpc.aio
from pygrpc.aio import intercepted_call, stand_ins
from pygrpc.aio.interceptor import ClientInterceptors

LIBRARIES = pytest.mark.parametrize("lib", [pygrpc, grpc], ids=["pygrpc", "grpcio"])
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


class Methods(pygrpc.GenericRpcHandler):
    """Echoes; the metadata that came is sent back as trailing metadata. A request ``fail`` ends with NOT_FOUND."""

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        return getattr(pygrpc, f"{kind}_rpc_method_handler")(getattr(self, kind))

    async def note(self, request: bytes, context: Any) -> bytes:
        pairs = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        context.set_trailing_metadata(pairs)
        if request == b"fail":
            await context.abort(pygrpc.StatusCode.NOT_FOUND, "nothing here")
        if request == b"hang":
            await context.send_initial_metadata(())
            await asyncio.Event().wait()
        return request

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return await self.note(request, context)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self.note(request, context)
        yield b"more"

    async def stream_unary(self, requests: Any, context: Any) -> bytes:
        return await self.note(b",".join([request async for request in requests]), context)

    async def stream_stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self.note(request, context)


@contextlib.asynccontextmanager
async def channel(lib: Any, *interceptors: Any) -> AsyncIterator[Any]:
    server = pygrpc.aio.server(handlers=[Methods()])
    port = server.add_insecure_port("localhost:0")
    await server.start()
    try:
        async with lib.aio.insecure_channel(f"localhost:{port}", interceptors=interceptors) as made:
            yield made
    finally:
        await server.stop(None)


def interceptors_of(lib: Any, function: Any) -> list[Any]:
    """Makes four interceptors, one of each kind, of one async function."""
    made = []
    for kind in KINDS:
        base = getattr(lib.aio, f"{''.join(part.title() for part in kind.split('_'))}ClientInterceptor")

        async def hook(self: Any, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await function(continuation, client_call_details, request)

        made.append(type("Interceptor", (base,), {f"intercept_{kind}": hook})())
    return made


def start(channel: Any, kind: str, request: bytes, **options: Any) -> Any:
    callable_ = getattr(channel, kind)(f"/s/{kind}")
    return callable_(iter([request]) if kind.startswith("stream") else request, **{"timeout": 20, **options})


async def finish(call: Any, kind: str) -> Any:
    return [response async for response in call] if kind.endswith("stream") else await call


def adding(name: str) -> Any:
    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        metadata = details.metadata
        metadata.add("x-seen", name)
        return await continuation(details._replace(metadata=metadata), request)

    return intercept


async def trailing(call: Any) -> list[tuple[str, Any]]:
    return [tuple(pair) for pair in await call.trailing_metadata()]


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


async def passing(continuation: Any, details: Any, request: Any) -> Any:
    return await continuation(details, request)


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
