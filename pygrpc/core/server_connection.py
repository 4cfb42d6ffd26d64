"""The server's end of a connection: new calls, refusals, the graceful goodbye."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pygrpc.core.call import MessageLimits
from pygrpc.core.compression import KNOWN_ENCODINGS
from pygrpc.core.connection import DEFAULT_ABUSE_LIMITS, AbuseLimits, Connection
from pygrpc.core.connection_ages import NO_AGES, AgeSettings, ConnectionAge, Leave
from pygrpc.core.headers import MalformedHeaders, RequestHead, RequestRejected, parse_request
from pygrpc.core.http2 import MAX_STREAM_ID, ErrorCode, Http2Settings
from pygrpc.core.keepalive import ANY_PINGS, NO_KEEPALIVE, KeepaliveSettings, PingLimits, PingStrikes
from pygrpc.core.metadata import Header
from pygrpc.core.server_call import ServerCall
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_DRAIN_PING = b"draining"
#: Seconds that a client has to answer that PING before the goodbye goes on without.
_DRAIN_TIMEOUT = 20.0
#: What the GOAWAY of a connection that was idle too long, or is too old, says for people (gRFC A9).
_MAX_IDLE = b"max_idle"
_MAX_AGE = b"max_age"
_TOO_OLD = Status(StatusCode.UNAVAILABLE, "the connection has reached its max_connection_age, and the grace is over")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How a server keeps its connections; by itself it asks for nothing, counts nothing and ends nothing.

    Attributes:
        keepalive: When it asks whether the client is still there.
        pings: Which PINGs of a client are too many.
        ages: How long a connection may last.
    """

    keepalive: KeepaliveSettings = NO_KEEPALIVE
    pings: PingLimits = ANY_PINGS
    ages: AgeSettings = NO_AGES


DEFAULT_UPKEEP = Upkeep()


class ServerConnectionOwner(Protocol):
    """Who accepts the calls of a connection."""

    def on_call(self, call: ServerCall) -> None:
        """A request's headers arrived: set ``call.listener`` and ``call.request_streaming``, or finish the call."""


