"""How long a server keeps a connection: gRFC A9 (max_connection_idle, max_connection_age and its grace).

    LIVING --idle, or age--> the server says goodbye --the second GOAWAY--> GRACE --grace--> calls are cancelled

The goodbye is that of ``ServerConnection.shutdown``.
"""

import enum
import math
from dataclasses import dataclass

#: The share by which the age varies at random both ways, so that not all clients come back at once (gRFC A9).
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class AgeSettings:
    """How long a server keeps a connection, in seconds, infinite for any time.

    Attributes:
        idle: How long it may be without a call.
        age: How long it may last, give or take a tenth.
        grace: How long its calls may go on beyond that age.
    """

    idle: float = math.inf
    age: float = math.inf
    grace: float = math.inf


#: A connection lasts for as long as the client likes.
NO_AGES = AgeSettings()


class Leave(enum.Enum):
    """What an age asks for."""

    NOT_YET = enum.auto()
    #: The connection has been idle for too long.
    IDLE = enum.auto()
    #: It is too old.
    OLD = enum.auto()
    #: The grace of its calls is over.
    NOW = enum.auto()


class ConnectionAge:
    """The age of one connection. Whoever has it calls ``check`` at ``due``, or later, and does what that says."""

    __slots__ = ("_idle_at", "_looked_at", "_now_at", "_old_at", "_settings", "due")

    def __init__(self, settings: AgeSettings, now: float, random: float) -> None:
        """Begins to count: the connection has just been made.

        Args:
            settings: The figures.
            now: Monotonic time in seconds.
            random: A number from 0 to 1, which decides on the age.
        """
        self._settings = settings
        #: When to look whether the connection has been idle, and when somebody last has.
        self._idle_at = now + settings.idle
        self._looked_at = now
        self._old_at = now + settings.age * (1 + _JITTER * (2 * random - 1))
        self._now_at = math.inf
        #: When ``check`` is to be called; infinite for never.
        self.due = min(self._idle_at, self._old_at)

    def begin_grace(self, now: float) -> None:
        """No further call can begin on this connection, which is too old: those that it has may go on for a while."""
        self._now_at = now + self._settings.grace
        self.due = min(self.due, self._now_at)

    def check(self, now: float, has_calls: bool, used_at: float) -> Leave:
        """Says what is to be done, and sets ``due``.

        Args:
            now: Monotonic time in seconds.
            has_calls: Whether a call is under way.
            used_at: A time at which the last call was still under way, or ended: not before the last look if it was
                seen then.
        """
        leave = Leave.NOT_YET
        if now >= self._now_at:
            leave = Leave.NOW
            self._idle_at = self._old_at = self._now_at = math.inf
        elif now >= self._old_at:
            leave = Leave.OLD
            self._idle_at = self._old_at = math.inf
        elif now >= self._idle_at and (has_calls or used_at >= self._looked_at):
            # Nobody knows how long it has been idle, so it is looked at again: that may be up to twice the time, as in
            # grpcio, and nothing needs to be done when a call ends.
            self._looked_at = now
            self._idle_at = now + self._settings.idle
        elif now >= self._idle_at:
            leave = Leave.IDLE
            self._idle_at = math.inf
        self.due = min(self._idle_at, self._old_at, self._now_at)
        return leave
