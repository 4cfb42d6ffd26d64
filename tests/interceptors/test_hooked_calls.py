"""What calls with hooks can still be asked and told: futures, streams, replaced messages, errors of hooks."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import pygrpc
import pygrpc.aio
from pygrpc import hooks
from tests.interceptors.hook_peers import (
    EXPECTED,
    KINDS,
    Log,
    aio_pair,
    call_aio,
    call_sync,
    requests_for,
    sync_pair,
)


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


async def test_who_is_not_to_be_told_may_still_change_the_call() -> None:
    seen: list[tuple[str, float | None]] = []

    def change(call: hooks.CallInfo) -> None:
        if call.is_client:
            call.metadata.append(("key", "value"))
            call.timeout = 15.0
        else:
            seen.append((str(dict(call.metadata).get("key")), call.timeout))

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    methods = {"Echo": pygrpc.unary_unary_rpc_method_handler(echo)}
    handlers = [pygrpc.method_handlers_generic_handler("a.B", methods)]
    server = pygrpc.aio.server(handlers=handlers, interceptors=[hooks.aio_server_interceptor(change)])
    port = server.add_insecure_port("localhost:0")
    await server.start()
    target = f"localhost:{port}"
    interceptor = hooks.aio_client_interceptor(change)
    async with pygrpc.aio.insecure_channel(target, interceptors=[interceptor]) as channel:
        assert await channel.unary_unary("/a.B/Echo")(b"x") == b"x"
    with pygrpc.insecure_channel(target) as plain:
        intercepted = pygrpc.intercept_channel(plain, hooks.client_interceptor(change))
        assert await asyncio.to_thread(intercepted.unary_unary("/a.B/Echo"), b"x") == b"x"
    await server.stop(None)
    assert [value for value, _ in seen] == ["value"] * 2
    assert all(timeout is not None and 0 < timeout <= 15 for _, timeout in seen)


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