class ServerConnection(Connection):
    """A connection from a client.

    ``shutdown`` says goodbye in two steps (RFC 9113, section 6.8): a GOAWAY that still allows every stream, and once
    the client has answered a PING, and so has seen it, one with the last stream that is handled. A client that
    doesn't answer within 20 seconds is not waited for.
    """

    #: When the connection is too old, unless it may have any age.
    _age: ConnectionAge | None = None
    #: Whether the goodbye has begun.
    _draining = False
    #: When the goodbye goes on without the answer of the client.
    _drain_by = math.inf
    #: What the client is told why.
    _reason = b""

    def __init__(
        self,
        owner: ServerConnectionOwner,
        settings: Http2Settings,
        limits: MessageLimits,
        now: float,
        *,
        handshake_timeout: float | None = 120.0,
        abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
        upkeep: Upkeep = DEFAULT_UPKEEP,
        random: float = 0.5,
    ) -> None:
        """Makes a connection on which our SETTINGS are queued.

        Args:
            owner: Who accepts the calls.
            settings: What we announce.
            limits: The sizes of messages and metadata allowed.
            now: Monotonic time in seconds.
            handshake_timeout: Seconds that a client has until its preface and SETTINGS are here, or None.
            abuse: What costs us work a client may do.
            upkeep: How the connection is kept.
            random: A number from 0 to 1, which decides how long it lasts.
        """
        self._owner = owner
        self._limits = limits
        self._handshake_deadline = math.inf if handshake_timeout is None else now + handshake_timeout
        #: The highest stream that is handled, once the second GOAWAY is out.
        self._last_stream_id: int | None = None
        #: The highest stream that may be one of a new call.
        self._refuse_above = MAX_STREAM_ID
        self._strikes = PingStrikes(upkeep.pings)
        super().__init__(settings, client_side=False, now=now, abuse=abuse, keepalive=upkeep.keepalive)
        # There was no call yet.
        self.used_at = -math.inf
        if upkeep.ages != NO_AGES:
            self._age = ConnectionAge(upkeep.ages, now, random)
        self._schedule()

    @property
    def closing(self) -> bool:
        """Whether the socket is to be closed: the connection failed, or the goodbye is said and the last call over."""
        return self.failure is not None or (self._last_stream_id is not None and not self.calls)

    def shutdown(self, now: float, reason: bytes = b"", refuse: bool = False) -> None:
        """Begins the graceful goodbye.

        Args:
            now: Monotonic time in seconds.
            reason: What the client is told, for people.
            refuse: Whether new calls are refused from now on, so that the client starts them elsewhere; otherwise those
                that it has begun before it heard of the goodbye are taken.
        """
        self.now = now
        if self.failure is not None:
            return
        if refuse:
            self._refuse_above = min(self._refuse_above, self.engine.last_peer_stream_id)
        if self._draining:
            return
        self._draining = True
        self._reason = reason
        if not self.ready:
            # Nobody has spoken HTTP/2 here yet, so nobody would answer a PING.
            self._last_goaway()
            return
        self.engine.send_goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, reason)
        self.engine.send_ping(_DRAIN_PING)
        self._drain_by = now + _DRAIN_TIMEOUT
        self._schedule()

    def turn_away(self, call: ServerCall) -> None:
        """Refuses a call because of the goodbye, which goes out first: its client may start it anew elsewhere."""
        self.shutdown(self.now)
        call.refuse()

    def _last_goaway(self) -> None:
        if self._last_stream_id is None:
            self._drain_by = math.inf
            self._last_stream_id = self.engine.last_peer_stream_id
            self._refuse_above = min(self._refuse_above, self._last_stream_id)
            self.engine.send_goaway(self._last_stream_id, ErrorCode.NO_ERROR, self._reason)
            if self._reason == _MAX_AGE and self._age is not None:
                self._age.begin_grace(self.now)
            self._schedule()

    def cancel_calls(self, status: Status) -> None:
        """Ends every call that is left; the goodbye doesn't wait for the client any more."""
        for call in list(self.calls.values()):
            if isinstance(call, ServerCall):
                call.cancel(status)
        if self.failure is None:
            self._draining = True
            self._last_goaway()

    # Time.

    def _due(self) -> float:
        when = min(super()._due(), self._drain_by)
        if not self.ready:
            when = min(when, self._handshake_deadline)
        return when if self._age is None else min(when, self._age.due)

    def _check(self, now: float) -> None:
        super()._check(now)
        if not self.ready and now >= self._handshake_deadline:
            self.fail(ErrorCode.SETTINGS_TIMEOUT, "the client did not finish the HTTP/2 handshake in time")
        if self.failure is None and now >= self._drain_by:
            self._last_goaway()
        if self.failure is None and self._age is not None:
            self._leave_if_old(self._age, now)

    def _leave_if_old(self, age: ConnectionAge, now: float) -> None:
        leave = age.check(now, bool(self.calls), self.used_at)
        if leave is Leave.IDLE:
            self.shutdown(now, _MAX_IDLE)
        elif leave is Leave.OLD:
            self.shutdown(now, _MAX_AGE)
            self._reason = _MAX_AGE
            if self._last_stream_id is not None:
                age.begin_grace(now)
        elif leave is Leave.NOW:
            self.cancel_calls(_TOO_OLD)

    # Http2Events.

    def headers_received(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:  # noqa: D102
        if stream_id in self.calls:
            super().headers_received(stream_id, headers, end_stream)
            return
        if stream_id > self._refuse_above or self.failure is not None:
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
        if payload == _DRAIN_PING and self._draining:
            self._last_goaway()

    def ping_received(self) -> None:  # noqa: D102
        super().ping_received()
        has_sent, self.engine.has_sent = self.engine.has_sent, False
        if self._strikes.received(self.now, bool(self.calls), has_sent):
            # gRFC A8.
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")


_NO_HEAD = RequestHead("", "", None, None, frozenset(), ())
