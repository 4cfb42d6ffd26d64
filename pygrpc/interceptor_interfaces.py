"""The abstract classes of interceptors in the sync API; ``interfaces`` has them too."""

import abc
from collections.abc import Callable, Iterator
from typing import Any

from pygrpc.compression import Compression
from pygrpc.handlers import HandlerCallDetails, RpcMethodHandler
from pygrpc.metadata import MetadataType


class ClientCallDetails(abc.ABC):
    """What a client interceptor sees of a call that is about to start, and may change for its continuation.

    Attributes:
        method: The full name, ``/package.Service/Method``.
        timeout: Seconds until the deadline, or None.
        metadata: The custom metadata to send, or None.
        credentials: Call credentials, or None.
        wait_for_ready: Whether the call waits for a connection; None for the channel's habit.
        compression: The algorithm for the requests, or None for the channel's.
    """

    method: str
    timeout: float | None
    metadata: MetadataType | None
    credentials: Any
    wait_for_ready: bool | None
    compression: Compression | None


class UnaryUnaryClientInterceptor(abc.ABC):
    """Steps between the user and calls with one request and one response."""

    @abc.abstractmethod
    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call, given details and a request; returns an object that is a Call and a
                Future. Need not be called, and may be called again.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request: The request.

        Returns:
            An object that is a Call and a Future.
        """
        raise NotImplementedError


class UnaryStreamClientInterceptor(abc.ABC):
    """Steps between the user and calls with one request and a stream of responses."""

    @abc.abstractmethod
    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call, given details and a request; returns an object that is a Call and an
                iterator of responses.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request: The request.

        Returns:
            An object that is a Call and an iterator of responses.
        """
        raise NotImplementedError


class StreamUnaryClientInterceptor(abc.ABC):
    """Steps between the user and calls with a stream of requests and one response."""

    @abc.abstractmethod
    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request_iterator: Iterator[Any]
    ) -> Any:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call, given details and an iterator of requests; returns an object that is a
                Call and a Future.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request_iterator: The requests.

        Returns:
            An object that is a Call and a Future.
        """
        raise NotImplementedError


class StreamStreamClientInterceptor(abc.ABC):
    """Steps between the user and calls with streams of requests and responses."""

    @abc.abstractmethod
    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request_iterator: Iterator[Any]
    ) -> Any:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call, given details and an iterator of requests; returns an object that is a
                Call and an iterator of responses.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request_iterator: The requests.

        Returns:
            An object that is a Call and an iterator of responses.
        """
        raise NotImplementedError


class ServerInterceptor(abc.ABC):
    """Steps between a server and the finding of a handler."""

    @abc.abstractmethod
    def intercept_service(
        self,
        continuation: Callable[[HandlerCallDetails], RpcMethodHandler | None],
        handler_call_details: HandlerCallDetails,
    ) -> RpcMethodHandler | None:
        """Intercepts the search for the handler of a call.

        Args:
            continuation: Goes on with the search; returns the handler, or None.
            handler_call_details: The method and the metadata of the call.

        Returns:
            The handler to serve the call with, or None if there is none.
        """
        raise NotImplementedError


ClientInterceptor = (
    UnaryUnaryClientInterceptor
    | UnaryStreamClientInterceptor
    | StreamUnaryClientInterceptor
    | StreamStreamClientInterceptor
)
