"""The client's end of a call.

States, from the client's point of view:

        started                  response headers
    IDLE ----------> AWAITING_HEADERS ----------> RECEIVING
      |  <----------      |                           |
      |    refused        |                           |
      |                   |                           |
      | status            | status                    | status
      v                   v                           v
    +--------------------- DRAINING -------------------+
                              |  all messages read
                              v
                             DONE

A status is known to the user only when the messages before it have been read (doc/status_ordering.md), which is what
DRAINING is for. A call that ends on our side, by cancellation, a deadline or an error, drops its messages and is DONE
at once; only an error of a message keeps those before it.
"""

import enum
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from pygrpc.core.call import Call, IllegalTransition, MessageLimits
from pygrpc.core.headers import parse_response, parse_trailers
from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.metadata import Header, RawMetadata
from pygrpc.core.status import Status, status_from_reset
from pygrpc.status import StatusCode

DEADLINE_EXCEEDED = Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
CANCELLED_LOCALLY = Status(StatusCode.CANCELLED, "Locally cancelled by application!")


class ClientState(enum.IntEnum):
    """Where a client call is; see the module's text."""

    IDLE = enum.auto()
    AWAITING_HEADERS = enum.auto()
    RECEIVING = enum.auto()
    DRAINING = enum.auto()
    DONE = enum.auto()


class _Event(enum.IntEnum):
    STARTED = enum.auto()
    RESPONSE_HEADERS = enum.auto()
    REFUSED = enum.auto()
    STATUS = enum.auto()
    DRAINED = enum.auto()


_TRANSITIONS: dict[ClientState, dict[_Event, ClientState]] = {
    ClientState.IDLE: {_Event.STARTED: ClientState.AWAITING_HEADERS, _Event.STATUS: ClientState.DRAINING},
    ClientState.AWAITING_HEADERS: {
        _Event.RESPONSE_HEADERS: ClientState.RECEIVING,
        _Event.REFUSED: ClientState.IDLE,
        _Event.STATUS: ClientState.DRAINING,
    },
    ClientState.RECEIVING: {_Event.STATUS: ClientState.DRAINING},
    ClientState.DRAINING: {_Event.DRAINED: ClientState.DONE},
    ClientState.DONE: {},
}
_ENDING_STATES = frozenset([ClientState.DRAINING, ClientState.DONE])


class ClientCallListener(Protocol):
    """Who is told what happens to a client call; called while the connection handles bytes, so it must not block."""

    def on_started(self) -> None:
        """The call is on a stream of a connection."""

    def on_initial_metadata(self) -> None:
        """The initial metadata arrived, or the call ended without any."""

    def on_message(self) -> None:
        """A message can be read."""

    def on_writable(self) -> None:
        """The call isn't backlogged any more."""

    def on_done(self) -> None:
        """The status is known and all messages are read."""


