"""A call as its handler sees it, and how a handler is run."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from pygrpc import interfaces, propagation
from pygrpc._auth_context import peer_identities, peer_identity_key
from pygrpc.compression import Compression
from pygrpc.core.metadata import Header, RawMetadata, encode_metadata
from pygrpc.core.server_call import ServerCall, ServerState
from pygrpc.core.status import Status
from pygrpc.errors import RpcError
from pygrpc.handlers import RpcMethodHandler
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode
from pygrpc.sync.private_views import context_state, rpc_event
from pygrpc.sync.server_transport import ServerTransport

_LOGGER = logging.getLogger("pygrpc")

#: What ``time_remaining`` says of a call without a deadline: as in grpcio a number, since programs calculate with it.
_NO_DEADLINE = 9.2e18


class Worker(Protocol):
    """Whoever runs a handler."""

    def take_over(self, context: "ServicerContext") -> None:
        """The response is about to be sent: the worker may take over the connection before the client can react."""


class ServicerContext(interfaces.ServicerContext):
    """A call as its handler sees it; one object per call, which also listens to the core."""

    def __init__(
        self,
        core: ServerCall,
        handler: RpcMethodHandler,
        behavior: Callable[..., Any],
        transport: ServerTransport,
        variables: contextvars.Context,
        on_finished: Callable[[], None],
    ) -> None:
        """Takes over a call whose handler is known.

        Args:
            core: The call.
            handler: What serves it.
            behavior: The handler's function; see ``handlers.behavior_of``.
            transport: The connection that it is on. It is told once when the handler can start: for a single request
                when that is here, for a stream of them at once.
            variables: What the handler runs in.
            on_finished: Told once when the handler has ended, or can't start any more.
        """
        self._core = core
        self.handler = handler
        self.behavior = behavior
        self.transport = transport
        self.variables = variables
        self._on_finished = on_finished
        #: Who is asked before the response to a single request goes out, and whether it has taken the connection over.
        self.worker: Worker | None = None
        self.connection_is_ours = False
        self._waits_for_request = True
        self._condition: threading.Condition | None = None
        self._callbacks: list[Callable[[], None]] | None = []
        self._code: Any = None
        self._details: bytes | None = None
        self._trailing: MetadataType | None = None
        self._compress_next = True
        self.aborted = False
        #: Whether the call ended without the handler: by the client, the deadline or the end of the connection.
        self._cancelled = False
        #: Errors that requests raised because of that; a handler that lets them through has made no mistake.
        self.expected_errors: list[Exception] = []

    # What the core reports, with the lock held.

    def begin(self) -> None:
        """Begins to listen: the handler starts as soon as it can; requires the lock."""
        core = self._core
        core.listener = self
        core.request_streaming = self.handler.request_streaming
        if self.handler.request_streaming:
            self._be_ready()
        if core.remote_ended:
            core._requests_complete()

    def _be_ready(self) -> None:
        self._waits_for_request = False
        self.transport.ready.append(self)

    def on_requests(self) -> None:  # noqa: D102
        if self._waits_for_request:
            self._be_ready()
        else:
            self._wake()

    def on_writable(self) -> None:  # noqa: D102
        self._wake()

    def on_cancelled(self) -> None:  # noqa: D102
        self._cancelled = True
        if self._waits_for_request:
            # The request never came, so no handler will end this.
            self._waits_for_request = False
            self._on_finished()
        self._wake()

    def on_closed(self) -> None:  # noqa: D102
        # Without this, core and context would keep each other until they are collected.
        self._core.listener = None
        callbacks, self._callbacks = self._callbacks, None
        if callbacks:
            self.transport.when_unlocked(lambda: _run_callbacks(callbacks))
        self._wake()

    def _wake(self) -> None:
        if self._condition is not None:
            self._condition.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Waits until something is so; requires the lock, which is free meanwhile."""
        if self._condition is None:
            self._condition = threading.Condition(self.transport.lock)
        while True:
            # Before the look and not behind it: writing may be what makes it so.
            if self.transport.dirty:
                self.transport.flush()
            if ready():
                return
            self._condition.wait()

    def expire(self) -> None:
        """The deadline has passed."""
        with self.transport:
            self._core.expire()

    def finished(self) -> None:
        """The handler has ended."""
        self._on_finished()

    # Messages.

    def read(self) -> bytes | None:
        """Waits for the next request; returns None behind the last one.

        Raises:
            RpcError: The call has ended without the handler.
        """
        core = self._core
        with self.transport:
            if not core.has_message:
                self._wait(self._can_read)
            raw = core.read_message()
            if raw is None and self._cancelled:
                raise self._gone()
            return raw

    def _can_read(self) -> bool:
        return self._core.has_message or self._core.requests_ended or self._core.ended

    def _gone(self) -> RpcError:
        """The error for a handler that goes on with a call that has ended without it."""
        error = RpcError("the call has ended; see context.is_active")
        self.expected_errors.append(error)
        return error

    def send(self, payload: bytes, wait: bool = True) -> bool:
        """Sends a response, and waits while flow control holds it up.

        Returns:
            False if the call is over or, without ``wait``, if the next response has to wait.
        """
        core = self._core
        compress, self._compress_next = self._compress_next, True
        with self.transport:
            if not core.send_message(payload, compress):
                return False
            if core.backlogged:
                if not wait:
                    return False
                self._wait(self._has_room)
        return not core.ended

    def _has_room(self) -> bool:
        return not self._core.backlogged or self._core.ended

    def send_initial_metadata(self, initial_metadata: MetadataType) -> None:  # noqa: D102
        try:
            headers = encode_metadata(initial_metadata)
        except (TypeError, ValueError) as error:
            self.finish(Status(StatusCode.INTERNAL, str(error)))
            raise
        with self.transport:
            if self._cancelled:
                raise self._gone()
            if self._core.state is not ServerState.OPEN:
                raise ValueError("Initial metadata no longer allowed!")
            self._core.send_headers(headers)
            self.transport.dirty = True

    # The end.

    def finish(self, status: Status, payload: bytes | None = None) -> None:
        """Sends the status, behind a last response if there is one; does nothing if the call is over."""
        core = self._core
        trailing: list[Header] = []
        if self._trailing:
            try:
                trailing = encode_metadata(self._trailing)
            except (TypeError, ValueError) as error:
                status, payload = Status(StatusCode.INTERNAL, str(error)), None
        with self.transport:
            if payload is not None:
                core.send_message(payload, self._compress_next)
            core.finish(status, trailing)

    def finish_well(self, payload: bytes | None = None) -> None:
        """Ends the call as the handler wants it that has returned."""
        self.finish(Status(StatusCode.OK if self._code is None else _code_of(self._code), self._text("")), payload)

    def fail(self, code: StatusCode, details: str) -> None:
        """Ends the call with an error; a code or details that the handler has set go first."""
        if self.has_failed():
            code = _code_of(self._code)
        self.finish(Status(code, self._text(details)))

    def has_failed(self) -> bool:
        """Whether the handler has set a code other than OK, so that nobody needs its response."""
        return self._code is not None and self._code is not StatusCode.OK

    def _text(self, default: str) -> str:
        return default if self._details is None else self._details.decode("utf-8", "replace")

    def abort(self, code: StatusCode, details: str) -> NoReturn:  # noqa: D102
        if code is StatusCode.OK:
            _LOGGER.error("abort() called with StatusCode.OK; returning UNKNOWN")
            code, details = StatusCode.UNKNOWN, ""
        self._code = code
        self.set_details(details)
        self.aborted = True
        # As in grpcio: an error that no handler should catch by its type.
        raise Exception

    def abort_with_status(self, status: Any) -> NoReturn:  # noqa: D102
        self._trailing = status.trailing_metadata
        self.abort(status.code, status.details)

    def set_trailing_metadata(self, trailing_metadata: MetadataType) -> None:  # noqa: D102
        self._trailing = trailing_metadata

    def trailing_metadata(self) -> MetadataType | None:  # noqa: D102
        return self._trailing

    def set_code(self, code: StatusCode) -> None:  # noqa: D102
        self._code = code

    def code(self) -> Any:  # noqa: D102
        return self._code

    def set_details(self, details: str) -> None:  # noqa: D102
        self._details = details if isinstance(details, bytes) else details.encode()

    def details(self) -> bytes | None:
        """The status message that was set, as bytes; so grpcio has it."""
        return self._details

    def cancel(self) -> None:  # noqa: D102
        with self.transport:
            self._core.cancel(Status(StatusCode.CANCELLED, "Cancelled by the handler"))

    @property
    def _state(self) -> Any:
        return context_state(self, self._core)

    @property
    def _rpc_event(self) -> Any:
        return rpc_event(self._core)

    # The rest.

    def invocation_metadata(self) -> RawMetadata:  # noqa: D102
        return self._core.head.metadata

    def set_compression(self, compression: Compression) -> None:  # noqa: D102
        with self.transport:
            if self._core.state is ServerState.OPEN:
                self._core.set_compression(compression)

    def disable_next_message_compression(self) -> None:  # noqa: D102
        self._compress_next = False

    def peer(self) -> str:  # noqa: D102
        return self.transport.peer

    def peer_identities(self) -> Sequence[bytes] | None:  # noqa: D102
        return peer_identities(self.transport.auth_context())

    def peer_identity_key(self) -> str | None:  # noqa: D102
        return peer_identity_key(self.transport.auth_context())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:  # noqa: D102
        return self.transport.auth_context()

    def is_active(self) -> bool:  # noqa: D102
        return not self._core.ended

    def time_remaining(self) -> float:
        """Seconds until the deadline, not below 0; without a deadline a very large number, as in grpcio."""
        deadline = self._core.deadline
        return _NO_DEADLINE if deadline is None else max(0.0, deadline - time.monotonic())

    def deadline_binds(self) -> bool:
        """Whether the call still goes on, and has a deadline."""
        return self._core.deadline is not None and not self._core.ended

    def add_callback(self, callback: Callable[[], None]) -> bool:  # noqa: D102
        with self.transport:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True


