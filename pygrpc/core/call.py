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
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pygrpc.core.compression import (
    KNOWN_ENCODINGS,
    DecompressedTooLarge,
    MalformedCompression,
    accept_encoding,
    compressor,
    decompress,
)
from pygrpc.core.framing import (
    PREFIX_SIZE,
    Compressed,
    MalformedMessage,
    Message,
    MessageReader,
    MessageTooLarge,
    frame_message,
    message_prefix,
    only_message,
)
from pygrpc.core.metadata import DEFAULT_METADATA_SIZE, Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.connection import Connection

#: Bytes a call may have queued for sending before its writer has to wait.
SEND_BACKLOG = 65_536
#: The size in bytes from which on a message is not copied to get its prefix.
_WORTH_NO_COPY = 4096


class MessageLimits:
    """What one end accepts and sends: sizes of messages in bytes, -1 for any; size of metadata; encodings."""

    __slots__ = ("accept_encoding", "encodings", "metadata", "receive", "send")

    def __init__(
        self,
        receive: int,
        send: int,
        metadata: int = DEFAULT_METADATA_SIZE,
        encodings: frozenset[bytes] = KNOWN_ENCODINGS,
    ) -> None:
        """Keeps the limits.

        Args:
            receive: The largest message accepted.
            send: The largest message sent.
            metadata: The largest metadata accepted, counted as ``header_list_size`` does.
            encodings: The encodings accepted, identity apart.
        """
        self.receive = receive
        self.send = send
        self.metadata = metadata
        self.encodings = encodings
        #: What the other end is told of them.
        self.accept_encoding = accept_encoding(encodings)

    def accept(self, encoding: bytes | None) -> bool:
        """Whether messages in an encoding are accepted; None is identity."""
        return encoding is None or encoding in self.encodings


class IllegalTransition(Exception):
    """An event came in a state that has no place for it; a mistake in the code that drives the call."""


