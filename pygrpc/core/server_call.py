"""The server's end of a call.

States, from the server's point of view; the columns are what has been sent:

    OPEN ----------> HEADERS_SENT ----------> STATUS_SENT -----------> CLOSED
      |   headers         |       status           |   all is written
      |                   |                        |
      +-------------------+--------- lost ---------+----------------> CLOSED

``lost`` is a reset by the client or the end of the connection: nobody reads the status any more. A handler that still
runs is told so by ``on_cancelled``, as it is when the deadline passes or the client breaks the protocol; then the
status goes out without it. Sending the status without headers before it is a Trailers-Only response.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

from pygrpc.core.call import Call, IllegalTransition, MessageLimits
from pygrpc.core.compression import encoding_name
from pygrpc.core.framing import frame_message
from pygrpc.core.headers import (
    PLAIN_TRAILERS,
    RequestHead,
    parse_trailers,
    response_headers,
    trailers,
    trailers_only,
)
from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.http2.engine import HeadersTooLarge, Http2Engine
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode


class ServerState(enum.IntEnum):
    """Where a server call is; see the module's text."""

    OPEN = enum.auto()
    HEADERS_SENT = enum.auto()
    STATUS_SENT = enum.auto()
    CLOSED = enum.auto()


class _Event(enum.IntEnum):
    HEADERS = enum.auto()
    STATUS = enum.auto()
    WRITTEN = enum.auto()
    LOST = enum.auto()


_TRANSITIONS: dict[ServerState, dict[_Event, ServerState]] = {
    ServerState.OPEN: {
        _Event.HEADERS: ServerState.HEADERS_SENT,
        _Event.STATUS: ServerState.STATUS_SENT,
        _Event.LOST: ServerState.CLOSED,
    },
    ServerState.HEADERS_SENT: {_Event.STATUS: ServerState.STATUS_SENT, _Event.LOST: ServerState.CLOSED},
    ServerState.STATUS_SENT: {_Event.WRITTEN: ServerState.CLOSED, _Event.LOST: ServerState.CLOSED},
    ServerState.CLOSED: {},
}
_OK = Status(StatusCode.OK, "")
_ACTIVE = frozenset([ServerState.OPEN, ServerState.HEADERS_SENT])


class ServerCallListener(Protocol):
    """Who is told what happens to a server call; called while the connection handles bytes, so it must not block."""

    def on_requests(self) -> None:
        """A request can be read, or the last one has been: see has_message and requests_ended."""

    def on_writable(self) -> None:
        """The call isn't backlogged any more."""

    def on_cancelled(self) -> None:
        """The call ended although no handler ended it: ``call.status`` says why."""

    def on_closed(self) -> None:
        """Everything is written, or never will be."""


