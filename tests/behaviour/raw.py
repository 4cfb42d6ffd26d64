"""Peers played by hand, which send what no library would: a client for servers, and a server for channels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from tests.behaviour.frames import (
    ACK,
    DATA,
    GOAWAY,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    Half,
    Headers,
    Reader,
    Writer,
    data,
    message,
    settings,
    window_update,
)
from tests.behaviour.handlers import ECHO
from tests.behaviour.peers import BOUND, Link, Peers, Side
from tests.behaviour.threads import close_listener
from tests.behaviour.transports import TCP

REQUEST: Headers = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/behaviour.Peer/uu"),
    (":authority", "behaviour.test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]

RESPONSE: Headers = [(":status", "200"), ("content-type", "application/grpc")]

#: Error codes of HTTP/2 by name (RFC 9113, section 7).
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = range(7, 13)
HTTP_1_1_REQUIRED = 13

#: Settings by name (RFC 9113, section 6.5.2).
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 3, 4, 5
DEFAULT_WINDOW = 65_535


def request_headers(method: str = "uu", *, without: Iterable[str] = (), **changed: str) -> Headers:
    """Return good request headers but for some left out, changed or added (`_` in a keyword stands for `-`).

    Args:
        method: The method's name, which is its arity.
        without: Names of headers to leave out.
        changed: Values of headers; `method`, `scheme`, `path` and `authority` are the pseudo-headers.
    """
    names = {f":{key}" if key in ("scheme", "path", "authority") else key.replace("_", "-"): key for key in changed}
    headers = [(name, f"/behaviour.Peer/{method}" if name == ":path" else value) for name, value in REQUEST]
    headers = [(name, changed[names[name]] if name in names else value) for name, value in headers]
    headers += [(name, changed[key]) for name, key in names.items() if name not in dict(REQUEST)]
    return [(name, value) for name, value in headers if name not in without]


def status_of(half: Half) -> tuple[int, str | None]:
    """Return the gRPC status at the end of a response."""
    assert half.ended, f"the response has not ended: {half}"
    last = dict(half.blocks[-1])
    return int(last["grpc-status"]), last.get("grpc-message")


class RawPeer:
    """One side of a connection, with a task that reads, acknowledges and remembers.

    Attributes:
        closed: Whether the other side has closed the connection.
        credit: Whether the other side gets window back for what it sends.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, skip: int) -> None:
        self.closed = False
        self.credit = True
        self.writer = Writer()
        self._received = Reader(skip)
        self._reader = reader
        self._writer = writer
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while content := await self._reader.read(1 << 16):
                for frame in self._received.feed(content):
                    self._react(frame)
                self._changed.set()
        self.closed = True
        self._changed.set()

    def _react(self, frame: Frame) -> None:
        if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
            self.write(Frame(frame.kind, ACK, 0, frame.payload if frame.kind == PING else b"").serialize())
        elif frame.kind == DATA and frame.payload and self.credit:
            self.write(window_update(0, len(frame.payload)) + window_update(frame.stream, len(frame.payload)))

    def write(self, content: bytes) -> None:
        """Send bytes as they are."""
        if not self._writer.is_closing():
            self._writer.write(content)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something holds; fails if the connection ends without it."""
        while not condition():
            assert not self.closed, f"the connection ended: {self._received.frames}"
            self._changed.clear()
            await self._changed.wait()

    async def until_closed(self) -> None:
        """Wait until the other side has closed the connection."""
        await self._task

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._writer.wait_closed()
        await asyncio.gather(self._task, return_exceptions=True)

    def stream(self, number: int) -> Half:
        """Return what the other side has sent on a stream so far."""
        return self._received.streams.setdefault(number, Half())

    @property
    def streams(self) -> dict[int, Half]:
        """What the other side has sent on all streams."""
        return self._received.streams

    async def over(self, number: int) -> Half:
        """Wait for the end of a stream and return what came on it."""
        await self.until(lambda: self.stream(number).over)
        return self.stream(number)

    def frames(self, kind: int) -> list[Frame]:
        """Return the frames of a kind that came on stream 0."""
        return [frame for frame in self._received.frames if frame.kind == kind]

    def setting(self, identifier: int, default: int) -> int:
        """Return the other side's latest value of a setting."""
        for frame in self.frames(SETTINGS):
            for at in range(0, len(frame.payload), 6):
                if int.from_bytes(frame.payload[at : at + 2], "big") == identifier:
                    default = int.from_bytes(frame.payload[at + 2 : at + 6], "big")
        return default

    @property
    def connection_window(self) -> int:
        """How many bytes of DATA the other side has allowed so far on the connection."""
        return DEFAULT_WINDOW + sum(frame.number for frame in self.frames(WINDOW_UPDATE))

    def stream_window(self, number: int) -> int:
        """Return how many bytes of DATA the other side has allowed so far on a stream."""
        return self.setting(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW) + self.stream(number).credit

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The last stream and the error code of each GOAWAY."""
        return [
            (int.from_bytes(frame.payload[:4], "big"), int.from_bytes(frame.payload[4:8], "big"))
            for frame in self.frames(GOAWAY)
        ]

    async def settled(self) -> None:
        """Wait for the other side's answer to a PING, so that it has worked off everything that was sent before."""
        count = sum(1 for frame in self.frames(PING) if frame.flags & ACK)
        self.write(Frame(PING, 0, 0, b"settled?").serialize())
        await self.until(lambda: sum(1 for frame in self.frames(PING) if frame.flags & ACK) > count)


