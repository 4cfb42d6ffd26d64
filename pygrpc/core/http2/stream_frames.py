"""The frames of streams: header blocks, DATA, RST_STREAM, WINDOW_UPDATE and PRIORITY as the peer sends them.

What is wrong with the connection raises ``ConnectionBroken``; what is wrong with one stream ends that stream. Where RFC
9113 leaves the choice between the two, one stream is ended.
"""

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode
from pygrpc.core.http2.engine import DEFAULT_WINDOW, Http2Events, Http2Settings
from pygrpc.core.http2.frame_sender import FrameSender
from pygrpc.core.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    MAX_WINDOW,
    PADDED,
    ConnectionBroken,
    require_size,
    rst_stream_frame,
    without_padding,
)
from pygrpc.core.http2.hpack_decoder import DecodedBlock, HeaderDecoder
from pygrpc.core.http2.streams import (
    AWAITING_HEADERS,
    COUNTING,
    LOCAL_ENDED,
    NEEDS_CHECK,
    REMOTE_ENDED,
    Closing,
    Stream,
)

#: Frames that a header block may be spread over (CVE-2024-27316 and others: endless CONTINUATION).
_LARGEST_BLOCK_FRAMES = 64
#: The flags that decide whether a HEADERS frame is a header block and nothing else.
_WITH_FIELDS = END_HEADERS | PADDED | HAS_PRIORITY


