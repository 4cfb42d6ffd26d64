"""Adapters for packages with grpcio's API: its own two, and pygrpc."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

from benchmarks.adapters import HOST, Hold
from benchmarks.scenarios import PAYLOAD, SERVICE, Client

WORKERS = 32


def _handlers(grpc: Any, unary: Any, download: Any, upload: Any) -> tuple[Any, ...]:
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Download": grpc.unary_stream_rpc_method_handler(download),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
    }
    return (grpc.method_handlers_generic_handler(SERVICE, methods),)


def _client(channel: Any) -> Client:
    return Client(
        unary=channel.unary_unary(f"/{SERVICE}/Unary"),
        download=channel.unary_stream(f"/{SERVICE}/Download"),
        upload=channel.stream_unary(f"/{SERVICE}/Upload"),
    )


def aio_server(package: str, hold: Hold) -> None:
    """Serve with `package.aio`."""
    grpc, aio = import_module(package), import_module(f"{package}.aio")

    async def unary(request: bytes, context: Any) -> bytes:
        return request

    async def download(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield PAYLOAD

    async def upload(requests: AsyncIterator[bytes], context: Any) -> bytes:
        total = 0
        async for message in requests:
            total += len(message)
        return b"%d" % total

    async def main() -> None:
        server = aio.server()
        server.add_generic_rpc_handlers(_handlers(grpc, unary, download, upload))
        port = server.add_insecure_port(f"{HOST}:0")
        await server.start()
        await asyncio.to_thread(hold, port)
        await server.stop(None)

    asyncio.run(main())


@asynccontextmanager
async def aio_client(package: str, port: int) -> AsyncIterator[Client]:
    """Call with `package.aio`."""
    async with import_module(f"{package}.aio").insecure_channel(f"{HOST}:{port}") as channel:
        yield _client(channel)


def blocking_server(package: str, hold: Hold) -> None:
    """Serve with the synchronous API of `package`."""
    grpc = import_module(package)

    def unary(request: bytes, context: Any) -> bytes:
        return request

    def download(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield PAYLOAD

    def upload(requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(map(len, requests))

    with ThreadPoolExecutor(WORKERS) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(_handlers(grpc, unary, download, upload))
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        hold(port)
        server.stop(None).wait()


@contextmanager
def blocking_client(package: str, port: int) -> Iterator[Client]:
    """Call with the synchronous API of `package`."""
    with import_module(package).insecure_channel(f"{HOST}:{port}") as channel:
        yield _client(channel)
