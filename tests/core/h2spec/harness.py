"""A client by hand before a gRPC server core, and what can come of what it sends.

The cases are those of h2spec (github.com/summerwind/h2spec), written anew, and judged more strictly: h2spec takes
a closed connection for almost any error, and here the kind of error and its code must be right. h2spec counts the
sections of RFC 7540; here they are those of RFC 9113 and RFC 7541.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import hpack

from pygrpc.core.call import MessageLimits
from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.metadata import Header
from pygrpc.core.server_call import ServerCall
from pygrpc.core.server_connection import ServerConnection
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core import wire

#: A request as gRPC wants it, and the five bytes of an empty message as its body.
REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"127.0.0.1"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
MESSAGE = bytes(5)
#: What the server answers: one message of eleven bytes, prefix included.
RESPONSE_MESSAGE = b"answer"
RESPONSE_SIZE = 11


class Client:
    """Sends what a case wants, and writes down what comes back."""

    def __init__(self) -> None:
        self.core = ServerConnection(self, Http2Settings(max_concurrent_streams=20), MessageLimits(-1, -1), 0.0)
        self.encoder = hpack.Encoder()
        self.reader = wire.Reader(preface=False)
        self.frames: list[wire.Read] = []
        #: Whether calls are answered as soon as their requests have ended.
        self.answering = True
        self.waiting: list[ServerCall] = []

    # The owner of the server's connection, and the listener of its calls.

    def on_call(self, call: ServerCall) -> None:
        call.listener = _Listener(self, call)

    def requests_ended(self, call: ServerCall) -> None:
        if self.answering:
            call.send_message(RESPONSE_MESSAGE)
            call.finish(Status(StatusCode.OK, ""), [])

    # The client.

    def greet(self, *settings: tuple[int, int]) -> None:
        self.send(wire.PREFACE, wire.settings(*settings), wire.SETTINGS_ACK)

    def send(self, *frames: bytes) -> None:
        for each in frames:
            self.core.receive_data(each, 0.0)
            while output := self.core.data_to_send():
                self.frames += self.reader.feed(output)

    def block(self, fields: list[Header], *more: Header) -> bytes:
        return self.encoder.encode([*fields, *more], huffman=True)

    def request(self, stream_id: int, *more: Header, end: bool = False) -> None:
        """Sends the headers of a request."""
        self.send(wire.headers(stream_id, self.block(REQUEST, *more), end))

    def exchange(self, stream_id: int) -> None:
        """Sends a request, so that it is answered and its stream closed."""
        self.request(stream_id, end=True)
        assert stream_id in self.outcome().answered

    def outcome(self) -> Outcome:
        """What came of it all so far."""
        goaways = [int.from_bytes(each.payload[4:8], "big") for each in self.frames if each.kind == wire.GOAWAY]
        resets: dict[int, int] = {}
        answered = set()
        sent: dict[int, list[int]] = {}
        for each in self.frames:
            if each.kind == wire.RST_STREAM:
                # The server may end a stream on which it has answered early (RFC 9113, section 8.1).
                code = int.from_bytes(each.payload, "big")
                if code != ErrorCode.NO_ERROR:
                    resets.setdefault(each.stream_id, code)
            elif each.kind == wire.HEADERS:
                answered.add(each.stream_id)
            elif each.kind == wire.DATA and each.payload:
                sent.setdefault(each.stream_id, []).append(len(each.payload))
        return Outcome(goaways[0] if goaways else None, resets, frozenset(answered), sent)


class _Listener:
    def __init__(self, client: Client, call: ServerCall) -> None:
        self._client = client
        self._call = call

    def on_requests(self) -> None:
        while self._call.has_message:
            self._call.read_message()
        if self._call.requests_ended:
            self._client.requests_ended(self._call)

    def on_writable(self) -> None: ...

    def on_cancelled(self) -> None: ...

    def on_closed(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a server did.

    Attributes:
        goaway: The error code of GOAWAY, or None while the connection works.
        resets: The error code of RST_STREAM for each stream that was reset because of an error.
        answered: The streams with a response.
        sent: The sizes of the DATA frames with content, by stream.
    """

    goaway: int | None = None
    resets: dict[int, int] = field(default_factory=dict)
    answered: frozenset[int] = frozenset()
    sent: dict[int, list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.goaway is not None:
            return f"connection error {ErrorCode(self.goaway).name}"
        errors = [f"stream error {ErrorCode(code).name} on {each}" for each, code in sorted(self.resets.items())]
        return ", ".join(errors) or (f"answered {sorted(self.answered)}" if self.answered else "nothing")


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        section: Where the rule is.
        what: What the client does.
        expected: What comes of it, as ``str(Outcome)`` has it.
        play: Does it, and may check more.
        h2: What comes of it on the h2 engine, if that is something else.
        greeted: Whether the connection is set up before.
    """

    section: str
    what: str
    expected: str
    play: Callable[[Client], None]
    h2: str | None
    greeted: bool

    @property
    def name(self) -> str:
        return f"{self.section}: {self.what}"


class Cases(list[Case]):
    """A list of cases, filled by a decorator."""

    def add(
        self, section: str, what: str, expected: str, *, h2: str | None = None, greeted: bool = True
    ) -> Callable[[Callable[[Client], None]], Callable[[Client], None]]:
        def keep(play: Callable[[Client], None]) -> Callable[[Client], None]:
            self.append(Case(section, what, expected, play, h2, greeted))
            return play

        return keep


def connection_error(code: ErrorCode) -> str:
    return str(Outcome(goaway=code))


def stream_error(code: ErrorCode, stream_id: int = 1) -> str:
    return str(Outcome(resets={stream_id: code}))


def answered(*stream_ids: int) -> str:
    return str(Outcome(answered=frozenset(stream_ids)))


NOTHING = str(Outcome())
#: The connection is closed, and nobody says why.
CLOSED = "closed"


def run(case: Case) -> str:
    """Plays a case; returns what came of it. A connection that has not failed must still work."""
    client = Client()
    if case.greeted:
        client.greet()
    case.play(client)
    outcome = client.outcome()
    if outcome.goaway is None and client.core.closing:
        return CLOSED
    if outcome.goaway is None:
        client.send(wire.ping(b"stillup?"))
        answers = [each for each in client.frames if each.kind == wire.PING and each.flags & wire.ACK]
        assert answers, "the connection doesn't answer"
        assert answers[-1].payload == b"stillup?"
    else:
        assert client.core.closing
    return str(outcome)
