"""A TCP proxy on loopback that records both directions of every connection."""

import asyncio
import os
import re
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

from pygrpc.wire.recording import Direction, Event, EventKind, Recording

_CONNECT_TIMEOUT = 10.0
#: SO_LINGER with a time of zero: closing the socket sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class RecordingProxy:
    """Forwards connections to a target and records what passes, with times.

    The end of a direction (half-close) and resets are forwarded as such. A side that reads slowly slows the other one
    down: the proxy buffers no more than its transports do.

    Use it as an async context manager, or call ``start`` and ``close``.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limit: int = 64 << 20,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Makes a proxy that isn't listening yet.

        Args:
            target_host: Where to connect to.
            target_port: The port there.
            host: The address to listen on.
            port: The port to listen on, 0 for any that is free.
            limit: How many bytes the recording may hold; 0 to keep nothing. Forwarding goes on when it is full.
            on_event: Called in the event loop with each event as it happens.
        """
        self._target = target_host, target_port
        self._listen = host, port
        self._recording = Recording(limit)
        self._on_event = on_event
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._count = 0
        self._start_time = 0.0

    @property
    def events(self) -> list[Event]:
        """What was recorded so far, in order."""
        return self._recording.events

    @property
    def port(self) -> int:
        """The port that the proxy listens on."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the proxy is not listening")
        return cast(int, self._server.sockets[0].getsockname()[1])

    @property
    def address(self) -> str:
        """Where to connect to, as ``host:port``."""
        host = f"[{self._listen[0]}]" if ":" in self._listen[0] else self._listen[0]
        return f"{host}:{self.port}"

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            OSError: The address is in use or isn't one of this machine.
        """
        loop = asyncio.get_running_loop()
        self._start_time = loop.time()
        self._server = await loop.create_server(self._accept, *self._listen)

    async def close(self) -> None:
        """Stops to listen, drops the connections that are open and waits until they are gone."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.closed.wait()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        """Begins to listen."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the proxy."""
        await self.close()

    def _accept(self) -> "_Side":
        self._count += 1
        connection = _Connection(self._count, self._target, self._record, self._connections.discard)
        self._connections.add(connection)
        return connection.client

    def _record(self, connection: int, kind: EventKind, direction: Direction | None, data: bytes, note: str) -> None:
        now = asyncio.get_running_loop().time() - self._start_time
        event = Event(now, connection, kind, direction, data, note)
        self._recording.add(event)
        if self._on_event is not None:
            self._on_event(event)


class _Connection:
    """A client's connection and the one to the target that belongs to it."""

    def __init__(
        self,
        number: int,
        target: tuple[str, int],
        record: Callable[[int, EventKind, Direction | None, bytes, str], None],
        forget: "Callable[[_Connection], None]",
    ) -> None:
        self._number = number
        self._target = target
        self._record = record
        self._forget = forget
        self.client = _Side(self, Direction.CLIENT_TO_SERVER)
        self.server = _Side(self, Direction.SERVER_TO_CLIENT)
        self._connecting: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    def record(self, kind: EventKind, direction: Direction | None = None, data: bytes = b"", note: str = "") -> None:
        self._record(self._number, kind, direction, data, note)

    def other(self, side: "_Side") -> "_Side":
        return self.server if side is self.client else self.client

    def made(self, side: "_Side", transport: asyncio.Transport) -> None:
        if side is self.server:
            return
        peer = transport.get_extra_info("peername")
        self.record(EventKind.OPENED, note=f"from {peer[0]}:{peer[1]}" if peer else "")
        # Nothing is read before there is somewhere to write it to.
        transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await asyncio.get_running_loop().create_connection(lambda: self.server, *self._target)
        except (OSError, TimeoutError) as error:
            self.record(EventKind.UNREACHABLE, note=describe_os_error(error))
            self.client.reset()
            return
        self.client.resume_reading()

    def abort(self) -> None:
        """Drops both connections at once."""
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        self.client.reset()
        self.server.reset()

    def lost(self, side: "_Side", error: Exception | None) -> None:
        other = self.other(side)
        if error is not None:
            if not other.gone:
                self.record(EventKind.RESET, side.direction, note=describe_os_error(error))
            other.reset()
        else:
            other.close()
        if self.client.gone and (self.server.gone or self.server.transport is None):
            if not self.closed.is_set():
                self.record(EventKind.CLOSED)
            if self._connecting is not None and not self._connecting.done():
                self._connecting.cancel()
            self.closed.set()
            self._forget(self)


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection; its direction is that of the bytes that it reads."""

    def __init__(self, connection: _Connection, direction: Direction) -> None:
        self._connection = connection
        self.direction = direction
        self.transport: asyncio.Transport | None = None
        self.gone = False
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connection.made(self, self.transport)

    def data_received(self, data: bytes) -> None:
        self._connection.record(EventKind.DATA, self.direction, data)
        other = self._connection.other(self).transport
        if other is not None:
            other.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        self._connection.record(EventKind.EOF, self.direction)
        other = self._connection.other(self)
        if other.ended:
            self.close()
            other.close()
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write_eof()
        # The transport stays open for what the other side still has to say.
        return True

    def pause_writing(self) -> None:
        other = self._connection.other(self).transport
        if other is not None and not other.is_closing():
            other.pause_reading()

    def resume_writing(self) -> None:
        self._connection.other(self).resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._connection.lost(self, exc)

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """Closes the socket after everything was written."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Closes the socket at once, so that its peer sees a reset."""
        if self.transport is None or self.gone:
            return
        raw = cast("socket.socket | None", self.transport.get_extra_info("socket"))
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


def describe_os_error(error: Exception) -> str:
    """Says in a few words what the operating system objects to, without asyncio's repetition of the address."""
    if isinstance(error, TimeoutError) and not error.args:
        return "timed out"
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError):
        text = str(getattr(error, "strerror", None) or error)
    elif error.errno:
        text = os.strerror(error.errno)
    else:
        # A name with several addresses fails with one text for all of them.
        numbers = dict.fromkeys(re.findall(r"\[Errno (\d+)\]", str(error)))
        text = " and ".join(os.strerror(int(number)) for number in numbers) or str(error)
    return text[:1].lower() + text[1:]
