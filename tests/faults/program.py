"""A server of the tests in a process of its own: ``python -m tests.faults.program KIND PORT GRACE``.

It prints its port when it serves. SIGTERM stops it gracefully; it ends with 0 then. The kinds are the packages and
their two APIs: ``pygrpc-sync``, ``pygrpc-aio``, ``grpcio-sync``, ``grpcio-aio``.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

SERVICE = "faults.Peer"
#: Requests of these servers may be sent to any of several processes, which share a port.
OPTIONS = [("grpc.so_reuseport", 1)]


def own_name() -> bytes:
    """The process, which may have been forked."""
    return str(os.getpid()).encode()


def sync_behaviours() -> dict[str, Any]:
    """``uu`` names the process, ``us`` never ends by itself, ``su`` counts bytes, ``ss`` echoes, ``slow`` waits."""

    def never(request: bytes, context: Any) -> Iterator[bytes]:
        over = threading.Event()
        context.add_callback(over.set)
        yield own_name()
        over.wait()

    def count(requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(len(request) for request in requests)

    def flood(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield bytes(65_536)

    def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    return {"uu": lambda request, context: own_name(), "us": never, "us_flood": flood, "su": count, "ss": echo}


def aio_behaviours() -> dict[str, Any]:
    """The same for asyncio."""

    async def name(request: bytes, context: Any) -> bytes:
        return own_name()

    async def never(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield own_name()
        await asyncio.get_running_loop().create_future()

    async def count(requests: AsyncIterator[bytes], context: Any) -> bytes:
        size = 0
        async for request in requests:
            size += len(request)
        return b"%d" % size

    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield bytes(65_536)

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    return {"uu": name, "us": never, "us_flood": flood, "su": count, "ss": echo}


ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}


def make_server(kind: str) -> Any:
    """A server of a kind with the handlers, neither bound nor started; for asyncio to be called in its loop."""
    package, _, api = kind.partition("-")
    grpc = importlib.import_module({"pygrpc": "pygrpc", "grpcio": "grpc"}[package])
    behaviours = sync_behaviours() if api == "sync" else aio_behaviours()
    handlers = {
        name: getattr(grpc, f"{ARITIES[name[:2]]}_rpc_method_handler")(behaviour)
        for name, behaviour in behaviours.items()
    }
    generic = [grpc.method_handlers_generic_handler(SERVICE, handlers)]
    if api == "sync":
        return grpc.server(futures.ThreadPoolExecutor(20), handlers=generic, options=OPTIONS)
    return importlib.import_module(f"{grpc.__name__}.aio").server(handlers=generic, options=OPTIONS)


def serve(kind: str, port: str, grace: float) -> None:
    """Serves until SIGTERM."""
    # Before there are threads, which inherit it. A handler that sets an Event could interrupt the wait for that very
    # Event while it holds the Event's lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    server = make_server(kind)
    print(server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop(grace).wait()


async def serve_aio(kind: str, port: str, grace: float) -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = make_server(kind)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(bound, flush=True)
    await stop.wait()
    await server.stop(grace)


if __name__ == "__main__":
    _, kind, port, grace = sys.argv
    if kind.endswith("aio"):
        asyncio.run(serve_aio(kind, port, float(grace)))
    else:
        serve(kind, port, float(grace))
