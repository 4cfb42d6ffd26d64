"""Runs a server of either API in the background, so that a behaviour is written once, with a client of the sync API."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

#: Seconds after which whatever waits has failed; far above what anything needs.
BOUND = 20.0

#: The servers and the clients that everything runs over: pygrpc's own, and those of grpcio with our modules.
SERVERS = ("pygrpc", "pygrpc.aio", "grpc", "grpc.aio")
CLIENTS = ("pygrpc", "grpc")


@dataclass
class Running:
    """A server that runs.

    Attributes:
        target: Where it listens.
        run: Calls a function where the server's handlers run, awaits what it returns if need be, and returns that.
    """

    target: str
    run: Callable[..., Any]


@contextlib.contextmanager
def running(api: str, register: Callable[[Any], Any], workers: int = 4) -> Iterator[Running]:
    """Runs a server.

    Args:
        api: One of ``SERVERS``.
        register: Adds the services to the server, which it is given before that has a port.
        workers: Threads for the handlers of a sync server.
    """
    module = importlib.import_module(api)
    with _asynchronous(module, register) if api.endswith(".aio") else _sync(module, register, workers) as running:
        yield running


@contextlib.contextmanager
def _sync(module: Any, register: Callable[[Any], Any], workers: int) -> Iterator[Running]:
    with futures.ThreadPoolExecutor(workers) as pool:
        server = module.server(pool)
        register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield Running(f"127.0.0.1:{port}", lambda function, *arguments: function(*arguments))
        finally:
            assert server.stop(None).wait(BOUND)


@contextlib.contextmanager
def _asynchronous(module: Any, register: Callable[[Any], Any]) -> Iterator[Running]:
    started: futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = futures.Future()

    async def serve() -> None:
        server = module.server()
        register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop, port))
        await stop.wait()
        await server.stop(None)

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    loop, stop, port = started.result(BOUND)

    async def called(function: Callable[..., Any], *arguments: Any) -> Any:
        result = function(*arguments)
        return await result if isinstance(result, Coroutine) else result

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(called(function, *arguments), loop).result(BOUND)

    try:
        yield Running(f"127.0.0.1:{port}", run)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(BOUND)
        assert not thread.is_alive()
