"""How the handler of a call is run: async functions and generators in the loop, plain ones in an executor."""

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import AsyncIterable, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, NoReturn

from pygrpc.aio.base_call import EOF
from pygrpc.aio.errors import AbortError
from pygrpc.aio.loops import start_now
from pygrpc.aio.servicer import ServicerContext
from pygrpc.core.status import Status
from pygrpc.handlers import RpcMethodHandler, behavior_of
from pygrpc.metadata import MetadataType
from pygrpc.propagation import serve
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")


class HandlerRunner:
    """Runs method handlers of all kinds: async functions and generators here, plain ones in an executor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor | None) -> None:
        """Makes a runner.

        Args:
            loop: The loop of the server.
            executor: Where plain functions run; None for the loop's own.
        """
        self._loop = loop
        self._executor = executor

    def begin(self, context: ServicerContext) -> None:
        """Runs the handler of a call in a task."""
        # Most handlers end without waiting for anything.
        task = start_now(self._loop, self.run(context, context.handler), context.method)
        if not task.done():
            context.task = task

    async def run(self, context: ServicerContext, handler: RpcMethodHandler) -> None:
        """Runs a handler to its end and sends its status; raises nothing."""
        if context.deadline_binds():
            serve(context)
        try:
            behavior = handler.unary_unary
            if behavior is not None and _runs_in_loop(behavior):
                # The usual case, without the steps that the others need.
                response = await behavior(context.take_request(), context)
                if context.respond(response):
                    return
                if context.code() in (None, StatusCode.OK):
                    await context.write(response)
            else:
                await self._invoke(context, handler)
            context.finish()
        except AbortError:
            # Whoever raised it has ended the call; a handler that raises its own is to be told apart by nobody.
            if not context.done():
                context.finish_with_error(AbortError("aborted without abort()"))
        except asyncio.CancelledError:
            if not context.done():
                context._core.cancel(Status(StatusCode.CANCELLED, "the handler was cancelled"))
        except Exception as error:
            if context.done():
                _LOGGER.debug("the handler of %s raised behind the end of its call: %r", context._core.head.path, error)
            else:
                _LOGGER.exception("the handler of %s raised", context._core.head.path)
                context.finish_with_error(error)
        finally:
            # The task's context variables may hold the context, so the two would keep each other.
            context.task = None
            context._on_finished(context)

    async def _invoke(self, context: ServicerContext, handler: RpcMethodHandler) -> None:
        behavior = behavior_of(handler)
        if _runs_in_loop(behavior):
            argument: Any = context.iterate_requests() if handler.request_streaming else await context.read()
            result = behavior(argument, context)
            if isinstance(result, AsyncIterable):
                async for response in result:
                    if context.write_now(response):
                        await context.drained()
            else:
                await self._answer(context, handler, await result)
        else:
            sync_context = SyncServicerContext(context, self._loop)
            argument = sync_context.iterate_requests() if handler.request_streaming else await context.read()
            result = await self._in_thread(behavior, argument, sync_context)
            if handler.response_streaming:
                await self._drain(context, result)
            else:
                await self._answer(context, handler, result)

    async def _answer(self, context: ServicerContext, handler: RpcMethodHandler, response: Any) -> None:
        # What a handler of a stream returns has no place in it: it has written its responses.
        if not handler.response_streaming and context.code() in (None, StatusCode.OK):
            await context.write(response)

    async def _drain(self, context: ServicerContext, responses: Any) -> None:
        if responses is None:
            return
        iterator = iter(responses)
        while (response := await self._in_thread(next, iterator, EOF)) is not EOF:
            await context.write(response)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        variables = contextvars.copy_context()
        return await self._loop.run_in_executor(self._executor, variables.run, function, *arguments)


def _runs_in_loop(behavior: Callable[..., Any]) -> bool:
    """Whether a behaviour is asynchronous, rather than a plain function for a thread."""
    try:
        return _is_async_cached(behavior)
    except TypeError:
        # A method of an object that can't be hashed.
        return _is_async(behavior)


@functools.lru_cache(maxsize=1024)
def _is_async_cached(behavior: Callable[..., Any]) -> bool:
    return _is_async(behavior)


def _is_async(behavior: Callable[..., Any]) -> bool:
    while hasattr(behavior, "func"):
        behavior = behavior.func
    if inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior):
        return True
    call = getattr(behavior, "__call__", None)  # noqa: B004 - an object with an async __call__ is a handler too
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


class SyncServicerContext:
    """The context of a plain function, which runs in a thread: what has to happen in the loop is handed over to it."""

    def __init__(self, context: ServicerContext, loop: asyncio.AbstractEventLoop) -> None:
        """Wraps the context of the call."""
        self._context = context
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        """Passes on what only reads or sets a value, which is safe from any thread."""
        return getattr(self._context, name)

    def _in_loop(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            result = function(*arguments)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def abort(self, code: StatusCode, details: str = "", trailing_metadata: MetadataType = ()) -> NoReturn:
        """Ends the call with a status other than OK, by raising."""
        self._in_loop(self._context.abort_now, code, details, trailing_metadata)
        raise AbortError("Locally aborted.")

    def abort_with_status(self, status: Any) -> NoReturn:
        """Does the same with a status object."""
        self.abort(status.code, status.details, status.trailing_metadata)

    def send_initial_metadata(self, initial_metadata: MetadataType) -> None:
        """Sends the initial metadata."""
        self._in_loop(self._context.send_initial_metadata, initial_metadata)

    def cancel(self) -> bool:
        """Cancels the call."""
        self._loop.call_soon_threadsafe(
            self._context._core.cancel, Status(StatusCode.CANCELLED, "Cancelled by the handler")
        )
        return True

    def is_active(self) -> bool:
        """Whether the call still goes on."""
        return not self._context.done()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls back when the call is over; returns False if it is."""
        if self._context.done():
            return False
        self._loop.call_soon_threadsafe(self._context.add_done_callback, lambda _: callback())
        return True

    def iterate_requests(self) -> Iterator[Any]:
        """Yields the requests."""
        while (request := self._in_loop(self._context.read)) is not EOF:
            yield request
