"""What a recording of TCP connections consists of."""

import enum
from typing import NamedTuple


class Direction(enum.Enum):
    """Who sent the bytes."""

    CLIENT_TO_SERVER = "client to server"
    SERVER_TO_CLIENT = "server to client"


class EventKind(enum.Enum):
    """What happened to a connection."""

    OPENED = "opened"
    UNREACHABLE = "unreachable"
    DATA = "data"
    #: The sender will send no more; the other direction goes on.
    EOF = "eof"
    #: The sender dropped the connection without saying goodbye.
    RESET = "reset"
    CLOSED = "closed"
    #: The recording is full; bytes are still forwarded but nothing more is recorded.
    FULL = "full"


class Event(NamedTuple):
    """One thing that happened.

    Attributes:
        time: Seconds since the recording began.
        connection: The number of the connection, from 1.
        kind: What happened.
        direction: Whose bytes, end or reset it was, ``None`` if it concerns the whole connection.
        data: The bytes of DATA.
        note: More for people, such as the address of the client or the reason of a failure.
    """

    time: float
    connection: int
    kind: EventKind
    direction: Direction | None = None
    data: bytes = b""
    note: str = ""


class Recording:
    """A list of events that can't grow past a number of bytes."""

    #: What an event costs in memory besides its bytes, roughly; many tiny pieces must not get round the limit.
    EVENT_COST = 200

    def __init__(self, limit: int) -> None:
        """Makes an empty recording.

        Args:
            limit: How many bytes it may hold; 0 to keep nothing.
        """
        self.events: list[Event] = []
        self._room = limit
        self._full = limit == 0

    def add(self, event: Event) -> None:
        """Keeps an event while there is room; the first one without it is replaced by FULL, which is the last."""
        if self._full:
            return
        self._room -= len(event.data) + self.EVENT_COST
        if self._room < 0:
            # A connection with a hole in its bytes can't be read any further.
            self._full = True
            event = Event(event.time, event.connection, EventKind.FULL)
        self.events.append(event)
