"""The server's end of a connection: new calls, refusals, the graceful goodbye."""

from collections.abc import Sequence
from typing import Protocol

from pygrpc.core.call import MessageLimits
from pygrpc.core.compression import KNOWN_ENCODINGS
from pygrpc.core.connection import DEFAULT_ABUSE_LIMITS, AbuseLimits, Connection
from pygrpc.core.headers import MalformedHeaders, RequestHead, RequestRejected, parse_request
from pygrpc.core.http2 import MAX_STREAM_ID, ErrorCode, Http2Settings
from pygrpc.core.metadata import Header
from pygrpc.core.server_call import ServerCall
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_DRAIN_PING = b"draining"


class ServerConnectionOwner(Protocol):
    """Who accepts the calls of a connection."""

    def on_call(self, call: ServerCall) -> None:
        """A request's headers arrived: set ``call.listener`` and ``call.request_streaming``, or finish the call."""


class ServerConnection(Connection):
    """A connection from a client.

    ``shutdown`` says goodbye in two steps (RFC 9113, section 6.8): a GOAWAY that still allows every stream, and once
    the client has answered a PING, and so has seen it, one with the last stream that is handled.
    """

    def __init__(
        self,
        owner: ServerConnectionOwner,
        settings: Http2Settings,
        limits: MessageLimits,
        now: float,
        *,
        handshake_timeout: float | None = 120.0,
        abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
    ) -> None:
        """Makes a connection on which our SETTINGS are queued.

        Args:
            owner: Who accepts the calls.
            settings: What we announce.
            limits: The sizes of messages and metadata allowed.
            now: Monotonic time in seconds.
            handshake_timeout: Seconds that a client has until its preface and SETTINGS are here, or None.
            abuse: What costs us work a client may do.
        """
        self._owner = owner
        self._limits = limits
        self._handshake_deadline = None if handshake_timeout is None else now + handshake_timeout
        #: The highest stream that is handled, once the second GOAWAY is out.
        self._last_stream_id: int | None = None
        self._draining = False
        super().__init__(settings, client_side=False, now=now, abuse=abuse)

    @property
    def closing(self) -> bool:
        """Whether the socket is to be closed: the connection failed, or the goodbye is said and the last call over."""
        return self.failure is not None or (self._last_stream_id is not None and not self.calls)

    def shutdown(self) -> None:
        """Begins the graceful goodbye."""
        if self._draining or self.failure is not None:
            return
        self._draining = True
        if not self.ready:
            # Nobody has spoken HTTP/2 here yet, so nobody would answer a PING.
            self._last_goaway()
            return
        self.engine.send_goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR)
        self.engine.send_ping(_DRAIN_PING)

    def turn_away(self, call: ServerCall) -> None:
        """Refuses a call because of the goodbye, which goes out first: its client may start it anew elsewhere."""
        self.shutdown()
        call.refuse()

    def _last_goaway(self) -> None:
        self._last_stream_id = self.engine.last_peer_stream_id
        self.engine.send_goaway(self._last_stream_id, ErrorCode.NO_ERROR)

    def cancel_calls(self, status: Status) -> None:
        """Ends every call that is left; the goodbye doesn't wait for the client any more."""
        for call in list(self.calls.values()):
            if isinstance(call, ServerCall):
                call.cancel(status)
        if self._last_stream_id is None and self.failure is None:
            self._draining = True
            self._last_goaway()

    def next_wakeup(self) -> float | None:  # noqa: D102
        return None if self.ready else self._handshake_deadline

    def handle_timeout(self, now: float) -> None:  # noqa: D102
        super().handle_timeout(now)
        if not self.ready and self._handshake_deadline is not None and now >= self._handshake_deadline:
            self.fail(ErrorCode.SETTINGS_TIMEOUT, "the client did not finish the HTTP/2 handshake in time")

    # Http2Events.

    def headers_received(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:  # noqa: D102
        if stream_id in self.calls:
            super().headers_received(stream_id, headers, end_stream)
            return
        if (self._last_stream_id is not None and stream_id > self._last_stream_id) or self.failure is not None:
            self.engine.reset_stream(stream_id, ErrorCode.REFUSED_STREAM)
            return
        try:
            head = parse_request(headers, self._limits.metadata)
        except MalformedHeaders as error:
            self.engine.reset_stream(stream_id, error.error_code)
        except RequestRejected as rejected:
            self._reject(self._add(stream_id, _NO_HEAD, end_stream), rejected)
        else:
            self._accept(stream_id, head, end_stream)

    def _add(self, stream_id: int, head: RequestHead, end_stream: bool) -> ServerCall:
        deadline = None if head.timeout is None else self.now + head.timeout
        call = ServerCall(head, deadline, self._limits)
        call.connection = self
        call.stream_id = stream_id
        call.remote_ended = end_stream
        self.calls[stream_id] = call
        return call

    def _accept(self, stream_id: int, head: RequestHead, end_stream: bool) -> None:
        call = self._add(stream_id, head, end_stream)
        if not self._limits.accept(head.encoding):
            # doc/compression.md: UNIMPLEMENTED, and the answer says what would have been understood.
            encoding = (head.encoding or b"").decode("latin-1")
            details = f"messages compressed with {encoding!r} are not understood"
            if head.encoding in KNOWN_ENCODINGS:
                details = f"Compression algorithm {encoding!r} is disabled."
            extra = ((b"grpc-accept-encoding", self._limits.accept_encoding),)
            self._reject(call, RequestRejected(Status(StatusCode.UNIMPLEMENTED, details), extra=extra))
            return
        self._owner.on_call(call)
        if end_stream:
            call._requests_complete()

    def _reject(self, call: ServerCall, rejected: RequestRejected) -> None:
        call.answer(rejected.status, [], rejected.http_status, rejected.extra)

    def ping_acknowledged(self, payload: bytes) -> None:  # noqa: D102
        super().ping_acknowledged(payload)
        if payload == _DRAIN_PING and self._draining and self._last_stream_id is None:
            self._last_goaway()


_NO_HEAD = RequestHead("", "", None, None, frozenset(), ())