class StreamFrames(FrameSender):
    """The part of the frame engine that handles frames of streams."""

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_size",
        "_block_stream_id",
        "_decoded",
        "_decoder",
        "_ignored",
        "_largest_credit",
        "_self_dependent",
    )

    def __init__(self, events: Http2Events, settings: Http2Settings, client_side: bool) -> None:
        """Makes an engine; see ``create_engine``."""
        super().__init__(events, settings, client_side)
        self._decoder = HeaderDecoder(settings.hard_header_list_size, settings.header_table_size)
        self._decoded = self._decoder.blocks
        #: The header block that is incomplete: its stream, its flags, its pieces and their size.
        self._block_stream_id = 0
        self._block_flags = 0
        self._block: list[bytes] = []
        self._block_size = 0
        #: The last stream whose HEADERS made it depend on itself; it is open no more once they are handled.
        self._self_dependent = 0
        #: No stream has more ``send_credit`` than this.
        self._largest_credit = 0
        #: DATA that nobody hears of, for which the connection has no credit yet, in bytes.
        self._ignored = 0

    def _set_in_block(self, in_block: bool) -> None:
        """Lets nothing but CONTINUATION come from here on, or every frame again."""
        raise NotImplementedError

    def _stream_error(self, stream_id: int, error_code: int, message: str) -> None:
        """Ends a stream, or the connection if the stream is idle, which no RST_STREAM may be sent for (section 6.4)."""
        if self._streams.pop(stream_id, None) is not None:
            self._queue_reset(stream_id, error_code)
            self._events.stream_reset(stream_id, error_code, False)
        elif self._is_idle(stream_id):
            raise ConnectionBroken(error_code, message)
        else:
            self._queue(rst_stream_frame(stream_id, error_code))

    def _is_idle(self, stream_id: int) -> bool:
        if not stream_id:
            return True
        ours = stream_id & 1 == self._client_side
        return stream_id >= self._next_stream_id if ours else stream_id > self.last_peer_stream_id

    # Header blocks.

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & _WITH_FIELDS != END_HEADERS:
            fragment = self._unwrap_headers(flags, stream_id, payload)
            if not flags & END_HEADERS:
                self._begin_block(flags, stream_id, fragment)
                return
            payload = fragment
        block = self._decoded.get(payload)
        if block is None:
            block = self._decoder.decode(payload)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._block_on_stream(stream_id, stream, block, flags & END_STREAM)
        elif stream_id <= self.last_peer_stream_id or self._client_side or not stream_id & 1:
            self._block_on_closed(stream_id)
        else:
            self._accept_stream(stream_id, block, flags & END_STREAM)

    def _unwrap_headers(self, flags: int, stream_id: int, payload: bytes) -> bytes:
        """Takes padding and priority off the fragment of a block (RFC 9113, section 6.2)."""
        start, padding = 0, 0
        if flags & PADDED and payload:
            start, padding = 1, payload[0]
        fields_end = start + 5 if flags & HAS_PRIORITY else start
        if len(payload) < fields_end or (flags & PADDED and not start):
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its padding or priority")
        if padding > len(payload) - fields_end:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "the padding of HEADERS is longer than the frame")
        if flags & HAS_PRIORITY and int.from_bytes(payload[start : start + 4], "big") & MAX_STREAM_ID == stream_id:
            self._self_dependent = stream_id
        return payload[fields_end : len(payload) - padding]

    def _begin_block(self, flags: int, stream_id: int, fragment: bytes) -> None:
        if not stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0 (RFC 9113, section 6.2)")
        self._set_in_block(True)
        self._block_stream_id = stream_id
        self._block_flags = flags & END_STREAM | END_HEADERS
        self._block_size = 0
        self._add_fragment(fragment)

    def _add_fragment(self, fragment: bytes) -> None:
        self._block.append(fragment)
        self._block_size += len(fragment)
        # No list within the limit has a longer block, unless its Huffman code were there to make it longer.
        if self._block_size > self._settings.hard_header_list_size or len(self._block) > _LARGEST_BLOCK_FRAMES:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too large, or in too many pieces")

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != self._block_stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of another stream's header block")
        self._add_fragment(payload)
        if flags & END_HEADERS:
            self._set_in_block(False)
            block = b"".join(self._block)
            self._block.clear()
            self._on_headers(self._block_flags, stream_id, block)

    def _accept_stream(self, stream_id: int, block: DecodedBlock, end_stream: int) -> None:
        """A client opens a stream."""
        if stream_id != self.last_peer_stream_id + 2 and stream_id != 1:
            self._closed.skipped(self.last_peer_stream_id + 2 if self.last_peer_stream_id else 1, stream_id)
        self.last_peer_stream_id = stream_id
        limit = self._settings.max_concurrent_streams
        if limit is not None and len(self._streams) >= limit:
            # RFC 9113, section 5.1.2; nothing was done for it, so the client may try again (section 8.7).
            self._queue_reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        stream = Stream()
        stream.state = REMOTE_ENDED if end_stream else 0
        stream.send_credit = 0
        stream.receive_credit = 0
        malformed = block.unusual and not self._begin_content(stream, block, end_stream)
        if malformed or stream_id == self._self_dependent:
            self._queue_reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self._streams[stream_id] = stream
        self._events.headers_received(stream_id, block, end_stream != 0)

    def _begin_content(self, stream: Stream, block: DecodedBlock, end_stream: int) -> bool:
        """Takes notice of content-length; returns False if it is wrong already (RFC 9113, section 8.1.1)."""
        length = block.content_length
        if length is None:
            return True
        if end_stream:
            return length == 0
        stream.state |= COUNTING
        stream.remaining = length
        return length >= 0

    def _block_on_stream(self, stream_id: int, stream: Stream, block: DecodedBlock, end_stream: int) -> None:
        """Response headers or trailers."""
        state = stream.state
        if state & REMOTE_ENDED:
            self._stream_error(stream_id, ErrorCode.STREAM_CLOSED, "")
            return
        if stream_id == self._self_dependent:
            # RFC 7540, section 5.3.1; RFC 9113 has no use for priorities any more.
            valid = False
        elif state & AWAITING_HEADERS:
            if block.informational and not end_stream:
                return
            state = stream.state = state & ~AWAITING_HEADERS
            valid = not block.informational and self._begin_content(stream, block, end_stream)
        else:
            # RFC 9113, section 8.1: trailers end the stream.
            valid = end_stream != 0 and not (state & COUNTING and stream.remaining)
        if not valid:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "")
            return
        if end_stream:
            self._end_remote(stream_id, stream)
        self._events.headers_received(stream_id, block, end_stream != 0)

    def _end_remote(self, stream_id: int, stream: Stream) -> None:
        if stream.state & LOCAL_ENDED:
            del self._streams[stream_id]
        else:
            stream.state |= REMOTE_ENDED

    def _block_on_closed(self, stream_id: int) -> None:
        """A header block on a stream that isn't open, and that the peer can't open."""
        if self._is_idle(stream_id):
            raise ConnectionBroken(
                ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}, which the peer can't open"
            )
        how = self._closed.how(stream_id)
        if how is Closing.RESET_BY_PEER:
            self._queue(rst_stream_frame(stream_id, ErrorCode.STREAM_CLOSED))
        elif how is Closing.SKIPPED:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is below {self.last_peer_stream_id}")
        elif how is Closing.ENDED:
            raise ConnectionBroken(ErrorCode.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which has ended")

    # DATA.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        window = self._receive_window - size
        if window < 0:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, "DATA exceeds the window of the connection")
        self._receive_window = window
        data = without_padding(payload) if flags & PADDED else payload
        stream = self._streams.get(stream_id)
        if stream is None:
            self._data_on_closed(stream_id, size)
            return
        state = stream.state
        end_stream = flags & END_STREAM
        if state & NEEDS_CHECK and not self._check_data(stream_id, stream, len(data), end_stream):
            self._ignore_data(size)
            return
        credit = stream.receive_credit - size
        if credit + self._initial_receive_window < 0 and size:
            self._ignore_data(size)
            self._stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "")
            return
        stream.receive_credit = credit
        if end_stream:
            if state & LOCAL_ENDED:
                del self._streams[stream_id]
            else:
                stream.state = state | REMOTE_ENDED
            self._events.data_received(stream_id, data, size, True)
        else:
            self._events.data_received(stream_id, data, size, False)

    def _check_data(self, stream_id: int, stream: Stream, size: int, end_stream: int) -> bool:
        """Looks closer at DATA; returns False if it ended the stream."""
        state = stream.state
        if state & REMOTE_ENDED:
            # RFC 9113, section 5.1, "half-closed (remote)".
            self._stream_error(stream_id, ErrorCode.STREAM_CLOSED, "")
            return False
        malformed = state & AWAITING_HEADERS != 0
        if state & COUNTING:
            stream.remaining -= size
            malformed = malformed or stream.remaining < 0 or (end_stream != 0 and stream.remaining > 0)
        if malformed:
            # RFC 9113, section 8.1.1.
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "")
        return not malformed

    def _data_on_closed(self, stream_id: int, size: int) -> None:
        if not stream_id or self._is_idle(stream_id):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which is idle")
        self._ignore_data(size)
        if self._closed.how(stream_id) not in (Closing.RESET_BY_US, Closing.FORGOTTEN):
            self._queue(rst_stream_frame(stream_id, ErrorCode.STREAM_CLOSED))

    def _ignore_data(self, size: int) -> None:
        """Credits DATA that nobody hears of, in portions of a quarter of the window."""
        self._ignored += size
        if self._ignored >= max(self._settings.connection_window, DEFAULT_WINDOW) // 4:
            self.increment_window(0, self._ignored)
            self._ignored = 0

    # The others.

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0 (RFC 9113, section 6.3)")
        if len(payload) != 5:
            self._stream_error(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY without its five bytes")
        elif int.from_bytes(payload[:4], "big") & MAX_STREAM_ID == stream_id:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        require_size("RST_STREAM", payload, 4)
        if self._streams.pop(stream_id, None) is not None:
            self._closed.reset(stream_id, Closing.RESET_BY_PEER)
            self._events.stream_reset(stream_id, int.from_bytes(payload, "big"), True)
        elif not stream_id or self._is_idle(stream_id):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM on stream {stream_id}, which is idle")

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        require_size("WINDOW_UPDATE", payload, 4)
        increment = int.from_bytes(payload, "big") & MAX_WINDOW
        if not stream_id:
            self._open_connection_window(increment)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE on stream {stream_id}, which is idle")
        elif not increment:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "")
        elif self._initial_send_window + stream.send_credit + increment > MAX_WINDOW:
            self._stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "")
        else:
            credit = stream.send_credit = stream.send_credit + increment
            if credit > self._largest_credit:
                self._largest_credit = credit
            self._events.window_opened(stream_id)

    def _open_connection_window(self, increment: int) -> None:
        if not increment:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing (RFC 9113, section 6.9)")
        if self._send_window + increment > MAX_WINDOW:
            raise ConnectionBroken(
                ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE opens the connection's window beyond 2**31 - 1"
            )
        self._send_window += increment
        self._events.window_opened(0)
