"""A passive reader of one direction of an HTTP/2 connection, for tools that show the wire to people.

The reader takes the bytes that one side sent and says what they are. It answers nothing, enforces nothing and never
raises: what breaks the rules of RFC 9113 is shown together with a sentence on what is wrong, and bytes that are no
HTTP/2 at all are passed on as they are.

The items that come out depend on the bytes alone, not on how they were cut into pieces. Memory is bounded: of a frame
that is longer than the cap only the beginning is kept.
"""

from collections.abc import Callable

from hpack import Decoder, HPACKError

from pygrpc.core.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    FRAME_HEAD_SIZE,
    PREFACE,
    SETTINGS,
    SMALLEST_MAX_FRAME_SIZE,
)
from pygrpc.core.http2.observed import (
    CutOff,
    HeaderBlock,
    Item,
    NotHttp2,
    ObservedFrame,
    Opaque,
    Payload,
    Preface,
    RawBytes,
)
from pygrpc.core.http2.payloads import (
    CONNECTION_TYPES,
    FIXED_LENGTHS,
    HEADER_BLOCK_TYPES,
    PARSERS,
    STREAM_TYPES,
    FrameHeader,
    Malformed,
    cut_off,
    flag_names,
    header_block_fragment,
    parse_frame_header,
    type_name,
)

#: No peer may send a longer frame before it has seen a SETTINGS frame that allows it (RFC 9113, section 4.2).
_FIRST_FRAME_LIMIT = SMALLEST_MAX_FRAME_SIZE
#: The reader sees one direction and so not the setting that bounds its table; it follows the updates in the header
#: blocks themselves, as far as this many bytes (RFC 7541, section 6.3).
_TABLE_LIMIT = 1 << 20
_RAW_PIECE = 256

#: Methods of HTTP/1 that can be told from nine bytes.
_HTTP1_METHODS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"})

#: The most that comes before a header block within its frame: the length of the padding, and the priority.
_HEADER_BLOCK_FIELDS = 6
#: The smallest cap that leaves the payloads of fixed length whole.
_SMALLEST_CAP = 16


