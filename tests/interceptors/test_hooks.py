"""Hooks: one kind of interceptor for both ends, both APIs and all arities."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

import pytest

import pygrpc
import pygrpc.aio
from pygrpc import hooks

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
EXPECTED = {"unary_unary": b"x", "unary_stream": [b"x", b"more"], "stream_unary": b"x,y", "stream_stream": [b"x", b"y"]}


class Log:
    """What hooks of one end were told; ``ends`` releases once for each end of a call."""

    def __init__(self) -> None:
        self.calls: list[hooks.CallInfo] = []
        self.events: list[str] = []
        self.ends: list[hooks.CallEnd] = []
        self.ended = threading.Semaphore(0)

    def begin(self, call: hooks.CallInfo) -> hooks.CallHooks | None:
        self.calls.append(call)
        if call.is_client:
            call.metadata.append(("x-hook", "1"))
        return Logging(self)

    def wait(self) -> None:
        assert self.ended.acquire(timeout=20)

    async def wait_async(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.wait)


class Logging(hooks.CallHooks):
    def __init__(self, log: Log) -> None:
        self.log = log

    def on_request(self, request: bytes) -> bytes:
        self.log.events.append(f"request {request.decode()}")
        return request.replace(b"client", b"changed")

    def on_response(self, response: bytes) -> bytes:
        self.log.events.append(f"response {response.decode()}")
        if response == b"poison":
            raise ValueError("not this one")
        return response.replace(b"server", b"changed")

    def on_end(self, end: hooks.CallEnd) -> None:
        self.log.events.append("end")
        self.log.ends.append(end)
        self.log.ended.release()


class Handlers(pygrpc.GenericRpcHandler):
    """Echoes. ``fail`` aborts, ``raise`` raises, ``hang`` waits until the call is over."""

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2].partition("-")[0]
        return getattr(pygrpc, f"{kind}_rpc_method_handler")(getattr(self, details.method.rpartition("/")[2]))


class Sync(Handlers):
    def note(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("x-trailing", "1")])
        if request == b"fail":
            context.abort(pygrpc.StatusCode.NOT_FOUND, "nothing here")
        if request == b"raise":
            raise ValueError("a mistake")
        if request == b"code":
            context.set_code(pygrpc.StatusCode.DATA_LOSS)
            context.set_details("some of it")
        if request == b"hang":
            over = threading.Event()
            if context.add_callback(over.set):
                over.wait(20)
        return request

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        return self.note(request, context)

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield self.note(request, context)
        yield b"more"

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self.note(b",".join(requests), context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield self.note(request, context)


class Async(Handlers):
    async def note(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("x-trailing", "1")])
        if request == b"fail":
            await context.abort(pygrpc.StatusCode.NOT_FOUND, "nothing here")
        if request == b"raise":
            raise ValueError("a mistake")
        if request == b"code":
            context.set_code(pygrpc.StatusCode.DATA_LOSS)
            context.set_details("some of it")
        if request == b"hang":
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


class Written(Async):
    """Reads and writes by way of the context."""

    async def unary_stream(self, request: bytes, context: Any) -> None:  # type: ignore[override]
        await context.write(await self.note(request, context))
        await context.write(b"more")

    async def stream_stream(self, requests: Any, context: Any) -> None:  # type: ignore[override]
        while (request := await context.read()) is not pygrpc.aio.EOF:
            await context.write(await self.note(request, context))


class Plain(Sync):
    """Plain functions in an asyncio server."""


@contextlib.contextmanager
def sync_pair(on_client: Log | None, on_server: Log | None) -> Iterator[pygrpc.Channel]:
    interceptors = [hooks.server_interceptor(on_server.begin)] if on_server else []
    with futures.ThreadPoolExecutor(4) as pool:
        server = pygrpc.server(pool, handlers=[Sync()], interceptors=interceptors)
        port = server.add_insecure_port("localhost:0")
        server.start()
        try:
            with pygrpc.insecure_channel(f"localhost:{port}") as channel:
                yield (
                    pygrpc.intercept_channel(channel, hooks.client_interceptor(on_client.begin))
                    if on_client
                    else channel
                )
        finally:
            server.stop(None).wait(20)


@contextlib.asynccontextmanager
async def aio_pair(
    on_client: Log | None, on_server: Log | None, handlers: type[Handlers] = Async
) -> AsyncIterator[pygrpc.aio.Channel]:
    with futures.ThreadPoolExecutor(4) as pool:
        server = pygrpc.aio.server(
            pool,
            handlers=[handlers()],
            interceptors=[hooks.aio_server_interceptor(on_server.begin)] if on_server else [],
        )
        port = server.add_insecure_port("localhost:0")
        await server.start()
        try:
            interceptors = [hooks.aio_client_interceptor(on_client.begin)] if on_client else []
            async with pygrpc.aio.insecure_channel(f"localhost:{port}", interceptors=interceptors) as channel:
                yield channel
        finally:
            await server.stop(None)


def requests_for(kind: str, request: bytes | None = None) -> Any:
    if kind.startswith("unary"):
        return request or b"x"
    return iter([request] if request else [b"x", b"y"])


def call_sync(channel: pygrpc.Channel, kind: str, request: bytes | None = None, **options: Any) -> Any:
    callable_ = getattr(channel, kind)(f"/s/{kind}")
    result = callable_(requests_for(kind, request), **{"timeout": 20, **options})
    return list(result) if kind.endswith("stream") else result


async def call_aio(channel: pygrpc.aio.Channel, kind: str, request: bytes | None = None, **options: Any) -> Any:
    callable_ = getattr(channel, kind)(f"/s/{kind}")
    call = callable_(requests_for(kind, request), **{"timeout": 20, **options})
    return [response async for response in call] if kind.endswith("stream") else await call


def check_good_call(log: Log, kind: str, is_client: bool) -> None:
    (info,) = log.calls
    assert info.is_client is is_client
    assert info.method == f"/s/{kind}"
    assert (info.request_streaming, info.response_streaming) == (kind.startswith("stream"), kind.endswith("stream"))
    assert ("x-own", "1") in info.metadata
    assert ("x-hook", "1") in info.metadata
    assert info.timeout is not None
    assert 0 < info.timeout <= 20
    assert (info.peer is None) is is_client
    expected = EXPECTED[kind]
    requests = ["request x"] if kind.startswith("unary") else ["request x", "request y"]
    responses = [f"response {each.decode()}" for each in (expected if isinstance(expected, list) else [expected])]
    assert sorted(log.events[:-1]) == sorted(requests + responses)
    assert [event for event in log.events if event.startswith("response")] == responses
    assert log.events[-1] == "end"
    (end,) = log.ends
    assert end.code is pygrpc.StatusCode.OK
    assert end.details == ""
    assert end.error is None
    assert end.trailing_metadata == (("x-trailing", "1"),)


@pytest.mark.parametrize("kind", KINDS)
def test_sync_calls(kind: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        assert call_sync(channel, kind, metadata=[("x-own", "1")]) == EXPECTED[kind]
        on_client.wait()
        on_server.wait()
    check_good_call(on_client, kind, True)
    check_good_call(on_server, kind, False)


@pytest.mark.parametrize("handlers", [Async, Written, Plain])
@pytest.mark.parametrize("kind", KINDS)
async def test_aio_calls(kind: str, handlers: type[Handlers]) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server, handlers) as channel:
        assert await call_aio(channel, kind, metadata=[("x-own", "1")]) == EXPECTED[kind]
        await on_client.wait_async()
        await on_server.wait_async()
    check_good_call(on_client, kind, True)
    if handlers is Written and kind == "stream_stream":
        # What is read by way of the context has been seen once, not twice.
        assert on_server.events.count("request x") == 1
    check_good_call(on_server, kind, False)


FAILURES: list[tuple[bytes, pygrpc.StatusCode, str]] = [
    (b"fail", pygrpc.StatusCode.NOT_FOUND, "nothing here"),
    (b"raise", pygrpc.StatusCode.UNKNOWN, "a mistake"),
    (b"code", pygrpc.StatusCode.DATA_LOSS, "some of it"),
]


def check_failure(log: Log, code: pygrpc.StatusCode, details: str) -> None:
    (end,) = log.ends
    assert end.code is code
    assert details in end.details
    assert end.trailing_metadata == (("x-trailing", "1"),)
    assert log.events[-1] == "end"


@pytest.mark.parametrize(("request_", "code", "details"), FAILURES)
@pytest.mark.parametrize("kind", KINDS)
def test_sync_failures(kind: str, request_: bytes, code: pygrpc.StatusCode, details: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        with pytest.raises(pygrpc.RpcError):
            call_sync(channel, kind, request_)
        on_client.wait()
        on_server.wait()
    check_failure(on_client, code, details)
    check_failure(on_server, code, details)


@pytest.mark.parametrize("handlers", [Async, Plain])
@pytest.mark.parametrize(("request_", "code", "details"), FAILURES)
@pytest.mark.parametrize("kind", KINDS)
async def test_aio_failures(
    kind: str, request_: bytes, code: pygrpc.StatusCode, details: str, handlers: type[Handlers]
) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server, handlers) as channel:
        with pytest.raises(pygrpc.RpcError):
            await call_aio(channel, kind, request_)
        await on_client.wait_async()
        await on_server.wait_async()
    check_failure(on_client, code, details)
    check_failure(on_server, code, details)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_deadline(kind: str) -> None:
    on_client, on_server = Log(), Log()
    with sync_pair(on_client, on_server) as channel:
        with pytest.raises(pygrpc.RpcError):
            call_sync(channel, kind, b"hang", timeout=0.1)
        on_client.wait()
        on_server.wait()
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]
    assert [end.code for end in on_server.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_aio_deadline(kind: str) -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server) as channel:
        with pytest.raises(pygrpc.RpcError):
            await call_aio(channel, kind, b"hang", timeout=0.1)
        await on_client.wait_async()
        await on_server.wait_async()
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]
    assert [end.code for end in on_server.ends] == [pygrpc.StatusCode.DEADLINE_EXCEEDED]


async def test_cancelled_by_the_client() -> None:
    on_client, on_server = Log(), Log()
    async with aio_pair(on_client, on_server) as channel:
        call = channel.unary_unary("/s/unary_unary")(b"hang")
        await call.wait_for_connection()
        while not on_server.events:
            await asyncio.sleep(0)
        call.cancel()
        await on_client.wait_async()
        await on_server.wait_async()
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.CANCELLED]
    assert [end.code for end in on_server.ends] == [pygrpc.StatusCode.CANCELLED]


def test_messages_may_be_replaced() -> None:
    with sync_pair(Log(), Log()) as channel:
        assert call_sync(channel, "unary_unary", b"client") == b"changed"
        assert call_sync(channel, "unary_unary", b"server") == b"changed"


async def test_messages_may_be_replaced_in_asyncio() -> None:
    async with aio_pair(Log(), Log()) as channel:
        assert await call_aio(channel, "stream_stream", b"client") == [b"changed"]
        assert await call_aio(channel, "unary_unary", b"server") == b"changed"


def test_futures() -> None:
    on_client = Log()
    with sync_pair(on_client, None) as channel:
        future = channel.unary_unary("/s/unary_unary").future(b"server", timeout=20)
        assert future.result(20) == b"changed"
        assert future.exception() is None
        assert future.traceback() is None
        assert future.done()
        assert not future.running()
        assert not future.cancelled()
        assert not future.cancel()
        assert not future.is_active()
        assert future.debug_error_string() in ("", None)
        assert isinstance(future, pygrpc.Call)
        told: list[Any] = []
        future.add_done_callback(told.append)
        assert told == [future]
        failed = channel.unary_unary("/s/unary_unary").future(b"fail", timeout=20)
        assert isinstance(failed.exception(20), pygrpc.RpcError)
        assert failed.traceback(20) is not None
        assert failed.code() is pygrpc.StatusCode.NOT_FOUND
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.OK, pygrpc.StatusCode.NOT_FOUND]


def test_a_cancelled_future() -> None:
    on_client = Log()
    with sync_pair(on_client, None) as channel:
        future = channel.unary_unary("/s/unary_unary").future(b"hang", timeout=20)
        assert future.time_remaining() > 0
        future.cancel()
        on_client.wait()
        with pytest.raises(pygrpc.FutureCancelledError):
            future.result(20)
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.CANCELLED]


def test_a_stream_is_a_call_too() -> None:
    on_client = Log()
    with sync_pair(on_client, None) as channel:
        stream = channel.unary_stream("/s/unary_stream")(b"x", timeout=20)
        assert isinstance(stream, pygrpc.Call)
        assert next(stream) == b"x"
        assert stream.is_active()
        assert stream.time_remaining() > 0
        assert list(stream.initial_metadata()) == []
        assert list(stream) == [b"more"]
        assert stream.code() is pygrpc.StatusCode.OK
        assert stream.details() == ""
        assert [tuple(pair) for pair in stream.trailing_metadata()] == [("x-trailing", "1")]
        assert not stream.add_callback(lambda: None)
        stream.cancel()


async def test_what_an_aio_call_can_be_asked() -> None:
    on_client = Log()
    async with aio_pair(on_client, None) as channel:
        for kind in KINDS:
            callable_ = getattr(channel, kind)(f"/s/{kind}")
            call = callable_(requests_for(kind), timeout=20)
            await call.wait_for_connection()
            assert call.time_remaining() > 0
            assert await call.code() is pygrpc.StatusCode.OK if not kind.endswith("stream") else True
            response = [each async for each in call] if kind.endswith("stream") else await call
            assert response == EXPECTED[kind]
            assert await call.details() == ""
            assert await call.debug_error_string() in ("", None)
            assert [tuple(pair) for pair in await call.initial_metadata()] == []
            assert [tuple(pair) for pair in await call.trailing_metadata()] == [("x-trailing", "1")]
            assert call.done()
            assert not call.cancelled()
            assert not call.cancel()
            told: list[Any] = []
            call.add_done_callback(told.append)
            assert told == [call]


async def test_reading_and_writing() -> None:
    on_client = Log()
    async with aio_pair(on_client, None) as channel:
        call = channel.stream_stream("/s/stream_stream")(timeout=20)
        await call.write(b"client")
        assert await call.read() == b"changed"
        await call.done_writing()
        assert await call.read() is pygrpc.aio.EOF
        await on_client.wait_async()
    assert on_client.events == ["request client", "response changed", "end"]


def ignore(call: hooks.CallInfo) -> None:
    return None


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_to_tell(kind: str) -> None:
    log = Log()
    log.begin = ignore  # type: ignore[assignment, method-assign]
    async with aio_pair(log, log) as channel:
        assert await call_aio(channel, kind) == EXPECTED[kind]
    with sync_pair(log, log) as sync_channel:
        assert call_sync(sync_channel, kind) == EXPECTED[kind]


async def test_what_on_response_raises() -> None:
    on_client = Log()
    async with aio_pair(on_client, None) as channel:
        with pytest.raises(ValueError, match="not this one"):
            await call_aio(channel, "unary_unary", b"poison")
    with sync_pair(on_client, None) as sync_channel, pytest.raises(ValueError, match="not this one"):
        call_sync(sync_channel, "unary_unary", b"poison")
    assert [end.code for end in on_client.ends] == [pygrpc.StatusCode.OK] * 2


def test_what_on_end_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(hooks.CallHooks):
        def on_end(self, end: hooks.CallEnd) -> None:
            raise ValueError("too late")

    log = Log()
    log.begin = lambda call: Raising()  # type: ignore[method-assign]
    with sync_pair(log, None) as channel:
        assert call_sync(channel, "unary_unary") == b"x"
    assert "too late" in caplog.text


async def test_a_method_that_nobody_serves() -> None:
    on_server = Log()
    server = pygrpc.aio.server(interceptors=[hooks.aio_server_interceptor(on_server.begin)])
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with pygrpc.aio.insecure_channel(f"localhost:{port}") as channel:
        with pytest.raises(pygrpc.RpcError):
            await channel.unary_unary("/s/unknown")(b"x", timeout=20)
    await server.stop(None)
    assert on_server.calls == []


async def test_handlers_may_be_partial_functions_and_objects() -> None:
    async def behaviour(prefix: bytes, request: bytes, context: Any) -> bytes:
        return prefix + request

    class Behaviour:
        async def __call__(self, request: bytes, context: Any) -> bytes:
            return b"object " + request

    class Generic(pygrpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            function = functools.partial(behaviour, b"partial ") if details.method.endswith("partial") else Behaviour()
            return pygrpc.unary_unary_rpc_method_handler(function)

    on_server = Log()
    server = pygrpc.aio.server(handlers=[Generic()], interceptors=[hooks.aio_server_interceptor(on_server.begin)])
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with pygrpc.aio.insecure_channel(f"localhost:{port}") as channel:
        assert await channel.unary_unary("/s/partial")(b"x", timeout=20) == b"partial x"
        assert await channel.unary_unary("/s/object")(b"x", timeout=20) == b"object x"
    await server.stop(None)
    assert len(on_server.ends) == 2
