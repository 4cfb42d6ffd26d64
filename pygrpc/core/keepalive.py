"""Keepalive: when to ask a silent peer whether it is still there, and which PINGs of a client are too many.

doc/keepalive.md of the grpc repository and the gRFCs A8 and A9 say what both ends do. Where they and grpcio differ,
this follows grpcio:

- A client pings once a second at most, whatever its keepalive time (A8 has a least keepalive time of ten seconds).
- Behind ``max_pings_without_data`` PINGs without HEADERS or DATA of our own between them, one is sent each minute.

    WAITING --time without a word--> ASKED --timeout without a word--> the connection is dead
       ^                               |
       +---------- any data -----------+
"""

import enum
import math
from dataclasses import dataclass

#: The payload of the PING that asks.
KEEPALIVE_PING = b"keepaliv"
#: Seconds between two PINGs of a client, and between those that no data of ours goes with.
_LEAST_INTERVAL = 1.0
_INTERVAL_WITHOUT_DATA = 60.0
#: Seconds between two PINGs of a client without calls, unless it may send more, as TCP has it (RFC 9293, 3.8.4).
_INTERVAL_WITHOUT_CALLS = 7200.0


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """When one end of a connection asks the other whether it is there; times in seconds, infinite for any time.

    Attributes:
        time: How long nothing may come from the peer before it is asked.
        timeout: How long the answer may take.
        without_calls: Whether it is asked while no call is under way.
        pings_without_data: How many PINGs may be sent without HEADERS or DATA between them; 0 for any number.
        least_interval: The least time between two PINGs.
    """

    time: float = math.inf
    timeout: float = 20.0
    without_calls: bool = False
    pings_without_data: int = 2
    least_interval: float = _LEAST_INTERVAL


#: A peer that says nothing is not asked.
NO_KEEPALIVE = KeepaliveSettings()


class Verdict(enum.Enum):
    """What a keepalive asks for."""

    WAIT = enum.auto()
    PING = enum.auto()
    DEAD = enum.auto()


class Keepalive:
    """What one end knows of its peer's being alive.

    Whoever has it calls ``check`` at ``due``, or later, and does what that says. Between these calls nothing is to be
    done but to note when something comes, and to call ``answered`` for the answer to a PING.
    """

    __slots__ = ("_asked_at", "_pinged_at", "_pings_left", "_settings", "due")

    def __init__(self, settings: KeepaliveSettings, now: float) -> None:
        """Begins to wait.

        Args:
            settings: The figures.
            now: Monotonic time in seconds.
        """
        self._settings = settings
        #: When the peer was asked, or None while it needs not answer.
        self._asked_at: float | None = None
        #: When the last PING was sent, and how many more may be before something else is sent.
        self._pinged_at = -math.inf
        self._pings_left = 0
        #: When ``check`` is to be called; infinite for never.
        self.due = now + settings.time

    @property
    def time(self) -> float:
        """The keepalive time in seconds."""
        return self._settings.time

    def begin(self, now: float) -> None:
        """Begins anew: the connection has just been established."""
        self.due = now + self._settings.time

    def answered(self, now: float) -> None:
        """The answer to a PING has come."""
        if self._asked_at is not None:
            self._asked_at = None
            self.due = now + self._settings.time

    def check(self, now: float, heard_at: float, has_calls: bool, has_sent: bool) -> Verdict:
        """Says what is to be done, and sets ``due``.

        Args:
            now: Monotonic time in seconds.
            heard_at: When something has last come from the peer.
            has_calls: Whether a call is under way.
            has_sent: Whether HEADERS or DATA were sent since the last PING.
        """
        if now < self.due:
            return Verdict.WAIT
        if self._asked_at is not None:
            if heard_at <= self._asked_at:
                return Verdict.DEAD
            # Something else came than the answer; it proves as much.
            self._asked_at = None
        settings = self._settings
        self.due = max(heard_at + settings.time, self._may_ping_at(now, has_sent))
        if self.due > now:
            return Verdict.WAIT
        if not has_calls and not settings.without_calls:
            self.due = now + settings.time
            return Verdict.WAIT
        if has_sent:
            self._pings_left = settings.pings_without_data
        self._pings_left -= 1
        self._asked_at = self._pinged_at = now
        self.due = now + settings.timeout
        return Verdict.PING

    def _may_ping_at(self, now: float, has_sent: bool) -> float:
        settings = self._settings
        if settings.pings_without_data and not has_sent and self._pings_left <= 0:
            # Nobody says so when something is sent, so that is looked at again.
            return min(self._pinged_at + _INTERVAL_WITHOUT_DATA, now + max(settings.time, settings.least_interval))
        return self._pinged_at + settings.least_interval


@dataclass(frozen=True, slots=True)
class PingLimits:
    """Which PINGs a server puts up with; times in seconds.

    Attributes:
        interval: The least time between two PINGs of a client, unless the server sends HEADERS or DATA between them.
        strikes: How many PINGs may come too early; 0 for any number.
        without_calls: Whether the same interval holds while no call is under way; else it is two hours.
    """

    interval: float = 300.0
    strikes: int = 2
    without_calls: bool = False


#: A client may ping as often as it likes.
ANY_PINGS = PingLimits(strikes=0)


class PingStrikes:
    """The PINGs of one client that came too early."""

    __slots__ = ("_last_at", "_limits", "_strikes")

    def __init__(self, limits: PingLimits) -> None:
        """Begins without any."""
        self._limits = limits
        self._last_at: float | None = None
        self._strikes = 0

    def received(self, now: float, has_calls: bool, has_sent: bool) -> bool:
        """A PING has come.

        Args:
            now: Monotonic time in seconds.
            has_calls: Whether a call is under way.
            has_sent: Whether HEADERS or DATA were sent since the last PING came.

        Returns:
            Whether it is one too many.
        """
        limits = self._limits
        if has_sent:
            self._last_at = None
            self._strikes = 0
        last, self._last_at = self._last_at, now
        interval = limits.interval if has_calls or limits.without_calls else _INTERVAL_WITHOUT_CALLS
        if last is None or now >= last + interval:
            return False
        self._strikes += 1
        return 0 < limits.strikes < self._strikes