class _NobodyListens:
    def on_started(self) -> None: ...

    def on_initial_metadata(self) -> None: ...

    def on_message(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_done(self) -> None: ...


#: The listener of a call that is over, or that nobody can see any more.
NOBODY: ClientCallListener = _NobodyListens()


class RequestHeaders(Protocol):
    """Makes the header block of a request; the timeout is only known when the call goes out."""

    def __call__(self, timeout: float | None) -> Sequence[Header]:
        """Builds the block for the seconds that are left, or None for no deadline."""


#: Bytes of requests that are kept at most in case the server refuses the stream, or the call is tried again.
REPLAY_LIMIT = 262_144


class ClientCall(Call):
    """One call as its client sees it."""

    side = "CLIENT"
    #: Whether the channel makes it for itself, so that it is no concern of users.
    internal = False

    state = ClientState.IDLE
    initial_metadata: RawMetadata | None = None
    #: How the call ended; set before the state is DONE.
    status: Status | None = None
    #: Whether the call waits while no connection can be had, instead of failing (doc/wait-for-ready.md).
    wait_for_ready: bool | None = False
    #: Told the status once it is known, for the policy that chose the connection.
    on_end: Callable[[Status], None] | None = None
    #: Undoes the wait for a connection or for a stream, while there is one.
    stop_waiting: Callable[[], object] | None = None
    _responses = 0
    #: The requests so far, until it is certain that the server has got the call; None from then on.
    _replay: Collection[tuple[bytes, bool]] | None = ()
    _replay_size = 0

    def __init__(
        self,
        listener: ClientCallListener,
        request_headers: RequestHeaders,
        *,
        response_streaming: bool,
        deadline: float | None,
        limits: MessageLimits,
        send_encoding: bytes | None = None,
    ) -> None:
        """Makes a call that no connection knows yet; messages may be sent already, they are queued.

        Args:
            listener: Who is told what happens.
            request_headers: Makes the header block of the request.
            response_streaming: Whether any number of responses is right; otherwise exactly one is.
            deadline: When the call has to end, in monotonic seconds, or None.
            limits: The sizes of messages allowed.
            send_encoding: The encoding for requests, or None for identity.
        """
        self._limits = limits
        self._listener = listener
        self.request_headers = request_headers
        self._response_streaming = response_streaming
        self.deadline = deadline
        self._send_encoding = send_encoding

    @property
    def ended(self) -> bool:
        """Whether the call is over for the user."""
        return self.state is ClientState.DONE

    def _move(self, event: _Event) -> None:
        try:
            self.state = _TRANSITIONS[self.state][event]
        except KeyError:
            raise IllegalTransition(f"{event.name} in state {self.state.name}") from None

    # What the user does.

    def send_message(self, payload: bytes, compress: bool = True) -> bool:
        """Queues a request message; returns False if the call has ended, or ends because of the message's size."""
        if self.state in _ENDING_STATES:
            return False
        if self._replay is not None:
            self._keep(payload, compress)
        return self._queue_message(payload, compress)

    def half_close(self) -> None:
        """No more requests follow."""
        if self._ending is False and self.state not in _ENDING_STATES:
            self._ending = True
            self._want_to_send()

    def cancel(self, status: Status = CANCELLED_LOCALLY) -> bool:
        """Ends the call from our side; returns False if it had ended before."""
        if self.state is ClientState.DONE:
            return False
        if self.state is ClientState.DRAINING:
            self.status = status
            self._drained()
        else:
            self._end_now(status, ErrorCode.CANCEL)
        return True

    def read_message(self) -> bytes | None:
        """Takes the next response, or None if none is waiting; the last one may complete the call."""
        message = super().read_message()
        if self.state is ClientState.DRAINING and not self._messages:
            self._drained()
        return message

    def _keep(self, payload: bytes, compress: bool) -> None:
        self._replay_size += len(payload)
        if self._replay_size > REPLAY_LIMIT:
            self._replay = None
        elif type(self._replay) is list:
            self._replay.append((payload, compress))
        else:
            self._replay = [(payload, compress)]

    def let_go(self) -> ClientCallListener:
        """Tells the listener no more, and returns it; so the two don't keep each other until they are collected."""
        listener, self._listener = self._listener, NOBODY
        return listener

    def keep_nothing(self) -> None:
        """The call is not to be started again if the server refuses it; to be said before it starts."""
        self._replay = None

    # What the connection reports.

    def started(self) -> None:
        """The request headers are on their way."""
        self._move(_Event.STARTED)
        self.stop_waiting = None
        self._listener.on_started()

    def headers_received(self, headers: Sequence[Header], end_stream: bool) -> None:
        """Response headers, trailers, or both at once."""
        if self.state in _ENDING_STATES:
            return
        self._replay = None
        if end_stream:
            self.remote_ended = True
            only = self.state is ClientState.AWAITING_HEADERS
            self._end(parse_trailers(headers, trailers_only=only, max_metadata_size=self._limits.metadata))
            return
        head = parse_response(headers, self._limits.metadata)
        if isinstance(head, Status):
            self._end_now(head, ErrorCode.CANCEL)
            return
        self._move(_Event.RESPONSE_HEADERS)
        if not self._limits.accept(head.encoding):
            encoding = (head.encoding or b"").decode("latin-1")
            details = f"the server compresses with {encoding!r}, which was not offered"
            self._end_now(Status(StatusCode.INTERNAL, details), ErrorCode.CANCEL)
            return
        self._receive_encoding = head.encoding
        self.initial_metadata = head.metadata
        self._listener.on_initial_metadata()

    def data_received(self, data: bytes, flow_controlled: int, end_stream: bool) -> None:
        """Response messages."""
        if self.state is not ClientState.RECEIVING:
            if self.state is ClientState.AWAITING_HEADERS:
                self._end_now(Status(StatusCode.INTERNAL, "the server sent DATA before headers"), ErrorCode.CANCEL)
            return
        came = self._receive(data, flow_controlled)
        if came < 0:
            return
        self._responses += came
        if self._responses > 1 and not self._response_streaming:
            details = "the server sent more than one message to a call with a single response"
            self._end_now(Status(StatusCode.UNIMPLEMENTED, details), ErrorCode.CANCEL)
            return
        if end_stream:
            self.remote_ended = True
            self._end(Status(StatusCode.UNKNOWN, "the server ended the call without a grpc-status"))
            return
        self._credit()
        if came:
            self._listener.on_message()

    def stream_reset(self, error_code: int, remote: bool) -> None:
        """The server reset the stream, or it broke HTTP/2 on it."""
        if self.state in _ENDING_STATES:
            return
        if not remote:
            status = Status(StatusCode.INTERNAL, "the server broke HTTP/2 on the stream of this call")
        elif error_code == ErrorCode.CANCEL and self._deadline_passed():
            # Both ends watch the deadline; the server's clock was a little faster.
            status = DEADLINE_EXCEEDED
        else:
            status = status_from_reset(error_code)
        self._end_now(status, None)

    def _deadline_passed(self) -> bool:
        return self.deadline is not None and self.connection is not None and self.connection.now >= self.deadline

    def restart(self) -> bool:
        """The server says that it has not handled the call (RFC 9113, section 8.7): gets ready for another stream.

        Returns:
            False if it can't be: this has happened before, the requests are not kept, or there was an answer.
        """
        if self._replay is None or self.state is not ClientState.AWAITING_HEADERS:
            return False
        assert self.connection is not None
        replay, self._replay = self._replay, None
        self._drop_output()
        self.connection.forget(self)
        self.connection = None
        self.stream_id = 0
        self.local_ended = False
        self._move(_Event.REFUSED)
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end(Status(StatusCode.UNAVAILABLE, "the server refused the stream"))
        for payload, compress in replay:
            self._queue_message(payload, compress)
        return True

    def connection_lost(self, status: Status) -> None:
        """The connection is gone."""
        if self.state not in _ENDING_STATES:
            self._end_now(status, None)

    def writable(self) -> None:
        """The send queue has room again."""
        self._listener.on_writable()

    # How it ends.

    def _end(self, status: Status) -> None:
        """The server ended the call; its messages are still to be read."""
        if status.code is StatusCode.OK:
            status = self._check_complete(status)
            if status.code is not StatusCode.OK:
                self.discard_messages()
        self._leave_stream(ErrorCode.NO_ERROR)
        self._conclude(status)

    def _check_complete(self, status: Status) -> Status:
        if (size := self._truncated()) is not None:
            return Status(
                StatusCode.INTERNAL, f"the server ended the call in the middle of a message ({size} bytes in)"
            )
        if not self._response_streaming and self._responses != 1:
            return Status(
                StatusCode.UNIMPLEMENTED, "the server ended the call without the message that it should have sent"
            )
        return status

    def _end_now(self, status: Status, error_code: int | None) -> None:
        """The call ends on our side; nothing more is read."""
        self.discard_messages()
        self._leave_stream(error_code)
        self._conclude(status)

    def _fail(self, status: Status) -> None:
        if self.state is ClientState.DRAINING:
            self.discard_messages()
            self.status = status
        elif self.state is not ClientState.DONE:
            self._end_now(status, ErrorCode.CANCEL)

    def _fail_behind_messages(self, status: Status) -> None:
        # The order of what came is kept: the messages before the one that can't be read are still good.
        self._leave_stream(ErrorCode.CANCEL)
        self._conclude(status)

    def _leave_stream(self, error_code: int | None) -> None:
        if self.stop_waiting is not None:
            stop_waiting, self.stop_waiting = self.stop_waiting, None
            stop_waiting()
        connection = self.connection
        if self.pending_bytes:
            self._drop_output()
            self.writable()
        if connection is None or not self.stream_id:
            return
        if error_code is not None and not (self.local_ended and self.remote_ended):
            connection.engine.reset_stream(self.stream_id, error_code)
        connection.forget(self)

    def _conclude(self, status: Status) -> None:
        self.status = status
        self._move(_Event.STATUS)
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end(status)
        if self.initial_metadata is None:
            self.initial_metadata = ()
            self._listener.on_initial_metadata()
        if self._messages:
            self._listener.on_message()
        else:
            self._drained()

    def _drained(self) -> None:
        self.discard_messages()
        self._move(_Event.DRAINED)
        self.let_go().on_done()
