"""Length-prefixed messages: a flag byte, a big-endian length of four bytes, the message (PROTOCOL-HTTP2.md)."""

import struct
from typing import NamedTuple, NoReturn, Protocol

PREFIX_SIZE = 5
#: Pieces of a message that wait as they came. A small piece takes far more memory than its bytes, so more are merged.
_MAX_PIECES = 256
_PREFIX = struct.Struct(">BI")
_unpack_prefix = _PREFIX.unpack_from
_pack_prefix = _PREFIX.pack
#: What -1, any size, means: the largest size that a prefix can announce.
_LARGEST_SIZE = 0xFFFFFFFF


class Compressed(NamedTuple):
    """A message whose flag says that it is compressed."""

    payload: bytes


#: A message as it came. Few are compressed, so the others are nothing but their bytes: a flood of small messages that
#: wait to be read must not take many times the memory of its bytes.
Message = bytes | Compressed


class Messages(Protocol):
    """Where messages are put."""

    def append(self, message: Message, /) -> None:
        """Adds one."""


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
    return _pack_prefix(compressed, len(payload)) + payload


def message_prefix(size: int, compressed: bool) -> bytes:
    """The prefix alone, for a message of so many bytes."""
    return _pack_prefix(compressed, size)


def only_message(data: bytes, limit: int) -> Message | None:
    """Reads bytes that are exactly one message, which most DATA frames are.

    Args:
        data: The bytes.
        limit: The largest message accepted, in bytes; -1 for any.

    Returns:
        The message; None if they are anything else, which is for a ``MessageReader`` to look at.
    """
    size = len(data) - PREFIX_SIZE
    if size < 0 or size > limit >= 0:
        return None
    flag, length = _unpack_prefix(data)
    if length != size or flag > 1:
        return None
    return Compressed(data[PREFIX_SIZE:]) if flag else data[PREFIX_SIZE:]


class MessageReader:
    """Cuts a stream of bytes into messages, whatever the boundaries of the DATA frames.

    A size is refused as soon as its prefix is here; no byte of such a message is kept.
    """

    __slots__ = ("_chunks", "_compressed", "_limit", "_merged", "_size", "buffered")

    def __init__(self, limit: int) -> None:
        """Makes a reader.

        Args:
            limit: The largest message accepted, in bytes; -1 for any.
        """
        self._limit = limit if limit >= 0 else _LARGEST_SIZE
        self._merged = bytearray()
        self._chunks: list[bytes] = []
        #: The number of bytes kept that belong to an incomplete message or prefix.
        self.buffered = 0
        #: Size of the message whose prefix was read, or -1 while the prefix is incomplete.
        self._size = -1
        self._compressed = False

    @property
    def taken(self) -> int:
        """The number of bytes that belong to what is incomplete: those kept, and a prefix that was read."""
        return self.buffered if self._size < 0 else self.buffered + PREFIX_SIZE

    @property
    def mid_message(self) -> bool:
        """Whether the stream would be truncated if it ended here."""
        return self.buffered > 0 or self._size >= 0

    def feed(self, data: bytes, messages: Messages) -> None:
        """Takes bytes, and appends the messages that they complete.

        Raises:
            MessageTooLarge: A prefix exceeds the limit; the messages before it have been appended.
            MalformedMessage: A flag byte is neither 0 nor 1; likewise.
        """
        offset, end, limit = 0, len(data), self._limit
        while self.buffered or self._size >= 0:
            # Something is incomplete: the rest of a prefix, or of a message.
            wanted = (PREFIX_SIZE if self._size < 0 else self._size) - self.buffered
            piece = data[offset : offset + wanted]
            offset += len(piece)
            if len(piece) < wanted:
                self._keep(piece)
                return
            self._complete(piece, messages)
        while end - offset >= PREFIX_SIZE:
            flag, length = _unpack_prefix(data, offset)
            if flag > 1 or length > limit:
                self._refuse(flag, length)
            start = offset + PREFIX_SIZE
            offset = start + length
            if offset > end:
                self._compressed, self._size = flag == 1, length
                self._keep(data[start:])
                return
            messages.append(Compressed(data[start:offset]) if flag else data[start:offset])
        if offset < end:
            self._keep(data[offset:])

    def _complete(self, piece: bytes, messages: Messages) -> None:
        """Takes the end of a prefix, or of a message."""
        if self.buffered:
            piece = b"".join((self._merged, *self._chunks, piece))
            self._merged = bytearray()
            self._chunks.clear()
            self.buffered = 0
        if self._size >= 0:
            self._size = -1
            messages.append(Compressed(piece) if self._compressed else piece)
            return
        flag, length = _unpack_prefix(piece)
        if flag > 1 or length > self._limit:
            self._refuse(flag, length)
        if length:
            self._compressed, self._size = flag == 1, length
        else:
            messages.append(Compressed(b"") if flag else b"")

    def _keep(self, piece: bytes) -> None:
        if piece:
            self.buffered += len(piece)
            self._chunks.append(piece)
            if len(self._chunks) > _MAX_PIECES:
                self._merged += b"".join(self._chunks)
                self._chunks.clear()

    def _refuse(self, flag: int, length: int) -> NoReturn:
        if flag > 1:
            raise MalformedMessage(f"the flag byte of a message must be 0 or 1, not {flag}")
        raise MessageTooLarge(length, self._limit)
