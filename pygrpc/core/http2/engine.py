"""The HTTP/2 seam: all that the rest of the code knows of an HTTP/2 connection.

An engine is one end of one connection and does no I/O. It has three verbs:

- ``receive_data(data)`` takes bytes of the peer and calls the methods of ``Http2Events`` for what they mean, in order,
  before it returns. It never raises for what a peer sent: a stream error resets that stream, a connection error queues
  a GOAWAY and calls ``connection_failed``; whatever comes after that is ignored.
- ``send_...`` queue frames. They raise only for mistakes of our own.
- ``data_to_send()`` hands over the bytes queued so far; call it after either of the others.

An engine answers PING and SETTINGS by itself. It does not credit flow control by itself: whoever consumes the bytes of
``data_received`` calls ``increment_window`` for the stream, and for the connection as stream 0. DATA for a stream that
is already closed is credited by the engine, since nobody hears of it. Sending is never queued behind a window: ask
``send_window`` first.
"""

import abc
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pygrpc.core.http2.frames import MAX_WINDOW
from pygrpc.core.metadata import Header, header_list_size

#: What a setting of the peer that sets a limit counts as until the peer has said something: none.
UNLIMITED = (1 << 32) - 1
#: The window that every connection begins with (RFC 9113, section 6.9.2).
DEFAULT_WINDOW = 65_535
#: The size of both dynamic tables of header compression until somebody says something else (RFC 9113, section 6.5.2).
DEFAULT_TABLE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Http2Settings:
    """What one end announces when a connection begins (RFC 9113, section 6.5.2).

    Attributes:
        stream_window: Bytes that the peer may send on a stream before we credit more.
        connection_window: The same for all streams of the connection together; 0 for eight times that of a stream, as
            far as RFC 9113, section 6.9.1, allows it, and 1 MiB at least.
        bdp_probe: Whether both windows grow while the path is measured to need it; see ``core/bandwidth``.
        max_frame_size: The largest frame payload we accept, in bytes.
        max_header_list_size: The header list size we ask the peer to respect, in bytes.
        hard_header_list_size: A header list beyond this size, in bytes, is a connection error; at least the size above.
            What lies between the two sizes reaches ``headers_received``, so that it can be answered with a status.
        max_concurrent_streams: Streams the peer may have open; beyond that they are refused. None for no limit.
        header_table_size: The dynamic table of our decoder, in bytes (RFC 7541, section 4.2).
        encoder_table_size: The largest dynamic table of our encoder, in bytes, whatever more the peer allows.
    """

    stream_window: int = 1 << 20
    connection_window: int = 0
    bdp_probe: bool = True
    max_frame_size: int = 1 << 17
    max_header_list_size: int = 16_384
    hard_header_list_size: int = 1 << 18
    max_concurrent_streams: int | None = None
    header_table_size: int = DEFAULT_TABLE_SIZE
    encoder_table_size: int = DEFAULT_TABLE_SIZE

    def __post_init__(self) -> None:
        """Works out the connection's window, and lets a header list that is asked for not be a connection error."""
        if not self.connection_window:
            object.__setattr__(self, "connection_window", min(max(8 * self.stream_window, 1 << 20), MAX_WINDOW))
        if self.hard_header_list_size < self.max_header_list_size:
            object.__setattr__(self, "hard_header_list_size", self.max_header_list_size)


class HeaderBlock(list[Header]):
    """The fields of a header block in order; not to be changed by who gets it.

    An engine may report the very same object again when the peer sends the same block again, on any stream. So what was
    parsed once can be kept with the block. Whoever does so has to see that it was parsed as the same kind of block:
    nothing keeps a peer from sending as trailers what it has sent as headers.

    Attributes:
        parsed: Free for whoever receives the block; None at first.
        size: The size of the header list in bytes (RFC 9113, section 6.5.2), or -1 if nobody has counted yet.
        beginning: A block that is the same object for all blocks that begin with its fields, or None; what it says can
            be kept with it too.
    """

    __slots__ = ("beginning", "parsed", "size")

    def __init__(self, headers: Iterable[Header] = ()) -> None:
        """Makes a block that nobody has parsed yet."""
        super().__init__(headers)
        self.parsed: object = None
        self.size = -1
        self.beginning: HeaderBlock | None = None


