"""Hooks on the calls of the sync server."""

from collections.abc import Callable, Iterator
from typing import Any

import pygrpc
from pygrpc.hooks._types import ARITIES, Begin, CallHooks, CallInfo, pairs, server_end, tell_end


def server_interceptor(begin: Begin) -> pygrpc.ServerInterceptor:
    """Makes an interceptor for ``pygrpc.server``.

    Args:
        begin: Called for each call that has a handler, in the thread of the handler.
    """
    return _Interceptor(begin)


class _Interceptor(pygrpc.ServerInterceptor):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        return handler and wrap_handler(handler, handler_call_details, self._begin, observe)


def arity_of(handler: pygrpc.RpcMethodHandler) -> str:
    """The arity of a handler, as a key of ARITIES."""
    streams = (bool(handler.request_streaming), bool(handler.response_streaming))
    return next(arity for arity, each in ARITIES.items() if each == streams)


def wrap_handler(
    handler: pygrpc.RpcMethodHandler,
    details: Any,
    begin: Begin,
    wrap: Callable[[Callable[..., Any], Callable[[Any], CallHooks | None], str], Callable[..., Any]],
) -> pygrpc.RpcMethodHandler:
    """Makes a handler whose behaviour is wrapped.

    Args:
        handler: The handler.
        details: The method and the metadata of the call.
        begin: What the user gave.
        wrap: Makes a behaviour of one, what begins hooks for a context, and the arity.
    """
    arity = arity_of(handler)
    request_streaming, response_streaming = ARITIES[arity]

    def start(context: Any) -> CallHooks | None:
        metadata = pairs(details.invocation_metadata)
        remaining, peer = context.time_remaining(), context.peer()
        return begin(CallInfo(False, details.method, request_streaming, response_streaming, metadata, remaining, peer))

    factory = getattr(pygrpc, f"{arity}_rpc_method_handler")
    behaviour = wrap(getattr(handler, arity), start, arity)
    wrapped: pygrpc.RpcMethodHandler = factory(behaviour, handler.request_deserializer, handler.response_serializer)
    return wrapped


def observe(behaviour: Callable[..., Any], start: Callable[[Any], CallHooks | None], arity: str) -> Callable[..., Any]:
    """Wraps a behaviour that is a plain function."""
    request_streaming, response_streaming = ARITIES[arity]

    def requests_of(argument: Any, hooks: CallHooks) -> Any:
        return map(hooks.on_request, argument) if request_streaming else hooks.on_request(argument)

    def unary(argument: Any, context: Any) -> Any:
        hooks = start(context)
        if hooks is None:
            return behaviour(argument, context)
        try:
            response = hooks.on_response(behaviour(requests_of(argument, hooks), context))
        except BaseException as error:
            _end(hooks, context, error)
            raise
        _end(hooks, context, None)
        return response

    def streaming(argument: Any, context: Any) -> Iterator[Any]:
        hooks = start(context)
        if hooks is None:
            yield from behaviour(argument, context)
            return
        try:
            for response in behaviour(requests_of(argument, hooks), context):
                yield hooks.on_response(response)
        except BaseException as error:
            _end(hooks, context, error)
            raise
        _end(hooks, context, None)

    return streaming if response_streaming else unary


def _end(hooks: CallHooks, context: Any, error: BaseException | None) -> None:
    over = isinstance(error, GeneratorExit) or not context.is_active()
    tell_end(hooks, server_end(context, error, over, f"Exception calling application: {error}"))
