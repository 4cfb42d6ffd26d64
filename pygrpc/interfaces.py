"""The abstract classes of the sync API: what user code may rely on, implement or check with ``isinstance``.

They have the names and the abstract methods of those in ``grpc``, and no behaviour. The sync shell implements calls,
channels and servers; users implement interceptors and plugins. Handlers are in ``handlers``, credentials in
``credentials``.
"""

import abc
import enum
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pygrpc.call_interfaces import (
    Call,
    Future,
    FutureCancelledError,
    FutureTimeoutError,
    RequestType,
    ResponseType,
    RpcContext,
    Status,
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from pygrpc.compression import Compression
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.handlers import GenericRpcHandler, RpcMethodHandler
from pygrpc.interceptor_interfaces import (
    ClientCallDetails,
    ClientInterceptor,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.credentials import ServerCredentials

__all__ = [
    "AuthMetadataContext",
    "AuthMetadataPlugin",
    "AuthMetadataPluginCallback",
    "Call",
    "Channel",
    "ClientCallDetails",
    "ClientInterceptor",
    "Future",
    "FutureCancelledError",
    "FutureTimeoutError",
    "LocalConnectionType",
    "RequestType",
    "ResponseType",
    "RpcContext",
    "Server",
    "ServerInterceptor",
    "ServicerContext",
    "Status",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
]


class LocalConnectionType(enum.Enum):
    """The kinds of connection that local credentials are for: ``value`` is the number that grpcio gives them."""

    UDS = 0
    LOCAL_TCP = 1


# Authentication plugins.


class AuthMetadataContext(abc.ABC):
    """What a plugin is told of the call that it is to make metadata for.

    Attributes:
        service_url: Where the call goes, ``https://host/package.Service``.
        method_name: The short name of the method.
    """

    service_url: str
    method_name: str


class AuthMetadataPluginCallback(abc.ABC):  # noqa: B024 - as in grpc, a plain function will do
    """What a plugin calls with its metadata, or with its failure."""

    def __call__(self, metadata: MetadataType, error: Exception | None) -> None:
        """Passes the metadata on to the call.

        Args:
            metadata: The pairs to add to the call's metadata.
            error: Why there is none, or None; the call then ends with UNAVAILABLE.
        """
        raise NotImplementedError


class AuthMetadataPlugin(abc.ABC):  # noqa: B024
    """Makes metadata that authenticates a call, for example a token that it fetches and renews."""

    def __call__(self, context: AuthMetadataContext, callback: AuthMetadataPluginCallback) -> None:
        """Makes the metadata for one call; must return soon and may call back later from another thread.

        Args:
            context: The call.
            callback: To be called once, with the metadata or with an error.
        """
        raise NotImplementedError


# Channels and servers.


class Channel(abc.ABC):
    """A channel to one target; a context manager that closes it."""

    @abc.abstractmethod
    def subscribe(self, callback: Callable[[ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        """Calls back, in a thread of the library, with the channel's state now and whenever it changes.

        Args:
            callback: Called with the state.
            try_to_connect: Whether an idle channel is to connect.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def unsubscribe(self, callback: Callable[[ChannelConnectivity], None]) -> None:
        """Ends a subscription.

        Args:
            callback: What ``subscribe`` was given.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable[Any, Any]:
        """Makes a callable for a method with one request and one response.

        Args:
            method: The full name, ``/package.Service/Method``.
            request_serializer: Turns a request into bytes; None takes bytes.
            response_deserializer: Turns the bytes of a message into a response; None leaves them.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable[Any, Any]:
        """Makes a callable for a method with one request and a stream of responses.

        Args:
            method: The full name, ``/package.Service/Method``.
            request_serializer: Turns a request into bytes; None takes bytes.
            response_deserializer: Turns the bytes of a message into a response; None leaves them.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable[Any, Any]:
        """Makes a callable for a method with a stream of requests and one response.

        Args:
            method: The full name, ``/package.Service/Method``.
            request_serializer: Turns a request into bytes; None takes bytes.
            response_deserializer: Turns the bytes of a message into a response; None leaves them.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable[Any, Any]:
        """Makes a callable for a method with streams of requests and responses.

        Args:
            method: The full name, ``/package.Service/Method``.
            request_serializer: Turns a request into bytes; None takes bytes.
            response_deserializer: Turns the bytes of a message into a response; None leaves them.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the channel at once; calls in flight are cancelled. Closing it again does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Returns the channel."""
        raise NotImplementedError

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        """Closes the channel."""
        raise NotImplementedError


class ServicerContext(RpcContext):
    """A call as its handler sees it."""

    @abc.abstractmethod
    def invocation_metadata(self) -> Any:
        """The metadata that the client sent; a sequence of pairs."""
        raise NotImplementedError

    @abc.abstractmethod
    def peer(self) -> Any:
        """The client's address, such as ``ipv4:127.0.0.1:4711``."""
        raise NotImplementedError

    @abc.abstractmethod
    def peer_identities(self) -> Iterable[bytes] | None:
        """The identities of the client, or None if it isn't authenticated."""
        raise NotImplementedError

    @abc.abstractmethod
    def peer_identity_key(self) -> str | None:
        """The property of ``auth_context`` that holds the identities, or None."""
        raise NotImplementedError

    @abc.abstractmethod
    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What is known of the client by authentication."""
        raise NotImplementedError

    def set_compression(self, compression: Compression) -> None:
        """Chooses the algorithm for the responses; only before the initial metadata is sent."""
        raise NotImplementedError

    @abc.abstractmethod
    def send_initial_metadata(self, initial_metadata: MetadataType) -> None:
        """Sends the initial metadata; only once, and only before the first response."""
        raise NotImplementedError

    @abc.abstractmethod
    def set_trailing_metadata(self, trailing_metadata: MetadataType) -> None:
        """Sets the metadata to send with the status."""
        raise NotImplementedError

    def trailing_metadata(self) -> Any:
        """The metadata that was set to go with the status."""
        raise NotImplementedError

    @abc.abstractmethod
    def abort(self, code: StatusCode, details: str) -> NoReturn:
        """Ends the call with a status other than OK, by raising an error that is not to be caught."""
        raise NotImplementedError

    @abc.abstractmethod
    def abort_with_status(self, status: Status) -> NoReturn:
        """Does the same with a status object."""
        raise NotImplementedError

    @abc.abstractmethod
    def set_code(self, code: StatusCode) -> None:
        """Sets the status code to end with when the handler returns."""
        raise NotImplementedError

    @abc.abstractmethod
    def set_details(self, details: str) -> None:
        """Sets the status message to end with when the handler returns."""
        raise NotImplementedError

    def code(self) -> Any:
        """The status code that was set."""
        raise NotImplementedError

    def details(self) -> Any:
        """The status message that was set."""
        raise NotImplementedError

    def disable_next_message_compression(self) -> None:
        """Sends the next response as it is."""
        raise NotImplementedError


class Server(abc.ABC):
    """A server."""

    @abc.abstractmethod
    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[GenericRpcHandler]) -> None:
        """Adds generic handlers, which are asked in order; only before ``start``."""
        raise NotImplementedError

    def add_registered_method_handlers(  # noqa: B027 - not abstract in grpcio either
        self, service_name: str, method_handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        """Adds the handlers of a service by method name; generated code calls this.

        Args:
            service_name: The full name of the service.
            method_handlers: The handlers by the methods' short names.
        """

    @abc.abstractmethod
    def add_insecure_port(self, address: str) -> int:
        """Binds an address such as ``[::]:50051``, ``localhost:0`` or ``unix:/run/server.sock``; before ``start``.

        Returns:
            The port; 1 for a Unix socket, as in grpcio.

        Raises:
            RuntimeError: The address can't be bound; the text says why.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def add_secure_port(self, address: str, server_credentials: "ServerCredentials") -> int:
        """Binds an address for TLS; before ``start``.

        Returns:
            The port.

        Raises:
            RuntimeError: The address can't be bound; the text says why.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def start(self) -> None:
        """Begins to serve."""
        raise NotImplementedError

    @abc.abstractmethod
    def stop(self, grace: float | None) -> Any:
        """Stops serving without waiting: no new calls, those in flight may finish within the grace.

        Args:
            grace: Seconds, or None to cancel calls in flight at once.

        Returns:
            A ``threading.Event`` that is set when the server has stopped.
        """
        raise NotImplementedError

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped.

        Args:
            timeout: Seconds to wait at most, or None.

        Returns:
            True if the time was up first, as in grpcio.
        """
        raise NotImplementedError
