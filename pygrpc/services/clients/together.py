"""All clients of a server, on one connection; and the same for programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar

from pygrpc.services.clients.chat import ChatClient
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.files import FileClient
from pygrpc.services.clients.options import ClientOptions
from pygrpc.services.clients.orders import OrderClient
from pygrpc.services.clients.users import UserClient

_T = TypeVar("_T")


class Clients:
    """The clients of all services of a server. An asynchronous context manager.

    Attributes:
        connection: What they share.
        users: The client of the user service.
        chat: The client of the chat service.
        files: The client of the file service.
        orders: The client of the order service.
    """

    def __init__(self, target: str, options: ClientOptions | None = None) -> None:
        """Prepares the clients; nothing is connected before the first call.

        Args:
            target: The server, "host:port" or any target of docs/naming.md.
            options: How to reach it.
        """
        self.connection = Connection(target, options)
        self.users = UserClient(self.connection)
        self.chat = ChatClient(self.connection)
        self.files = FileClient(self.connection)
        self.orders = OrderClient(self.connection)

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection; calls in flight are cancelled."""
        await self.connection.close()


class BlockingClients:
    """The same clients for programs without an event loop. A context manager.

    It is a thin front: an event loop runs in a thread, and each call waits for what it does there. All rules about
    deadlines, retries and resumption are thereby written once. What it costs, a change of threads for each call, is no
    matter for programs that wait for one call after the other; one that needs the last of it takes a stub on a channel
    of `pygrpc`, whose synchronous side has no event loop.

    The methods are those of `Clients`, without `await` and with `for` in place of `async for`. They may be called from
    any thread.
    """

    def __init__(self, target: str, options: ClientOptions | None = None) -> None:
        """Starts the thread; the arguments are those of `Clients`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pygrpc clients", daemon=True)
        self._thread.start()

        async def prepare() -> Clients:
            return Clients(target, options)

        try:
            self._clients = self.start(lambda: prepare()).result()
        except BaseException:
            self._stop()
            raise
        self.users = Blocking(self._clients.users, self)
        self.chat = Blocking(self._clients.chat, self)
        self.files = Blocking(self._clients.files, self)
        self.orders = Blocking(self._clients.orders, self)
        self.connection = Blocking(self._clients.connection, self)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection and ends the thread; calls in flight are cancelled."""
        self.close()

    def close(self) -> None:
        """Closes the connection and ends the thread; calls in flight are cancelled."""
        if not self._loop.is_closed():
            self.start(self._clients.connection.close).result()
            self._stop()

    def start(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> concurrent.futures.Future[_T]:
        """Begins something in the event loop, a call that can be cancelled for example.

        Args:
            work: Returns what is to be awaited: `lambda: clients.users.asynchronous.get("ann")`.

        Returns:
            A future; its `cancel` cancels the call on its way.
        """

        async def run() -> _T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def _stop(self) -> None:
        async def wind_up() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        self.start(wind_up).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """A client whose methods wait for what they return.

    Attributes:
        asynchronous: The client itself, for `BlockingClients.start`.
    """

    def __init__(self, asynchronous: Any, clients: BlockingClients) -> None:
        """For BlockingClients."""
        self.asynchronous = asynchronous
        self._clients = clients

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Returns a method that runs in the event loop and is waited for."""
        method = getattr(self.asynchronous, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._wait(method, args, kwargs)

        return call

    def _wait(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        async def run() -> Any:
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        result = self._result(run)
        if isinstance(result, AsyncIterator):
            return self._each(result)
        if hasattr(result, "__aenter__"):
            return _BlockingContext(result, self._clients)
        return result

    def _each(self, results: AsyncIterator[Any]) -> Iterator[Any]:
        nothing = object()

        async def following() -> Any:
            return await anext(results, nothing)

        async def close() -> None:
            if inspect.isasyncgen(results):
                await results.aclose()

        try:
            while (result := self._result(following)) is not nothing:
                yield result
        finally:
            self._result(close)

    def _result(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        future = self._clients.start(work)
        try:
            return future.result()
        except BaseException:
            # Of a Ctrl-C, above all: the call shall not go on unseen.
            future.cancel()
            raise


class _BlockingContext(Blocking):
    """An asynchronous context manager, such as a stay in a chat room, for `with`."""

    def __enter__(self) -> Self:
        self._wait(self.asynchronous.__aenter__, (), {})
        return self

    def __exit__(self, *details: object) -> None:
        self._wait(self.asynchronous.__aexit__, details, {})

    def __iter__(self) -> Iterator[Any]:
        return self._each(aiter(self.asynchronous))
