"""The abstract classes of calls and of what starts them, in the asyncio API."""

import abc
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from typing import Any, Generic, TypeVar

from pygrpc.compression import Compression
from pygrpc.metadata import Metadata, MetadataType
from pygrpc.status import StatusCode

RequestType = TypeVar("RequestType")
ResponseType = TypeVar("ResponseType")
RequestIterable = Iterable[Any] | AsyncIterable[Any]


class _EOF:
    """The type of ``EOF``."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "<grpc.aio.EOF>"


#: What ``read`` returns when no message follows.
EOF = _EOF()


class RpcContext(abc.ABC):
    """What both ends of a call can ask of it."""

    @abc.abstractmethod
    def cancelled(self) -> bool:
        """Whether the call ended with CANCELLED."""

    @abc.abstractmethod
    def done(self) -> bool:
        """Whether the call is over."""

    @abc.abstractmethod
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without a deadline."""

    @abc.abstractmethod
    def cancel(self) -> bool:
        """Cancels the call; returns False if it was over already."""

    @abc.abstractmethod
    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back with this object when the call is over, or at once if it is."""


class Call(RpcContext):
    """A call as its client sees it."""

    @abc.abstractmethod
    async def initial_metadata(self) -> Metadata:
        """Waits for the initial metadata of the server."""

    @abc.abstractmethod
    async def trailing_metadata(self) -> Metadata:
        """Waits for the end of the call and its trailing metadata."""

    @abc.abstractmethod
    async def code(self) -> StatusCode:
        """Waits for the end of the call and its status code."""

    @abc.abstractmethod
    async def details(self) -> str:
        """Waits for the end of the call and its status message."""

    @abc.abstractmethod
    async def wait_for_connection(self) -> None:
        """Waits until the call is on its way to a server.

        Raises:
            AioRpcError: It ended before.
        """


class UnaryUnaryCall(Generic[RequestType, ResponseType], Call):
    """A call with one request and one response."""

    @abc.abstractmethod
    def __await__(self) -> Generator[Any, None, ResponseType]:
        """Waits for the response.

        Raises:
            AioRpcError: The call ended with a status other than OK.
            asyncio.CancelledError: The call was cancelled here.
        """


class UnaryStreamCall(Generic[RequestType, ResponseType], Call):
    """A call with one request and a stream of responses."""

    @abc.abstractmethod
    def __aiter__(self) -> AsyncIterator[ResponseType]:
        """Iterates over the responses; raises AioRpcError behind them if the status is not OK."""

    @abc.abstractmethod
    async def read(self) -> Any:
        """Waits for the next response; ``EOF`` behind the last one.

        Raises:
            AioRpcError: The call ended with a status other than OK.
        """


class StreamUnaryCall(Generic[RequestType, ResponseType], Call):
    """A call with a stream of requests and one response."""

    @abc.abstractmethod
    def __await__(self) -> Generator[Any, None, ResponseType]:
        """Waits for the response.

        Raises:
            AioRpcError: The call ended with a status other than OK.
            asyncio.CancelledError: The call was cancelled here.
        """

    @abc.abstractmethod
    async def write(self, request: RequestType) -> None:
        """Sends a request, waiting while the server's flow control holds it up.

        Raises:
            asyncio.InvalidStateError: The call is over, or done_writing was called.
        """

    @abc.abstractmethod
    async def done_writing(self) -> None:
        """Says that no more requests follow; calling it again does nothing."""


class StreamStreamCall(Generic[RequestType, ResponseType], Call):
    """A call with streams of requests and responses."""

    @abc.abstractmethod
    def __aiter__(self) -> AsyncIterator[ResponseType]:
        """Iterates over the responses; raises AioRpcError behind them if the status is not OK."""

    @abc.abstractmethod
    async def read(self) -> Any:
        """Waits for the next response; ``EOF`` behind the last one.

        Raises:
            AioRpcError: The call ended with a status other than OK.
        """

    @abc.abstractmethod
    async def write(self, request: RequestType) -> None:
        """Sends a request, waiting while the server's flow control holds it up.

        Raises:
            asyncio.InvalidStateError: The call is over, or done_writing was called.
        """

    @abc.abstractmethod
    async def done_writing(self) -> None:
        """Says that no more requests follow; calling it again does nothing."""


class UnaryUnaryMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with one request and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request: RequestType,
        *,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> UnaryUnaryCall[RequestType, ResponseType]:
        """Starts a call.

        Args:
            request: The request.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.
        """


class UnaryStreamMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with one request and a stream of responses."""

    @abc.abstractmethod
    def __call__(
        self,
        request: RequestType,
        *,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> UnaryStreamCall[RequestType, ResponseType]:
        """Starts a call.

        Args:
            request: The request.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.
        """


class StreamUnaryMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with a stream of requests and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Iterable[RequestType] | AsyncIterable[RequestType] | None = None,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> StreamUnaryCall[RequestType, ResponseType]:
        """Starts a call.

        Args:
            request_iterator: The requests, from an iterable or an asynchronous iterable; None to write them one by one.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.
        """


class StreamStreamMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with streams of requests and responses."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Iterable[RequestType] | AsyncIterable[RequestType] | None = None,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> StreamStreamCall[RequestType, ResponseType]:
        """Starts a call.

        Args:
            request_iterator: The requests, from an iterable or an asynchronous iterable; None to write them one by one.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.
        """
