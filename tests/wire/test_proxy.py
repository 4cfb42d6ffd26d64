"""The recording proxy on real sockets of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from pygrpc.wire.proxy import RecordingProxy, describe_os_error
from pygrpc.wire.recording import Direction, Event, EventKind

TO_SERVER, TO_CLIENT = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def target(handler: Handler) -> AsyncIterator[int]:
    """Serves connections with the handler; a failure of it fails the test."""
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*tasks)
    await server.wait_closed()


async def connect(proxy: RecordingProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


def reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def sent(events: list[Event], direction: Direction) -> bytes:
    return b"".join(event.data for event in events if event.direction is direction)


class Watcher:
    """Lets a test wait for an event of the proxy."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    async def wait_for(self, kind: EventKind) -> Event:
        while not (found := [event for event in self.events if event.kind is kind]):
            self.changed.clear()
            await self.changed.wait()
        return found[0]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The proxy drops what is still open when it closes.
    with suppress(ConnectionResetError):
        while data := await reader.read(1000):
            writer.write(data)


async def test_both_directions_are_forwarded_and_recorded() -> None:
    watcher = Watcher()
    async with target(echo) as port, RecordingProxy("127.0.0.1", port, on_event=watcher) as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await watcher.wait_for(EventKind.CLOSED)
        assert proxy.events == watcher.events
        assert sent(proxy.events, TO_SERVER) == sent(proxy.events, TO_CLIENT) == b"hello"
        kinds = [event.kind for event in proxy.events]
        assert (kinds[0], kinds[-1]) == (EventKind.OPENED, EventKind.CLOSED)
        times = [event.time for event in proxy.events]
        assert times == sorted(times)
        assert times[0] >= 0


async def test_a_half_closed_connection_still_carries_the_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()
        writer.write(b"you said " + question)

    async with target(answer) as port, RecordingProxy("127.0.0.1", port) as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"you said hello"
        assert [(event.kind, event.direction) for event in proxy.events if event.kind is EventKind.EOF] == [
            (EventKind.EOF, TO_SERVER),
            (EventKind.EOF, TO_CLIENT),
        ]
        writer.close()


async def test_a_half_close_by_the_server_still_lets_the_client_speak() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        heard.set_result(await reader.read())

    async with target(listen) as port, RecordingProxy("127.0.0.1", port) as proxy:
        reader, writer = await connect(proxy)
        assert await reader.read() == b""
        writer.write(b"goodbye")
        writer.write_eof()
        assert await heard == b"goodbye"
        writer.close()


async def test_a_reset_by_the_client_reaches_the_server() -> None:
    seen: asyncio.Future[BaseException | bytes] = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready")
        [result] = await asyncio.gather(reader.read(), return_exceptions=True)
        seen.set_result(result)

    watcher = Watcher()
    async with target(wait) as port, RecordingProxy("127.0.0.1", port, on_event=watcher) as proxy:
        reader, writer = await connect(proxy)
        await reader.readexactly(5)
        reset(writer)
        assert isinstance(await seen, ConnectionResetError)
        assert (await watcher.wait_for(EventKind.RESET)).direction is TO_SERVER
        await watcher.wait_for(EventKind.CLOSED)
        assert sum(event.kind is EventKind.RESET for event in proxy.events) == 1


async def test_a_reset_by_the_server_reaches_the_client() -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        reset(writer)

    watcher = Watcher()
    async with target(drop) as port, RecordingProxy("127.0.0.1", port, on_event=watcher) as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert (await watcher.wait_for(EventKind.RESET)).direction is TO_CLIENT
        writer.close()


async def test_a_target_out_of_reach_resets_the_client() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with RecordingProxy("127.0.0.1", unused.getsockname()[1]) as proxy:
            reader, writer = await connect(proxy)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            kinds = [(event.kind, event.note) for event in proxy.events[1:]]
            assert kinds == [(EventKind.UNREACHABLE, "connection refused"), (EventKind.CLOSED, "")]


async def test_closing_the_proxy_drops_its_connections() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready")
        await asyncio.gather(reader.read(), return_exceptions=True)

    async with target(wait) as port:
        proxy = RecordingProxy("127.0.0.1", port)
        await proxy.start()
        reader, writer = await connect(proxy)
        await reader.readexactly(5)
        await proxy.close()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await proxy.close()
        with pytest.raises(RuntimeError, match="not listening"):
            _ = proxy.port


async def test_several_connections_have_numbers() -> None:
    async with target(echo) as port, RecordingProxy("127.0.0.1", port) as proxy:
        for text in (b"one", b"two"):
            reader, writer = await connect(proxy)
            writer.write(text)
            assert await reader.readexactly(3) == text
            writer.close()
        of_second = [event for event in proxy.events if event.connection == 2]
        assert sent(of_second, TO_SERVER) == b"two"


async def test_a_slow_reader_slows_the_sender_and_not_a_buffer_of_the_proxy() -> None:
    total = 16 << 20

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(total >> 20):
            writer.write(bytes(1 << 20))
            await writer.drain()

    largest = 0

    def measure(event: Event) -> None:
        nonlocal largest
        for connection in proxy._connections:
            if connection.client.transport is not None:
                largest = max(largest, connection.client.transport.get_write_buffer_size())

    async with target(flood) as port:
        proxy = RecordingProxy("127.0.0.1", port, limit=0, on_event=measure)
        async with proxy:
            reader, writer = await connect(proxy)
            received = 0
            while data := await reader.read(1 << 20):
                received += len(data)
            writer.close()
    assert received == total
    assert proxy.events == []
    # Asyncio's high-water mark, and one more piece as asyncio reads it.
    assert largest <= (64 << 10) + (256 << 10)


async def test_a_full_recording_does_not_stop_forwarding() -> None:
    async with target(echo) as port, RecordingProxy("127.0.0.1", port, limit=1000) as proxy:
        reader, writer = await connect(proxy)
        for _ in range(20):
            writer.write(bytes(500))
            assert await reader.readexactly(500) == bytes(500)
        assert proxy.events[-1].kind is EventKind.FULL
        assert len(sent(proxy.events, TO_SERVER) + sent(proxy.events, TO_CLIENT)) <= 1000
        writer.close()


async def test_a_port_in_use_is_an_error() -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        proxy = RecordingProxy("127.0.0.1", 1, port=used.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await proxy.start()
        await proxy.close()


async def test_address_names_host_and_port() -> None:
    async with RecordingProxy("127.0.0.1", 1) as proxy:
        assert proxy.address == f"127.0.0.1:{proxy.port}"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (TimeoutError(), "timed out"),
        (TimeoutError(110, "Connect call failed"), "connection timed out"),
        (OSError(98, "error while attempting to bind on address ('127.0.0.1', 1)"), "address already in use"),
        (OSError("Multiple exceptions: [Errno 111] x, [Errno 111] y"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] x, [Errno 101] y"), "connection refused and Network is unreachable"),
        (OSError("Something else"), "something else"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_errors_of_the_system_in_a_few_words(error: Exception, text: str) -> None:
    assert describe_os_error(error) == text
