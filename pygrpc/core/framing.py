"""Length-prefixed messages: a flag byte, a big-endian length of four bytes, the message (PROTOCOL-HTTP2.md)."""

import struct
from collections.abc import Iterator

PREFIX_SIZE = 5
#: Pieces of a message that wait as they came. A small piece takes far more memory than its bytes, so more are merged.
_MAX_PIECES = 256
_PREFIX = struct.Struct(">BI")


class MessageTooLarge(Exception):
    """A prefix announces more bytes than the receiver accepts.

    Attributes:
        size: The announced size in bytes.
        limit: The largest size accepted, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        """Keeps both figures for the status message."""
        super().__init__(f"received a message of {size} bytes, the limit is {limit}")
        self.size = size
        self.limit = limit


class MalformedMessage(Exception):
    """The bytes are not length-prefixed messages."""


def frame_message(payload: bytes, compressed: bool = False) -> bytes:
    """Puts the five-byte prefix before a message."""
    return _PREFIX.pack(compressed, len(payload)) + payload


class MessageReader:
    """Cuts a stream of bytes into messages, whatever the boundaries of the DATA frames.

    A size is refused as soon as its prefix is here; no byte of such a message is kept.
    """

    __slots__ = ("_buffered", "_chunks", "_compressed", "_limit", "_merged", "_size")

    def __init__(self, limit: int) -> None:
        """Makes a reader.

        Args:
            limit: The largest message accepted, in bytes; -1 for any.
        """
        self._limit = limit if limit >= 0 else 0xFFFFFFFF
        self._merged = bytearray()
        self._chunks: list[bytes] = []
        self._buffered = 0
        #: Size of the message whose prefix was read, or -1 while the prefix is incomplete.
        self._size = -1
        self._compressed = False

    @property
    def buffered(self) -> int:
        """The number of bytes kept that belong to an incomplete message or prefix."""
        return self._buffered

    @property
    def mid_message(self) -> bool:
        """Whether the stream would be truncated if it ended here."""
        return self._buffered > 0 or self._size >= 0

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Takes bytes and yields the messages that they complete as (compressed, message).

        Raises:
            MessageTooLarge: A prefix exceeds the limit.
            MalformedMessage: A flag byte is neither 0 nor 1.
        """
        size = len(data)
        if self._size < 0 and not self._buffered and size >= PREFIX_SIZE:
            # The usual case, one message in one DATA frame, needs no buffer and no second copy.
            flag, length = _PREFIX.unpack_from(data)
            self._check(flag, length)
            if size == PREFIX_SIZE + length:
                yield flag == 1, data[PREFIX_SIZE:]
                return
        yield from self._feed_slowly(data)

    def _feed_slowly(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        offset, end = 0, len(data)
        while True:
            wanted = (PREFIX_SIZE if self._size < 0 else self._size) - self._buffered
            piece = data[offset : offset + wanted]
            if len(piece) < wanted:
                if piece:
                    self._keep(piece)
                return
            offset += wanted
            if self._buffered:
                piece = b"".join((self._merged, *self._chunks, piece))
                self._merged = bytearray()
                self._chunks.clear()
                self._buffered = 0
            if self._size < 0:
                flag, length = _PREFIX.unpack(piece)
                self._check(flag, length)
                self._compressed = flag == 1
                self._size = length
                if length and offset == end:
                    return
            else:
                self._size = -1
                yield self._compressed, piece
                if offset == end:
                    return

    def _keep(self, piece: bytes) -> None:
        self._buffered += len(piece)
        self._chunks.append(piece)
        if len(self._chunks) > _MAX_PIECES:
            self._merged += b"".join(self._chunks)
            self._chunks.clear()

    def _check(self, flag: int, length: int) -> None:
        if flag > 1:
            raise MalformedMessage(f"the flag byte of a message must be 0 or 1, not {flag}")
        if length > self._limit:
            raise MessageTooLarge(length, self._limit)