def _code_of(code: Any) -> StatusCode:
    return code if isinstance(code, StatusCode) else StatusCode.UNKNOWN


def _run_callbacks(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            _LOGGER.exception("Exception calling callback!")


class _Requests(Iterator[Any]):
    """The requests of a call, as its handler iterates over them."""

    def __init__(self, context: ServicerContext) -> None:
        self._context = context

    def __next__(self) -> Any:
        raw = self._context.read()
        if raw is None:
            raise StopIteration
        request = _deserialize(self._context, raw)
        if request is None:
            raise StopIteration
        return request

    next = __next__


def _deserialize(context: ServicerContext, raw: bytes) -> Any:
    """Deserializes a request; None if that failed, which has ended the call then."""
    deserializer = context.handler.request_deserializer
    if deserializer is None:
        return raw
    try:
        request = deserializer(raw)
    except Exception:
        _LOGGER.exception("the deserializer of a request raised")
        request = None
    if request is None:
        context.fail(StatusCode.INTERNAL, "Exception deserializing request!")
    return request


def _serialize(context: ServicerContext, response: Any) -> bytes | None:
    """Serializes a response; None if that failed, which has ended the call then."""
    serializer = context.handler.response_serializer
    if response is not None or not context.has_failed():
        try:
            payload = response if serializer is None else serializer(response)
            if isinstance(payload, bytes):
                return payload
            _LOGGER.error("a response must be bytes when it is serialized, not %s", type(payload).__name__)
        except Exception:
            _LOGGER.exception("the serializer of a response raised")
    context.fail(StatusCode.INTERNAL, "Failed to serialize response!")
    return None


def serve(context: ServicerContext) -> None:
    """Runs the handler of a call to its end and sends its status; in the executor, in the context of the call."""
    try:
        propagation.serve(context)
        argument = _argument(context)
        if argument is None:
            return
        if context.handler.response_streaming:
            _serve_stream(context, context.behavior, argument)
        else:
            _serve_unary(context, context.behavior, argument)
    except BaseException as error:
        # SystemExit and the like: the executor deals with it, and the client is to hear something.
        context.fail(StatusCode.UNKNOWN, f"Exception calling application: {error!r}")
        raise
    finally:
        context.finished()


def _argument(context: ServicerContext) -> Any:
    if context.handler.request_streaming:
        return _Requests(context)
    try:
        raw = context.read()
    except RpcError:
        return None
    return None if raw is None else _deserialize(context, raw)


def _fail(context: ServicerContext, doing: str, error: Exception) -> None:
    """Ends a call whose handler raised."""
    if context.aborted:
        context.fail(StatusCode.UNKNOWN, "RPC Aborted")
    elif error not in context.expected_errors:
        try:
            details = f"Exception {doing}: {error}"
        except Exception:
            details = "Calling application raised unprintable Exception!"
        _LOGGER.exception(details)
        context.fail(StatusCode.UNKNOWN, details)


def _serve_unary(context: ServicerContext, behavior: Callable[..., Any], argument: Any) -> None:
    try:
        response = behavior(argument, context)
    except Exception as error:
        _fail(context, "calling application", error)
        return
    payload = _serialize(context, response)
    if payload is not None:
        if context.worker is not None:
            context.worker.take_over(context)
        context.finish_well(payload)


def _send(context: ServicerContext, response: Any, wait: bool = True) -> bool:
    """Sends a response, or the status if that is None; returns whether the call goes on."""
    if response is None:
        context.finish_well()
        return False
    payload = _serialize(context, response)
    return payload is not None and context.send(payload, wait)


class _SendCallback:
    """What a handler with ``experimental_non_blocking`` gets to send by."""

    __slots__ = ("_context",)

    def __init__(self, context: ServicerContext) -> None:
        self._context = context

    def __call__(self, response: Any) -> bool:
        """Sends a response, or the status if that is None; returns whether the call goes on."""
        return _send(self._context, response)

    def without_waiting(self, response: Any) -> bool:
        """Does the same, and returns False also when the client takes so little that the next one has to wait.

        For whoever sends to many calls in turn, which one slow client must not hold up.
        """
        return _send(self._context, response, wait=False)


def _serve_stream(context: ServicerContext, behavior: Callable[..., Any], argument: Any) -> None:
    try:
        if getattr(behavior, "experimental_non_blocking", False):
            behavior(argument, context, _SendCallback(context))
            return
        responses = behavior(argument, context)
    except Exception as error:
        _fail(context, "calling application", error)
        return
    try:
        # As in grpcio, a handler that yields None has ended.
        while _send(context, next(responses, None)):
            pass
    except Exception as error:
        _fail(context, "iterating responses", error)
