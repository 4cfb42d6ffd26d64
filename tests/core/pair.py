"""What tests of the core share: two cores back to back in memory, and a hand-made peer for one core.

Nothing here does I/O or knows the time: bytes are moved by ``Pair.exchange`` and ``RawPeer.send``, and the clock is a
number that the test sets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from pygrpc.core import http2
from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.connection import DEFAULT_ABUSE_LIMITS, AbuseLimits, Connection
from pygrpc.core.framing import MessageReader
from pygrpc.core.headers import request_headers
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.keepalive import NO_KEEPALIVE, KeepaliveSettings
from pygrpc.core.metadata import Header
from pygrpc.core.server_call import ServerCall
from pygrpc.core.server_connection import DEFAULT_UPKEEP, ServerConnection, Upkeep
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.framed import feed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OK = Status(StatusCode.OK, "")
ANY = MessageLimits(-1, -1)

#: How bytes are cut on their way: a size for every chunk, None for one chunk, or what gives the size of the next one.
Cut = int | Callable[[], int] | None


def cut(data: bytes, chunk: Cut) -> Iterator[bytes]:
    """Yields the pieces of data that a chunk size, or a source of sizes, makes."""
    offset = 0
    while offset < len(data):
        size = len(data) if chunk is None else chunk if isinstance(chunk, int) else chunk()
        yield data[offset : offset + size]
        offset += size


class ClientEnd:
    """A client call with a listener that writes down what it is told."""

    def __init__(self, **arguments: Any) -> None:
        self.events: list[str] = []
        self.timeouts: list[float | None] = []
        encoding = arguments.get("send_encoding")
        self.extra: list[Header] = arguments.pop("metadata", [])
        self.path: str = arguments.pop("path", "/a.B/C")

        def headers(timeout: float | None) -> list[Header]:
            self.timeouts.append(timeout)
            return request_headers(self.path, "authority", b"http", b"test/1", timeout, encoding, self.extra)

        defaults: dict[str, Any] = {"response_streaming": True, "deadline": None, "limits": ANY}
        self.call = ClientCall(self, headers, **{**defaults, **arguments})

    def on_started(self) -> None:
        self.events.append("started")

    def on_initial_metadata(self) -> None:
        self.events.append("initial_metadata")

    def on_message(self) -> None:
        self.events.append("message")

    def on_writable(self) -> None:
        self.events.append("writable")

    def on_done(self) -> None:
        # The contract of ClientCallListener: by now there is a status, and nothing is left to read.
        assert self.call.status is not None
        assert not self.call.has_message
        self.events.append("done")

    def send(self, *messages: bytes, end: bool = True) -> ClientEnd:
        for message in messages:
            self.call.send_message(message)
        if end:
            self.call.half_close()
        return self

    def read(self) -> list[bytes]:
        return read_all(self.call)

    @property
    def code(self) -> StatusCode | None:
        """The code that the user sees, or None while the call goes on."""
        return self.call.status.code if self.call.ended and self.call.status else None

    @property
    def details(self) -> str:
        assert self.call.status is not None
        return self.call.status.details


class ServerEnd:
    """A server call with a listener that writes down what it is told."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.events: list[str] = []

    def on_requests(self) -> None:
        self.events.append("requests")

    def on_writable(self) -> None:
        self.events.append("writable")

    def on_cancelled(self) -> None:
        assert self.call.status is not None
        self.events.append("cancelled")

    def on_closed(self) -> None:
        self.events.append("closed")

    def read(self) -> list[bytes]:
        return read_all(self.call)

    def send(self, *messages: bytes) -> ServerEnd:
        for message in messages:
            self.call.send_message(message)
        return self

    def finish(self, code: StatusCode = StatusCode.OK, details: str = "", metadata: list[Header] | None = None) -> bool:
        return self.call.finish(Status(code, details), metadata or [])

    @property
    def code(self) -> StatusCode | None:
        return self.call.status.code if self.call.status else None

    @property
    def details(self) -> str:
        assert self.call.status is not None
        return self.call.status.details


def read_all(call: ClientCall | ServerCall) -> list[bytes]:
    """Reads the messages that wait."""
    messages = []
    while call.has_message:
        message = call.read_message()
        if message is not None:
            messages.append(message)
    return messages


class ClientOwner:
    """The owner of a client connection, which writes down what it is told."""

    def __init__(self) -> None:
        self.ready = 0
        self.drained = 0
        self.unsent: list[ClientCall] = []

    def on_ready(self) -> None:
        self.ready += 1

    def on_draining(self) -> None:
        self.drained += 1

    def on_unsent(self, calls: list[ClientCall]) -> None:
        self.unsent += calls


