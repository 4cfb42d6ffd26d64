"""The frame engine: HTTP/2 framing of our own behind the HTTP/2 seam, for both ends of a connection.

Bytes are cut into frames, and each frame goes to a handler from a table with an entry for each of the 256 types. There
are three tables, for three situations: the first frame of a connection, which must be SETTINGS; the middle of a header
block, where nothing but CONTINUATION may come; and everything else.

The engine is one object in three layers: ``FrameSender`` has the state and what is sent, ``StreamFrames`` the frames of
streams, and this module the way from bytes to frames, the frames of the connection, and its failure.
"""

from collections.abc import Callable

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode
from pygrpc.core.http2.engine import Http2Events, Http2Settings
from pygrpc.core.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_MAX_FRAME_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    SMALLEST_MAX_FRAME_SIZE,
    WINDOW_UPDATE,
    ConnectionBroken,
    ping_frame,
    read_settings,
    require_size,
)
from pygrpc.core.http2.hpack_decoder import CompressionError, HeaderListTooLarge
from pygrpc.core.http2.stream_frames import StreamFrames

#: The beginning of a payload is kept as a view of what was read from here on, and copied below, in bytes.
_WORTH_A_VIEW = 4096

_unpack_head = FRAME_HEAD.unpack_from


class FrameEngine(StreamFrames):
    """One end of a connection on our own framing."""

    __slots__ = ("_chunks", "_handlers", "_head", "_missing", "_preface", "_rest")

    def __init__(self, events: Http2Events, settings: Http2Settings, client_side: bool) -> None:
        """Makes an engine; see ``create_engine``."""
        super().__init__(events, settings, client_side)
        self._handlers = _FIRST_FRAME
        #: The preface, as far as it is still to come, and the bytes of a frame's head that is incomplete.
        self._preface = b"" if client_side else PREFACE
        self._rest = b""
        #: The frame whose payload is incomplete: its head, its bytes so far, and how many are missing.
        self._head = (0, 0, 0)
        self._chunks: list[bytes | memoryview] = []
        self._missing = 0

    # Cutting bytes into frames.

    def receive_data(self, data: bytes) -> None:  # noqa: D102 - the contract is in Http2Engine
        if self._failed:
            return
        try:
            if self._preface:
                data = self._check_preface(data)
            offset = 0
            if self._missing:
                offset = self._complete_payload(data)
            elif self._rest:
                data = self._rest + data
                self._rest = b""
            self._take_frames(data, offset)
        except ConnectionBroken as error:
            self._fail(error.error_code, str(error))
        except CompressionError as error:
            self._fail(ErrorCode.COMPRESSION_ERROR, f"a header block can't be decoded: {error}")
        except HeaderListTooLarge as error:
            self._fail(ErrorCode.ENHANCE_YOUR_CALM, str(error))

    def _check_preface(self, data: bytes) -> bytes:
        expected = self._preface[: len(data)]
        if not data.startswith(expected):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "the connection preface is wrong (RFC 9113, section 3.4)")
        self._preface = self._preface[len(expected) :]
        return data[len(expected) :]

    def _complete_payload(self, data: bytes) -> int:
        """Handles the incomplete frame if the data completes it; returns how much of the data is used up."""
        missing = self._missing
        if len(data) < missing:
            self._chunks.append(data)
            self._missing = missing - len(data)
            return len(data)
        self._chunks.append(memoryview(data)[:missing])
        payload = b"".join(self._chunks)
        self._chunks.clear()
        self._missing = 0
        kind, flags, stream_id = self._head
        self._handlers[kind](self, flags, stream_id, payload)
        return missing

    def _take_frames(self, data: bytes, offset: int) -> None:
        end = len(data)
        largest = self._settings.max_frame_size
        while end - offset >= FRAME_HEAD_SIZE:
            head, flags, stream_id = _unpack_head(data, offset)
            length = head >> 8
            if length > largest:
                raise ConnectionBroken(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes exceeds our limit of {largest}"
                )
            # RFC 9113, section 4.1: the highest bit of the stream identifier is ignored.
            stream_id &= MAX_STREAM_ID
            start = offset + FRAME_HEAD_SIZE
            offset = start + length
            if offset > end:
                self._head = (head & 0xFF, flags, stream_id)
                self._missing = offset - end
                if end > start:
                    worth = end - start >= _WORTH_A_VIEW
                    self._chunks.append(memoryview(data)[start:] if worth else data[start:])
                return
            self._handlers[head & 0xFF](self, flags, stream_id, data[start:offset])
        if offset < end:
            self._rest = data[offset:]

    def _fail(self, error_code: int, message: str) -> None:
        self._failed = True
        self._streams.clear()
        self.send_goaway(self.last_peer_stream_id, error_code, message.encode()[:128])
        self._events.connection_failed(error_code, message)

    # Frames of the connection.

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream (RFC 9113, section 6.5)")
        if flags & ACK:
            require_size("SETTINGS with ACK", payload, 0)
            if self._announced_windows:
                self._initial_receive_window = max(self._announced_windows)
                self._announced_windows.pop(0)
            return
        if len(payload) % 6:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "the size of SETTINGS is no multiple of six")
        window_changed = False
        for identifier, value in read_settings(payload):
            self._apply_setting(identifier, value)
            window_changed = window_changed or identifier == INITIAL_WINDOW_SIZE
        self._queue(SETTINGS_ACK)
        self._events.settings_received()
        if window_changed:
            self._events.window_opened(0)

    def _apply_setting(self, identifier: int, value: int) -> None:
        """Puts a setting of the peer in force (RFC 9113, section 6.5.2); one that we don't know is ignored."""
        if identifier == HEADER_TABLE_SIZE:
            self._encoder.set_limit(value)
        elif identifier == ENABLE_PUSH:
            if value > 1 or (value and self._client_side):
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH must not be {value} here")
        elif identifier == MAX_CONCURRENT_STREAMS:
            self.peer_max_concurrent_streams = value
        elif identifier == INITIAL_WINDOW_SIZE:
            if value + self._largest_credit > MAX_WINDOW:
                # The stream that had that credit may be gone, so now all of them are worth a look.
                self._largest_credit = max(0, *(stream.send_credit for stream in self._streams.values()), 0)
            if value + self._largest_credit > MAX_WINDOW:
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is too large")
            self._initial_send_window = value
        elif identifier == MAX_FRAME_SIZE:
            if not SMALLEST_MAX_FRAME_SIZE <= value <= LARGEST_MAX_FRAME_SIZE:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE must not be {value}")
            self.peer_max_frame_size = value
        elif identifier == MAX_HEADER_LIST_SIZE:
            self.peer_max_header_list_size = value
            # What was sent before may be too large now.
            self._encoded.clear()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        # RFC 9113, section 8.4: a server can't be pushed to, and a client that has said so won't be.
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, although push is disabled")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PING on a stream (RFC 9113, section 6.7)")
        require_size("PING", payload, 8)
        if flags & ACK:
            self._events.ping_acknowledged(payload)
        else:
            self._queue(ping_frame(payload, ACK))
            self._events.ping_received()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream (RFC 9113, section 6.8)")
        if len(payload) < 8:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is shorter than eight bytes")
        last_stream_id = int.from_bytes(payload[:4], "big") & MAX_STREAM_ID
        self._events.goaway_received(last_stream_id, int.from_bytes(payload[4:8], "big"), payload[8:])

    # Which frames may come.

    def _set_in_block(self, in_block: bool) -> None:
        self._handlers = _IN_BLOCK if in_block else _ANY_FRAME

    def _on_first_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & ACK:
            self._on_unexpected_first(flags, stream_id, payload)
        self._handlers = _ANY_FRAME
        self._on_settings(flags, stream_id, payload)

    def _on_unexpected_first(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS (RFC 9113, section 3.4)")

    def _on_unexpected_in_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionBroken(
            ErrorCode.PROTOCOL_ERROR, "a frame in the middle of a header block (RFC 9113, section 6.10)"
        )

    def _on_unexpected_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block (RFC 9113, section 6.10)")

    def _on_unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Ignores a frame of an extension (RFC 9113, section 5.5)."""


_Handler = Callable[[FrameEngine, int, int, bytes], None]


def _table(handlers: dict[int, _Handler], otherwise: _Handler) -> tuple[_Handler, ...]:
    return tuple(handlers.get(kind, otherwise) for kind in range(256))


_FIRST_FRAME = _table({SETTINGS: FrameEngine._on_first_frame}, FrameEngine._on_unexpected_first)
_IN_BLOCK = _table({CONTINUATION: FrameEngine._on_continuation}, FrameEngine._on_unexpected_in_block)
_ANY_FRAME = _table(
    {
        DATA: FrameEngine._on_data,
        HEADERS: FrameEngine._on_headers,
        PRIORITY: FrameEngine._on_priority,
        RST_STREAM: FrameEngine._on_rst_stream,
        SETTINGS: FrameEngine._on_settings,
        PUSH_PROMISE: FrameEngine._on_push_promise,
        PING: FrameEngine._on_ping,
        GOAWAY: FrameEngine._on_goaway,
        WINDOW_UPDATE: FrameEngine._on_window_update,
        CONTINUATION: FrameEngine._on_unexpected_continuation,
    },
    FrameEngine._on_unknown,
)
