"""One connection and its calls: who gets to send, who is credited, how a connection ends.

A shell moves the bytes. It passes what it reads to ``receive_data``, and then, or when ``on_output`` calls it, writes
what ``data_to_send`` returns, until that is empty. While its own write buffer is full it sets ``sending_paused``: no
DATA is made then, so that a slow reader costs no memory. ``closing`` says when to close the socket. ``wakeup`` says
when to call ``handle_timeout``. Time is monotonic, in seconds, and always an argument.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pygrpc.core.bandwidth import BandwidthProbe
from pygrpc.core.call import SEND_BACKLOG, Call
from pygrpc.core.headers import MalformedHeaders
from pygrpc.core.http2 import ErrorCode, Http2Settings, create_engine, error_name
from pygrpc.core.keepalive import KEEPALIVE_PING, Keepalive, KeepaliveSettings, Verdict
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

#: DATA that is queued in the engine at most before the shell has to write it, in bytes.
_BURST = 262_144
#: Our DATA frames are not larger than this, in bytes, so that one stream doesn't hold up the others for long.
_LARGEST_FRAME = 131_072
#: Unread bytes of all calls together beyond which the connection gets no more credit.
_UNREAD_LIMIT = 32 << 20
#: Bytes of answers (to PING, SETTINGS, ...) that a peer may cause without reading them.
_UNSENT_LIMIT = 1 << 20
#: The payload of a PING that measures the path.
_PROBE_PING = b"bdpprobe"


@dataclass(frozen=True, slots=True)
class AbuseLimits:
    """How much of what costs us work, and no call needs, a peer may do.

    Attributes:
        burst: Frames of that kind that may come at once: PING, SETTINGS, RST_STREAM.
        per_second: How many more may come each second.
    """

    burst: int = 10_000
    per_second: float = 1_000.0


DEFAULT_ABUSE_LIMITS = AbuseLimits()


def _nothing() -> None:
    """Does nothing: the default of ``Connection.on_output``."""


class Connection:
    """One end of a connection; the base of ClientConnection and ServerConnection.

    An instance has no more than 30 attributes of its own unless something rare has happened: with more of them CPython
    gives up its fast way to them. What is rare, or isn't looked at for each call, begins as an attribute of the class.
    """

    #: When handle_timeout is to be called, or None. It is another object whenever it is another time.
    wakeup: float | None = None
    #: Whether nobody is there any more to take what is queued, so that the socket is not to wait for that.
    abandoned = False
    #: Whether the peer is there, unless nobody wants to know.
    _keepalive: Keepalive | None = None
    #: Measures the path; made when much comes for the first time.
    _probe: BandwidthProbe | None = None

    def __init__(
        self,
        settings: Http2Settings,
        client_side: bool,
        now: float,
        abuse: AbuseLimits,
        keepalive: KeepaliveSettings,
    ) -> None:
        """Makes a connection on which the preface is queued."""
        self.engine = create_engine(self, settings, client_side)
        #: Called when there is something to write, in case the shell isn't about to look anyway.
        self.on_output: Callable[[], None] = _nothing
        self.calls: dict[int, Call] = {}
        self.now = now
        #: When something has last come from the peer.
        self.heard_at = now
        #: When the last call ended, as far as ``now`` was known then, or else the connection began.
        self.used_at = now
        #: Why the connection can't be used any more, or None.
        self.failure: Status | None = None
        #: Set by the shell while its write buffer is full.
        self.sending_paused = False
        #: Whether the peer's SETTINGS have arrived.
        self.ready = False
        self.send_frame_size = 16_384
        self.credit_threshold = settings.stream_window // 4
        self._connection_threshold = settings.connection_window // 4
        #: Bytes of all calls that wait for a reader; see ``Call.unread``.
        self.unread = 0
        #: DATA that came: all for which the peer has credit again, and what is behind it.
        self._credited = 0
        self._owed = 0
        self._settings = settings
        #: Whether so much has come that a measurement may begin with the next bytes.
        self._probe_due = False
        #: Calls with something to send, in turn; and those of them that wait for the peer's window.
        self._senders: dict[Call, None] = {}
        self._blocked: dict[Call, None] = {}
        self._abuse = abuse
        self._allowance = float(abuse.burst)
        self._allowance_at = now
        if keepalive.time < math.inf:
            self._keepalive = Keepalive(keepalive, now)
        self.engine.start()

    # What a shell calls.

    @property
    def closing(self) -> bool:
        """Whether the socket is to be closed once everything queued is written."""
        return self.failure is not None

    def receive_data(self, data: bytes, now: float) -> None:
        """Takes bytes from the peer; calls are told what they mean before this returns."""
        self.now = self.heard_at = now
        if self.failure is not None:
            return
        if self._probe_due:
            self._begin_probe()
        self.engine.receive_data(data)
        queued = self.engine.queued
        if queued:
            # Answers that the engine gives by itself: to PING, to SETTINGS, to what is wrong with a stream.
            self.on_output()
        if queued > _UNSENT_LIMIT and self.sending_paused:
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, "the peer causes answers that it doesn't read")

    def data_to_send(self) -> bytes:
        """Returns bytes to write; call again until it is empty."""
        engine = self.engine
        senders = self._senders
        if not senders and not engine.queued:
            return b""
        while senders and not self.sending_paused and engine.queued < _BURST:
            call = next(iter(senders))
            del senders[call]
            before = call.pending_bytes
            if call.pump():
                # To the back of the queue: each stream gets one frame in turn.
                senders[call] = None
            elif call.pending_bytes:
                self._blocked[call] = None
            if before > SEND_BACKLOG >= call.pending_bytes:
                call.writable()
        return engine.data_to_send()

    def lost(self, message: str) -> None:
        """The socket is closed or broken; every call ends."""
        if self.failure is None:
            self.failure = Status(StatusCode.UNAVAILABLE, message)
        self._end_calls(self.failure)

    def handle_timeout(self, now: float) -> None:
        """Does what is due."""
        self.now = now
        if self.failure is None:
            self._check(now)
        self._schedule()

    def _check(self, now: float) -> None:
        """Does what is due on a connection that hasn't failed."""
        if self._keepalive is not None and self.ready:
            self._keep_alive(self._keepalive, now)

    def _keep_alive(self, keepalive: Keepalive, now: float) -> None:
        engine = self.engine
        verdict = keepalive.check(now, self.heard_at, bool(self.calls), engine.has_sent)
        if verdict is Verdict.PING:
            engine.has_sent = False
            engine.send_ping(KEEPALIVE_PING)
            self.on_output()
        elif verdict is Verdict.DEAD:
            self.abandoned = True
            self.fail(ErrorCode.NO_ERROR, "keepalive watchdog timeout")

    def _schedule(self) -> None:
        """Sets ``wakeup``, when one of the times has changed that it is for."""
        when = math.inf if self.failure is not None else self._due()
        if when < math.inf:
            self.wakeup = when
        elif self.wakeup is not None:
            self.wakeup = None

    def _due(self) -> float:
        """When something is due; infinite for never."""
        return math.inf if self._keepalive is None or not self.ready else self._keepalive.due

    # What calls use.

    def want_to_send(self, call: Call) -> None:
        """Puts a call with queued output in line."""
        self._senders[call] = None
        self.on_output()

    def may_send_now(self) -> bool:
        """Whether DATA of a call may go to the engine at once, past the calls that are in line for the next write."""
        return not self.sending_paused and self.engine.queued < _BURST

    def bytes_read(self, size: int) -> None:
        """Somebody has read, or dropped, bytes of a call's DATA."""
        self.unread -= size
        if self._owed >= self._connection_threshold:
            self._credit_connection()

    def forget(self, call: Call) -> None:
        """Takes a call off the connection: it is over in both directions."""
        if self.calls.get(call.stream_id) is call:
            del self.calls[call.stream_id]
            self.used_at = self.now
            if self._senders:
                self._senders.pop(call, None)
            if self._blocked:
                self._blocked.pop(call, None)
            # Messages may still wait to be read, but they hold up no other call's credit any more.
            if call.unread:
                self.bytes_read(call.unread)
                call.unread = 0
            self.on_output()

    def fail(self, error_code: int, message: str) -> None:
        """Gives the connection up: GOAWAY is queued and every call ends."""
        if self.failure is None:
            self.engine.send_goaway(self.engine.last_peer_stream_id, error_code, message.encode()[:128])
            self._failed(message)
            self.on_output()

    def _failed(self, message: str) -> None:
        self.failure = Status(StatusCode.UNAVAILABLE, message)
        self._end_calls(self.failure)

    def _end_calls(self, status: Status) -> None:
        self._senders.clear()
        self._blocked.clear()
        for call in list(self.calls.values()):
            call.connection_lost(status)
        self.calls.clear()

    # Http2Events.

    def headers_received(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:  # noqa: D102
        call = self.calls.get(stream_id)
        if call is None:
            return
        try:
            call.headers_received(headers, end_stream)
        except MalformedHeaders as error:
            self.engine.reset_stream(stream_id, error.error_code)
            self.stream_reset(stream_id, error.error_code, False)

    def data_received(self, stream_id: int, data: bytes, flow_controlled: int, end_stream: bool) -> None:  # noqa: D102
        self._owed += flow_controlled
        call = self.calls.get(stream_id)
        if call is not None:
            call.data_received(data, flow_controlled, end_stream)
        if self._owed >= self._connection_threshold:
            self._credit_connection()

    def _credit_connection(self) -> None:
        if self.unread <= _UNREAD_LIMIT:
            self.engine.increment_window(0, self._owed)
            self._credited += self._owed
            self._owed = 0
            self._probe_due = self._settings.bdp_probe
            self.on_output()

    def _begin_probe(self) -> None:
        # The first bytes that come are those behind the pause of a sender that had to wait, if it had to.
        self._probe_due = False
        if self._probe is None:
            self._probe = BandwidthProbe(self._settings.stream_window)
        if self._probe.begin(self._credited + self._owed, self.now):
            self.engine.send_ping(_PROBE_PING)

    def _grow_windows(self, stream_window: int) -> None:
        self.engine.grow_stream_window(stream_window)
        self.credit_threshold = stream_window // 4
        missing = stream_window - 4 * self._connection_threshold
        if missing > 0:
            self.engine.increment_window(0, missing)
            self._connection_threshold = stream_window // 4
        self.on_output()

    def stream_reset(self, stream_id: int, error_code: int, remote: bool) -> None:  # noqa: D102
        call = self.calls.get(stream_id)
        if call is not None:
            call.stream_reset(error_code, remote)
        # What makes us reset a stream costs us as much as a reset by the peer (CVE-2025-8671).
        self._count_abuse("RST_STREAM" if remote else "malformed")

    def window_opened(self, stream_id: int) -> None:  # noqa: D102
        if stream_id:
            call = self.calls.get(stream_id)
            if call in self._blocked:
                del self._blocked[call]
                self.want_to_send(call)
        elif self._blocked:
            self._senders |= self._blocked
            self._blocked.clear()
            self.on_output()

    def settings_received(self) -> None:  # noqa: D102
        self._count_abuse("SETTINGS")
        if not self.ready:
            self.ready = True
            self._established()
        self.send_frame_size = min(self.engine.peer_max_frame_size, _LARGEST_FRAME)

    def _established(self) -> None:
        """The peer's first SETTINGS are here."""
        if self._keepalive is not None:
            self._keepalive.begin(self.now)
        self._schedule()

    def ping_acknowledged(self, payload: bytes) -> None:
        """A PING of ours was answered."""
        if payload == KEEPALIVE_PING and self._keepalive is not None:
            self._keepalive.answered(self.now)
            self._schedule()
        probe = self._probe
        if payload == _PROBE_PING and probe is not None and probe.end(self._credited + self._owed, self.now):
            self._grow_windows(probe.window)

    def ping_received(self) -> None:  # noqa: D102
        self._count_abuse("PING")

    def goaway_received(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The peer handles no stream of ours above ``last_stream_id``."""

    def connection_failed(self, error_code: int, message: str) -> None:  # noqa: D102
        self._failed(f"the peer broke HTTP/2 ({error_name(error_code)}): {message}")

    def _count_abuse(self, what: str) -> None:
        # A token bucket; RST_STREAM is in it because of the rapid reset attack (CVE-2023-44487).
        abuse = self._abuse
        elapsed = self.now - self._allowance_at
        self._allowance = min(self._allowance + elapsed * abuse.per_second, abuse.burst) - 1
        self._allowance_at = self.now
        if self._allowance < 0:
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what} frames")