class ServerOwner:
    """The owner of a server connection: gives each call a ServerEnd, and then to ``accept``."""

    def __init__(self) -> None:
        self.calls: list[ServerEnd] = []
        self.request_streaming = True
        self.accept: Callable[[ServerEnd], None] = lambda end: None

    def on_call(self, call: ServerCall) -> None:
        end = ServerEnd(call)
        call.listener = end
        call.request_streaming = self.request_streaming
        self.calls.append(end)
        self.accept(end)


@contextlib.contextmanager
def engine(name: str | None) -> Iterator[None]:
    """Chooses the HTTP/2 engine of the connections that are made within; None leaves the choice to others."""
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            patch.setenv(http2.ENGINE_VARIABLE, name)
        yield


class Pair:
    """A client's and a server's connection with nothing but ``exchange`` between them."""

    def __init__(
        self,
        *,
        client: Http2Settings | None = None,
        server: Http2Settings | None = None,
        limits: MessageLimits = ANY,
        abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
        connect: bool = True,
        engines: tuple[str, str] | None = None,
        keepalive: KeepaliveSettings = NO_KEEPALIVE,
        upkeep: Upkeep = DEFAULT_UPKEEP,
    ) -> None:
        self.now = 0.0
        self.client_owner = ClientOwner()
        self.server_owner = ServerOwner()
        self.client_settings = client or Http2Settings()
        self.server_settings = server or Http2Settings()
        with engine(engines and engines[0]):
            self.client = ClientConnection(self.client_owner, self.client_settings, self.now, keepalive=keepalive)
        with engine(engines and engines[1]):
            self.server = ServerConnection(
                self.server_owner, self.server_settings, limits, self.now, abuse=abuse, upkeep=upkeep
            )
        if connect:
            self.exchange()

    def to_server(self, chunk: Cut = None) -> int:
        """Moves what the client has to say; returns the number of bytes."""
        return self._move(self.client, self.server, chunk)

    def to_client(self, chunk: Cut = None) -> int:
        """Moves what the server has to say; returns the number of bytes."""
        return self._move(self.server, self.client, chunk)

    def _move(self, source: Connection, target: Connection, chunk: Cut) -> int:
        moved = 0
        while data := source.data_to_send():
            moved += len(data)
            for piece in cut(data, chunk):
                target.receive_data(piece, self.now)
        return moved

    def exchange(self, chunk: Cut = None) -> None:
        """Moves bytes both ways, in pieces of a size, until neither end has anything to say."""
        for _ in range(10_000):
            if not self.to_server(chunk) + self.to_client(chunk):
                return
        raise AssertionError("the two never stop to talk")

    def start(self, *messages: bytes, end: bool = True, **arguments: Any) -> ClientEnd:
        """Starts a call with these requests; nothing is exchanged yet."""
        started = ClientEnd(**arguments)
        self.client.start(started.call)
        return started.send(*messages, end=end)

    def open(self, *messages: bytes, end: bool = True, **arguments: Any) -> tuple[ClientEnd, ServerEnd]:
        """Starts a call, exchanges, and returns both ends of it."""
        before = len(self.server_owner.calls)
        started = self.start(*messages, end=end, **arguments)
        self.exchange()
        assert len(self.server_owner.calls) == before + 1
        return started, self.server_owner.calls[-1]

    def lose(self, message: str = "gone") -> None:
        """The socket between the two breaks."""
        self.client.lost(message)
        self.server.lost(message)


