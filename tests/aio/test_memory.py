"""Memory stays bounded, however much is sent and however slowly it is read."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pygrpc import aio
from tests.aio.support import connected, method, never, raw_server, turns, until
from tests.source_tree import ROOT

MESSAGE = bytes(65_536)
#: What our client announces, and what it keeps beside the window: the backlog, a message that is being written, frames.
WINDOW = 1 << 20
SLACK = 4 * 65_536


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is measured by way of Linux's /proc")
def test_a_large_upload_takes_little_memory() -> None:
    program = [sys.executable, "-m", "tests.aio.programs"]
    with subprocess.Popen(
        [*program, "server"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            target = f"127.0.0.1:{server.stdout.readline().strip()}"
            done = subprocess.run(
                [*program, "client", target, "256"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
            )
            server.stdin.close()
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()
    assert done.returncode == 0, done.stderr
    for kibibytes in map(int, done.stdout.split()):
        assert kibibytes < 64 * 1024


async def settled(count: list[int]) -> int:
    """Waits until a number has stopped to grow for many turns of the loop; returns it."""
    last = -1
    while count[0] != last:
        last = count[0]
        await turns(200)
    return last


async def test_a_slow_server_stops_a_client_that_writes() -> None:
    written = [0]

    async def idle(requests: Any, context: Any) -> bytes:
        await never()
        return b""

    async with connected(su=idle) as channel:
        call = method(channel, "su")()

        async def write() -> None:
            for _ in range(1000):
                await call.write(MESSAGE)
                written[0] += len(MESSAGE)

        writer = asyncio.create_task(write())
        await until(lambda: written[0] >= WINDOW)
        assert await settled(written) <= WINDOW + SLACK
        assert not writer.done()
        # Other calls go on.
        assert await method(channel, "uu")(b"x") == b"x"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer


async def test_a_slow_client_stops_a_server_that_writes() -> None:
    written = [0]

    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield MESSAGE
            written[0] += len(MESSAGE)

    async with connected(us=flood) as channel:
        call = method(channel, "us")(b"")
        await until(lambda: written[0] >= WINDOW)
        assert await settled(written) <= WINDOW + SLACK
        assert await method(channel, "uu")(b"x") == b"x"
        # Each message that is read makes room for about one more, and nothing is lost.
        for _ in range(1000):
            assert await call.read() == MESSAGE
        assert not await call.read()
        assert written[0] == 1000 * len(MESSAGE)


async def test_a_server_that_does_not_read_its_socket_stops_a_client_that_writes() -> None:
    """The windows are as large as can be, so that only the socket holds the client up."""

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings = bytes.fromhex("00 00 06 04 00 00 00 00 00 0004 7fffffff")
        window = bytes.fromhex("00 00 04 08 00 00 00 00 00 7fff0000")
        writer.write(settings + window)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await never()

    async with raw_server(deaf) as target, aio.insecure_channel(target) as channel:
        call = method(channel, "su")()
        written = [0]

        async def write() -> None:
            for _ in range(4000):
                await call.write(MESSAGE)
                written[0] += len(MESSAGE)

        writer = asyncio.create_task(write())
        (transport,) = await transports(channel)
        await until(lambda: transport.core.sending_paused)
        await settled(written)
        assert not writer.done()
        assert transport.core.sending_paused
        assert transport._transport.get_write_buffer_size() < 1 << 20
        assert call._core.pending_bytes <= 65_536 + len(MESSAGE) + 5
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer


async def transports(channel: Any) -> list[Any]:
    await channel.channel_ready()
    return list(channel._connections.transports.values())


async def test_a_client_that_does_not_read_its_socket_stops_a_server_that_writes() -> None:
    written = [0]

    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(4000):
            yield MESSAGE
            written[0] += len(MESSAGE)

    # The client's windows let 64 MiB through; it stops to read its socket.
    async with connected(us=flood, options=[("grpc.http2.lookahead_bytes", 64 << 20)]) as channel:
        call = method(channel, "us")(b"")
        (transport,) = await transports(channel)
        await until(lambda: written[0])
        transport._transport.pause_reading()
        stopped = await settled(written)
        assert stopped < 40 << 20
        transport._transport.resume_reading()
        await until(lambda: written[0] > stopped)
        call.cancel()
