"""A server of pygrpc, and channels of either library with interceptors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

import pygrpc
import pygrpc.aio

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


async def passing(continuation: Any, details: Any, request: Any) -> Any:
    return await continuation(details, request)
