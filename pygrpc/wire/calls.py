"""What the frames of one stream mean for the gRPC call on it."""

import base64
import binascii

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from pygrpc.core.http2.observed import Data, HeaderBlock
from pygrpc.core.status import decode_message
from pygrpc.core.timeouts import decode_timeout
from pygrpc.status import CODES
from pygrpc.wire.details import Detail, DetailKind
from pygrpc.wire.messages import (
    Complete,
    Described,
    Lost,
    MessageSplitter,
    Piece,
    Prefix,
    Resolver,
    Unfinished,
    count,
    describe,
    describe_bytes,
    hex_dump,
)
from pygrpc.wire.recording import Direction

_END_STREAM = "END_STREAM"
_STATUS_TYPE = "google.rpc.Status"
#: How much of a binary header is shown.
_SHOWN_BYTES = 24


class _Half:
    """One direction of a call."""

    def __init__(self) -> None:
        self.splitter = MessageSplitter()
        self.encoding = ""
        #: Whether the bytes are length-prefixed messages; a server may also answer with a page of HTML.
        self.is_grpc = True
        self.message_type: type[Message] | None = None
        self.has_headers = False
        self.ended = False
        #: Whether CONTINUATION frames of a header block are still to come, which they may after END_STREAM.
        self.in_block = False


class CallView:
    """Follows one call from its request headers to its trailers."""

    def __init__(self, resolve: Resolver | None) -> None:
        """Makes the view of a call that nothing is known of.

        Args:
            resolve: Gives the message types of a path.
        """
        self._resolve = resolve
        self._halves = {direction: _Half() for direction in Direction}

    @property
    def over(self) -> bool:
        """Whether both sides have ended the stream."""
        return all(half.ended and not half.in_block for half in self._halves.values())

    def headers(
        self, direction: Direction, block: HeaderBlock, flags: tuple[str, ...]
    ) -> tuple[str, tuple[Detail, ...]]:
        """Explains HEADERS or CONTINUATION.

        Args:
            direction: Who sent it.
            block: The payload.
            flags: The names of the frame's flags.

        Returns:
            A summary and the lines below it.
        """
        half = self._halves[direction]
        half.ended = half.ended or _END_STREAM in flags
        half.in_block = "END_HEADERS" not in flags
        if block.headers is None:
            return f"{count(block.size)} of a header block", ()
        fields = dict(block.headers)
        kind = self._kind_of_headers(direction, half, fields)
        if not kind.startswith("informational"):
            if not half.has_headers:
                self._begin(direction, half, fields)
            half.has_headers = True
        details: list[Detail] = []
        for name, value in block.headers:
            details += _header(name, value)
        return f"{kind}, {count(block.size)}", tuple(details)

    def data(self, direction: Direction, data: Data, flags: tuple[str, ...]) -> tuple[str, tuple[Detail, ...]]:
        """Explains DATA.

        Args:
            direction: Who sent it.
            data: The payload.
            flags: The names of the frame's flags.

        Returns:
            A summary and the lines below it.
        """
        half = self._halves[direction]
        half.ended = half.ended or _END_STREAM in flags
        summary = count(data.size) + (f" and {data.padding} of padding" if data.padding else "")
        if _END_STREAM in flags and direction is Direction.CLIENT_TO_SERVER:
            summary += ", half-close"
        if not half.is_grpc:
            return summary, tuple(Detail(DetailKind.RAW, line) for line in hex_dump(data.data))
        details: list[Detail] = []
        for piece in half.splitter.feed(data.data, data.size):
            details += _piece(piece, half)
        return summary, tuple(details)

    def _kind_of_headers(self, direction: Direction, half: _Half, fields: dict[bytes, bytes]) -> str:
        if direction is Direction.CLIENT_TO_SERVER:
            return "trailers of the request" if half.has_headers else "request headers"
        if fields.get(b":status", b"").startswith(b"1"):
            return "informational headers"
        if half.has_headers:
            return "trailers"
        # PROTOCOL-HTTP2.md, "Responses": a call that fails at once has one block, which is headers and trailers.
        return "trailers only" if half.ended else "response headers"

    def _begin(self, direction: Direction, half: _Half, fields: dict[bytes, bytes]) -> None:
        half.encoding = fields.get(b"grpc-encoding", b"").decode("latin-1")
        half.is_grpc = fields.get(b"content-type", b"").startswith(b"application/grpc")
        if direction is Direction.CLIENT_TO_SERVER and self._resolve is not None:
            types = self._resolve(fields.get(b":path", b"").decode("latin-1"))
            if types is not None:
                for each, message_type in zip(Direction, types, strict=True):
                    self._halves[each].message_type = message_type


