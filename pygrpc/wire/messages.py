"""The messages within the DATA frames of one direction of a call: their prefixes, and what they say as text."""

import zlib
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError, Message

from pygrpc.wire.schemaless import decode_fields

PREFIX_SIZE = 5

#: Maps the path of a call, such as ``/user.v1.UserService/GetUser``, to the types of its request and response.
Resolver: TypeAlias = Callable[[str], tuple[type[Message], type[Message]] | None]

#: How many bytes of a message are kept, and how many a compressed one may expand to, so as to be shown as text.
_KEPT = 256 * 1024
_DUMPED = 256


def pool_resolver(pool: descriptor_pool.DescriptorPool | None = None) -> Resolver:
    """Makes a resolver that looks methods up by name.

    Args:
        pool: Where to look; by default where every imported ``*_pb2`` module registers.
    """
    descriptors = pool if pool is not None else descriptor_pool.Default()

    def resolve(path: str) -> tuple[type[Message], type[Message]] | None:
        service, _, method = path.removeprefix("/").rpartition("/")
        try:
            found = descriptors.FindServiceByName(service).FindMethodByName(method)
        except KeyError:
            return None
        if found is None:
            return None
        get_class = message_factory.GetMessageClass
        return get_class(found.input_type), get_class(found.output_type)

    return resolve


class Prefix(NamedTuple):
    """The five bytes before a message are complete."""

    raw: bytes

    @property
    def flag(self) -> int:
        """The first byte: 0 for a message as it is, 1 for a compressed one."""
        return self.raw[0]

    @property
    def length(self) -> int:
        """The length of the message in bytes."""
        return int.from_bytes(self.raw[1:], "big")


class Complete(NamedTuple):
    """A message is complete.

    Attributes:
        prefix: Its prefix.
        data: Its bytes as they came, as far as they were kept.
        frames: The number of DATA frames that carried it and its prefix.
    """

    prefix: Prefix
    data: bytes
    frames: int


class Unfinished(NamedTuple):
    """The frame ended inside of a prefix or a message; the figures are in bytes."""

    received: int
    expected: int
    is_prefix: bool


class Lost(NamedTuple):
    """So little of the frame was kept that the next prefix can't be found; nothing more is shown of this direction."""


Piece: TypeAlias = Prefix | Complete | Unfinished | Lost


