"""The server of a synchronous API behind the names of `grpc.aio`, for behaviours to run over it.

Plain functions and generators go to the server as they are. A coroutine function or an asynchronous generator becomes
a plain handler that starts it on the loop of the test and then does what it asks for: what blocks, such as to read a
request, happens in the thread of the handler, as it would in any synchronous handler. A synchronous API does not stop
handlers; it tells them that the call is over by `add_callback`, and that cancels the coroutine here.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
from collections.abc import AsyncIterator, Callable, Generator
from concurrent import futures
from typing import Any, NamedTuple

from tests.behaviour.sync_client import EOF
from tests.behaviour.threads import in_thread, post, settle

#: Threads for handlers: more than any behaviour has handlers at a time that wait for each other.
WORKERS = 64

#: Seconds above which the time that remains means that there is no deadline; a synchronous context has no None for it.
ETERNITY = 1e15


class Server:
    """A server of a synchronous API."""

    def __init__(self, root: Any, settings: dict[str, Any]) -> None:
        self._pool = futures.ThreadPoolExecutor(WORKERS, "behaviour-handler")
        self._server = root.server(self._pool, **settings)
        self.add_insecure_port = self._server.add_insecure_port
        self.add_secure_port = self._server.add_secure_port
        self.add_generic_rpc_handlers = self._server.add_generic_rpc_handlers
        self.add_registered_method_handlers = self._server.add_registered_method_handlers

    async def start(self) -> None:
        self._server.start()

    async def stop(self, grace: float | None) -> None:
        # Without a grace the call itself waits for the end.
        stopped = await in_thread(self._server.stop, None) if grace is None else self._server.stop(grace)
        await in_thread(stopped.wait)
        await in_thread(self._pool.shutdown)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        return bool(await in_thread(self._server.wait_for_termination, timeout))


def adapted(arity: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return a behaviour that a synchronous server can call."""
    if not inspect.iscoroutinefunction(behaviour) and not inspect.isasyncgenfunction(behaviour):
        return behaviour
    loop = asyncio.get_running_loop()

    def stream(request: Any, context: Any) -> Generator[Any, None, Any]:
        return Handling(loop, behaviour, request if arity[0] == "u" else iter(request), context).steps()

    def unary(request: Any, context: Any) -> Any:
        try:
            next(stream(request, context))
        except StopIteration as end:
            return end.value
        raise AssertionError("a handler with a single response wrote to a stream")

    return unary if arity[1] == "u" else stream


class CallIsOverError(Exception):
    """Ends a synchronous handler whose call is over."""


class Step(NamedTuple):
    """What a coroutine wants of the thread of its handler; the last one has no future.

    Attributes:
        function: What to call.
        arguments: Its arguments.
        future: Gets the outcome.
        is_message: Whether it is a message to send, in place of a function.
    """

    function: Any
    arguments: tuple[Any, ...] = ()
    future: asyncio.Future[Any] | None = None
    is_message: bool = False


class Handling:
    """One run of an asynchronous handler on behalf of a synchronous one."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, behaviour: Callable[..., Any], request: Any, context: Any
    ) -> None:
        self.loop = loop
        self._behaviour = behaviour
        self._request = request
        self.sync = context
        self._steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self._task: asyncio.Task[Any] | None = None
        self.callbacks: list[Callable[[Any], None]] = []
        self.cancelled = False
        self._context = Context(self)

    # In the thread of the handler.

    def steps(self) -> Generator[Any, None, Any]:
        """Yield the messages to send; the value at the end is the only response."""
        post(self.loop, self._begin)
        if not self.sync.add_callback(lambda: post(self.loop, self._call_is_over)):
            post(self.loop, self._call_is_over)
        try:
            while True:
                step = self._steps.get()
                if step.future is None:
                    return step.function()
                if step.is_message:
                    yield step.function
                    post(self.loop, settle, step.future)
                else:
                    self._do(step)
        finally:
            # The server need not run a generator to its end.
            post(self.loop, self._cancel)

    def _do(self, step: Step) -> None:
        assert step.future is not None
        try:
            value = step.function(*step.arguments)
        except Exception as error:
            # If the call is over, then it is the callback that tells, whichever of the two comes first.
            if self.sync.is_active():
                post(self.loop, settle, step.future, None, error)
        else:
            if value is not EOF or self.sync.is_active():
                post(self.loop, settle, step.future, value)

    # On the loop.

    def _begin(self) -> None:
        self._task = self.loop.create_task(self._run())
        self._task.add_done_callback(self._end)

    async def _run(self) -> Any:
        made = self._behaviour(self._incoming(), self._context)
        if not inspect.isasyncgen(made):
            return await made
        async with contextlib.aclosing(made):
            async for message in made:
                await self.send(message)

    def _end(self, task: asyncio.Task[Any]) -> None:
        def end() -> Any:
            if task.cancelled():
                raise CallIsOverError("the call is over")
            return task.result()

        self._steps.put(Step(end))

    def _incoming(self) -> Any:
        return self._messages() if hasattr(self._request, "__next__") else self._request

    async def _messages(self) -> AsyncIterator[Any]:
        while (request := await self.read()) is not EOF:
            yield request

    async def read(self) -> Any:
        return await self.do(next, self._request, EOF)

    async def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Have the thread of the handler call a function."""
        future = self.loop.create_future()
        self._steps.put(Step(function, arguments, future))
        return await future

    async def send(self, message: Any) -> None:
        """Have the thread of the handler yield a message; returns when the server asks for the next one."""
        future = self.loop.create_future()
        self._steps.put(Step(message, (), future, is_message=True))
        await future

    def _call_is_over(self) -> None:
        self.cancelled = self._task is not None and not self._task.done()
        self._cancel()
        for callback in self.callbacks:
            callback(self._context)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class Context:
    """A synchronous ServicerContext with the names of `grpc.aio.ServicerContext`."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        sync = self._sync = handling.sync
        self.invocation_metadata = sync.invocation_metadata
        self.peer = sync.peer
        self.peer_identities = sync.peer_identities
        self.peer_identity_key = sync.peer_identity_key
        self.auth_context = sync.auth_context
        self.set_code = sync.set_code
        self.set_details = sync.set_details
        self.set_trailing_metadata = sync.set_trailing_metadata
        self.set_compression = sync.set_compression
        self.disable_next_message_compression = sync.disable_next_message_compression
        self.code = sync.code

    def details(self) -> Any:
        details = self._sync.details() or ""
        return details.decode() if isinstance(details, bytes) else details

    def trailing_metadata(self) -> Any:
        return self._sync.trailing_metadata() or ()

    async def read(self) -> Any:
        return await self._handling.read()

    async def write(self, message: Any) -> None:
        await self._handling.send(message)

    async def send_initial_metadata(self, metadata: Any) -> None:
        await self._handling.do(self._sync.send_initial_metadata, metadata)

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        if trailing_metadata:
            self._sync.set_trailing_metadata(trailing_metadata)
        await self._handling.do(self._sync.abort, code, details)

    async def abort_with_status(self, status: Any) -> None:
        await self._handling.do(self._sync.abort_with_status, status)

    def time_remaining(self) -> float | None:
        seconds = self._sync.time_remaining()
        return None if seconds is None or seconds > ETERNITY else float(seconds)

    def done(self) -> bool:
        return not self._sync.is_active()

    def cancelled(self) -> bool:
        return self._handling.cancelled

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            self._handling.loop.call_soon(callback, self)
        else:
            self._handling.callbacks.append(callback)
