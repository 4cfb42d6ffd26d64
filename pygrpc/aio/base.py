"""The abstract classes of channels, servers and what a handler gets, in the asyncio API."""

import abc
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, NoReturn, Self

from pygrpc.aio.base_call import (
    RequestType,
    ResponseType,
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from pygrpc.compression import Compression
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.handlers import GenericRpcHandler, RpcMethodHandler
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode


class Channel(abc.ABC):
    """A channel to one target."""

    @abc.abstractmethod
    async def __aenter__(self) -> Self:
        """Returns the channel."""

    @abc.abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Closes the channel; calls in flight are cancelled."""

    @abc.abstractmethod
    async def close(self, grace: float | None = None) -> None:
        """Closes the channel.

        Args:
            grace: Seconds that calls in flight may take; what is left then is cancelled. None cancels them at once.
        """

    @abc.abstractmethod
    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        """The state of the channel; ``try_to_connect`` makes an idle one connect."""

    @abc.abstractmethod
    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        """Waits until the state is another one."""

    @abc.abstractmethod
    async def channel_ready(self) -> None:
        """Connects, and waits until that has worked."""

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


class Server(abc.ABC):
    """A server."""

    @abc.abstractmethod
    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[GenericRpcHandler]) -> None:
        """Adds generic handlers, which are asked in order; only before ``start``."""

    def add_registered_method_handlers(  # noqa: B027 - not abstract in grpcio either
        self, service_name: str, method_handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        """Adds the handlers of a service by method name; generated code calls this."""

    @abc.abstractmethod
    def add_insecure_port(self, address: str) -> int:
        """Binds an address such as ``[::]:50051``, ``localhost:0`` or ``unix:/run/server.sock``.

        Returns:
            The port; 1 for a Unix socket, as in grpcio.

        Raises:
            RuntimeError: The address can't be bound; the text says why.
        """

    @abc.abstractmethod
    def add_secure_port(self, address: str, server_credentials: Any) -> int:
        """Binds an address for TLS."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Begins to serve."""

    @abc.abstractmethod
    async def stop(self, grace: float | None) -> None:
        """Stops serving: no new calls, those in flight may finish within the grace, what is left is cancelled.

        Args:
            grace: Seconds, or None to cancel at once.
        """

    @abc.abstractmethod
    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped.

        Args:
            timeout: Seconds to wait at most, or None.

        Returns:
            True if the time was up first, as in grpcio.
        """


class ServicerContext(Generic[RequestType, ResponseType], abc.ABC):
    """A call as its handler sees it."""

    @abc.abstractmethod
    async def read(self) -> Any:
        """Waits for the next request; ``EOF`` behind the last one."""

    @abc.abstractmethod
    async def write(self, message: ResponseType) -> None:
        """Sends a response, waiting while the client's flow control holds it up."""

    @abc.abstractmethod
    async def send_initial_metadata(self, initial_metadata: MetadataType) -> None:
        """Sends the initial metadata; only once, and only before the first response."""

    @abc.abstractmethod
    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: MetadataType = ()) -> NoReturn:
        """Ends the call with a status other than OK, by raising an AbortError that is not to be caught."""

    @abc.abstractmethod
    async def abort_with_status(self, status: Any) -> NoReturn:
        """Does the same with an object that has ``code``, ``details`` and ``trailing_metadata``."""

    @abc.abstractmethod
    def set_trailing_metadata(self, trailing_metadata: MetadataType) -> None:
        """Sets the metadata to send with the status."""

    @abc.abstractmethod
    def invocation_metadata(self) -> MetadataType | None:
        """The metadata that the client sent, as pairs with the names ``key`` and ``value``."""

    @abc.abstractmethod
    def set_code(self, code: StatusCode) -> None:
        """Sets the status code to end with when the handler returns."""

    @abc.abstractmethod
    def set_details(self, details: str) -> None:
        """Sets the status message to end with when the handler returns."""

    @abc.abstractmethod
    def set_compression(self, compression: Compression) -> None:
        """Chooses the algorithm for the responses; only before the initial metadata is sent."""

    @abc.abstractmethod
    def disable_next_message_compression(self) -> None:
        """Sends the next response as it is."""

    @abc.abstractmethod
    def peer(self) -> str:
        """The client's address, such as ``ipv4:127.0.0.1:4711``."""

    @abc.abstractmethod
    def peer_identities(self) -> Sequence[bytes] | None:
        """The identities of the client, or None if it isn't authenticated."""

    @abc.abstractmethod
    def peer_identity_key(self) -> str | None:
        """The property of ``auth_context`` that holds the identities, or None."""

    @abc.abstractmethod
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What is known of the client by authentication."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without a deadline."""
        raise NotImplementedError

    def trailing_metadata(self) -> MetadataType:
        """The metadata that was set to go with the status."""
        raise NotImplementedError

    def code(self) -> StatusCode | None:
        """The status code that was set."""
        raise NotImplementedError

    def details(self) -> str:
        """The status message that was set."""
        raise NotImplementedError

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back with this object when the call is over."""
        raise NotImplementedError

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        raise NotImplementedError

    def done(self) -> bool:
        """Whether the call is over."""
        raise NotImplementedError
