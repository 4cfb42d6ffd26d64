"""The limit that asyncio and loopback set: the same messages and prefixes on TCP, with neither HTTP/2 nor gRPC.

The first byte of a connection chooses what the server does with it: send everything back, count what comes, or answer a
request with the messages of a stream.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

from benchmarks.adapters import Hold
from benchmarks.certificates import client_context, server_context
from benchmarks.work import HOST, Client, Work, frame

PREFIX_SIZE = 5
ECHO, COUNT, STREAM = b"E", b"C", b"S"


class _Server(asyncio.Protocol):
    def __init__(self, work: Work) -> None:
        self._work = work
        self._frame = frame(work.payload)
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
        expected = len(self._frame) * (self._work.messages if self._mode == COUNT else 1)
        if self._counted == expected:
            self._counted = 0
            # A write for each message, as a server has it that makes them one by one.
            for _ in range(self._work.messages if self._mode == STREAM else 1):
                self._transport.write(self._frame)


class _Client(asyncio.Protocol):
    """Replies come in the order of the requests, so a queue of futures matches them."""

    def __init__(self, work: Work) -> None:
        self._frame_size = PREFIX_SIZE + work.size
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._stream: asyncio.Queue[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        size = self._frame_size
        whole = len(self._buffer) // size * size
        for start in range(0, whole, size):
            message = bytes(self._buffer[start + PREFIX_SIZE : start + size])
            if self._stream is not None:
                self._stream.put_nowait(message)
            else:
                self._waiting.popleft().set_result(message)
        del self._buffer[:whole]

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
        self.write(frame(message))
        return await self.reply()

    async def download(self, messages: int, request: bytes) -> AsyncIterator[bytes]:
        self._stream = asyncio.Queue()
        self.write(request)
        for _ in range(messages):
            yield await self._stream.get()

    async def upload(self, messages: Iterable[bytes]) -> bytes:
        total = 0
        for message in messages:
            self.write(frame(message))
            total += len(message)
            await self._writable.wait()
        # The server answers once it has counted every byte.
        await self.reply()
        return b"%d" % total


def server(hold: Hold, work: Work) -> None:
    """Serve on an asyncio protocol."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(partial(_Server, work), HOST, 0, ssl=server_context(work))
        await asyncio.to_thread(hold, listener.sockets[0].getsockname()[1])
        listener.close()

    asyncio.run(main())


@asynccontextmanager
async def client(port: int, work: Work) -> AsyncIterator[Client]:
    """Connect, in the mode that the work asks for."""
    mode = {"download": STREAM, "upload": COUNT}.get(work.call, ECHO)
    context = client_context(work)
    transport, connection = await asyncio.get_running_loop().create_connection(
        partial(_Client, work), HOST, port, ssl=context
    )
    connection.write(mode)
    request = frame(work.payload)
    try:
        yield Client(connection.echo, lambda _: connection.download(work.messages, request), connection.upload)
    finally:
        transport.close()