class RawClient(RawPeer):
    """A client played by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer, skip=0)
        self._next = 1

    def start(self, headers: Iterable[tuple[str | bytes, str | bytes]], *, end: bool = False) -> int:
        """Open a stream and return its number."""
        number, self._next = self._next, self._next + 2
        self.write(self.writer.headers(number, headers, end=end))
        return number

    async def answer(self, headers: Iterable[Any], content: bytes = b"", *, end: bool = True) -> Half:
        """Send a whole request and wait for the end of the answer."""
        number = self.start(headers)
        self.write(data(number, content, end=end))
        return await self.over(number)


class RawServer(RawPeer):
    """One connection of a server played by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer, skip=len(PREFACE))
        self._served = 0

    async def request(self, *, whole: bool = True) -> int:
        """Wait for the next request (to its end, or only for its headers) and return its stream."""
        number = self._served * 2 + 1
        self._served += 1
        await self.until(lambda: self.stream(number).blocks and (self.stream(number).ended or not whole))
        return number

    def respond(self, number: int, *messages: bytes, head: Headers = RESPONSE, trailers: Headers | None = None) -> None:
        """Send a whole response."""
        self.write(self.writer.headers(number, head))
        for payload in messages:
            self.write(data(number, message(payload)))
        self.write(self.writer.headers(number, [("grpc-status", "0")] if trailers is None else trailers, end=True))


@contextlib.asynccontextmanager
async def raw_client(port: int, first: bytes = PREFACE + settings({})) -> AsyncIterator[RawClient]:
    """Connect to a port on the IPv4 loopback and send the first bytes."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    client.write(first)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def attacked(side: Side, **arguments: Any) -> AsyncIterator[RawClient]:
    """Run a server with the echo handlers, and a client by hand that tries it.

    Afterwards a call that was open on the connection all the time still works, and so does a new one.
    """
    async with serving(side, **arguments) as link, raw_client(port_of(link)) as client:
        bystander = client.start(request_headers("ss"))
        client.write(data(bystander, message(b"before")))
        await client.until(lambda: client.stream(bystander).messages == [(0, b"before")])
        yield client
        client.write(data(bystander, message(b"after"), end=True))
        half = await client.over(bystander)
        assert half.messages == [(0, b"before"), (0, b"after")]
        assert status_of(half)[0] == 0
        fresh = await client.answer(request_headers("uu"), message(b"fresh"))
        assert (fresh.messages, status_of(fresh)[0]) == ([(0, b"fresh")], 0)


@contextlib.asynccontextmanager
async def serving(side: Side, **arguments: Any) -> AsyncIterator[Link]:
    """Run a server with the echo handlers, which takes any number of PINGs; arguments are those of `Peers.serve`."""
    patient = {"options": (("grpc.http2.max_ping_strikes", 0),)}
    async with Peers(side, side, TCP).serve(**{**ECHO, "server": patient, **arguments}) as link:
        yield link


def port_of(link: Link) -> int:
    """Return the port of a link's server."""
    return int(link.target.rpartition(":")[2])


Script = Callable[[RawServer], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(script: Script, first: bytes | None = None) -> AsyncIterator[int]:
    """Run a server that plays a script on each connection, and yield its port.

    Args:
        script: What to do on a connection; when it is through, the connection stays open.
        first: What to send at once; SETTINGS if None.
    """
    peers: list[RawServer] = []
    scripts: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawServer(reader, writer)
        peers.append(peer)
        peer.write(settings({}) if first is None else first)
        scripts.append(asyncio.create_task(play(peer)))

    async def play(peer: RawServer) -> None:
        try:
            await script(peer)
        except BaseException:
            # Without the connection the client fails too, and the test ends now rather than at its bound.
            await peer.close()
            raise

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*scripts)
    finally:
        await close_listener(server)
        for task in scripts:
            task.cancel()
        await asyncio.gather(*scripts, return_exceptions=True)
        for peer in peers:
            await peer.close()


@contextlib.asynccontextmanager
async def channel_to(side: Side, script: Script, first: bytes | None = None, **settings_: Any) -> AsyncIterator[Any]:
    """Run a server by hand and a channel to it; yields an object with the multi-callables uu, us, su and ss."""
    peers = Peers(side, side, TCP)
    async with asyncio.timeout(BOUND), raw_server(script, first) as port:
        target = f"127.0.0.1:{port}"
        async with peers.open_channel(target, **settings_) as channel:
            yield Link(peers, None, channel, target)


async def error_of(side: Side, script: Any, arity: str = "uu", **settings_: Any) -> Any:
    """Make a call to a server that plays a script and return the error that it ends with."""
    async with channel_to(side, script, **settings_) as link:
        return await link.failure(link.start(arity, b"x"))
