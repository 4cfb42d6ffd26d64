"""A relay between a channel and a server that remembers what went over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.behaviour.frames import PING, PREFACE, Half, Reader
from tests.behaviour.threads import close_listener


@dataclass
class Relay:
    """What was seen, over all connections, in the order in which the streams were opened.

    Attributes:
        port: The port to connect to.
    """

    port: int = 0
    _requests: list[Reader] = field(default_factory=list)
    _responses: list[Reader] = field(default_factory=list)
    _swallowed: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> list[Half]:
        """The client's half of each stream."""
        return [half for reader in self._requests for _, half in sorted(reader.streams.items())]

    @property
    def responses(self) -> list[Half]:
        """The server's half of each stream."""
        return [half for reader in self._responses for _, half in sorted(reader.streams.items())]

    @property
    def request(self) -> Half:
        """The client's half of the only stream."""
        (half,) = self.requests
        return half

    @property
    def response(self) -> Half:
        """The server's half of the only stream."""
        (half,) = self.responses
        return half

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return len(self._requests)

    def swallow(self) -> None:
        """From now on lets nothing through on the connections that there are, and keeps them open: a black hole."""
        self._swallowed = self.connections

    def swallows(self, copy: Reader) -> bool:
        """Whether what comes in this direction of a connection is not let through."""
        swallowed = self._requests[: self._swallowed] + self._responses[: self._swallowed]
        return any(reader is copy for reader in swallowed)

    async def until_pings(self, count: int) -> None:
        """Wait until each side has sent so many PINGs, answers included."""
        for readers in (self._requests, self._responses):
            while sum(frame.kind == PING for reader in readers for frame in reader.frames) < count:
                self._changed.clear()
                await self._changed.wait()

    def connection(self) -> tuple[Reader, Reader]:
        """Return readers for the two directions of one more connection."""
        there, back = Reader(len(PREFACE)), Reader()
        self._requests.append(there)
        self._responses.append(back)
        return there, back


@contextlib.asynccontextmanager
async def relay_to(
    port: int, taking: ssl.SSLContext | None = None, making: ssl.SSLContext | None = None
) -> AsyncIterator[Relay]:
    """Run a relay to a server's port on the IPv4 loopback; it forwards the bytes as they are and reads a copy.

    Args:
        port: The server's port.
        taking: What it takes connections with; None for cleartext.
        making: What it connects with.
    """
    relay = Relay()
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: Reader) -> None:
        with contextlib.suppress(OSError):
            try:
                while data := await reader.read(1 << 16):
                    copy.feed(data)
                    relay._changed.set()
                    if not relay.swallows(copy):
                        writer.write(data)
                    await writer.drain()
            finally:
                writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port, ssl=making)
        writers.update((writer, server_writer))
        there, back = relay.connection()
        tasks.add(asyncio.create_task(forward(reader, server_writer, there)))
        tasks.add(asyncio.create_task(forward(server_reader, writer, back)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=taking)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        await close_listener(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            # To close TLS in order takes an answer of the other side, and nobody is there to give it.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
