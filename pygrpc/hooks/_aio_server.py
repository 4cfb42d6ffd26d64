"""Hooks on the calls of the asyncio server."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pygrpc.aio
from pygrpc.hooks._server import observe, wrap_handler
from pygrpc.hooks._types import ARITIES, Begin, CallHooks, server_end, tell_end


def aio_server_interceptor(begin: Begin) -> pygrpc.aio.ServerInterceptor:
    """Makes an interceptor for ``pygrpc.aio.server``.

    Args:
        begin: Called for each call that has a handler; in a thread if the handler is a plain function.
    """
    return _Interceptor(begin)


class _Interceptor(pygrpc.aio.ServerInterceptor):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return handler and wrap_handler(handler, handler_call_details, self._begin, _observe)


class _Context:
    """The context of a handler, whose reads and writes pass the hooks."""

    def __init__(self, context: Any, hooks: CallHooks) -> None:
        self._context = context
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        request = await self._context.read()
        return request if request is pygrpc.aio.EOF else self._hooks.on_request(request)

    async def write(self, message: Any) -> None:
        await self._context.write(self._hooks.on_response(message))


def _observe(behaviour: Callable[..., Any], start: Callable[[Any], CallHooks | None], arity: str) -> Callable[..., Any]:
    """Wraps a behaviour; what it is, a plain function, a coroutine function or a generator, it stays."""
    if _is(inspect.isasyncgenfunction, behaviour):
        return _observe_generator(behaviour, start, arity)
    if _is(inspect.iscoroutinefunction, behaviour):
        return _observe_coroutine(behaviour, start, arity)
    return observe(behaviour, start, arity)


def _is(kind: Callable[[Any], bool], behaviour: Any) -> bool:
    while hasattr(behaviour, "func"):
        behaviour = behaviour.func
    return kind(behaviour) or kind(getattr(behaviour, "__call__", None))  # noqa: B004 - objects with such a method


def _observe_coroutine(
    behaviour: Callable[..., Any], start: Callable[[Any], CallHooks | None], arity: str
) -> Callable[..., Any]:
    request_streaming, response_streaming = ARITIES[arity]

    async def observed(argument: Any, context: Any) -> Any:
        hooks = start(context)
        if hooks is None:
            return await behaviour(argument, context)
        try:
            argument = _requests(argument, hooks) if request_streaming else hooks.on_request(argument)
            response = await behaviour(argument, _Context(context, hooks))
            if not response_streaming:
                response = hooks.on_response(response)
        except BaseException as error:
            _end(hooks, context, error)
            raise
        _end(hooks, context, None)
        return response

    return observed


def _observe_generator(
    behaviour: Callable[..., Any], start: Callable[[Any], CallHooks | None], arity: str
) -> Callable[..., Any]:
    request_streaming, _ = ARITIES[arity]

    async def observed(argument: Any, context: Any) -> AsyncIterator[Any]:
        hooks = start(context)
        if hooks is None:
            async for response in behaviour(argument, context):
                yield response
            return
        try:
            argument = _requests(argument, hooks) if request_streaming else hooks.on_request(argument)
            async for response in behaviour(argument, _Context(context, hooks)):
                yield hooks.on_response(response)
        except BaseException as error:
            _end(hooks, context, error)
            raise
        _end(hooks, context, None)

    return observed


async def _requests(requests: Any, hooks: CallHooks) -> AsyncIterator[Any]:
    async for request in requests:
        yield hooks.on_request(request)


def _end(hooks: CallHooks, context: Any, error: BaseException | None) -> None:
    over = isinstance(error, (asyncio.CancelledError, GeneratorExit))
    tell_end(hooks, server_end(context, error, over, f"Unexpected {type(error)}: {error}"))
