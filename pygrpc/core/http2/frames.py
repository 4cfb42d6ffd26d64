"""Frames on the wire: their numbers (RFC 9113, section 6), how small ones are written, and what makes one invalid."""

import struct
from collections.abc import Iterable

from pygrpc.core.http2.codes import ErrorCode

#: What a client says first (RFC 9113, section 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

# The settings of RFC 9113, section 6.5.2.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

FRAME_HEAD_SIZE = 9
#: The nine bytes before a payload as three numbers: length and type together (``length << 8 | type``), flags, stream.
FRAME_HEAD = struct.Struct(">IBI")
#: The frame sizes that a peer may announce (RFC 9113, section 4.2).
SMALLEST_MAX_FRAME_SIZE, LARGEST_MAX_FRAME_SIZE = 1 << 14, (1 << 24) - 1
#: The largest flow-control window (RFC 9113, section 6.9.1), and the largest number that 31 bits hold.
MAX_WINDOW = (1 << 31) - 1

_ONE_NUMBER = struct.Struct(">IBII")
_TWO_NUMBERS = struct.Struct(">IBIII")
_SETTING = struct.Struct(">HI")


def rst_stream_frame(stream_id: int, error_code: int) -> bytes:
    """Writes RST_STREAM (RFC 9113, section 6.4)."""
    return _ONE_NUMBER.pack(4 << 8 | RST_STREAM, 0, stream_id, error_code)


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """Writes WINDOW_UPDATE (RFC 9113, section 6.9)."""
    return _ONE_NUMBER.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def ping_frame(payload: bytes, flags: int) -> bytes:
    """Writes PING with its eight bytes of payload (RFC 9113, section 6.7)."""
    return FRAME_HEAD.pack(8 << 8 | PING, flags, 0) + payload


def goaway_frame(last_stream_id: int, error_code: int, debug: bytes) -> bytes:
    """Writes GOAWAY (RFC 9113, section 6.8)."""
    return _TWO_NUMBERS.pack((8 + len(debug)) << 8 | GOAWAY, 0, 0, last_stream_id, error_code) + debug


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    """Writes SETTINGS that are no acknowledgement (RFC 9113, section 6.5)."""
    payload = b"".join(_SETTING.pack(identifier, value) for identifier, value in settings)
    return FRAME_HEAD.pack(len(payload) << 8 | SETTINGS, 0, 0) + payload


def read_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """Reads the identifiers and values of SETTINGS; the payload must be a multiple of six bytes."""
    return _SETTING.iter_unpack(payload)


#: SETTINGS that acknowledge those of the peer.
SETTINGS_ACK = FRAME_HEAD.pack(SETTINGS, ACK, 0)


class ConnectionBroken(Exception):
    """The peer broke a rule, and the connection with it (RFC 9113, section 5.4.1); it never leaves the engine.

    Attributes:
        error_code: What GOAWAY says.
    """

    def __init__(self, error_code: int, message: str) -> None:
        """Keeps what is said to the peer, and to the engine's owner."""
        super().__init__(message)
        self.error_code = error_code


def without_padding(payload: bytes) -> bytes:
    """Takes off the padding and its length (RFC 9113, section 6.1).

    Raises:
        ConnectionBroken: The padding doesn't fit into the frame.
    """
    if not payload:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "a padded frame has no room for the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "the padding of a frame is longer than the frame")
    return payload[1 : len(payload) - padding]


def require_size(what: str, payload: bytes, size: int) -> None:
    """Checks a payload whose size is fixed (RFC 9113, section 4.2).

    Raises:
        ConnectionBroken: It has another size.
    """
    if len(payload) != size:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, f"{what} has {size} bytes of payload, not {len(payload)}")