def _header(name: bytes, value: bytes) -> list[Detail]:
    label, text = _text(name), _text(value)
    match label:
        case "grpc-status":
            number = int(value) if value.isdigit() and len(value) < 4 else -1
            note = CODES[number].name if 0 <= number < len(CODES) else "no status that gRPC defines"
            return [Detail(DetailKind.STATUS, text, label, note)]
        case "grpc-message" if b"%" in value:
            return [Detail(DetailKind.HEADER, text, label), Detail(DetailKind.NOTE, decode_message(value))]
        case "grpc-timeout":
            return [Detail(DetailKind.HEADER, text, label, _timeout(text))]
        case _ if label.endswith("-bin"):
            return [Detail(DetailKind.HEADER, text, label), *_binary(label, value)]
    return [Detail(DetailKind.HEADER, text, label)]


def _timeout(text: str) -> str:
    try:
        return f"{decode_timeout(text):.6g} seconds"
    except ValueError:
        return "not a timeout"


def _binary(label: str, value: bytes) -> list[Detail]:
    if value.startswith(b"\0"):
        # Peers that both announce GRPC_ALLOW_TRUE_BINARY_METADATA send the bytes as they are after a zero.
        return _binary_value(label, value[1:])
    details: list[Detail] = []
    # PROTOCOL-HTTP2.md, "Custom-Metadata": values of one name may be joined by commas, padding may be absent.
    for part in value.split(b","):
        try:
            details += _binary_value(label, base64.b64decode(part + b"=" * (-len(part) % 4), validate=True))
        except binascii.Error:
            details.append(Detail(DetailKind.PROBLEM, "the value is no base64"))
    return details


def _binary_value(label: str, data: bytes) -> list[Detail]:
    if label == "grpc-status-details-bin":
        return _described(describe_bytes(data, _status_type()))
    more = " ..." if len(data) > _SHOWN_BYTES else ""
    return [Detail(DetailKind.NOTE, f"{count(len(data))}: {data[:_SHOWN_BYTES].hex(' ')}{more}")]


def _status_type() -> type[Message] | None:
    try:
        return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(_STATUS_TYPE))
    except KeyError:
        return None


def _piece(piece: Piece, half: _Half) -> list[Detail]:
    match piece:
        case Prefix(raw):
            how = {0: "not compressed", 1: f"compressed ({half.encoding or 'no encoding named'})"}
            note = f"{how.get(piece.flag, f'flag {piece.flag} is not defined')}, {count(piece.length)}"
            return [Detail(DetailKind.PREFIX, raw.hex(" "), "prefix", note)]
        case Complete(_, _, frames):
            details = _described(describe(piece, half.encoding, half.message_type))
            if frames > 1:
                details.insert(0, Detail(DetailKind.NOTE, f"the message is complete, it came in {frames} frames"))
            return details
        case Unfinished(received, expected, is_prefix):
            what = "the prefix" if is_prefix else "the message"
            return [Detail(DetailKind.NOTE, f"{received} of {expected} bytes of {what} so far")]
        case Lost():
            text = "the frame is too long to be followed; messages of this direction are shown no further"
            return [Detail(DetailKind.PROBLEM, text)]


def _described(described: Described) -> list[Detail]:
    details = [Detail(DetailKind.TITLE, described.title, note="" if described.lines else "empty")]
    if described.problem:
        details.append(Detail(DetailKind.PROBLEM, described.problem))
    details += [Detail(DetailKind.MESSAGE, line) for line in described.lines]
    return details


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