class ServerCall(Call):
    """One call as its server sees it."""

    side = "SERVER"

    state = ServerState.OPEN
    listener: ServerCallListener | None = None
    #: Whether any number of requests is right; otherwise exactly one is. Set by whoever knows the method.
    request_streaming = True
    #: How the call ended, or None.
    status: Status | None = None
    #: Goes with the first block of headers, whoever sends it, before the initial metadata of the handler.
    initial_metadata: Sequence[Header] = ()
    _requests = 0

    def __init__(self, head: RequestHead, deadline: float | None, limits: MessageLimits) -> None:
        """Makes a call for a request whose headers have come."""
        self._limits = limits
        self.head = head
        self.deadline = deadline
        if head.encoding is not None:
            self._receive_encoding = head.encoding

    @property
    def ended(self) -> bool:
        """Whether the handler's work doesn't matter any more."""
        return self.state not in _ACTIVE

    @property
    def requests_ended(self) -> bool:
        """Whether the client has sent its last request, and all have been read."""
        return self.remote_ended and not self._messages

    def _move(self, event: _Event) -> None:
        try:
            self.state = _TRANSITIONS[self.state][event]
        except KeyError:
            raise IllegalTransition(f"{event.name} in state {self.state.name}") from None

    # What the handler does.

    def set_compression(self, compression: int | None) -> None:
        """Chooses the encoding of the responses; one that the client doesn't accept means identity.

        The choice is made known in the headers, so it counts until they are sent.
        """
        encoding = encoding_name(compression) if compression else None
        self._send_encoding = encoding if encoding in self.head.accept_encoding else None

    def send_headers(self, metadata: list[Header]) -> None:
        """Sends the response headers with the initial metadata; a call that has ended is passed over."""
        if self.state is ServerState.OPEN:
            assert self.connection is not None
            if self.initial_metadata:
                metadata = [*self.initial_metadata, *metadata]
            block = response_headers(self._send_encoding, metadata, self._limits.accept_encoding)
            try:
                self.connection.engine.send_headers(self.stream_id, block, end_stream=False)
            except HeadersTooLarge as error:
                details = f"the initial metadata exceed the client's limit: {error.size} vs. {error.limit} bytes"
                self._fail(Status(StatusCode.RESOURCE_EXHAUSTED, details))
                return
            self._move(_Event.HEADERS)

    def send_message(self, payload: bytes, compress: bool = True) -> bool:
        """Queues a response, behind the headers; returns False if the call has ended or ends because of its size."""
        if self.state is ServerState.OPEN:
            self.send_headers([])
        return self.state is ServerState.HEADERS_SENT and self._queue_message(payload, compress)

    def respond(self, payload: bytes) -> bool:
        """Does all at once for the commonest answer: one response, OK, no metadata.

        What allows it is written past the calls in line; otherwise it is the same as ``send_message`` and ``finish``.

        Returns:
            Whether the call ends so; False if it had ended before, or ends because of the message's size.
        """
        connection = self.connection
        if (
            self.state is ServerState.OPEN
            and self._send_encoding is None
            and connection is not None
            and connection.may_send_now()
            and self._within_limit(payload)
            and self._sent_at_once(connection.engine, payload)
        ):
            self.status = _OK
            self.state = ServerState.STATUS_SENT
            self.discard_messages()
            self.local_ended = True
            connection.on_output()
            self._on_local_end()
            return True
        return self.send_message(payload) and self.finish(_OK, [])

    def _sent_at_once(self, engine: Http2Engine, payload: bytes) -> bool:
        head = response_headers(None, self.initial_metadata, self._limits.accept_encoding)
        try:
            return engine.send_response(self.stream_id, head, frame_message(payload), PLAIN_TRAILERS)
        except HeadersTooLarge:
            # The longer way knows what to do.
            return False

    def finish(self, status: Status, metadata: Sequence[Header], extra: tuple[Header, ...] = ()) -> bool:
        """Sends the status behind all messages; returns False if the call had ended before.

        Args:
            status: The code and the details.
            metadata: The trailing metadata as headers.
            extra: Further headers of a response that is Trailers-Only.
        """
        return self.answer(status, metadata, b"200", extra)

    def answer(
        self, status: Status, metadata: Sequence[Header], http_status: bytes, extra: tuple[Header, ...] = ()
    ) -> bool:
        """Does the same with an HTTP status of choice, which only a Trailers-Only response has room for."""
        if self.state not in _ACTIVE:
            return False
        block = trailers(status.code, status.details, metadata)
        if self.state is ServerState.OPEN:
            block = trailers_only(http_status, [*block, *self.initial_metadata, *extra])
        self.status = status
        self._ending = block
        self._move(_Event.STATUS)
        self.discard_messages()
        self._want_to_send()
        return True

    def _fail(self, status: Status) -> None:
        """The call ends with an error that no handler chose."""
        if self.state in _ACTIVE:
            self._drop_output()
            self.finish(status, [])
            self._tell_cancelled()

    def expire(self) -> None:
        """The deadline has passed."""
        self._fail(Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def cancel(self, status: Status) -> None:
        """Ends the call from the server's side without asking the handler."""
        self._fail(status)

    def refuse(self) -> None:
        """Says that nobody has handled the call, so that its client may send it elsewhere (RFC 9113, section 8.7)."""
        assert self.connection is not None
        self.connection.engine.reset_stream(self.stream_id, ErrorCode.REFUSED_STREAM)
        self._move(_Event.LOST)
        self._leave()

    # What the connection reports.

    def headers_received(self, headers: Sequence[Header], end_stream: bool) -> None:
        """Trailers of a request; gRPC gives them no meaning, but they must be valid."""
        parse_trailers(headers, trailers_only=False, max_metadata_size=self._limits.metadata)
        if end_stream:
            self._requests_complete()

    def data_received(self, data: bytes, flow_controlled: int, end_stream: bool) -> None:
        """Request messages."""
        if self.state not in _ACTIVE:
            self.remote_ended = self.remote_ended or end_stream
            return
        came = self._receive(data, flow_controlled)
        if came < 0:
            self.remote_ended = self.remote_ended or end_stream
            return
        self._requests += came
        if self._requests > 1 and not self.request_streaming:
            self.remote_ended = self.remote_ended or end_stream
            details = "the client sent more than one message to a method with a single request"
            self._fail(Status(StatusCode.UNIMPLEMENTED, details))
            return
        if end_stream:
            self._requests_complete()
            return
        self._credit()
        if came and self.request_streaming and self.listener is not None:
            self.listener.on_requests()

    def _requests_complete(self) -> None:
        self.remote_ended = True
        if self.state not in _ACTIVE:
            return
        if (size := self._truncated()) is not None:
            details = f"the client ended its requests in the middle of a message ({size} bytes in)"
            self._fail(Status(StatusCode.INTERNAL, details))
        elif not self.request_streaming and self._requests != 1:
            details = "the client ended its requests without the message that it should have sent"
            self._fail(Status(StatusCode.UNIMPLEMENTED, details))
        elif self.listener is not None:
            self.listener.on_requests()

    def stream_reset(self, error_code: int, remote: bool) -> None:
        """The client reset the stream, or it broke HTTP/2 on it."""
        self._lost(Status(StatusCode.CANCELLED, f"the client reset the stream (error code {error_code})"))

    def connection_lost(self, status: Status) -> None:
        """The connection is gone."""
        self._lost(Status(StatusCode.CANCELLED, status.details))

    def _lost(self, status: Status) -> None:
        active = self.state in _ACTIVE
        if self.state is ServerState.CLOSED:
            return
        self._move(_Event.LOST)
        self._drop_output()
        self.discard_messages()
        if active:
            self.status = status
            self._tell_cancelled()
        self._leave()

    def writable(self) -> None:
        """The send queue has room again."""
        if self.listener is not None:
            self.listener.on_writable()

    # How it ends.

    def _send_trailers(self, block: Sequence[Header]) -> None:
        assert self.connection is not None and self.status is not None
        engine = self.connection.engine
        try:
            engine.send_headers(self.stream_id, block, True)
            return
        except HeadersTooLarge as error:
            name = self.status.code.name
            details = f"the trailers of {name} exceed the client's limit: {error.size} vs. {error.limit} bytes"
        self.status = Status(StatusCode.RESOURCE_EXHAUSTED, details)
        smaller = trailers(self.status.code, details, [])
        if block[0][0] == b":status":
            smaller = trailers_only(block[0][1], smaller)
        try:
            engine.send_headers(self.stream_id, smaller, True)
        except HeadersTooLarge:
            # PROTOCOL-HTTP2.md, "Errors": to a client this is RESOURCE_EXHAUSTED too.
            engine.reset_stream(self.stream_id, ErrorCode.ENHANCE_YOUR_CALM)

    def _tell_cancelled(self) -> None:
        if self.listener is not None:
            self.listener.on_cancelled()

    def _on_local_end(self) -> None:
        self._move(_Event.WRITTEN)
        if not self.remote_ended:
            # RFC 9113, section 8.1: after a complete response the client need not finish its request.
            assert self.connection is not None
            self.connection.engine.reset_stream(self.stream_id, ErrorCode.NO_ERROR)
        self._leave()

    def _leave(self) -> None:
        if self.connection is not None:
            self.connection.forget(self)
        # Without a listener from here on, or the two would keep each other until they are collected.
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.on_closed()
