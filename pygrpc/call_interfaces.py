"""The abstract classes of calls and of what starts them, in the sync API; ``interfaces`` has these too."""

import abc
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pygrpc.compression import Compression
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.call_credentials import CallCredentials

RequestType = TypeVar("RequestType")
ResponseType = TypeVar("ResponseType")


# Futures.


class FutureTimeoutError(Exception):
    """A future did not end within the time that its ``result``, ``exception`` or ``traceback`` was given."""


class FutureCancelledError(Exception):
    """A future was cancelled, so it has no result, no exception and no traceback."""


class Future(abc.ABC):
    """Something that is being worked out; a call that was started with ``future`` is one."""

    @abc.abstractmethod
    def cancel(self) -> bool:
        """Tries to cancel the work.

        Returns:
            True if it is cancelled now, which does not say that the work stops at once; False if it had ended.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def cancelled(self) -> bool:
        """Whether the work was cancelled before it ended."""
        raise NotImplementedError

    @abc.abstractmethod
    def running(self) -> bool:
        """Whether the work goes on: neither cancelled nor ended."""
        raise NotImplementedError

    @abc.abstractmethod
    def done(self) -> bool:
        """Whether the work has ended, or was cancelled."""
        raise NotImplementedError

    @abc.abstractmethod
    def result(self, timeout: float | None = None) -> Any:
        """Waits for the result.

        Args:
            timeout: Seconds to wait at most, or None.

        Raises:
            FutureTimeoutError: The time was up first; the work goes on.
            FutureCancelledError: The work was cancelled.
            Exception: What the work raised.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def exception(self, timeout: float | None = None) -> Exception | None:
        """Waits for the end and returns what the work raised, or None.

        Args:
            timeout: Seconds to wait at most, or None.

        Raises:
            FutureTimeoutError: The time was up first; the work goes on.
            FutureCancelledError: The work was cancelled.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """Waits for the end and returns the traceback of what the work raised, or None.

        Args:
            timeout: Seconds to wait at most, or None.

        Raises:
            FutureTimeoutError: The time was up first; the work goes on.
            FutureCancelledError: The work was cancelled.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Calls back with this future at its end, in any thread; at once if it has ended.

        Args:
            fn: Called with the future.
        """
        raise NotImplementedError


# Calls.


class RpcContext(abc.ABC):
    """What both ends of a call can ask of it."""

    @abc.abstractmethod
    def is_active(self) -> bool:
        """Whether the call goes on."""
        raise NotImplementedError

    @abc.abstractmethod
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without a deadline."""
        raise NotImplementedError

    @abc.abstractmethod
    def cancel(self) -> Any:
        """Cancels the call; does nothing if it is over."""
        raise NotImplementedError

    @abc.abstractmethod
    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls back, without arguments and in any thread, when the call is over.

        Returns:
            False if the call is over already, and then nobody will be called back.
        """
        raise NotImplementedError


class Call(RpcContext):
    """A call as its client sees it."""

    @abc.abstractmethod
    def initial_metadata(self) -> Any:
        """Waits for the initial metadata that the server sent; a sequence of pairs."""
        raise NotImplementedError

    @abc.abstractmethod
    def trailing_metadata(self) -> Any:
        """Waits for the end of the call and the metadata that came with its status; a sequence of pairs."""
        raise NotImplementedError

    @abc.abstractmethod
    def code(self) -> Any:
        """Waits for the end of the call and its status code."""
        raise NotImplementedError

    @abc.abstractmethod
    def details(self) -> Any:
        """Waits for the end of the call and its status message."""
        raise NotImplementedError


class CallFuture(Call, Future, Generic[ResponseType]):
    """What ``future`` returns: a call that is a future of its response."""

    @abc.abstractmethod
    def result(self, timeout: float | None = None) -> ResponseType:
        """Waits for the response, as ``Future.result``."""
        raise NotImplementedError


class CallIterator(Call, Generic[ResponseType]):
    """What starting a call with a stream of responses returns: a call that iterates over them."""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[ResponseType]:
        """Returns the call itself."""
        raise NotImplementedError

    @abc.abstractmethod
    def __next__(self) -> ResponseType:
        """Waits for the next response.

        Raises:
            StopIteration: There is no other, and the status is OK.
            RpcError: The call ended with another status; the error is also the call.
        """
        raise NotImplementedError


class Status(abc.ABC):
    """How a call ends; for ``abort_with_status``.

    Attributes:
        code: The status code.
        details: The status message.
        trailing_metadata: Pairs to send with it, or None.
    """

    code: StatusCode
    details: str
    trailing_metadata: MetadataType | None


# Multi-callables.


class UnaryUnaryMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with one request and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request: RequestType,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> ResponseType:
        """Calls and waits for the response.

        Args:
            request: The request.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the request, in place of the channel's.

        Returns:
            The response.

        Raises:
            RpcError: The call ended with a status other than OK; the error is also the Call.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def with_call(
        self,
        request: RequestType,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> tuple[ResponseType, Call]:
        """Calls and waits, as ``__call__``; returns the pair of the response and the Call."""
        raise NotImplementedError

    @abc.abstractmethod
    def future(
        self,
        request: RequestType,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> CallFuture[ResponseType]:
        """Starts a call without waiting; returns an object that is a Call and a Future of the response."""
        raise NotImplementedError


class UnaryStreamMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with one request and a stream of responses."""

    @abc.abstractmethod
    def __call__(
        self,
        request: RequestType,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> CallIterator[ResponseType]:
        """Starts a call.

        Args:
            request: The request.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the request, in place of the channel's.

        Returns:
            An object that is a Call and an iterator of responses, which raises RpcError behind them if the status is
            not OK.
        """
        raise NotImplementedError


class StreamUnaryMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with a stream of requests and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Iterable[RequestType],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> ResponseType:
        """Calls and waits for the response.

        Args:
            request_iterator: The requests.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.

        Returns:
            The response.

        Raises:
            RpcError: The call ended with a status other than OK; the error is also the Call.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def with_call(
        self,
        request_iterator: Iterable[RequestType],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> tuple[ResponseType, Call]:
        """Calls and waits, as ``__call__``; returns the pair of the response and the Call."""
        raise NotImplementedError

    @abc.abstractmethod
    def future(
        self,
        request_iterator: Iterable[RequestType],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> CallFuture[ResponseType]:
        """Starts a call without waiting; returns an object that is a Call and a Future of the response."""
        raise NotImplementedError


class StreamStreamMultiCallable(Generic[RequestType, ResponseType], abc.ABC):
    """Starts calls of one method with streams of requests and responses."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Iterable[RequestType],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: "CallCredentials | None" = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> CallIterator[ResponseType]:
        """Starts a call.

        Args:
            request_iterator: The requests.
            timeout: Seconds until the deadline, or None.
            metadata: Custom metadata to send.
            credentials: Call credentials; only on a secure channel.
            wait_for_ready: Whether to wait for a connection rather than fail while the server can't be reached.
            compression: The algorithm for the requests, in place of the channel's.

        Returns:
            An object that is a Call and an iterator of responses, which raises RpcError behind them if the status is
            not OK.
        """
        raise NotImplementedError
