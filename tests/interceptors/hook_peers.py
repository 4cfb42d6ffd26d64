"""Servers and channels with hooks that write down what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

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