class Call:
    """One end of one call; the base of ClientCall and ServerCall."""

    #: How this end is named in status messages.
    side = ""

    # What a call begins with. Most calls never change most of it, so it is kept here and not made for each of them.

    connection: "Connection | None" = None
    stream_id = 0
    #: Whether the peer has ended its side of the stream.
    remote_ended = False
    local_ended = False
    #: Bytes that wait for a reader, which the connection counts too: messages, and what came behind them. A message
    #: that is still incomplete doesn't count while it is the next one, since nobody could make room by reading.
    unread = 0
    #: Bytes of messages that are not in a DATA frame yet.
    pending_bytes = 0
    _receive_encoding: bytes | None = None
    _send_encoding: bytes | None = None
    #: Messages that wait for a reader; a deque from the first one on.
    _messages: Collection[Message] = ()
    #: Wire bytes of the messages that wait, prefixes included.
    _waiting = 0
    #: Bytes that arrived and for which the peer has no credit yet.
    _uncredited = 0
    #: Puts messages together; made when something comes that is not exactly one message.
    _reader: MessageReader | None = None
    #: What is to be sent; a deque from the first message on.
    _out: Collection[bytes | memoryview] = ()
    #: What ends our side once all messages are sent: False while it is open.
    _ending: Sequence[Header] | bool = False

    def __init__(self, limits: MessageLimits) -> None:
        """Makes a call that is not on a stream yet."""
        self._limits = limits

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
        assert type(self._messages) is deque
        message = self._messages.popleft()
        compressed = type(message) is Compressed
        payload: bytes = message[0] if compressed else message
        self._waiting -= len(payload) + PREFIX_SIZE
        connection = self.connection
        if connection is not None:
            unread = self.unread
            # A call that the connection has forgotten counts for nothing there any more.
            if unread > (held := self._held):
                self.unread = held
                connection.bytes_read(unread - held)
            if self._uncredited >= connection.credit_threshold and not self.remote_ended:
                self._credit()
        return self._decompressed(payload) if compressed else payload

    def _decompressed(self, payload: bytes) -> bytes | None:
        try:
            if self._receive_encoding is None:
                raise MalformedCompression("a message is flagged as compressed, but the call has no grpc-encoding")
            return decompress(self._receive_encoding, payload, self._limits.receive)
        except MalformedCompression as error:
            self._fail(Status(StatusCode.INTERNAL, str(error)))
        except DecompressedTooLarge:
            limit = self._limits.receive
            details = f"{self.side}: Received message larger than max after decompression (limit {limit})"
            self._fail(Status(StatusCode.RESOURCE_EXHAUSTED, details))
        return None

    def _receive(self, data: bytes, flow_controlled: int) -> int:
        """Takes the bytes of one DATA frame.

        Returns:
            How many messages they complete; -1 if they ended the call.
        """
        self._uncredited += flow_controlled
        messages = self._messages
        if type(messages) is not deque:
            messages = self._messages = deque()
        if self._reader is None and (message := only_message(data, self._limits.receive)) is not None:
            messages.append(message)
            self._waiting += len(data)
            came = 1
        else:
            came = self._cut(data, messages)
            if came < 0:
                return came
        connection = self.connection
        if connection is not None and messages:
            held = self._held
            connection.unread += held - self.unread
            self.unread = held
        return came

    def _cut(self, data: bytes, messages: deque[Message]) -> int:
        """Takes bytes that are not exactly one message, or that come behind such."""
        reader = self._reader
        if reader is None:
            reader = self._reader = MessageReader(self._limits.receive)
        before, taken = len(messages), reader.taken
        try:
            reader.feed(data, messages)
        except MessageTooLarge as error:
            details = f"{self.side}: Received message larger than max ({error.size} vs. {error.limit})"
            return self._unreadable(Status(StatusCode.RESOURCE_EXHAUSTED, details), before)
        except MalformedMessage as error:
            return self._unreadable(Status(StatusCode.INTERNAL, str(error)), before)
        # What went into the reader and is not in it any more came out of it.
        self._waiting += taken + len(data) - reader.taken
        return len(messages) - before

    def _unreadable(self, status: Status, before: int) -> int:
        """Ends the call because of what came behind its messages, of which so many had been there before."""
        self._waiting += sum(
            len(message[0] if type(message) is Compressed else message) + PREFIX_SIZE
            for message in list(self._messages)[before:]
        )
        self._fail_behind_messages(status)
        return -1

    @property
    def _held(self) -> int:
        """Bytes that get no credit before somebody reads."""
        if not self._messages:
            return 0
        return self._waiting if self._reader is None else self._waiting + self._reader.buffered

    def _truncated(self) -> int | None:
        """The bytes that are here of a message whose rest is not; None if there is no such message."""
        reader = self._reader
        return reader.buffered if reader is not None and reader.mid_message else None

    def _credit(self) -> None:
        """Gives the peer credit for what is read, in portions of a quarter of the window (fewer, larger updates)."""
        connection = self.connection
        if connection is None or self._uncredited < connection.credit_threshold:
            return
        due = self._uncredited - self._held
        if due >= connection.credit_threshold:
            self._uncredited -= due
            connection.engine.increment_window(self.stream_id, due)
            connection.on_output()

    def discard_messages(self) -> None:
        """Drops what is not read; nobody will."""
        if self._messages:
            self._messages = ()
            self._waiting = 0
            if self.unread and self.connection is not None:
                unread, self.unread = self.unread, 0
                self.connection.bytes_read(unread)

    # Sending.

    @property
    def backlogged(self) -> bool:
        """Whether a writer should wait for its ``writable`` notice before it writes more."""
        return self.pending_bytes > SEND_BACKLOG

    def _within_limit(self, payload: bytes) -> bool:
        """Whether a message may be sent; one over the limit ends the call."""
        limit = self._limits.send
        if 0 <= limit < len(payload):
            details = f"{self.side}: Sent message larger than max ({len(payload)} vs. {limit})"
            self._fail(Status(StatusCode.RESOURCE_EXHAUSTED, details))
            return False
        return True

    def _queue_message(self, payload: bytes, compress: bool) -> bool:
        """Frames a message into the send queue; returns False if it is over the limit, which ended the call."""
        if not self._within_limit(payload):
            return False
        compressed = False
        if compress and self._send_encoding is not None:
            smaller = compressor(self._send_encoding)(payload)
            # What doesn't shrink goes as it is; the flag of each message says how it went.
            compressed = len(smaller) < len(payload)
            if compressed:
                payload = smaller
        out = self._out
        if type(out) is not deque:
            out = self._out = deque()
        size = len(payload)
        if size < _WORTH_NO_COPY:
            out.append(frame_message(payload, compressed))
        else:
            out.append(message_prefix(size, compressed))
            out.append(payload)
        in_line = self.pending_bytes > 0
        self.pending_bytes += size + PREFIX_SIZE
        if not in_line:
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
        connection = self.connection
        assert connection is not None
        engine = connection.engine
        if self._out:
            size = min(self.pending_bytes, engine.send_window(self.stream_id), connection.send_frame_size)
            if size <= 0:
                return False
            parts = self._take(size)
            self.pending_bytes -= size
            end = not self._out and self._ending is True
            if end:
                self.local_ended = True
            engine.send_data_parts(self.stream_id, parts, size, end)
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
                self._send_trailers(self._ending)
            self._on_local_end()
        return False

    def _take(self, size: int) -> Collection[bytes | memoryview]:
        """Takes the first bytes off the queue, in pieces."""
        out = self._out
        if size == self.pending_bytes:
            self._out = ()
            return out
        assert type(out) is deque
        parts: list[bytes | memoryview] = []
        while size:
            part = out.popleft()
            if len(part) > size:
                # A view: to slice bytes would copy the whole rest of a large message for every frame.
                view = memoryview(part)
                out.appendleft(view[size:])
                part = view[:size]
            parts.append(part)
            size -= len(part)
        return parts

    def _drop_output(self) -> None:
        self._out = ()
        self.pending_bytes = 0

    def _send_trailers(self, block: Sequence[Header]) -> None:
        """Sends the header block that ends our side."""
        raise NotImplementedError

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
