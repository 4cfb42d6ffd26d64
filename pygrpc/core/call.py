"""What the two ends of a call have in common: messages in, messages out, flow control.

A call is one stream of a connection. What differs between the ends, headers, status and the order of things, is in
``client_call`` and ``server_call``.

Receiving. Messages wait, still compressed, until somebody reads them. The peer gets flow-control credit for a message
when it has been read, and for the bytes of an incomplete one as they come while nothing is waiting before it (otherwise
a message larger than the window could never arrive). So a call holds at most one window and one message, whatever the
peer sends and however well it compresses.

Sending. Messages are framed into a queue at once. The connection moves bytes from there into DATA frames as the peer's
windows and the transport allow, several small messages to a frame. Whoever writes waits while ``backlogged``.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pygrpc.core.compression import (
    KNOWN_ENCODINGS,
    DecompressedTooLarge,
    MalformedCompression,
    compressor,
    decompress,
)
from pygrpc.core.framing import PREFIX_SIZE, MalformedMessage, MessageReader, MessageTooLarge, frame_message
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.connection import Connection

#: Bytes a call may have queued for sending before its writer has to wait.
SEND_BACKLOG = 65_536


class MessageLimits:
    """The sizes of messages that one end accepts and sends, in bytes; -1 for any."""

    __slots__ = ("receive", "send")

    def __init__(self, receive: int, send: int) -> None:
        """Keeps both limits."""
        self.receive = receive
        self.send = send


class IllegalTransition(Exception):
    """An event came in a state that has no place for it; a mistake in the code that drives the call."""


class Call:
    """One end of one call; the base of ClientCall and ServerCall."""

    #: How this end is named in status messages.
    side = ""

    def __init__(self, limits: MessageLimits) -> None:
        """Makes a call that is not on a stream yet."""
        self.connection: Connection | None = None
        self.stream_id = 0
        self._limits = limits
        self._reader = MessageReader(limits.receive)
        self._messages: deque[tuple[bool, bytes]] = deque()
        #: Wire bytes of the messages that wait, prefixes included.
        self._waiting = 0
        #: Bytes that arrived and for which the peer has no credit yet.
        self._uncredited = 0
        #: Bytes that wait for a reader, which the connection counts too: messages, and what came behind them. A message
        #: that is still incomplete doesn't count while it is the next one, since nobody could make room by reading.
        self.unread = 0
        #: Whether the peer has ended its side of the stream.
        self.remote_ended = False
        self._receive_encoding: bytes | None = None
        self._send_encoding: bytes | None = None
        self._out: deque[bytes | memoryview] = deque()
        self._out_size = 0
        #: What ends our side once all messages are sent: None while it is open.
        self._ending: Sequence[Header] | bool = False
        self.local_ended = False

    # Receiving.

    @property
    def has_message(self) -> bool:
        """Whether read_message would return a message."""
        return bool(self._messages)

    def read_message(self) -> bytes | None:
        """Takes the next message, decompressed, or None if none is waiting.

        A message that can't be decompressed ends the call; its status says why.
        """
        if not self._messages:
            return None
        compressed, payload = self._messages.popleft()
        self._waiting -= len(payload) + PREFIX_SIZE
        self._read_bytes(self.unread - self._held)
        if not self.remote_ended:
            self._credit()
        if compressed:
            try:
                payload = self._decompress(payload)
            except MalformedCompression as error:
                self._fail(Status(StatusCode.INTERNAL, str(error)))
                return None
            except DecompressedTooLarge:
                limit = self._limits.receive
                details = f"{self.side}: Received message larger than max after decompression (limit {limit})"
                self._fail(Status(StatusCode.RESOURCE_EXHAUSTED, details))
                return None
        return payload

    def _decompress(self, payload: bytes) -> bytes:
        if self._receive_encoding is None:
            raise MalformedCompression("a message is flagged as compressed, but the call has no grpc-encoding")
        return decompress(self._receive_encoding, payload, self._limits.receive)

    def _receive(self, data: bytes, flow_controlled: int) -> bool:
        """Takes the bytes of one DATA frame; returns False if they ended the call."""
        self._uncredited += flow_controlled
        try:
            for message in self._reader.feed(data):
                self._messages.append(message)
                self._waiting += len(message[1]) + PREFIX_SIZE
        except MessageTooLarge as error:
            details = f"{self.side}: Received message larger than max ({error.size} vs. {error.limit})"
            self._fail_behind_messages(Status(StatusCode.RESOURCE_EXHAUSTED, details))
            return False
        except MalformedMessage as error:
            self._fail_behind_messages(Status(StatusCode.INTERNAL, str(error)))
            return False
        connection = self.connection
        if connection is not None:
            held = self._held
            connection.bytes_wait(held - self.unread)
            self.unread = held
        return True

    @property
    def _held(self) -> int:
        """Bytes that get no credit before somebody reads."""
        return self._waiting + self._reader.buffered if self._messages else 0

    def _credit(self) -> None:
        """Gives the peer credit for what is read, in portions of a quarter of the window (fewer, larger updates)."""
        due = self._uncredited - self._held
        connection = self.connection
        if connection is not None and due >= connection.credit_threshold:
            self._uncredited -= due
            connection.engine.increment_window(self.stream_id, due)
            connection.on_output()

    def _read_bytes(self, size: int) -> None:
        # A call that the connection has forgotten counts for nothing there any more.
        if size > 0 and self.connection is not None:
            self.unread -= size
            self.connection.bytes_read(size)

    def discard_messages(self) -> None:
        """Drops what is not read; nobody will."""
        self._messages.clear()
        self._waiting = 0
        self._read_bytes(self.unread)

    # Sending.

    @property
    def backlogged(self) -> bool:
        """Whether a writer should wait for its ``writable`` notice before it writes more."""
        return self._out_size > SEND_BACKLOG

    @property
    def pending_bytes(self) -> int:
        """Bytes of messages that are not in a DATA frame yet."""
        return self._out_size

    def _queue_message(self, payload: bytes, compress: bool) -> bool:
        """Frames a message into the send queue; returns False if it is over the limit, which ended the call."""
        limit = self._limits.send
        if 0 <= limit < len(payload):
            details = f"{self.side}: Sent message larger than max ({len(payload)} vs. {limit})"
            self._fail(Status(StatusCode.RESOURCE_EXHAUSTED, details))
            return False
        compressed = False
        if compress and self._send_encoding is not None:
            smaller = compressor(self._send_encoding)(payload)
            # What doesn't shrink goes as it is; the flag of each message says how it went.
            compressed = len(smaller) < len(payload)
            if compressed:
                payload = smaller
        framed = frame_message(payload, compressed)
        self._out.append(framed)
        self._out_size += len(framed)
        self._want_to_send()
        return True

    def _want_to_send(self) -> None:
        if self.connection is not None and self.stream_id:
            self.connection.want_to_send(self)

    def pump(self) -> bool:
        """Moves what one DATA frame can hold from the queue to the engine, and ends the stream behind the last one.

        Returns:
            Whether there is more to send that the peer's windows allow now.
        """
        assert self.connection is not None
        engine = self.connection.engine
        if self._out:
            window = engine.send_window(self.stream_id)
            size = min(self._out_size, window, self.connection.send_frame_size)
            if size <= 0:
                return False
            data = self._take(size)
            self._out_size -= size
            end = not self._out and self._ending is True
            if end:
                self.local_ended = True
            engine.send_data(self.stream_id, data, end)
            if self._out:
                return True
            if end:
                self._on_local_end()
                return False
        if self._ending and not self.local_ended:
            self.local_ended = True
            if self._ending is True:
                # PROTOCOL-HTTP2.md: half-close with nothing left to send is an empty DATA frame with END_STREAM.
                engine.send_data(self.stream_id, b"", True)
            else:
                engine.send_headers(self.stream_id, self._ending, True)
            self._on_local_end()
        return False

    def _take(self, size: int) -> bytes | memoryview:
        out = self._out
        first = out[0]
        if len(first) == size:
            return out.popleft()
        if len(first) > size:
            # A view: to slice bytes would copy the whole rest of a large message for every frame.
            view = memoryview(first)
            out[0] = view[size:]
            return view[:size]
        parts: list[bytes | memoryview] = []
        while size:
            part = out.popleft()
            if len(part) > size:
                view = memoryview(part)
                out.appendleft(view[size:])
                part = view[:size]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _drop_output(self) -> None:
        self._out.clear()
        self._out_size = 0

    def _on_local_end(self) -> None:
        """Our side of the stream has just ended."""

    def _fail(self, status: Status) -> None:
        """Ends the call from our side because of what the peer sent, or what we would have to send."""
        raise NotImplementedError

    def _fail_behind_messages(self, status: Status) -> None:
        """Ends the call because of what the peer sent behind the messages that wait."""
        self._fail(status)

    # What the connection reports.

    def headers_received(self, headers: Sequence[Header], end_stream: bool) -> None:
        """A header block came on this call's stream."""
        raise NotImplementedError

    def data_received(self, data: bytes, flow_controlled: int, end_stream: bool) -> None:
        """DATA came on this call's stream."""
        raise NotImplementedError

    def stream_reset(self, error_code: int, remote: bool) -> None:
        """The stream ended at once."""
        raise NotImplementedError

    def connection_lost(self, status: Status) -> None:
        """The connection is gone."""
        raise NotImplementedError

    def writable(self) -> None:
        """The send queue has room again, or is gone because the call ended."""
        raise NotImplementedError


def known_encoding(encoding: bytes | None) -> bool:
    """Whether messages in an encoding can be read; None is identity."""
    return encoding is None or encoding in KNOWN_ENCODINGS