class RawPeer:
    """The other end of one core: says what a test writes, frame by frame, and reads the core's frames."""

    def __init__(
        self,
        core: Connection,
        *,
        is_client: bool,
        greet: bool = True,
        settings: dict[int, int] | None = None,
        now: float = 0.0,
    ):
        self.core = core
        self.now = now
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = 1 << 16
        self._skip = len(PREFACE) if not is_client else 0
        self._buffer = b""
        self.frames: list[Frame] = []
        if greet:
            greeting = SettingsFrame(0, settings=settings or {}).serialize()
            self.send_bytes((PREFACE if is_client else b"") + greeting)
            self.send(SettingsFrame(0, flags=["ACK"]))
            self.receive()

    # Speaking.

    def send_bytes(self, data: bytes, chunk: Cut = None) -> None:
        for piece in cut(data, chunk):
            self.core.receive_data(piece, self.now)

    def send(self, *frames: Frame, chunk: Cut = None) -> None:
        self.send_bytes(b"".join(frame.serialize() for frame in frames), chunk)

    def headers(self, stream_id: int, fields: list[Header], end: bool = False) -> HeadersFrame:
        """Makes a HEADERS frame; to be sent, and in this order, since HPACK has state."""
        frame = HeadersFrame(stream_id, self.encoder.encode(fields, huffman=False))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame

    @staticmethod
    def data(stream_id: int, payload: bytes, end: bool = False, padding: int | None = None) -> DataFrame:
        frame = DataFrame(stream_id, payload)
        if end:
            frame.flags.add("END_STREAM")
        if padding is not None:
            frame.flags.add("PADDED")
            frame.pad_length = padding
        return frame

    @staticmethod
    def reset(stream_id: int, code: int) -> RstStreamFrame:
        return RstStreamFrame(stream_id, error_code=code)

    @staticmethod
    def goaway(last: int, code: int = 0, debug: bytes = b"") -> GoAwayFrame:
        return GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=debug)

    @staticmethod
    def ping(payload: bytes = b"12345678", ack: bool = False) -> PingFrame:
        return PingFrame(0, payload, flags=["ACK"] if ack else [])

    @staticmethod
    def window(stream_id: int, increment: int) -> WindowUpdateFrame:
        return WindowUpdateFrame(stream_id, window_increment=increment)

    @staticmethod
    def settings(values: dict[int, int]) -> SettingsFrame:
        return SettingsFrame(0, settings=values)

    # Listening.

    def receive(self) -> list[Frame]:
        """Takes all that the core has to say; returns the new frames, HEADERS with their fields as ``fields``."""
        while data := self.core.data_to_send():
            self._buffer += data
        if self._skip and len(self._buffer) >= self._skip:
            assert self._buffer.startswith(PREFACE)
            self._buffer, self._skip = self._buffer[self._skip :], 0
        new = []
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._decode(frame)
            new.append(frame)
        self.frames += new
        return new

    def _decode(self, frame: Frame) -> None:
        # Blocks that need CONTINUATION are not decoded piece by piece: the last frame gets the fields.
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self._block = (b"" if isinstance(frame, HeadersFrame) else self._block) + frame.data
            if "END_HEADERS" in frame.flags:
                frame.fields = [
                    (bytes(name), bytes(value)) for name, value in self.decoder.decode(self._block, raw=True)
                ]

    def of_stream(self, stream_id: int) -> list[Frame]:
        """The frames of one stream that came so far."""
        return [frame for frame in self.frames if frame.stream_id == stream_id]

    def messages(self, stream_id: int) -> list[bytes]:
        """The messages that came on one stream so far."""
        reader = MessageReader(-1)
        frames = [frame for frame in self.of_stream(stream_id) if isinstance(frame, DataFrame)]
        return [payload for frame in frames for payload, _ in feed(reader, frame.data)]

    def resets(self) -> dict[int, int]:
        """The error code of each RST_STREAM that came so far, by stream; the first of each."""
        codes: dict[int, int] = {}
        for frame in self.frames:
            if isinstance(frame, RstStreamFrame):
                codes.setdefault(frame.stream_id, frame.error_code)
        return codes

    def goaways(self) -> list[GoAwayFrame]:
        return [frame for frame in self.frames if isinstance(frame, GoAwayFrame)]


def raw_client(
    settings: Http2Settings | None = None,
    *,
    limits: MessageLimits = ANY,
    abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
    peer_settings: dict[int, int] | None = None,
    greet: bool = True,
    **arguments: Any,
) -> tuple[RawPeer, ServerOwner, ServerConnection]:
    """A hand-made client before a server core."""
    owner = ServerOwner()
    core = ServerConnection(owner, settings or Http2Settings(), limits, 0.0, abuse=abuse, **arguments)
    return RawPeer(core, is_client=True, settings=peer_settings, greet=greet), owner, core


def raw_server(
    settings: Http2Settings | None = None,
    *,
    abuse: AbuseLimits = DEFAULT_ABUSE_LIMITS,
    peer_settings: dict[int, int] | None = None,
    greet: bool = True,
) -> tuple[RawPeer, ClientOwner, ClientConnection]:
    """A hand-made server before a client core."""
    owner = ClientOwner()
    core = ClientConnection(owner, settings or Http2Settings(), 0.0, abuse)
    return RawPeer(core, is_client=False, settings=peer_settings, greet=greet), owner, core


REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"authority"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
RESPONSE: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def without(headers: list[Header], name: bytes) -> list[Header]:
    return [header for header in headers if header[0] != name]


def changed(headers: list[Header], name: bytes, value: bytes) -> list[Header]:
    """The headers with one that has another value; it is appended if it isn't among them."""
    found = [(key, value if key == name else old) for key, old in headers]
    return found if any(key == name for key, _ in headers) else [*headers, (name, value)]
