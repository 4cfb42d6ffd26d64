"""Interceptors in the sync API: channels, and searches for handlers, that go through them.

Everything here is a wrapper around objects of the API, whatever library or test they come from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from pygrpc._outcomes import Failure, Success
from pygrpc.call_credentials import CallCredentials
from pygrpc.compression import Compression
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.errors import RpcError
from pygrpc.handlers import HandlerCallDetails, RpcMethodHandler, require_handler
from pygrpc.interfaces import (
    Channel,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamStreamMultiCallable,
    StreamUnaryClientInterceptor,
    StreamUnaryMultiCallable,
    UnaryStreamClientInterceptor,
    UnaryStreamMultiCallable,
    UnaryUnaryClientInterceptor,
    UnaryUnaryMultiCallable,
)
from pygrpc.interfaces import ClientCallDetails as ClientCallDetailsBase
from pygrpc.metadata import MetadataType

_KINDS = (
    UnaryUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    StreamStreamClientInterceptor,
)


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: MetadataType | None
    credentials: CallCredentials | None
    wait_for_ready: bool | None
    compression: Compression | None


class ClientCallDetails(_Details, ClientCallDetailsBase):
    """What an interceptor sees of a call; ``_replace`` gives a changed one."""


def intercept_channel(channel: Channel, *interceptors: Any) -> Channel:
    """Makes a channel whose calls go through interceptors.

    Args:
        channel: The channel that makes the calls.
        interceptors: Each of at least one of the four kinds; the first one is asked first.

    Raises:
        TypeError: An interceptor is of no kind.
    """
    for interceptor in reversed(interceptors):
        if not isinstance(interceptor, _KINDS):
            names = " or ".join(f"grpc.{kind.__name__}" for kind in _KINDS)
            raise TypeError(f"interceptor must be {names}")
        channel = _InterceptedChannel(channel, interceptor)
    return channel


def find_handler(
    interceptors: Sequence[ServerInterceptor],
    find: Callable[[HandlerCallDetails], RpcMethodHandler | None],
    details: HandlerCallDetails,
) -> RpcMethodHandler | None:
    """Finds the handler of a call by way of server interceptors.

    Args:
        interceptors: The first one is asked first; it may pass other details on.
        find: Finds the handler when all interceptors have let the call pass.
        details: The method and the metadata of the call.
    """
    if not interceptors:
        return find(details)
    first, *rest = interceptors
    found = first.intercept_service(lambda passed: find_handler(rest, find, passed), details)
    return require_handler(found, details.method)


def _failure(error: Exception) -> Failure:
    return Failure(error, sys.exc_info()[2])


# Multi-callables.


class _Intercepted:
    """What the multi-callables of all kinds have in common."""

    #: How the interface calls the first parameter.
    _request_name = "request"

    def __init__(self, make: Callable[[str], Any], method: str, intercept: Callable[..., Any]) -> None:
        """Keeps the parts.

        Args:
            make: Makes the wrapped channel's multi-callable for a method.
            method: The method that the user named; an interceptor may choose another.
            intercept: The method of the interceptor.
        """
        self._make = make
        self._method = method
        self._intercept = intercept
        self._callable = make(method)

    def _bind(self, *arguments: Any, **options: Any) -> tuple[Any, ClientCallDetails]:
        """Sorts what the user gave into the request, or an iterator of them, and the details of the call."""
        if self._request_name in options:
            arguments = (options.pop(self._request_name), *arguments)
        return _sorted(self._method, *arguments, **options)

    def _begin(self, how: Callable[[Any], Callable[..., Any]], request: Any, details: ClientCallDetails) -> Any:
        """Runs the interceptor.

        Args:
            how: Which way of calling to take of a multi-callable.
            request: The request, or an iterator of them.
            details: What else the user gave.
        """

        def continuation(new_details: Any, new_request: Any) -> Any:
            chosen = new_details
            if type(chosen) is not ClientCallDetails:
                # An interceptor may pass an object of its own that lacks what it doesn't care about.
                chosen = ClientCallDetails(
                    *(getattr(new_details, field, getattr(details, field)) for field in ClientCallDetails._fields)
                )
            callable_ = self._callable if chosen.method == self._method else self._make(chosen.method)
            return how(callable_)(
                new_request,
                timeout=chosen.timeout,
                metadata=chosen.metadata,
                credentials=chosen.credentials,
                wait_for_ready=chosen.wait_for_ready,
                compression=chosen.compression,
            )

        return self._intercept(continuation, details, request)


def _sorted(
    method: str,
    request: Any,
    /,
    timeout: float | None = None,
    metadata: MetadataType | None = None,
    credentials: CallCredentials | None = None,
    wait_for_ready: bool | None = None,
    compression: Compression | None = None,
) -> tuple[Any, ClientCallDetails]:
    """Has the parameters that multi-callables of all kinds have behind the request."""
    return request, ClientCallDetails(method, timeout, metadata, credentials, wait_for_ready, compression)


def _as_outcome(callable_: Any) -> Callable[..., Any]:
    """A way of calling that blocks and returns a call that is over, whatever it ended with."""

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return Success(*callable_.with_call(*arguments, **options))
        except RpcError as error:
            return error
        except Exception as error:
            return _failure(error)

    return call


# Users see the parameters that the interfaces have; ``_bind`` sorts what was given.


class _UnaryResponse(_Intercepted):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.with_call(*arguments, **options)[0]

    def with_call(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        call = self._begin(_as_outcome, *self._bind(*arguments, **options))
        return call.result(), call

    def future(self, *arguments: Any, **options: Any) -> Any:
        bound = self._bind(*arguments, **options)
        try:
            return self._begin(lambda callable_: callable_.future, *bound)
        except Exception as error:
            return _failure(error)


class _StreamResponse(_Intercepted):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        bound = self._bind(*arguments, **options)
        try:
            return self._begin(lambda callable_: callable_, *bound)
        except Exception as error:
            return _failure(error)


class _UnaryUnary(_UnaryResponse, UnaryUnaryMultiCallable[Any, Any]): ...


class _UnaryStream(_StreamResponse, UnaryStreamMultiCallable[Any, Any]): ...


class _StreamUnary(_UnaryResponse, StreamUnaryMultiCallable[Any, Any]):
    _request_name = "request_iterator"


class _StreamStream(_StreamResponse, StreamStreamMultiCallable[Any, Any]):
    _request_name = "request_iterator"


class _InterceptedChannel(Channel):
    """A channel with one interceptor."""

    def __init__(self, channel: Channel, interceptor: Any) -> None:
        self._channel = channel
        self._interceptor = interceptor

    def _wrap(
        self, kind: str, wrapper: type[_Intercepted], interface: type[Any], method: str, *arguments: Any, **options: Any
    ) -> Any:
        make = getattr(self._channel, kind)
        if not isinstance(self._interceptor, interface):
            return make(method, *arguments, **options)
        intercept = getattr(self._interceptor, f"intercept_{kind}")
        return wrapper(lambda name: make(name, *arguments, **options), method, intercept)

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._wrap("unary_unary", _UnaryUnary, UnaryUnaryClientInterceptor, *arguments, **options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._wrap("unary_stream", _UnaryStream, UnaryStreamClientInterceptor, *arguments, **options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._wrap("stream_unary", _StreamUnary, StreamUnaryClientInterceptor, *arguments, **options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._wrap("stream_stream", _StreamStream, StreamStreamClientInterceptor, *arguments, **options)

    def subscribe(self, callback: Callable[[ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        self._channel.subscribe(callback, try_to_connect=try_to_connect)

    def unsubscribe(self, callback: Callable[[ChannelConnectivity], None]) -> None:
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()
