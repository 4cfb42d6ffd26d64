"""Streams of the frame engine: their states, and what is remembered of those that are closed.

The state of a stream (RFC 9113, section 5.1) is a number made of bits, because a plain integer is the cheapest thing to
test and to change for every frame:

    bits                           state of the RFC
    0                              open
    REMOTE_ENDED                   half-closed (remote)
    LOCAL_ENDED                    half-closed (local)
    REMOTE_ENDED | LOCAL_ENDED     closed: such a stream is dropped at once, so no stream ever shows it

An idle stream is one whose number is above all that its side has opened. Any other stream that isn't there is closed;
``ClosedStreams`` tells in which way. The reserved states belong to server push, which we refuse.

Two more bits say that the next frame needs a closer look than its state alone:

    AWAITING_HEADERS               a client's stream before its final response headers (RFC 9113, section 8.1)
    COUNTING                       content-length was announced: ``remaining`` bytes of DATA are to come (8.1.1)

From            event                                            to
open            END_STREAM received, sent                        half-closed (remote), half-closed (local)
half-closed     END_STREAM of the other side                     closed
any             RST_STREAM received or sent, a stream error      closed
"""

import enum
from collections import deque

REMOTE_ENDED = 0x1
LOCAL_ENDED = 0x2
AWAITING_HEADERS = 0x4
COUNTING = 0x8
#: What makes a received frame unusual.
NEEDS_CHECK = REMOTE_ENDED | AWAITING_HEADERS | COUNTING

#: Resets that are remembered at least.
_RESETS_KEPT = 1024
#: Gaps between the identifiers of opened streams that are remembered.
_GAPS_KEPT = 16


class Stream:
    """A stream that is open or half-closed.

    Windows are kept as differences to the initial window of the connection, so that a new initial window changes those
    of all streams without a look at any of them (RFC 9113, section 6.9.2), into negative numbers if need be.

    Attributes:
        state: Bits; see the module's text.
        send_credit: What the peer has credited beyond the initial window, less what we have sent, in bytes.
        receive_credit: What we have credited beyond the initial window, less what the peer has sent, in bytes.
        remaining: Bytes of content that content-length still promises, while COUNTING.
    """

    # There is no __init__: a call of one costs more than to set three attributes, and there is a stream for each RPC.
    __slots__ = ("receive_credit", "remaining", "send_credit", "state")

    state: int
    send_credit: int
    receive_credit: int
    remaining: int


class Closing(enum.Enum):
    """In which way a stream was closed."""

    ENDED = enum.auto()
    RESET_BY_US = enum.auto()
    RESET_BY_PEER = enum.auto()
    #: A stream with a higher number was opened before this one ever was (RFC 9113, section 5.1.1).
    SKIPPED = enum.auto()
    #: So long ago that only one thing is known: we may have reset it.
    FORGOTTEN = enum.auto()


class ClosedStreams:
    """How streams were closed, in bounded memory.

    Streams that ended in the ordinary way cost nothing: what is neither skipped nor reset must have ended. Resets are
    kept in two generations; when the younger one is full, the older one is forgotten. Streams up to the highest reset
    that was forgotten are FORGOTTEN, so that a late frame on one of ours is never taken for a mistake of the peer.
    """

    __slots__ = ("_forgotten_up_to", "_older", "_skipped", "_younger")

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._younger: dict[int, Closing] = {}
        self._older: dict[int, Closing] = {}
        self._forgotten_up_to = 0
        #: Made with the first gap, which most clients never leave.
        self._skipped: deque[range] | None = None

    def reset(self, stream_id: int, how: Closing) -> None:
        """Remembers that a stream was reset, and by whom."""
        if len(self._younger) >= _RESETS_KEPT:
            self._forgotten_up_to = max(self._forgotten_up_to, *self._older, 0)
            self._older, self._younger = self._younger, {}
        self._younger[stream_id] = how

    def skipped(self, first: int, after: int) -> None:
        """Remembers that the peer left out the streams from ``first`` on, up to before ``after``."""
        if self._skipped is None:
            self._skipped = deque(maxlen=_GAPS_KEPT)
        self._skipped.append(range(first, after, 2))

    def how(self, stream_id: int) -> Closing:
        """Tells in which way a stream that isn't idle was closed."""
        found = self._younger.get(stream_id) or self._older.get(stream_id)
        if found is not None:
            return found
        if self._skipped and any(stream_id in gap for gap in self._skipped):
            return Closing.SKIPPED
        return Closing.FORGOTTEN if stream_id <= self._forgotten_up_to else Closing.ENDED
