"""How the event loop of a test gets on with threads: those of a synchronous API, and clients that connect from them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


async def close_listener(server: asyncio.Server) -> None:
    """Close a server of asyncio, which would lose the connections that it has just accepted."""
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    server.close()


def post(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Have the loop of a test call a function; from any thread."""
    # A loop that is closed belongs to a test that is over, where nobody waits for anything.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def settle(future: asyncio.Future[Any], value: Any = None, error: BaseException | None = None) -> None:
    """Give a future its outcome, unless who waited for it has given up."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
        # Whether anybody looks at the error is up to the test; asyncio need not warn.
        future.exception()


def in_thread(function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
    """Call a function that may block, in a thread of its own: a pool might be full of calls that wait for this one."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def run() -> None:
        try:
            value = function(*arguments)
        except BaseException as error:
            post(loop, settle, future, None, error)
        else:
            post(loop, settle, future, value)

    threading.Thread(target=run, name=f"behaviour-{getattr(function, '__name__', 'work')}", daemon=True).start()
    return future