class Http2Events(Protocol):
    """Who is told what the peer does."""

    def headers_received(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:
        """A whole header block came: request or response headers, or trailers; 1xx responses are not reported.

        The frame engine reports a ``HeaderBlock``.
        """

    def data_received(self, stream_id: int, data: bytes, flow_controlled: int, end_stream: bool) -> None:
        """DATA came; ``flow_controlled`` is its size with padding, which the receiver has to credit."""

    def stream_reset(self, stream_id: int, error_code: int, remote: bool) -> None:
        """A stream ended at once: the peer reset it, or it broke a rule and the engine did (``remote`` is False)."""

    def window_opened(self, stream_id: int) -> None:
        """The peer allows more DATA on a stream, or, as stream 0, on any of them."""

    def settings_received(self) -> None:
        """The peer's SETTINGS arrived and are in force."""

    def ping_acknowledged(self, payload: bytes) -> None:
        """The answer to one of our PINGs arrived."""

    def ping_received(self) -> None:
        """The peer sent a PING; it has been answered."""

    def goaway_received(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The peer handles no stream of ours above ``last_stream_id``; those below go on."""

    def connection_failed(self, error_code: int, message: str) -> None:
        """The peer broke the protocol for the whole connection; send what is queued, then close."""


class Http2Engine(abc.ABC):
    """One end of one HTTP/2 connection; see the module's text for its contract.

    Attributes:
        has_sent: Set when HEADERS or DATA are queued; whoever wants to know what has been sent since sets it to False.
    """

    __slots__ = ("has_sent",)

    has_sent: bool

    @abc.abstractmethod
    def start(self) -> None:
        """Queues what a connection begins with: the preface of a client, SETTINGS, the connection window."""

    @abc.abstractmethod
    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the peer and reports what they mean before it returns."""

    @abc.abstractmethod
    def data_to_send(self) -> bytes:
        """Returns the bytes queued since the last call, and forgets them."""

    @property
    @abc.abstractmethod
    def queued(self) -> int:
        """The number of bytes that ``data_to_send`` would return."""

    @property
    @abc.abstractmethod
    def peer_max_concurrent_streams(self) -> int:
        """How many streams of ours the peer allows at once."""

    @property
    @abc.abstractmethod
    def peer_max_frame_size(self) -> int:
        """The largest frame payload that the peer accepts, in bytes."""

    @property
    @abc.abstractmethod
    def peer_max_header_list_size(self) -> int:
        """The largest header list that the peer wants to get, in bytes (RFC 9113, section 6.5.2)."""

    @property
    @abc.abstractmethod
    def last_peer_stream_id(self) -> int:
        """The highest stream that the peer has opened, or 0."""

    @abc.abstractmethod
    def send_window(self, stream_id: int) -> int:
        """How many bytes of DATA may be sent on a stream now, by both levels of flow control; may be negative."""

    @abc.abstractmethod
    def open_stream(self, headers: Sequence[Header], end_stream: bool) -> int:
        """Queues the headers of a new request.

        Returns:
            The new stream's identifier.

        Raises:
            StreamsExhausted: All identifiers of this connection are used up (RFC 9113, section 5.1.1).
            HeadersTooLarge: The peer doesn't want so many.
        """

    @abc.abstractmethod
    def send_headers(self, stream_id: int, headers: Sequence[Header], end_stream: bool) -> None:
        """Queues a header block on an open stream: response headers or trailers.

        Raises:
            HeadersTooLarge: The peer doesn't want so many; nothing has changed.
        """

    @abc.abstractmethod
    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """Queues one DATA frame, which must fit into ``send_window`` and ``peer_max_frame_size``."""

    def send_data_parts(
        self, stream_id: int, parts: Collection[bytes | memoryview], size: int, end_stream: bool
    ) -> None:
        """Queues one DATA frame of several pieces, which are so many bytes together; otherwise as ``send_data``."""
        self.send_data(stream_id, b"".join(parts), end_stream)

    def send_response(
        self, stream_id: int, headers: tuple[Header, ...], message: bytes, trailers: tuple[Header, ...]
    ) -> bool:
        """Queues a whole response: its headers, its only message with the prefix as one DATA frame, and its trailers.

        Returns:
            Whether it is queued; False if the windows or the peer's largest frame don't allow it in one go.

        Raises:
            HeadersTooLarge: The peer wants none so large as these headers; nothing has changed.
        """
        if len(message) > min(self.send_window(stream_id), self.peer_max_frame_size):
            return False
        check_header_list(trailers, self.peer_max_header_list_size)
        self.send_headers(stream_id, headers, False)
        self.send_data(stream_id, message, False)
        self.send_headers(stream_id, trailers, True)
        return True

    @abc.abstractmethod
    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Queues RST_STREAM; nothing more is reported of that stream."""

    @abc.abstractmethod
    def increment_window(self, stream_id: int, increment: int) -> None:
        """Queues WINDOW_UPDATE for a stream, or for the connection as stream 0; a closed stream is passed over."""

    @abc.abstractmethod
    def grow_stream_window(self, window: int) -> None:
        """Queues SETTINGS with a larger initial window, in bytes, for all streams, open ones included.

        Raises:
            LocalProtocolError: It is smaller than before, or beyond 2**31 - 1 (RFC 9113, section 6.9.2).
        """

    @abc.abstractmethod
    def send_ping(self, payload: bytes) -> None:
        """Queues a PING with eight bytes of payload."""

    @abc.abstractmethod
    def send_goaway(self, last_stream_id: int, error_code: int, debug: bytes = b"") -> None:
        """Queues GOAWAY; streams up to ``last_stream_id`` go on (RFC 9113, section 6.8)."""


class LocalProtocolError(Exception):
    """We asked an engine for what HTTP/2 doesn't allow; a mistake in the code that calls it, never the peer's."""


class HeadersTooLarge(Exception):
    """A header list exceeds the peer's SETTINGS_MAX_HEADER_LIST_SIZE.

    Attributes:
        size: Its size in bytes.
        limit: What the peer wants at most, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        """Keeps both figures."""
        super().__init__(f"a header list of {size} bytes exceeds the peer's limit of {limit}")
        self.size = size
        self.limit = limit


def check_header_list(headers: Sequence[Header], limit: int) -> None:
    """Raises HeadersTooLarge if the peer's limit is below the size of a header list."""
    size = header_list_size(headers)
    if size > limit:
        raise HeadersTooLarge(size, limit)


class StreamsExhausted(Exception):
    """A connection has no stream identifier left; a new connection is needed."""
