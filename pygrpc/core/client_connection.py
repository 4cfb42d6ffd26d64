"""The client's end of a connection: starting calls within the server's limit, and leaving when the server says so."""

import functools
from collections.abc import Callable
from typing import Protocol

from pygrpc.core.call import Call
from pygrpc.core.client_call import ClientCall
from pygrpc.core.connection import DEFAULT_ABUSE_LIMITS, AbuseLimits, Connection
from pygrpc.core.http2 import MAX_STREAM_ID, ErrorCode, Http2Settings, error_name
from pygrpc.core.http2.engine import HeadersTooLarge, StreamsExhausted
from pygrpc.core.keepalive import NO_KEEPALIVE, KeepaliveSettings
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_HTTP1 = b"HTTP/"
_SETTINGS = 4
#: What a server says to a client that pings too often (gRFC A8), and what becomes of the keepalive time then.
_TOO_MANY_PINGS = b"too_many_pings"
_LONGER = 2


class ClientConnectionOwner(Protocol):
    """Who made a connection and gives it calls."""

    def on_ready(self) -> None:
        """The server's SETTINGS arrived: the connection works."""

    def on_draining(self) -> None:
        """The connection takes no new calls; those that are on it finish here."""

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """These calls never left, or the server has not handled them: they are to be started anew."""


