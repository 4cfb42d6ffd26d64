"""The limit that asyncio and loopback set: the same messages and prefixes on TCP, with neither HTTP/2 nor gRPC.

The first byte of a connection chooses what the server does with it: send everything back, or count.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from benchmarks.adapters import HOST, Hold
from benchmarks.scenarios import BLOCK, PAYLOAD, UPLOAD_MESSAGES, Client

PREFIX_SIZE = 5
FRAME_SIZE = PREFIX_SIZE + len(PAYLOAD)
UPLOAD_SIZE = (PREFIX_SIZE + len(BLOCK)) * UPLOAD_MESSAGES
ECHO, COUNT = b"E", b"C"


def _frame(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


class _Server(asyncio.Protocol):
    def __init__(self) -> None:
        self._mode = b""
        self._counted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._mode:
            self._mode, data = data[:1], data[1:]
        if self._mode == ECHO:
            self._transport.write(data)
            return
        self._counted += len(data)
        if self._counted == UPLOAD_SIZE:
            self._counted = 0
            self._transport.write(_frame(PAYLOAD))


class _Client(asyncio.Protocol):
    """Replies come in the order of the requests, so a queue of futures matches them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= FRAME_SIZE:
            self._waiting.popleft().set_result(bytes(self._buffer[PREFIX_SIZE:FRAME_SIZE]))
            del self._buffer[:FRAME_SIZE]

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def reply(self) -> bytes:
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    async def echo(self, message: bytes) -> bytes:
        self.write(_frame(message))
        return await self.reply()

    async def upload(self, messages: Iterable[bytes]) -> bytes:
        total = 0
        for message in messages:
            self.write(_frame(message))
            total += len(message)
            await self._writable.wait()
        # The server answers once it has counted every byte.
        await self.reply()
        return b"%d" % total


def server(hold: Hold) -> None:
    """Serve on an asyncio protocol."""

    async def main() -> None:
        listener = await asyncio.get_running_loop().create_server(_Server, HOST, 0)
        await asyncio.to_thread(hold, listener.sockets[0].getsockname()[1])
        listener.close()

    asyncio.run(main())


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    """Connect twice, once for each mode."""
    loop = asyncio.get_running_loop()
    echo_transport, echo = await loop.create_connection(_Client, HOST, port)
    count_transport, count = await loop.create_connection(_Client, HOST, port)
    echo.write(ECHO)
    count.write(COUNT)

    def download(request: bytes) -> AsyncIterator[bytes]:
        raise NotImplementedError("raw TCP is the reference for echo and upload only")

    try:
        yield Client(echo.echo, download, count.upload)
    finally:
        echo_transport.close()
        count_transport.close()
