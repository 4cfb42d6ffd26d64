"""Just enough HTTP/2 to look at a connection and to play one side of it by hand.

It is made of `hpack` alone, so that it depends neither on the code under test nor on a library that is compared with
it, and it sends whatever it is told, right or wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

Headers = list[tuple[str, str]]


class Frame(NamedTuple):
    """One frame (RFC 9113, section 4.1)."""

    kind: int
    flags: int = 0
    stream: int = 0
    payload: bytes = b""

    def serialize(self) -> bytes:
        """Return the frame as it goes over the wire."""
        head = len(self.payload).to_bytes(3, "big") + bytes((self.kind, self.flags)) + self.stream.to_bytes(4, "big")
        return head + self.payload

    @property
    def number(self) -> int:
        """The payload of a frame that is one number, such as RST_STREAM."""
        return int.from_bytes(self.payload, "big")


def message(payload: bytes, flag: int = 0) -> bytes:
    """Put gRPC's prefix before a message."""
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


@dataclass
class Half:
    """What one side sent on one stream.

    Attributes:
        blocks: The header blocks in order.
        messages: The flag byte and the payload (as sent, so compressed if the flag says so) of each message.
        data: All bytes of DATA, without padding.
        sizes: The length of each DATA frame.
        ended: Whether END_STREAM came.
        reset: The error code of a RST_STREAM.
        credit: What its WINDOW_UPDATEs have added to the window of the other side.
    """

    blocks: list[Headers] = field(default_factory=list)
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    credit: int = 0
    _read: int = 0

    def header(self, name: str) -> str | None:
        """Return the value of a header in whichever block has it."""
        return next((value for block in self.blocks for key, value in block if key == name), None)

    @property
    def flags(self) -> list[int]:
        """The compressed flag of each message."""
        return [flag for flag, _ in self.messages]

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.reset is not None

    def feed(self, data: bytes) -> None:
        """Take the content of a DATA frame."""
        self.data += data
        self.sizes.append(len(data))
        while len(self.data) - self._read >= 5:
            length = int.from_bytes(self.data[self._read + 1 : self._read + 5], "big")
            end = self._read + 5 + length
            if len(self.data) < end:
                return
            self.messages.append((self.data[self._read], bytes(self.data[self._read + 5 : end])))
            self._read = end


class Reader:
    """Reads one direction of one connection.

    Attributes:
        streams: What came on each stream.
        frames: The frames of stream 0, in order.
    """

    def __init__(self, skip: int = 0) -> None:
        """Make a reader that leaves out the first bytes, such as the preface."""
        self.streams: dict[int, Half] = {}
        self.frames: list[Frame] = []
        self._skip = skip
        self._buffer = b""
        self._block = b""
        self._block_ends_stream = False
        self._decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self._decoder.max_allowed_table_size = 1 << 24

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that they complete."""
        self._buffer += data
        if len(self._buffer) < self._skip:
            return []
        self._buffer, self._skip = self._buffer[self._skip :], 0
        frames = []
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                break
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            frame = Frame(self._buffer[3], self._buffer[4], stream, self._buffer[9 : 9 + length])
            self._buffer = self._buffer[9 + length :]
            self._take(frame)
            frames.append(frame)
        return frames

    def _take(self, frame: Frame) -> None:
        if not frame.stream:
            self.frames.append(frame)
            return
        half = self.streams.setdefault(frame.stream, Half())
        payload = frame.payload
        if frame.kind in (DATA, HEADERS) and frame.flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if frame.kind == DATA:
            half.feed(payload)
            half.ended = half.ended or bool(frame.flags & END_STREAM)
        elif frame.kind in (HEADERS, CONTINUATION):
            if frame.kind == HEADERS:
                payload = payload[5:] if frame.flags & HAS_PRIORITY else payload
                self._block_ends_stream = bool(frame.flags & END_STREAM)
            self._block += payload
            if frame.flags & END_HEADERS:
                half.blocks.append([(str(name), str(value)) for name, value in self._decoder.decode(self._block)])
                half.ended = half.ended or self._block_ends_stream
                self._block = b""
        elif frame.kind == RST_STREAM:
            half.reset = frame.number
        elif frame.kind == WINDOW_UPDATE:
            half.credit += frame.number


class Writer:
    """Makes the frames of one direction; only the table of its encoder is state."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()

    def headers(
        self, stream: int, headers: Iterable[tuple[str | bytes, str | bytes]], *, end: bool = False, split: int = 16384
    ) -> bytes:
        """Return HEADERS and, beyond `split` bytes of block, CONTINUATION frames."""
        block = self._encoder.encode([(_raw(name), _raw(value)) for name, value in headers], huffman=False)
        pieces = [block[start : start + split] for start in range(0, len(block), split)] or [b""]
        frames = []
        for number, piece in enumerate(pieces):
            flags = END_HEADERS if number == len(pieces) - 1 else 0
            if number == 0 and end:
                flags |= END_STREAM
            frames.append(Frame(CONTINUATION if number else HEADERS, flags, stream, piece).serialize())
        return b"".join(frames)


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def data(stream: int, content: bytes, *, end: bool = False, split: int = 16384) -> bytes:
    """Return content in DATA frames of at most `split` bytes."""
    pieces = [content[start : start + split] for start in range(0, len(content), split)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        Frame(DATA, END_STREAM if end and number == last else 0, stream, piece).serialize()
        for number, piece in enumerate(pieces)
    )


def padded_data(stream: int, content: bytes, padding: int, *, end: bool = False) -> bytes:
    """Return one DATA frame with padding."""
    flags = PADDED | (END_STREAM if end else 0)
    return Frame(DATA, flags, stream, bytes([padding]) + content + bytes(padding)).serialize()


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return Frame(SETTINGS, 0, 0, payload).serialize()


def reset(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return Frame(RST_STREAM, 0, stream, code.to_bytes(4, "big")).serialize()


def goaway(last_stream: int, code: int = 0, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame."""
    return Frame(GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + debug).serialize()


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return Frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big")).serialize()
