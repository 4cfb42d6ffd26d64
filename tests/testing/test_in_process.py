"""The in-process channels of both APIs: everything but the socket. One list of tests for both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from typing import Any

import pytest

import pygrpc
from pygrpc import aio
from pygrpc.aio import in_process as aio_in_process
from pygrpc.sync import in_process as sync_in_process
from pygrpc.testing import in_process_channel

BOUND = 20.0
SERVICE = "test.Service"
ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}


class Handlers:
    """What the service does, as synchronous functions and as asynchronous ones."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.entered = threading.Event()
        self.ended = threading.Event()

    def made(self) -> Any:
        names = {"Echo": "uu", "Repeat": "us", "Join": "su", "EchoAll": "ss", "Context": "uu", "Wait": "uu"}
        methods = {
            name: getattr(pygrpc, f"{ARITIES[arity]}_rpc_method_handler")(getattr(self, f"{self.kind}_{name.lower()}"))
            for name, arity in names.items()
        }
        return pygrpc.method_handlers_generic_handler(SERVICE, methods)

    def sync_echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def aio_echo(self, request: bytes, context: Any) -> bytes:
        return request

    def sync_repeat(self, request: bytes, context: Any) -> Any:
        yield from [request] * 3

    async def aio_repeat(self, request: bytes, context: Any) -> Any:
        for _ in range(3):
            yield request

    def sync_join(self, requests: Any, context: Any) -> bytes:
        return b"".join(requests)

    async def aio_join(self, requests: Any, context: Any) -> bytes:
        return b"".join([request async for request in requests])

    def sync_echoall(self, requests: Any, context: Any) -> Any:
        yield from requests

    async def aio_echoall(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request

    def sync_context(self, request: bytes, context: Any) -> bytes:
        """Returns the name of the client; sends the metadata back, and ends with the status that was asked for."""
        metadata = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
        context.send_initial_metadata(metadata[:1])
        context.set_trailing_metadata(metadata[1:])
        if request:
            context.abort(pygrpc.StatusCode[request.decode()], "why")
        return str(context.peer()).encode()

    async def aio_context(self, request: bytes, context: Any) -> bytes:
        metadata = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
        await context.send_initial_metadata(metadata[:1])
        context.set_trailing_metadata(metadata[1:])
        if request:
            await context.abort(pygrpc.StatusCode[request.decode()], "why", context.trailing_metadata())
        return str(context.peer()).encode()

    def sync_wait(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.ended.set)
        self.entered.set()
        assert self.ended.wait(BOUND)
        return b""

    async def aio_wait(self, request: bytes, context: Any) -> bytes:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return b""


class Link:
    """A server and ways to open channels to it and to call, which look the same for both APIs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.handlers = Handlers(kind)
        self._pool = futures.ThreadPoolExecutor(32)
        self.server: Any = aio.server() if kind == "aio" else pygrpc.server(self._pool)
        self.server.add_generic_rpc_handlers((self.handlers.made(),))
        self.channel: Any = in_process_channel(self.server)

    async def _do(self, act: Callable[[], Any]) -> Any:
        """Does what takes a moment: in a thread, or by awaiting it."""
        return await (act() if self.kind == "aio" else asyncio.to_thread(act))

    async def start(self) -> None:
        await self._do(self.server.start)

    async def stop(self, grace: float | None = None) -> None:
        await self._do(lambda: self.server.stop(grace))

    async def close(self, channel: Any = None) -> None:
        await self._do((channel or self.channel).close)

    async def end(self) -> None:
        await self.close()
        await self.stop()
        self._pool.shutdown()

    def method(self, arity: str, name: str, channel: Any = None) -> Any:
        return getattr(channel or self.channel, ARITIES[arity])(f"/{SERVICE}/{name}")

    async def unary(self, name: str, request: bytes = b"", channel: Any = None, **arguments: Any) -> bytes:
        """Makes a call and waits for the response."""
        method = self.method("uu", name, channel)
        response = await self._do(lambda: method(request, **{"timeout": BOUND, **arguments}))
        assert isinstance(response, bytes)
        return response

    async def outcome(self, request: bytes, metadata: Any) -> tuple[Any, Any, Any]:
        """Returns initial metadata, trailing metadata and code of a call of ``Context``."""
        method = self.method("uu", "Context")
        if self.kind == "aio":
            call = method(request, metadata=metadata, timeout=BOUND)
            code = await call.code()
            return tuple(await call.initial_metadata()), tuple(await call.trailing_metadata()), code
        call = method.future(request, metadata=metadata, timeout=BOUND)
        code = await asyncio.to_thread(call.code)
        return tuple(call.initial_metadata()), tuple(call.trailing_metadata()), code

    async def responses(self, arity: str, name: str, request: Any, **arguments: Any) -> list[bytes]:
        """Makes a call and waits for all responses."""
        call = self.method(arity, name)(request, **{"timeout": BOUND, **arguments})
        if self.kind == "aio":
            return [response async for response in call]
        return await asyncio.to_thread(list, call)

    async def failure(self, name: str, **arguments: Any) -> Any:
        """Makes a call that fails, and returns the error."""
        with pytest.raises(pygrpc.RpcError) as caught:
            await self.unary(name, **arguments)
        return caught.value

    async def start_waiting(self) -> Any:
        """Starts a call whose handler waits, and returns it once the handler runs."""
        method = self.method("uu", "Wait")
        call = method(b"", timeout=BOUND) if self.kind == "aio" else method.future(b"", timeout=BOUND)
        await self.wait(self.handlers.entered)
        return call

    @staticmethod
    async def wait(event: threading.Event) -> None:
        assert await asyncio.to_thread(event.wait, BOUND)


@contextlib.asynccontextmanager
async def linked(kind: str) -> AsyncIterator[Link]:
    link = Link(kind)
    await link.start()
    try:
        yield link
    finally:
        await link.end()


both = pytest.mark.parametrize("kind", ["sync", "aio"])


@both
async def test_the_channel_is_of_the_servers_api(kind: str) -> None:
    async with linked(kind) as link:
        module = sync_in_process if kind == "sync" else aio_in_process
        assert isinstance(link.channel, module.InProcessChannel)


@both
async def test_calls_of_all_arities(kind: str) -> None:
    async with linked(kind) as link:
        requests = [b"a", b"b", b"c"]
        assert await link.unary("Echo", b"hello") == b"hello"
        assert await link.unary("Context") == b"in-process"
        assert await link.responses("us", "Repeat", b"a") == [b"a"] * 3
        join, argument = link.method("su", "Join"), iter(requests)
        assert await link._do(lambda: join(argument, timeout=BOUND)) == b"abc"
        assert await link.responses("ss", "EchoAll", iter(requests)) == requests


@both
async def test_large_streams_pass_both_ways(kind: str) -> None:
    async with linked(kind) as link:
        requests = [bytes([number]) * 300_000 for number in range(20)]
        assert await link.responses("ss", "EchoAll", iter(requests)) == requests


@both
async def test_metadata_and_status(kind: str) -> None:
    async with linked(kind) as link:
        metadata = (("first", "1"), ("second-bin", b"\x00\xff"))
        assert await link.outcome(b"", metadata) == (metadata[:1], metadata[1:], pygrpc.StatusCode.OK)
        assert await link.outcome(b"NOT_FOUND", metadata) == (
            metadata[:1],
            metadata[1:],
            pygrpc.StatusCode.NOT_FOUND,
        )
        error = await link.failure("Context", request=b"NOT_FOUND")
        assert (error.code(), error.details()) == (pygrpc.StatusCode.NOT_FOUND, "why")


@both
async def test_a_deadline_ends_a_call(kind: str) -> None:
    async with linked(kind) as link:
        await link.unary("Echo")
        error = await link.failure("Wait", timeout=0.05)
        assert error.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        if link.handlers.entered.is_set():
            await link.wait(link.handlers.ended)


@both
async def test_a_cancellation_reaches_the_handler(kind: str) -> None:
    async with linked(kind) as link:
        call = await link.start_waiting()
        assert call.cancel()
        await link.wait(link.handlers.ended)


@both
async def test_interceptors_and_options(kind: str) -> None:
    seen = []

    class Interceptor(pygrpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return continuation(details, request)

    class AioInterceptor(aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            method = details.method
            seen.append(method if isinstance(method, str) else method.decode())
            return await continuation(details, request)

    async with linked(kind) as link:
        channel = in_process_channel(
            link.server,
            [("grpc.max_send_message_length", 100)],
            pygrpc.Compression.Gzip,
            [Interceptor() if kind == "sync" else AioInterceptor()],
        )
        assert await link.unary("Echo", b"a" * 99, channel) == b"a" * 99
        assert seen == ["/test.Service/Echo"]
        error = await link.failure("Echo", request=b"a" * 101, channel=channel)
        assert error.code() is pygrpc.StatusCode.RESOURCE_EXHAUSTED
        await link.close(channel)
        # Other channels to the server go on.
        assert await link.unary("Echo", b"b") == b"b"


@both
async def test_many_calls_at_once(kind: str) -> None:
    async with linked(kind) as link:
        requests = [str(number).encode() for number in range(100)]
        assert await asyncio.gather(*(link.unary("Echo", request) for request in requests)) == requests


@both
async def test_a_server_that_is_not_started_is_unavailable(kind: str) -> None:
    link = Link(kind)
    error = await link.failure("Echo")
    assert error.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "not started" in error.details()
    await link.end()


@both
async def test_a_server_that_stops_ends_its_calls(kind: str) -> None:
    async with linked(kind) as link:
        call = await link.start_waiting()
        await link.stop(0)
        if kind == "aio":
            with pytest.raises(pygrpc.RpcError):
                await call
        else:
            assert await asyncio.to_thread(call.exception, BOUND) is call
        await link.wait(link.handlers.ended)
        error = await link.failure("Echo")
        assert error.code() is pygrpc.StatusCode.UNAVAILABLE


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="elsewhere a pair of sockets wakes those who wait")
def test_there_is_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    # The asyncio channel is left out: its event loop has sockets of its own.
    def forbidden(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "socketpair", forbidden)
    with futures.ThreadPoolExecutor(1) as pool:
        server = pygrpc.server(pool, handlers=[Handlers("sync").made()])
        server.start()
        with in_process_channel(server) as channel:
            assert channel.unary_unary("/test.Service/Echo")(b"a", timeout=BOUND) == b"a"
        server.stop(None).wait(BOUND)


def test_another_kind_of_server_is_refused() -> None:
    with pytest.raises(TypeError, match=r"pygrpc\.aio\.server or pygrpc\.server, not object"):
        in_process_channel(object())  # type: ignore[call-overload]
