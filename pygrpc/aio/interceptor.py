"""What users implement to step into calls of the asyncio API: interceptors of clients and of servers."""

import abc
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, NamedTuple

from pygrpc.aio.base_call import (
    RequestIterable,
    StreamStreamCall,
    StreamUnaryCall,
    UnaryStreamCall,
    UnaryUnaryCall,
)
from pygrpc.call_credentials import CallCredentials
from pygrpc.handlers import HandlerCallDetails, RpcMethodHandler
from pygrpc.interfaces import ClientCallDetails as SyncClientCallDetails
from pygrpc.metadata import Metadata


class ServerInterceptor(abc.ABC):
    """Steps between a server and the finding of a handler."""

    @abc.abstractmethod
    async def intercept_service(
        self,
        continuation: Callable[[HandlerCallDetails], Awaitable[RpcMethodHandler]],
        handler_call_details: HandlerCallDetails,
    ) -> RpcMethodHandler:
        """Intercepts the search for the handler of a call.

        All interceptors of a call and its handler run in the same context, so context variables pass from one to the
        other.

        Args:
            continuation: Goes on with the search; returns the handler, or None.
            handler_call_details: The method and the metadata of the call.

        Returns:
            The handler to serve the call with, or None if there is none.
        """


class _Details(NamedTuple):
    method: bytes
    timeout: float | None
    metadata: Metadata | None
    credentials: CallCredentials | None
    wait_for_ready: bool | None


class ClientCallDetails(_Details, SyncClientCallDetails):  # type: ignore[misc]
    """What an interceptor sees of a call that is about to start, and may change for its continuation.

    Attributes:
        method: The full name, ``b"/package.Service/Method"``.
        timeout: Seconds until the deadline, or None.
        metadata: The custom metadata to send.
        credentials: Call credentials, or None.
        wait_for_ready: Whether the call waits for a connection; None for the channel's habit.
    """


class ClientInterceptor(abc.ABC):  # noqa: B024 - the four kinds below have the methods
    """The base of the four kinds of client interceptors. One class may be of several kinds."""


class UnaryUnaryClientInterceptor(ClientInterceptor):
    """Steps between the user and calls with one request and one response."""

    @abc.abstractmethod
    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[UnaryUnaryCall[Any, Any]]],
        client_call_details: ClientCallDetails,
        request: Any,
    ) -> UnaryUnaryCall[Any, Any] | Any:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call; ``await continuation(details, request)`` gives the call, and awaiting
                that the response. Need not be called, and may be called again.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request: The request.

        Returns:
            A call, or a response.

        Raises:
            AioRpcError: The call is to end with that status.
            asyncio.CancelledError: The call was cancelled.
        """


class UnaryStreamClientInterceptor(ClientInterceptor):
    """Steps between the user and calls with one request and a stream of responses."""

    @abc.abstractmethod
    async def intercept_unary_stream(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[UnaryStreamCall[Any, Any]]],
        client_call_details: ClientCallDetails,
        request: Any,
    ) -> AsyncIterable[Any] | UnaryStreamCall[Any, Any]:
        """Intercepts a call.

        Args:
            continuation: Goes on with the call; ``await continuation(details, request)`` gives the call.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request: The request.

        Returns:
            A call, or an asynchronous iterator of what the user is to read in its place.

        Raises:
            AioRpcError: The call is to end with that status.
            asyncio.CancelledError: The call was cancelled.
        """


class StreamUnaryClientInterceptor(ClientInterceptor):
    """Steps between the user and calls with a stream of requests and one response."""

    @abc.abstractmethod
    async def intercept_stream_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[StreamUnaryCall[Any, Any]]],
        client_call_details: ClientCallDetails,
        request_iterator: RequestIterable,
    ) -> StreamUnaryCall[Any, Any]:
        """Intercepts a call.

        To wait for the response here holds up a user who writes the requests one by one: nobody can write before this
        has returned.

        Args:
            continuation: Goes on with the call; ``await continuation(details, request_iterator)`` gives the call.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request_iterator: The requests.

        Returns:
            A call, or a response.

        Raises:
            AioRpcError: The call is to end with that status.
            asyncio.CancelledError: The call was cancelled.
        """


class StreamStreamClientInterceptor(ClientInterceptor):
    """Steps between the user and calls with streams of requests and responses."""

    @abc.abstractmethod
    async def intercept_stream_stream(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[StreamStreamCall[Any, Any]]],
        client_call_details: ClientCallDetails,
        request_iterator: RequestIterable,
    ) -> AsyncIterable[Any] | StreamStreamCall[Any, Any]:
        """Intercepts a call.

        To wait for responses here holds up a user who writes the requests one by one: nobody can write before this has
        returned.

        Args:
            continuation: Goes on with the call; ``await continuation(details, request_iterator)`` gives the call.
            client_call_details: What the user, or the interceptor before, wants of the call.
            request_iterator: The requests.

        Returns:
            A call, or an asynchronous iterator of what the user is to read in its place.

        Raises:
            AioRpcError: The call is to end with that status.
            asyncio.CancelledError: The call was cancelled.
        """


class ClientInterceptors:
    """The interceptors of a channel, sorted by kind; each kind in the order in which they were given."""

    def __init__(self, interceptors: Any) -> None:
        """Sorts interceptors.

        Args:
            interceptors: A sequence of client interceptors, or None.

        Raises:
            ValueError: One is of no kind.
        """
        given = list(interceptors or ())
        for each in given:
            if not isinstance(each, _KINDS):
                names = " or ".join(kind.__name__ for kind in _KINDS)
                raise ValueError(f"Interceptor {each} must be {names}. ")
        self.unary_unary = [each for each in given if isinstance(each, UnaryUnaryClientInterceptor)]
        self.unary_stream = [each for each in given if isinstance(each, UnaryStreamClientInterceptor)]
        self.stream_unary = [each for each in given if isinstance(each, StreamUnaryClientInterceptor)]
        self.stream_stream = [each for each in given if isinstance(each, StreamStreamClientInterceptor)]


_KINDS = (
    UnaryUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    StreamStreamClientInterceptor,
)
