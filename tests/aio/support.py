"""What tests of the asyncio shell share: a server with a few methods, sockets that speak badly, ways to wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pygrpc
from pygrpc import aio

SERVICE = "aio.Test"
ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}

#: Turns of the loop in which whatever is ready gets its chance to run.
TURNS = 50


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def echo_stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


def make_server(**settings: Any) -> aio.Server:
    """A server with handlers by arity (uu, us, su, ss); what isn't given echoes."""
    behaviours: dict[str, Callable[..., Any]] = {"uu": echo, "ss": echo_stream}
    behaviours.update({arity: settings.pop(arity) for arity in ARITIES if arity in settings})
    handlers = {
        arity: getattr(pygrpc, f"{ARITIES[arity]}_rpc_method_handler")(behaviour)
        for arity, behaviour in behaviours.items()
    }
    server = aio.server(**settings)
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler(SERVICE, handlers),))
    return server


def method(channel: aio.Channel, arity: str) -> Any:
    return getattr(channel, ARITIES[arity])(f"/{SERVICE}/{arity}")


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[str]:
    """Runs a server; yields its target."""
    server = make_server(**settings)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def connected(options: Any = None, server_options: Any = None, **settings: Any) -> AsyncIterator[aio.Channel]:
    """Runs a server, and yields a channel to it; the options are those of the channel."""
    async with serving(options=server_options, **settings) as target, aio.insecure_channel(target, options) as channel:
        yield channel


@contextlib.asynccontextmanager
async def raw_server(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """Runs a server that does with each connection what it is told, and closes it then; yields its target."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def failure(call: Any) -> aio.AioRpcError:
    """Awaits a call, or iterates over it, that has to fail."""
    try:
        answer = [message async for message in call] if hasattr(call, "__aiter__") else await call
    except aio.AioRpcError as error:
        return error
    raise AssertionError(f"the call did not fail, it returned {answer!r}")


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop turn until something is so; the bound is that of the test."""
    while not condition():
        await asyncio.sleep(0)


async def turns(count: int = TURNS) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def never() -> None:
    await asyncio.get_running_loop().create_future()
