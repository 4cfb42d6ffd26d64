"""The h2 engine: python-hyper's ``h2`` behind the HTTP/2 seam.

Events are reported frame by frame, not after all frames of a read as h2 has it: an answer to the first frame must not
meet a stream that a later frame has already closed.

Stock h2 takes a GOAWAY, sent or received, for the end of the connection, so that calls in flight die. The connection
here keeps its state: frames in flight go on, as RFC 9113, section 6.8, wants it.

Header validation of h2 is off, because h2 makes a connection error of what RFC 9113, section 8.1.1, calls a stream
error; ``pygrpc.core.headers`` validates instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes
from hpack.exceptions import HPACKError
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode
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
from pygrpc.core.http2.frames import MAX_WINDOW
from pygrpc.core.metadata import Header

#: Bytes before the payload of a frame (RFC 9113, section 4.1).
_FRAME_HEADER = 9


class _FrameBuffer(FrameBuffer):
    """A FrameBuffer that refuses a frame on its length, where h2 would first collect up to 16 MiB of it."""

    def __next__(self) -> Frame:
        data = self._data
        if len(data) >= _FRAME_HEADER:
            length = int.from_bytes(data[:3], "big")
            self._validate_frame_length(length)
            if length and data[3] == SettingsFrame.type and data[4] & 1:
                raise FrameTooLargeError("an acknowledgement of SETTINGS has content (RFC 9113, section 6.5)")
        return super().__next__()


class _CompressionError(ProtocolError):
    """A header block that HPACK can't decode (RFC 9113, section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class _Connection(H2Connection):
    """An H2Connection that survives GOAWAY, reports events frame by frame and counts streams in constant time."""

    def __init__(self, config: H2Configuration, report: Callable[[Event], None]) -> None:
        super().__init__(config)
        self.incoming_buffer = _FrameBuffer(server=not config.client_side)
        self._report = report
        self._greeted = False

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if not self._greeted:
            if not isinstance(frame, SettingsFrame) or "ACK" in frame.flags:
                raise ProtocolError("the first frame must be SETTINGS (RFC 9113, section 3.4)")
            self._greeted = True
        for event in super()._receive_frame(frame):
            self._report(event)
        return []

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return super()._receive_headers_frame(frame)
        except ProtocolError as error:
            if isinstance(error.__cause__, HPACKError) and not isinstance(error, DenialOfServiceError):
                raise _CompressionError(str(error)) from error
            raise

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        outbound = self._stream_id_is_outbound(frame.stream_id)
        if frame.stream_id > (self.highest_outbound_stream_id if outbound else self.highest_inbound_stream_id):
            # RFC 9113, section 6.4; h2 passes over it.
            raise ProtocolError(f"RST_STREAM for the idle stream {frame.stream_id}")
        return super()._receive_rst_stream_frame(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _open_streams(self, remainder: int) -> int:
        # The engine counts streams and drops closed ones as they close; h2 would look at every stream for each new one,
        # and make a connection error of one too many. The new stream is added to this, so it never exceeds a limit.
        return -1

    def forget(self, stream_id: int) -> None:
        """Drops a stream that is closed in both directions."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    def queue(self, frame: Frame) -> None:
        """Queues a frame without asking the state machine."""
        self._prepare_for_sending([frame])

    @property
    def queued(self) -> int:
        """The number of bytes that data_to_send would return."""
        return len(self._data_to_send)


class H2Engine(Http2Engine):
    """One end of a connection on ``h2``.

    After a connection error h2 sends nothing more, so what is still asked of it then has no effect.
    """

    def __init__(self, events: Http2Events, settings: Http2Settings, client_side: bool) -> None:
        """Makes an engine; see ``create_engine``."""
        self._events = events
        self._settings = settings
        self._client_side = client_side
        self._failed = False
        self.has_sent = False
        #: The initial window that was announced last.
        self._stream_window = settings.stream_window
        #: Streams that the peer has opened and that are not closed yet.
        self._peer_streams: set[int] = set()
        self._h2 = _Connection(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            ),
            self._report,
        )
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._on_headers,
            ResponseReceived: self._on_headers,
            TrailersReceived: self._on_headers,
            DataReceived: self._on_data,
            StreamEnded: self._on_stream_ended,
            StreamReset: self._on_stream_reset,
            WindowUpdated: self._on_window_updated,
            RemoteSettingsChanged: self._on_settings,
            PingAckReceived: self._on_ping_ack,
            PingReceived: self._on_ping,
            ConnectionTerminated: self._on_goaway,
        }

    def _report(self, event: Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def start(self) -> None:  # noqa: D102 - the contract is in Http2Engine
        settings, local = self._settings, self._h2.local_settings
        local[SettingCodes.INITIAL_WINDOW_SIZE] = settings.stream_window
        local[SettingCodes.MAX_FRAME_SIZE] = settings.max_frame_size
        local[SettingCodes.MAX_HEADER_LIST_SIZE] = settings.max_header_list_size
        local[SettingCodes.HEADER_TABLE_SIZE] = settings.header_table_size
        local[SettingCodes.ENABLE_PUSH] = 0
        if self._client_side:
            # We accept no pushed streams, as grpcio says too.
            local[SettingCodes.MAX_CONCURRENT_STREAMS] = 0
        elif settings.max_concurrent_streams is None:
            del local[SettingCodes.MAX_CONCURRENT_STREAMS]
        else:
            local[SettingCodes.MAX_CONCURRENT_STREAMS] = settings.max_concurrent_streams
        # h2 sends the settings in force, so ours are in force before the peer acknowledges them; that is only lenient.
        local.acknowledge()
        self._h2.initiate_connection()
        self._h2.max_inbound_frame_size = settings.max_frame_size
        self._h2.decoder.max_header_list_size = settings.hard_header_list_size
        # The peer may go by the default until it has acknowledged a smaller table (RFC 7541, section 4.2).
        self._h2.decoder.max_allowed_table_size = max(settings.header_table_size, DEFAULT_TABLE_SIZE)
        self._limit_encoder()
        self.increment_window(0, settings.connection_window - DEFAULT_WINDOW)

    def receive_data(self, data: bytes) -> None:  # noqa: D102
        if self._failed:
            return
        try:
            self._h2.receive_data(data)
        except ProtocolError as error:
            self._failed = True
            code = int(getattr(error, "error_code", ErrorCode.PROTOCOL_ERROR))
            self._events.connection_failed(code, _describe(error))

    def _on_headers(self, event: RequestReceived | ResponseReceived | TrailersReceived) -> None:
        stream_id = event.stream_id
        if type(event) is RequestReceived:
            limit = self._settings.max_concurrent_streams
            if limit is not None and len(self._peer_streams) >= limit:
                # RFC 9113, section 5.1.2: an endpoint over the limit gets a stream error.
                self._h2.reset_stream(stream_id, ErrorCode.REFUSED_STREAM)
                self._h2.forget(stream_id)
                return
            self._peer_streams.add(stream_id)
        end_stream = event.stream_ended is not None
        self._events.headers_received(stream_id, event.headers, end_stream)

    def _on_data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._events.data_received(event.stream_id, event.data or b"", size, event.stream_ended is not None)

    def _on_stream_ended(self, event: StreamEnded) -> None:
        self._forget(event.stream_id)

    def _on_stream_reset(self, event: StreamReset) -> None:
        stream_id = event.stream_id
        known = stream_id in self._h2.streams
        self._forget(stream_id)
        if known:
            self._events.stream_reset(stream_id, int(event.error_code or 0), event.remote_reset)

    def _on_window_updated(self, event: WindowUpdated) -> None:
        self._events.window_opened(event.stream_id or 0)

    def _limit_encoder(self) -> None:
        # h2 would use all that the peer allows, which may be gibibytes.
        encoder = self._h2.encoder
        if encoder.header_table_size > self._settings.encoder_table_size:
            encoder.header_table_size = self._settings.encoder_table_size

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        if SettingCodes.HEADER_TABLE_SIZE in event.changed_settings:
            self._limit_encoder()
        self._events.settings_received()
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self._events.window_opened(0)

    def _on_ping_ack(self, event: PingAckReceived) -> None:
        self._events.ping_acknowledged(event.ping_data or b"")

    def _on_ping(self, event: PingReceived) -> None:
        self._events.ping_received()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        code = int(event.error_code or 0)
        self._events.goaway_received(event.last_stream_id or 0, code, event.additional_data or b"")

    def _forget(self, stream_id: int) -> None:
        self._h2.forget(stream_id)
        if stream_id not in self._h2.streams:
            self._peer_streams.discard(stream_id)

    def data_to_send(self) -> bytes:  # noqa: D102
        return self._h2.data_to_send()

    @property
    def queued(self) -> int:  # noqa: D102
        return self._h2.queued

    @property
    def peer_max_concurrent_streams(self) -> int:  # noqa: D102
        return self._h2.remote_settings.max_concurrent_streams

    @property
    def peer_max_frame_size(self) -> int:  # noqa: D102
        return self._h2.max_outbound_frame_size

    @property
    def peer_max_header_list_size(self) -> int:  # noqa: D102
        limit = self._h2.remote_settings.max_header_list_size
        return UNLIMITED if limit is None else limit

    @property
    def last_peer_stream_id(self) -> int:  # noqa: D102
        return self._h2.highest_inbound_stream_id

    def send_window(self, stream_id: int) -> int:  # noqa: D102
        stream = self._h2.streams.get(stream_id)
        if stream is None:
            return 0
        return min(self._h2.outbound_flow_control_window, stream.outbound_flow_control_window)

    def open_stream(self, headers: Sequence[Header], end_stream: bool) -> int:  # noqa: D102
        stream_id = self._h2.highest_outbound_stream_id + 2 if self._h2.highest_outbound_stream_id else 1
        if stream_id > MAX_STREAM_ID:
            raise StreamsExhausted("all stream identifiers of this connection are used up")
        self._send_headers(stream_id, headers, end_stream)
        return stream_id

    def send_headers(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:  # noqa: D102
        self._send_headers(stream_id, headers, end_stream)
        if end_stream:
            self._forget(stream_id)

    def _send_headers(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:
        if self._failed:
            return
        check_header_list(headers, self.peer_max_header_list_size)
        self.has_sent = True
        # An h2 error while we send is a mistake of ours; the same class while we receive would be the peer's.
        try:
            self._h2.send_headers(stream_id, headers, end_stream)
        except ProtocolError as error:
            raise LocalProtocolError(_describe(error)) from error

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:  # noqa: D102
        if self._failed:
            return
        self.has_sent = True
        try:
            self._h2.send_data(stream_id, data, end_stream)
        except ProtocolError as error:
            raise LocalProtocolError(_describe(error)) from error
        if end_stream:
            self._forget(stream_id)

    def reset_stream(self, stream_id: int, error_code: int) -> None:  # noqa: D102
        # While the last frame of a stream is reported, the stream is closed but not forgotten yet.
        stream = self._h2.streams.get(stream_id)
        if stream is not None and not stream.closed and not self._failed:
            self._h2.reset_stream(stream_id, error_code)
            self._forget(stream_id)

    def increment_window(self, stream_id: int, increment: int) -> None:  # noqa: D102
        if increment <= 0 or self._failed:
            return
        if stream_id == 0:
            self._h2.increment_flow_control_window(increment)
        elif (stream := self._h2.streams.get(stream_id)) is not None and stream.open:
            self._h2.increment_flow_control_window(increment, stream_id)

    def grow_stream_window(self, window: int) -> None:  # noqa: D102
        last = self._stream_window
        if not last <= window <= MAX_WINDOW:
            raise LocalProtocolError(f"the initial window can't change from {last} to {window} bytes")
        self._stream_window = window
        if not self._failed:
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})

    def send_ping(self, payload: bytes) -> None:  # noqa: D102
        if not self._failed:
            self._h2.ping(payload)

    def send_goaway(self, last_stream_id: int, error_code: int, debug: bytes = b"") -> None:  # noqa: D102
        frame = GoAwayFrame(0)
        frame.last_stream_id = last_stream_id
        frame.error_code = error_code
        frame.additional_data = debug
        self._h2.queue(frame)


def _describe(error: ProtocolError) -> str:
    # Some of h2's errors say no more than the number of a stream.
    text = str(error)
    return text if " " in text else f"{type(error).__name__} {text}".rstrip()
