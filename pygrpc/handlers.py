"""What a server calls: method handlers, and the generic handlers that find them by name."""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pygrpc.metadata import Metadatum

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class HandlerCallDetails(Protocol):
    """What is known of a call before its method has been found."""

    @property
    def method(self) -> str:
        """The full name, ``/package.Service/Method``."""

    @property
    def invocation_metadata(self) -> Sequence[Metadatum]:
        """The metadata that the client sent."""


class RpcMethodHandler(abc.ABC):
    """How one method is served.

    Attributes:
        request_streaming: Whether the client sends any number of requests, or exactly one.
        response_streaming: Whether the server sends any number of responses, or exactly one.
        request_deserializer: Turns the bytes of a message into a request; None leaves the bytes.
        response_serializer: Turns a response into bytes; None takes bytes.
        unary_unary: The behaviour, if both flags are False; the other three likewise.
    """

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Deserializer | None
    response_serializer: Serializer | None
    unary_unary: Callable[..., Any] | None
    unary_stream: Callable[..., Any] | None
    stream_unary: Callable[..., Any] | None
    stream_stream: Callable[..., Any] | None


class _MethodHandlerFields(NamedTuple):
    request_streaming: bool
    response_streaming: bool
    request_deserializer: Deserializer | None
    response_serializer: Serializer | None
    unary_unary: Callable[..., Any] | None = None
    unary_stream: Callable[..., Any] | None = None
    stream_unary: Callable[..., Any] | None = None
    stream_stream: Callable[..., Any] | None = None


class _MethodHandler(_MethodHandlerFields, RpcMethodHandler):
    """A method handler made by one of the four factories."""


#: The attribute that counts, by whether requests and responses are streams.
_BEHAVIORS = (("unary_unary", "unary_stream"), ("stream_unary", "stream_stream"))


def behavior_of(handler: RpcMethodHandler) -> Callable[..., Any]:
    """The function that serves a method.

    Args:
        handler: A handler, maybe of the user's own: it need not have the attributes of other kinds, or has functions in
            all of them, as wrappers of tracers do.
    """
    name = _BEHAVIORS[bool(handler.request_streaming)][bool(handler.response_streaming)]
    behavior: Callable[..., Any] = getattr(handler, name)
    return behavior


class GenericRpcHandler(abc.ABC):
    """Finds method handlers by name."""

    @abc.abstractmethod
    def service(self, handler_call_details: HandlerCallDetails) -> RpcMethodHandler | None:
        """Returns the handler of a call, or None if somebody else may have it."""


class ServiceRpcHandler(GenericRpcHandler):
    """A generic handler for the methods of one service."""

    @abc.abstractmethod
    def service_name(self) -> str:
        """Returns the full name of the service."""


class _DictionaryHandler(ServiceRpcHandler):
    def __init__(self, service: str, method_handlers: Mapping[str, RpcMethodHandler]) -> None:
        self._name = service
        # Named as in grpcio, because fakes of servers look into it (pytest-grpc does).
        self._method_handlers = {f"/{service}/{method}": handler for method, handler in method_handlers.items()}

    def service_name(self) -> str:
        return self._name

    def service(self, handler_call_details: HandlerCallDetails) -> RpcMethodHandler | None:
        return self._method_handlers.get(handler_call_details.method)


def unary_unary_rpc_method_handler(
    behavior: Callable[..., Any],
    request_deserializer: Deserializer | None = None,
    response_serializer: Serializer | None = None,
) -> RpcMethodHandler:
    """A handler for a method with one request and one response.

    Args:
        behavior: Called with the request and the context; gives the response.
        request_deserializer: Turns bytes into a request; None leaves them.
        response_serializer: Turns a response into bytes; None takes bytes.
    """
    return _MethodHandler(False, False, request_deserializer, response_serializer, unary_unary=behavior)


def unary_stream_rpc_method_handler(
    behavior: Callable[..., Any],
    request_deserializer: Deserializer | None = None,
    response_serializer: Serializer | None = None,
) -> RpcMethodHandler:
    """A handler for a method with one request and a stream of responses, which the behaviour yields."""
    return _MethodHandler(False, True, request_deserializer, response_serializer, unary_stream=behavior)


def stream_unary_rpc_method_handler(
    behavior: Callable[..., Any],
    request_deserializer: Deserializer | None = None,
    response_serializer: Serializer | None = None,
) -> RpcMethodHandler:
    """A handler for a method with a stream of requests, given as an iterator, and one response."""
    return _MethodHandler(True, False, request_deserializer, response_serializer, stream_unary=behavior)


def stream_stream_rpc_method_handler(
    behavior: Callable[..., Any],
    request_deserializer: Deserializer | None = None,
    response_serializer: Serializer | None = None,
) -> RpcMethodHandler:
    """A handler for a method with a stream of requests, given as an iterator, and a stream of responses."""
    return _MethodHandler(True, True, request_deserializer, response_serializer, stream_stream=behavior)


def method_handlers_generic_handler(service: str, method_handlers: Mapping[str, RpcMethodHandler]) -> GenericRpcHandler:
    """A generic handler for one service.

    Args:
        service: The full name of the service, ``package.Service``.
        method_handlers: The handlers by the methods' short names.
    """
    return _DictionaryHandler(service, method_handlers)


def require_handler(found: Any, method: str) -> RpcMethodHandler | None:
    """Returns what a generic handler or an interceptor has found, which is the user's to say.

    Args:
        found: A handler, or None.
        method: The method that was asked for.

    Raises:
        TypeError: It is neither; without this the call, or all calls of its connection, would hang.
    """
    if found is None or hasattr(found, "request_streaming"):
        handler: RpcMethodHandler | None = found
        return handler
    raise TypeError(f"expected an RpcMethodHandler or None for {method}, not {found!r}")


def known_handlers(
    registered: Mapping[str, RpcMethodHandler], generic: Sequence[GenericRpcHandler]
) -> dict[str, RpcMethodHandler]:
    """The handlers that are found by the name of the method alone.

    Those of a service whose generic handler is asked behind one that somebody else wrote are not among them: that one
    may decide otherwise for each call.

    Args:
        registered: Handlers by the full names of their methods; they are asked first.
        generic: The generic handlers in the order in which they are asked.
    """
    known = dict(registered)
    for handler in generic:
        if type(handler) is not _DictionaryHandler:
            break
        for method, found in handler._method_handlers.items():
            known.setdefault(method, found)
    return known