class FrameReader:
    """Observes the bytes that one side of a connection sends.

    Call ``feed`` with each piece of bytes and ``close`` once at the end; both return the items that are complete.
    """

    def __init__(self, *, from_client: bool, max_payload: int = 65536, max_header_block: int = 262144) -> None:
        """Makes a reader for one direction of one new connection.

        Args:
            from_client: Whether the bytes are the client's, which start with the connection preface.
            max_payload: How many bytes of a frame's payload are kept.
            max_header_block: How many bytes a header block may have in total, and decode to, so as to be decoded.
        """
        self._buffer = bytearray()
        self._max_payload = max(max_payload, _SMALLEST_CAP)
        self._max_header_block = max_header_block
        self._decoder = Decoder(max_header_list_size=max_header_block)
        self._decoder.max_allowed_table_size = _TABLE_LIMIT
        #: Why no header block can be decoded any more; HPACK has no way to catch up after a block was missed.
        self._undecodable = ""
        self._block = bytearray()
        #: The stream of the header block that is not complete yet.
        self._block_stream: int | None = None
        self._block_size = 0
        #: A frame longer than its cap: its header and the beginning of its payload, while the rest is skipped.
        self._long_frame: tuple[FrameHeader, bytes] | None = None
        self._skip = 0
        #: Takes one item off the buffer, or returns ``None`` if it needs more bytes.
        self._next: Callable[[], Item | None] = self._preface if from_client else self._first_frame

    def feed(self, data: bytes) -> list[Item]:
        """Takes bytes as they were sent and returns the items that they complete, in order."""
        if self._skip:
            # The rest of a long frame is dropped before it costs memory.
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._buffer += data
        items: list[Item] = []
        while (item := self._next()) is not None:
            items.append(item)
        return items

    def close(self) -> list[Item]:
        """Takes the end of the bytes and returns what is left over."""
        items: list[Item] = []
        if self._next in (self._preface, self._first_frame) and self._buffer:
            # Too short to tell for certain, unless it is the beginning of what HTTP/2 starts with.
            if self._next == self._first_frame or not PREFACE.startswith(self._buffer):
                items.append(self._give_up())
            else:
                items.append(CutOff("the connection ended inside of the preface", bytes(self._buffer)))
                self._buffer.clear()
        if self._next == self._raw:
            while (item := self._raw()) is not None:
                items.append(item)
            if self._buffer:
                items.append(RawBytes(bytes(self._buffer)))
        elif self._long_frame is not None:
            header, payload = self._long_frame
            items.append(cut_off(header, header.length - self._skip, payload))
        elif self._buffer:
            items.append(self._partial_frame())
        self._buffer.clear()
        self._long_frame = None
        self._skip = 0
        return items

    def _partial_frame(self) -> CutOff:
        kept = bytes(self._buffer)
        if len(kept) < FRAME_HEAD_SIZE:
            return CutOff(f"the connection ended inside of a frame header, after {len(kept)} of 9 bytes", kept)
        payload = kept[FRAME_HEAD_SIZE:]
        return cut_off(parse_frame_header(kept), len(payload), payload)

    # What the bytes are is decided once, from a fixed number of them, so that it does not depend on how they were cut.

    def _preface(self) -> Item | None:
        seen = bytes(self._buffer[: len(PREFACE)])
        if len(seen) < FRAME_HEAD_SIZE:
            return None
        if not PREFACE.startswith(seen):
            # The first line of HTTP/1 and a TLS record differ within the first nine bytes; a preface that goes wrong
            # later is judged when all of it is here.
            if seen[:FRAME_HEAD_SIZE] == PREFACE[:FRAME_HEAD_SIZE] and len(seen) < len(PREFACE):
                return None
            return self._give_up()
        if len(seen) < len(PREFACE):
            return None
        del self._buffer[: len(PREFACE)]
        self._next = self._frame
        return Preface(seen)

    def _first_frame(self) -> Item | None:
        # RFC 9113, section 3.4: the server's preface is a SETTINGS frame.
        if len(self._buffer) < FRAME_HEAD_SIZE:
            return None
        header = parse_frame_header(self._buffer)
        if (
            header.type != SETTINGS
            or header.stream_id
            or header.flags & ACK
            or header.length % 6
            or header.length > _FIRST_FRAME_LIMIT
        ):
            return self._give_up()
        self._next = self._frame
        return self._frame()

    def _give_up(self) -> NotHttp2:
        self._next = self._raw
        return NotHttp2(_guess(bytes(self._buffer[:FRAME_HEAD_SIZE])))

    def _raw(self) -> RawBytes | None:
        newline = self._buffer.find(b"\n", 0, _RAW_PIECE)
        size = newline + 1 if newline >= 0 else _RAW_PIECE
        if len(self._buffer) < size:
            return None
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return RawBytes(piece)

    def _frame(self) -> ObservedFrame | None:
        if self._long_frame is not None:
            if self._skip:
                return None
            header, payload = self._long_frame
            self._long_frame = None
            return self._observe(header, payload)
        if len(self._buffer) < FRAME_HEAD_SIZE:
            return None
        header = parse_frame_header(self._buffer)
        is_block = header.type in HEADER_BLOCK_TYPES
        kept = min(header.length, self._max_header_block + _HEADER_BLOCK_FIELDS if is_block else self._max_payload)
        end = FRAME_HEAD_SIZE + kept
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[FRAME_HEAD_SIZE:end])
        rest = header.length - kept
        if rest:
            self._long_frame = header, payload
            dropped = min(rest, len(self._buffer) - end)
            self._skip = rest - dropped
            del self._buffer[: end + dropped]
            return self._frame()
        del self._buffer[:end]
        return self._observe(header, payload)

    def _observe(self, header: FrameHeader, payload: bytes) -> ObservedFrame:
        problem = self._misplaced(header)
        content: Payload
        try:
            content, trouble = self._parse(header, payload)
            problem = problem or trouble
        except Malformed as error:
            content, problem = Opaque(payload), str(error)
            if header.type in HEADER_BLOCK_TYPES:
                self._lose_header_block(str(error))
        return ObservedFrame(
            header.type,
            type_name(header.type),
            header.stream_id,
            flag_names(header.type, header.flags),
            header.length,
            content,
            len(payload) < header.length,
            problem,
        )

    def _misplaced(self, header: FrameHeader) -> str:
        if header.type in CONNECTION_TYPES and header.stream_id:
            return f"the frame belongs to the connection, not to stream {header.stream_id}"
        if header.type in STREAM_TYPES and not header.stream_id:
            return "the frame belongs to a stream, not to the connection"
        if self._block_stream is not None and (header.type != CONTINUATION or header.stream_id != self._block_stream):
            # RFC 9113, section 4.3: the frames of a header block follow each other without interruption.
            return f"the header block of stream {self._block_stream} is not complete yet"
        return ""

    def _parse(self, header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
        """Returns the payload and what is wrong with it, if that still can be shown."""
        expected = FIXED_LENGTHS.get(header.type, header.length)
        if header.length != expected:
            raise Malformed(f"the payload must have {expected} bytes, not {header.length}")
        if header.type in HEADER_BLOCK_TYPES:
            return self._parse_header_block(header, payload)
        parser = PARSERS.get(header.type)
        return (Opaque(payload), "") if parser is None else parser(header, payload)

    def _parse_header_block(self, header: FrameHeader, payload: bytes) -> tuple[HeaderBlock, str]:
        fragment, size, promised = header_block_fragment(header, payload)
        if header.type == CONTINUATION:
            if self._block_stream != header.stream_id:
                raise Malformed("the frame continues a header block that was not begun")
        else:
            if self._block_stream is not None:
                self._lose_header_block("a header block was interrupted")
            self._block_stream = header.stream_id
        self._block_size += size
        if self._block_size <= self._max_header_block:
            self._block += fragment
        if not header.flags & END_HEADERS:
            return HeaderBlock(size, None, promised), ""
        headers = self._decode_block()
        return HeaderBlock(size, headers, promised), "" if headers is not None else self._undecodable

    def _decode_block(self) -> tuple[tuple[bytes, bytes], ...] | None:
        block, size = bytes(self._block), self._block_size
        self._forget_block()
        if self._undecodable:
            return None
        if size > self._max_header_block:
            self._undecodable = f"a header block has more than {self._max_header_block} bytes, so none is decoded"
            return None
        try:
            return tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except HPACKError as error:
            self._undecodable = f"a header block can't be decoded, nor any after it: {error}"
            return None

    def _lose_header_block(self, reason: str) -> None:
        self._undecodable = self._undecodable or f"header blocks can't be decoded any more: {reason}"
        self._forget_block()

    def _forget_block(self) -> None:
        self._block.clear()
        self._block_stream = None
        self._block_size = 0


def _guess(start: bytes) -> str:
    """Says what a connection that doesn't start as HTTP/2 does seems to be, from its first nine bytes."""
    if start[:1] in (b"\x14", b"\x15", b"\x16") and start[1:2] == b"\x03":
        return "not HTTP/2 in the clear: it looks like TLS"
    if start.startswith(b"HTTP/1") or start.split(b" ")[0] in _HTTP1_METHODS:
        return "not HTTP/2: it looks like HTTP/1"
    return "not HTTP/2"
