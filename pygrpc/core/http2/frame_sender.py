"""The sending half of the frame engine: what its owner queues, and the windows and streams that both halves share."""

from collections.abc import Collection, Sequence

from pygrpc.core.http2.codes import MAX_STREAM_ID
from pygrpc.core.http2.engine import (
    DEFAULT_TABLE_SIZE,
    DEFAULT_WINDOW,
    UNLIMITED,
    Http2Engine,
    Http2Events,
    Http2Settings,
    LocalProtocolError,
    StreamsExhausted,
    check_header_list,
)
from pygrpc.core.http2.frames import (
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    PREFACE,
    SMALLEST_MAX_FRAME_SIZE,
    goaway_frame,
    ping_frame,
    rst_stream_frame,
    settings_frame,
    window_update_frame,
)
from pygrpc.core.http2.hpack_encoder import HeaderEncoder
from pygrpc.core.http2.streams import AWAITING_HEADERS, LOCAL_ENDED, REMOTE_ENDED, ClosedStreams, Closing, Stream
from pygrpc.core.metadata import Header

_pack_head = FRAME_HEAD.pack


class FrameSender(Http2Engine):
    """What an engine keeps of its connection, and the methods that queue frames.

    Output is a list of byte strings, joined when it is taken. ``FrameEngine`` adds the receiving half.
    """

    # Plain attributes, because a property costs a call for every frame; in slots, because there may be thousands of
    # connections.
    __slots__ = (
        "_announced_windows",
        "_client_side",
        "_closed",
        "_encoded",
        "_encoder",
        "_events",
        "_failed",
        "_initial_receive_window",
        "_initial_send_window",
        "_next_stream_id",
        "_out",
        "_receive_window",
        "_send_window",
        "_settings",
        "_streams",
        "last_peer_stream_id",
        "peer_max_concurrent_streams",
        "peer_max_frame_size",
        "peer_max_header_list_size",
        "queued",
    )

    def __init__(self, events: Http2Events, settings: Http2Settings, client_side: bool) -> None:
        """Makes an engine; see ``create_engine``."""
        self.queued: int = 0
        self.has_sent = False
        self.peer_max_concurrent_streams: int = UNLIMITED
        self.peer_max_header_list_size: int = UNLIMITED
        self.peer_max_frame_size: int = SMALLEST_MAX_FRAME_SIZE
        self.last_peer_stream_id: int = 0
        self._events = events
        self._settings = settings
        self._client_side = client_side
        #: Whether a connection error has ended it all; nothing is reported or sent any more.
        self._failed = False
        #: Streams that are open or half-closed.
        self._streams: dict[int, Stream] = {}
        self._closed = ClosedStreams()
        self._next_stream_id = 1
        self._encoder = HeaderEncoder(settings.encoder_table_size)
        self._encoded = self._encoder.blocks
        self._out: list[bytes | memoryview] = []
        #: What we may send: on the connection, and on a stream beside its own credit.
        self._send_window = DEFAULT_WINDOW
        self._initial_send_window = DEFAULT_WINDOW
        #: What the peer may send: the same two. Until it has acknowledged our SETTINGS it may go by the default still.
        self._receive_window = DEFAULT_WINDOW
        self._initial_receive_window = max(DEFAULT_WINDOW, settings.stream_window)
        #: The initial windows of our SETTINGS that the peer has not acknowledged yet, the oldest first.
        self._announced_windows = [settings.stream_window]

    def start(self) -> None:  # noqa: D102 - the contract is in Http2Engine
        settings = self._settings
        announced = {
            INITIAL_WINDOW_SIZE: settings.stream_window,
            MAX_FRAME_SIZE: settings.max_frame_size,
            MAX_HEADER_LIST_SIZE: settings.max_header_list_size,
        }
        if settings.header_table_size != DEFAULT_TABLE_SIZE:
            announced[HEADER_TABLE_SIZE] = settings.header_table_size
        if self._client_side:
            self._queue(PREFACE)
            # We accept no pushed streams, and none at all that a server opens, as grpcio says too.
            announced[ENABLE_PUSH] = announced[MAX_CONCURRENT_STREAMS] = 0
        elif settings.max_concurrent_streams is not None:
            announced[MAX_CONCURRENT_STREAMS] = settings.max_concurrent_streams
        self._queue(settings_frame(sorted(announced.items())))
        self.increment_window(0, settings.connection_window - DEFAULT_WINDOW)

    def data_to_send(self) -> bytes:  # noqa: D102
        data = b"".join(self._out)
        self._out.clear()
        self.queued = 0
        return data

    def send_window(self, stream_id: int) -> int:  # noqa: D102
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        window = self._initial_send_window + stream.send_credit
        return window if window < self._send_window else self._send_window

    def open_stream(self, headers: Sequence[Header], end_stream: bool) -> int:  # noqa: D102
        if not self._client_side:
            raise LocalProtocolError("a server opens no streams: nobody accepts a push")
        stream_id = self._next_stream_id
        if stream_id > MAX_STREAM_ID:
            raise StreamsExhausted("all stream identifiers of this connection are used up")
        block = self._encode(headers)
        self._next_stream_id = stream_id + 2
        if self._failed:
            return stream_id
        stream = Stream()
        stream.state = AWAITING_HEADERS | LOCAL_ENDED if end_stream else AWAITING_HEADERS
        stream.send_credit = 0
        stream.receive_credit = 0
        self._streams[stream_id] = stream
        self._queue_block(stream_id, block, end_stream)
        return stream_id

    def send_headers(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:  # noqa: D102
        stream = self._streams.get(stream_id)
        if stream is None or stream.state & LOCAL_ENDED:
            self._refuse_to_send(stream_id)
            return
        block = self._encode(headers)
        if end_stream:
            if stream.state & REMOTE_ENDED:
                del self._streams[stream_id]
            else:
                stream.state |= LOCAL_ENDED
        self._queue_block(stream_id, block, end_stream)

    def _encode(self, headers: Sequence[Header]) -> bytes:
        """Returns the block of a header list, which has to be queued: the peer's decoder counts on it."""
        block = self._encoded.get(headers) if type(headers) is tuple else None
        if block is None:
            # A list that was sent before under the same settings need not be counted again.
            check_header_list(headers, self.peer_max_header_list_size)
            block = self._encoder.encode(headers)
        return block

    def _queue_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        size = len(block)
        if size > self.peer_max_frame_size:
            self._queue_large_block(stream_id, block, end_stream)
            return
        flags = END_HEADERS | END_STREAM if end_stream else END_HEADERS
        self.has_sent = True
        out = self._out
        out.append(_pack_head(size << 8 | HEADERS, flags, stream_id))
        out.append(block)
        self.queued += size + FRAME_HEAD_SIZE

    def _queue_large_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        # RFC 9113, section 6.10: the rest of a block follows in CONTINUATION frames, with nothing between them.
        limit = self.peer_max_frame_size
        kind, flags = HEADERS, END_STREAM if end_stream else 0
        for offset in range(0, len(block), limit):
            piece = block[offset : offset + limit]
            if offset + limit >= len(block):
                flags |= END_HEADERS
            self._queue(_pack_head(len(piece) << 8 | kind, flags, stream_id) + piece)
            kind, flags = CONTINUATION, 0
        self.has_sent = True

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:  # noqa: D102
        self.send_data_parts(stream_id, (data,), len(data), end_stream)

    def send_data_parts(  # noqa: D102
        self, stream_id: int, parts: Collection[bytes | memoryview], size: int, end_stream: bool
    ) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.state & LOCAL_ENDED:
            self._refuse_to_send(stream_id)
            return
        if size:
            credit = stream.send_credit - size
            if size > self._send_window or credit + self._initial_send_window < 0 or size > self.peer_max_frame_size:
                raise LocalProtocolError(f"{size} bytes of DATA exceed a window or the peer's largest frame")
            stream.send_credit = credit
            self._send_window -= size
        if end_stream:
            if stream.state & REMOTE_ENDED:
                del self._streams[stream_id]
            else:
                stream.state |= LOCAL_ENDED
        self.has_sent = True
        out = self._out
        out.append(_pack_head(size << 8 | DATA, END_STREAM if end_stream else 0, stream_id))
        out += parts
        self.queued += size + FRAME_HEAD_SIZE

    def send_response(  # noqa: D102
        self, stream_id: int, headers: tuple[Header, ...], message: bytes, trailers: tuple[Header, ...]
    ) -> bool:
        stream = self._streams.get(stream_id)
        size = len(message)
        largest = self.peer_max_frame_size
        if (
            stream is None
            or stream.state & LOCAL_ENDED
            or size > self._send_window
            or size > self._initial_send_window + stream.send_credit
            or size > largest
        ):
            return False
        encoded = self._encoded
        head, tail = encoded.get(headers), encoded.get(trailers)
        if head is None or tail is None or len(head) > largest or len(tail) > largest:
            # The blocks are not all known, and may have to be encoded in their order.
            return super().send_response(stream_id, headers, message, trailers)
        self._send_window -= size
        if stream.state & REMOTE_ENDED:
            del self._streams[stream_id]
        else:
            stream.send_credit -= size
            stream.state |= LOCAL_ENDED
        self.has_sent = True
        self._out += (
            _pack_head(len(head) << 8 | HEADERS, END_HEADERS, stream_id),
            head,
            _pack_head(size << 8 | DATA, 0, stream_id),
            message,
            _pack_head(len(tail) << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id),
            tail,
        )
        self.queued += len(head) + size + len(tail) + 3 * FRAME_HEAD_SIZE
        return True

    def _refuse_to_send(self, stream_id: int) -> None:
        # After a connection error the streams are gone, which whoever sends need not know yet.
        if not self._failed:
            raise LocalProtocolError(f"stream {stream_id} is not open for sending")

    def reset_stream(self, stream_id: int, error_code: int) -> None:  # noqa: D102
        if self._streams.pop(stream_id, None) is not None:
            self._queue_reset(stream_id, error_code)

    def _queue_reset(self, stream_id: int, error_code: int) -> None:
        self._closed.reset(stream_id, Closing.RESET_BY_US)
        self._queue(rst_stream_frame(stream_id, error_code))

    def increment_window(self, stream_id: int, increment: int) -> None:  # noqa: D102
        if increment <= 0 or self._failed:
            return
        if stream_id == 0:
            window = self._receive_window = self._receive_window + increment
        else:
            stream = self._streams.get(stream_id)
            if stream is None or stream.state & REMOTE_ENDED:
                return
            stream.receive_credit += increment
            window = self._initial_receive_window + stream.receive_credit
        if window > MAX_WINDOW:
            raise LocalProtocolError(f"a window of {window} bytes is beyond 2**31 - 1 (RFC 9113, section 6.9.1)")
        self._queue(window_update_frame(stream_id, increment))

    def grow_stream_window(self, window: int) -> None:  # noqa: D102
        last = self._announced_windows[-1] if self._announced_windows else self._initial_receive_window
        if not last <= window <= MAX_WINDOW:
            raise LocalProtocolError(f"the initial window can't change from {last} to {window} bytes")
        if not self._failed:
            self._announced_windows.append(window)
            # The peer may use it before we see that it has acknowledged it.
            self._initial_receive_window = max(self._initial_receive_window, window)
            self._queue(settings_frame([(INITIAL_WINDOW_SIZE, window)]))

    def send_ping(self, payload: bytes) -> None:  # noqa: D102
        if len(payload) != 8:
            raise LocalProtocolError(f"a PING has eight bytes of payload, not {len(payload)}")
        if not self._failed:
            self._queue(ping_frame(payload, 0))

    def send_goaway(self, last_stream_id: int, error_code: int, debug: bytes = b"") -> None:  # noqa: D102
        self._queue(goaway_frame(last_stream_id, error_code, debug))

    def _queue(self, frame: bytes) -> None:
        self._out.append(frame)
        self.queued += len(frame)
