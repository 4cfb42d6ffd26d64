"""What streams in both directions have in common that go on over as many calls as it takes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

from pygrpc import StatusCode, aio
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.pacing import Pacing
from pygrpc.services.outbox import Outbox

#: Told why a session broke off, and None when it goes on.
Interrupted = Callable[[ServiceError | None], object]

_T = TypeVar("_T")

#: So much waits for whoever reads a session; meanwhile nothing more is read from the server.
_QUEUE_SIZE = 256
#: How long the last words of a session may take, in seconds.
_FAREWELL = 5.0


class Session(ABC, Generic[_T]):
    """A call in both directions that is taken up again when it breaks off. An asynchronous context manager.

    What is received comes by `async for`, and that has to keep going: while `_QUEUE_SIZE` items wait that nobody takes,
    nothing is read, acknowledgements included. The iteration ends when the session does, and raises ServiceError if it
    broke off and could not go on.
    """

    #: The class of the stub and the name of the method.
    _stub: Callable[[Any], Any]
    _method: str
    #: What is over when the session is, in a sentence.
    _what: str

    def __init__(self, connection: Connection, interrupted: Interrupted | None, how: CallOptions) -> None:
        """Prepares a session; entering the context begins it."""
        self._connection = connection
        self._interrupted = interrupted or (lambda error: None)
        self._how = how
        self._received: Outbox[_T] = Outbox(_QUEUE_SIZE)
        self._to_do = asyncio.Event()
        self._inside = asyncio.Event()
        self._leaving = self._away = False
        self._failure: ServiceError | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins the session; returns when the server has taken it.

        Raises:
            ServiceError: The server refuses it, or can't be reached.
        """
        self._running = asyncio.create_task(self._run())
        inside = asyncio.create_task(self._inside.wait())
        try:
            await asyncio.wait((self._running, inside), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await stopped(self._running)
            raise
        finally:
            await stopped(inside)
        if not self._inside.is_set() and self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the session. What is not acknowledged yet is given up; what was not read is dropped."""
        assert self._running is not None
        self._received.finish()
        self._give_up(self._over())
        self.leave()
        if self._inside.is_set():
            await asyncio.wait((self._running,), timeout=_FAREWELL)
        await stopped(self._running)

    def leave(self) -> None:
        """Ends the session after all that is being sent; the iteration ends when that is done."""
        self._leaving = True
        self._to_do.set()

    async def _items(self) -> AsyncIterator[_T]:
        async for each in self._received:
            yield each
        if self._failure is not None:
            raise self._failure

    # What the kinds of sessions differ in.

    @abstractmethod
    def _first_request(self) -> Any:
        """Returns the request that each call begins with, None if there is none."""

    @abstractmethod
    async def _catch_up(self) -> None:
        """Looks up what was missed between two calls, and readies what is to be sent again."""

    @abstractmethod
    async def _take(self, response: Any) -> None:
        """Takes a response of the server."""

    @abstractmethod
    def _next_request(self) -> Any:
        """Returns the next request that is to be written to the call, None if there is none for now."""

    @abstractmethod
    def _unacknowledged(self) -> bool:
        """Tells whether something is to be sent, or was sent and not acknowledged yet."""

    @abstractmethod
    def _give_up(self, error: ServiceError) -> None:
        """Tells all who wait for an acknowledgement that there will be none."""

    def _blame(self, error: ServiceError) -> bool:
        """Tells whether a call ended because of something that was sent, so that the session can go on without it."""
        return False

    async def _pause(self) -> None:
        """Waits between two requests, if need be."""

    # What they share.

    async def _run(self) -> None:
        pacing = self._connection.pacing()
        deadline = self._connection.deadline({"timeout": self._how.get("timeout")})
        try:
            while True:
                try:
                    return await self._call(pacing, deadline.left())
                except ServiceError as error:
                    if self._leaving and not self._unacknowledged():
                        return
                    if not self._blame(error):
                        self._tell_away(error)
                        await pacing.after(error)
                finally:
                    self._inside.clear()
        except ServiceError as error:
            self._failure = error
        finally:
            self._give_up(self._failure or self._over())
            self._received.finish()

    async def _call(self, pacing: Pacing, timeout: float | None) -> None:
        """Makes one call, to its end."""
        with self._connection.calling(self._stub, self._method, self._how, timeout) as begin:
            call = begin()
            writing: asyncio.Task[None] | None = None
            try:
                first = self._first_request()
                if first is not None:
                    with suppress(asyncio.InvalidStateError):
                        await call.write(first)
                await call.initial_metadata()
                if not call.done():
                    pacing.begin()
                    await self._catch_up()
                    self._inside.set()
                    self._tell_back()
                    writing = asyncio.create_task(self._write(call))
                while (response := await call.read()) is not aio.EOF:
                    pacing.progressed()
                    await self._take(response)
            finally:
                call.cancel()
                if writing is not None:
                    await stopped(writing)

    async def _write(self, call: Any) -> None:
        """Writes what is to be sent. If the call ends meanwhile, whoever reads it gets to know why."""
        with suppress(asyncio.InvalidStateError, aio.AioRpcError):
            while True:
                self._to_do.clear()
                while (request := self._next_request()) is not None:
                    await call.write(request)
                    await self._pause()
                if self._leaving:
                    await call.done_writing()
                    return
                await self._to_do.wait()

    async def _hand_out(self, item: _T) -> None:
        await self._received.wait_for_room()
        self._received.offer(item)

    def _tell_away(self, error: ServiceError) -> None:
        if self._inside.is_set():
            self._away = True
            self._interrupted(error)

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            self._interrupted(None)

    def _require_running(self) -> None:
        if self._leaving or self._running is None or self._running.done():
            raise self._over()

    def _over(self) -> ServiceError:
        return ServiceError(StatusCode.FAILED_PRECONDITION, f"{self._what} is over", target=self._connection.target)


async def stopped(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