class ClientConnection(Connection):
    """A connection to a server.

    Calls beyond the server's MAX_CONCURRENT_STREAMS wait here in order. Several connections to one address may share
    their queue: then a call goes to the first of them that has room (gRFC A105), and leaving one loses none. After a
    GOAWAY the calls that the server handles finish, and ``closing`` becomes true behind the last of them.
    """

    #: The keepalive time that further connections need, in seconds, if the server has complained of this one's.
    least_keepalive_time = 0.0
    #: What the server said in a GOAWAY that was for an error.
    _complaint = ""

    def __init__(
        self,
        owner: ClientConnectionOwner,
        settings: Http2Settings,
        now: float,
        abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
        keepalive: KeepaliveSettings = NO_KEEPALIVE,
    ) -> None:
        """Makes a connection on which the preface is queued; calls may start right away."""
        self._owner = owner
        self._queue: dict[ClientCall, None] = {}
        #: The connections that share the queue, this one among them; None while it is alone.
        self._group: list[ClientConnection] | None = None
        #: Called when a call has to wait for a stream, for who may make another connection; or None.
        self.on_full: Callable[[], None] | None = None
        #: Whether no new call may start: the server said GOAWAY, the identifiers are used up, or we want to leave.
        self.draining = False
        #: The first bytes of the server until there are enough to tell what it speaks, then None.
        self._first_bytes: bytes | None = b""
        super().__init__(settings, client_side=True, now=now, abuse=abuse, keepalive=keepalive)

    @property
    def closing(self) -> bool:
        """Whether the socket is to be closed: the connection failed, or it drains and its last call is over."""
        return self.failure is not None or (self.draining and not self.calls)

    def all_calls(self) -> list[ClientCall]:
        """The user's calls that are on streams or wait for one; a queue that is shared counts for its first owner."""
        calls = [call for call in self.calls.values() if isinstance(call, ClientCall)]
        if self._group is None or self._group[0] is self:
            calls += self._queue
        return [call for call in calls if not call.internal]

    @property
    def has_waiting(self) -> bool:
        """Whether calls wait for a stream."""
        return bool(self._queue)

    def start(self, call: ClientCall) -> None:
        """Starts a call, or lets it wait while the server allows no more streams; not to be called when draining."""
        if len(self.calls) < self.engine.peer_max_concurrent_streams and not self._queue:
            self._open(call)
        else:
            self._wait(call)
            if self.on_full is not None:
                self._open_on(self._group or [])
                if self._queue:
                    self.on_full()

    def join(self, other: "ClientConnection") -> None:
        """Shares the queue of another connection to the same address; this one has none of its own yet."""
        group = other._group
        if group is None:
            group = other._group = [other]
        group.append(self)
        self._group, self._queue = group, other._queue
        self._open_waiting()

    def _wait(self, call: ClientCall) -> None:
        queue = self._queue
        queue[call] = None
        call.stop_waiting = functools.partial(queue.pop, call, None)

    def _open_on(self, group: "list[ClientConnection]") -> None:
        for other in list(group):
            if other is not self and other._queue:
                other.now = max(self.now, other.now)
                other._open_waiting()

    def _open(self, call: ClientCall) -> None:
        timeout = None if call.deadline is None else call.deadline - self.now
        try:
            call.stream_id = self.engine.open_stream(call.request_headers(timeout), end_stream=False)
        except StreamsExhausted:
            self._wait(call)
            self.drain()
            return
        except HeadersTooLarge as error:
            details = f"the metadata to be sent exceed the server's limit: {error.size} vs. {error.limit} bytes"
            call.cancel(Status(StatusCode.RESOURCE_EXHAUSTED, details))
            return
        call.connection = self
        self.calls[call.stream_id] = call
        if self._senders or not self.may_send_now() or call.pump():
            self._senders[call] = None
        elif call.pending_bytes:
            self._blocked[call] = None
        self.on_output()
        call.started()

    def _open_waiting(self) -> None:
        while self._queue and not self.draining and len(self.calls) < self.engine.peer_max_concurrent_streams:
            call = next(iter(self._queue))
            del self._queue[call]
            self._open(call)

    def forget(self, call: Call) -> None:
        """Takes a call off the connection, which may make room for one that waits."""
        super().forget(call)
        if self._queue:
            self._open_waiting()

    def drain(self) -> None:
        """Lets the calls on streams finish, hands back those that wait, and takes no more."""
        if self.draining:
            return
        self.draining = True
        group, self._group = self._group, None
        queue, self._queue = self._queue, {}
        if group is not None:
            group.remove(self)
            if group:
                # The others go on with those that wait.
                queue = {}
        for call in queue:
            call.stop_waiting = None
        self._owner.on_draining()
        if queue:
            self._owner.on_unsent(list(queue))
        if group:
            self._open_on(group)

    def receive_data(self, data: bytes, now: float) -> None:
        """Takes bytes from the server."""
        if self._first_bytes is not None:
            data = self._first_bytes + data
            if len(data) < len(_HTTP1):
                self._first_bytes = data
                return
            self._first_bytes = None
            self._check_protocol(data)
        super().receive_data(data, now)

    def _check_protocol(self, data: bytes) -> None:
        if data.startswith(_HTTP1):
            line = data.split(b"\r\n", 1)[0][:64].decode("latin-1")
            self._failed(f"the peer answered {line!r}: it speaks HTTP/1, not HTTP/2")
        elif data[3] != _SETTINGS:
            # RFC 9113, section 3.4: the first frame is SETTINGS; behind three bytes of length comes the type.
            self._failed(f"the peer does not speak HTTP/2: its answer begins with {data[:16]!r}")

    def settings_received(self) -> None:  # noqa: D102
        first = not self.ready
        super().settings_received()
        if first:
            self._owner.on_ready()
        self._open_waiting()

    def goaway_received(self, last_stream_id: int, error_code: int, debug: bytes) -> None:  # noqa: D102
        text = debug[:128].decode("utf-8", "replace")
        reason = f"the server sent GOAWAY ({error_name(error_code)}{', ' + text if text else ''})"
        if error_code != ErrorCode.NO_ERROR:
            self._complaint = reason
            calm = error_code == ErrorCode.ENHANCE_YOUR_CALM and debug == _TOO_MANY_PINGS
            if calm and self._keepalive is not None:
                self.least_keepalive_time = self._keepalive.time * _LONGER
        self.drain()
        status = Status(StatusCode.UNAVAILABLE, f"{reason} before it handled this call")
        for stream_id, call in list(self.calls.items()):
            if stream_id > last_stream_id and not self._restarted(call):
                call.connection_lost(status)
                self.forget(call)
        if error_code != ErrorCode.NO_ERROR and last_stream_id != MAX_STREAM_ID and not self.calls:
            self.failure = Status(StatusCode.UNAVAILABLE, reason)

    def lost(self, message: str) -> None:
        """The socket is closed or broken; every call ends."""
        super().lost(f"{self._complaint}: {message}" if self._complaint else message)

    def stream_reset(self, stream_id: int, error_code: int, remote: bool) -> None:  # noqa: D102
        call = self.calls.get(stream_id)
        if call is None or not remote or error_code != ErrorCode.REFUSED_STREAM or not self._restarted(call):
            super().stream_reset(stream_id, error_code, remote)

    def _restarted(self, call: Call) -> bool:
        """Starts a call anew that the server has not handled, if that can be."""
        assert isinstance(call, ClientCall)
        if not call.restart():
            return False
        self._owner.on_unsent([call])
        return True

    def _end_calls(self, status: Status) -> None:
        self.drain()
        super()._end_calls(status)
