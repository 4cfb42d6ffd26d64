"""HTTP/2 frames by hand: any frame, also one that no library would write, and those of an engine read back.

Written from RFC 9113, sections 4 and 6, without the engines' own modules, so that a slip there can't hide here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import hpack

from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.metadata import Header

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, HAS_PRIORITY = 4, 8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def data(stream_id: int, payload: bytes, end: bool = False, padding: int | None = None) -> bytes:
    if padding is None:
        return frame(DATA, END_STREAM if end else 0, stream_id, payload)
    padded = bytes([padding]) + payload + bytes(padding)
    return frame(DATA, PADDED | (END_STREAM if end else 0), stream_id, padded)


def headers(
    stream_id: int,
    block: bytes,
    end: bool = False,
    *,
    complete: bool = True,
    padding: int | None = None,
    depends_on: int | None = None,
) -> bytes:
    flags = (END_STREAM if end else 0) | (END_HEADERS if complete else 0)
    if depends_on is not None:
        flags |= HAS_PRIORITY
        block = number(depends_on) + b"\x0f" + block
    if padding is not None:
        flags |= PADDED
        block = bytes([padding]) + block + bytes(padding)
    return frame(HEADERS, flags, stream_id, block)


def continuation(stream_id: int, block: bytes, complete: bool = True) -> bytes:
    return frame(CONTINUATION, END_HEADERS if complete else 0, stream_id, block)


def priority(stream_id: int, depends_on: int = 0, weight: int = 255, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, 0, stream_id, number(depends_on | exclusive << 31) + bytes([weight]))


def rst_stream(stream_id: int, error_code: int = ErrorCode.CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream_id, number(error_code))


def settings(*values: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + number(value) for key, value in values))


def ping(payload: bytes = b"12345678", ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last_stream_id: int, error_code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, number(last_stream_id) + number(error_code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, number(increment))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


class Read(NamedTuple):
    """A frame as it was read; ``fields`` are those of the header block that ends with it."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes
    fields: tuple[Header, ...] | None = None


class Reader:
    """Reads the frames that one end writes; they must be valid, and the header blocks decode by ``hpack``."""

    def __init__(self, *, preface: bool) -> None:
        self.decoder = hpack.Decoder(1 << 20)
        self._expected = PREFACE if preface else b""
        self._rest = b""
        self._block: bytes | None = None

    def feed(self, chunk: bytes) -> list[Read]:
        self._rest += chunk
        if self._expected and self._rest:
            assert self._rest.startswith(self._expected)
            self._rest, self._expected = self._rest[len(self._expected) :], b""
        frames = []
        while len(self._rest) >= 9 and len(self._rest) >= 9 + int.from_bytes(self._rest[:3], "big"):
            length = int.from_bytes(self._rest[:3], "big")
            kind, flags, stream_id = self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9], "big")
            frames.append(self._read(kind, flags, stream_id, self._rest[9 : 9 + length]))
            self._rest = self._rest[9 + length :]
        return frames

    def _read(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Read:
        assert (kind == CONTINUATION) == (self._block is not None), "a header block is torn apart"
        if kind not in (HEADERS, CONTINUATION):
            return Read(kind, flags, stream_id, payload)
        self._block = (self._block or b"") + payload
        if not flags & END_HEADERS:
            return Read(kind, flags, stream_id, payload)
        fields = tuple((bytes(name), bytes(value)) for name, value in self.decoder.decode(self._block, raw=True))
        self._block = None
        return Read(kind, flags, stream_id, payload, fields)


def pairs(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a SETTINGS payload in order."""
    parts = (payload[start : start + 6] for start in range(0, len(payload), 6))
    return [(int.from_bytes(part[:2], "big"), int.from_bytes(part[2:], "big")) for part in parts]


def joined(frames: Iterable[bytes]) -> bytes:
    return b"".join(frames)