class MessageSplitter:
    """Finds prefixes and messages in the DATA frames of one direction of a stream.

    Unlike the reader that a call uses it accepts any flag and any length, and keeps only the beginning of a long
    message.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        """Makes a splitter.

        Args:
            kept: How many bytes of a message are kept.
        """
        self._kept = kept
        self._head = b""
        self._prefix: Prefix | None = None
        self._body = bytearray()
        self._received = 0
        self._frames = 0
        self._lost = False

    def feed(self, data: bytes, size: int) -> list[Piece]:
        """Takes the payload of a DATA frame and returns what it begins, completes or leaves unfinished.

        Args:
            data: The payload, or as much of its beginning as was kept.
            size: Its length on the wire.
        """
        if self._lost:
            return []
        pieces: list[Piece] = []
        gap = size - len(data)
        if size:
            self._frames += 1
        while data or gap:
            if self._prefix is None:
                if len(self._head) + len(data) < PREFIX_SIZE:
                    if gap:
                        self._lost = True
                        return [*pieces, Lost()]
                    self._head += data
                    return [*pieces, Unfinished(len(self._head), PREFIX_SIZE, True)]
                taken = PREFIX_SIZE - len(self._head)
                self._prefix = Prefix(self._head + data[:taken])
                self._head = b""
                data = data[taken:]
                pieces.append(self._prefix)
            missing = self._prefix.length - self._received
            body, data = data[:missing], data[missing:]
            self._body += body[: max(0, self._kept - len(self._body))]
            skipped = min(gap, missing - len(body))
            gap -= skipped
            self._received += len(body) + skipped
            if self._received < self._prefix.length:
                return [*pieces, Unfinished(self._received, self._prefix.length, False)]
            pieces.append(Complete(self._prefix, bytes(self._body), self._frames))
            self._start_over(bool(data or gap))
        return pieces

    def _start_over(self, within_frame: bool) -> None:
        self._prefix = None
        self._body.clear()
        self._received = 0
        self._frames = 1 if within_frame else 0


class Described(NamedTuple):
    """A message as text.

    Attributes:
        title: The full name of its type, or how else it was read.
        lines: The text.
        problem: What is wrong with it, as a sentence; empty if nothing is.
    """

    title: str
    lines: tuple[str, ...]
    problem: str = ""


def describe(message: Complete, encoding: str, message_type: type[Message] | None) -> Described:
    """Writes a message as text.

    Args:
        message: The message.
        encoding: The value of grpc-encoding, which counts if the prefix says that the message is compressed.
        message_type: Its type if that is known.
    """
    data = message.data
    if len(data) < message.prefix.length:
        shown = f"the first {len(data)} of {message.prefix.length} bytes"
        return Described(shown, hex_dump(data))
    if message.prefix.flag > 1:
        return Described("bytes", hex_dump(data), f"the compressed flag must be 0 or 1, not {message.prefix.flag}")
    suffix = ""
    if message.prefix.flag:
        try:
            data = _expand(data, encoding)
        except ValueError as error:
            return Described("compressed bytes", hex_dump(data), str(error))
        suffix = f", {count(len(data))} expanded"
    described = describe_bytes(data, message_type)
    return described._replace(title=described.title + suffix)


def describe_bytes(data: bytes, message_type: type[Message] | None) -> Described:
    """Writes bytes as text: by the type, else by their shape as a protobuf message, else as a dump."""
    problem = ""
    if message_type is not None:
        name = message_type.DESCRIPTOR.full_name
        try:
            return Described(name, _lines(_to_text(message_type.FromString(data))))
        except DecodeError:
            problem = f"the bytes are no {name}"
    fields = decode_fields(data)
    if fields is not None:
        return Described("message of unknown type" if message_type is None else "fields", tuple(fields), problem)
    return Described("bytes", hex_dump(data), problem)


def _to_text(message: Message) -> str:
    return text_format.MessageToString(message, as_utf8=True, print_unknown_fields=True)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())


def _expand(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        wbits = zlib.MAX_WBITS | 16
    elif encoding == "deflate":
        # In gRPC the name means the zlib format of RFC 1950.
        wbits = zlib.MAX_WBITS
    elif encoding in ("", "identity"):
        raise ValueError("the message is marked as compressed but grpc-encoding names no compression")
    else:
        raise ValueError(f"this tool can't expand the encoding {encoding[:32]!r}")
    expander = zlib.decompressobj(wbits)
    try:
        expanded = expander.decompress(data, _KEPT)
    except zlib.error as error:
        raise ValueError(f"the bytes are no valid {encoding}: {error}") from None
    if expander.unconsumed_tail:
        raise ValueError(f"the message expands to more than {_KEPT} bytes, too long to show")
    if not expander.eof:
        raise ValueError(f"the {encoding} data is incomplete")
    return expanded


def count(size: int) -> str:
    """Writes a number of bytes in words."""
    return "1 byte" if size == 1 else f"{size} bytes"


def hex_dump(data: bytes, limit: int = _DUMPED) -> tuple[str, ...]:
    """Writes bytes as lines of sixteen, in hexadecimal and as ASCII.

    Args:
        data: The bytes.
        limit: How many are written; a last line says how many more there are.
    """
    lines = []
    for offset in range(0, min(len(data), limit), 16):
        row = data[offset : min(offset + 16, limit)]
        ascii_ = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:04x}  {row.hex(' '):<47}  {ascii_}")
    if len(data) > limit:
        lines.append(f"... {len(data) - limit} more bytes")
    return tuple(lines)
