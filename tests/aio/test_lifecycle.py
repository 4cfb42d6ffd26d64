"""How calls, channels and servers end, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pygrpc import StatusCode, aio
from tests.aio.support import connected, failure, make_server, method, never, serving, until
from tests.source_tree import ROOT


class Stuck:
    """A handler that waits until it is cancelled, and says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def _wait(self) -> None:
        self.started.set()
        try:
            await never()
        finally:
            self.ended.set()

    async def uu(self, request: bytes, context: Any) -> bytes:
        await self._wait()
        return b""

    async def us(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await self._wait()

    async def ss(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await self._wait()
        yield b""


# Garbage.


@pytest.mark.parametrize("arity", ["us", "ss"])
@pytest.mark.parametrize("in_a_cycle", [True, False])
async def test_a_stream_call_that_is_dropped_is_cancelled_at_the_server(arity: str, in_a_cycle: bool) -> None:
    stuck = Stuck()
    async with connected(us=stuck.us, ss=stuck.ss) as channel:
        call = method(channel, arity)(*([b"x"] if arity == "us" else []))
        if arity == "ss":
            await call.write(b"x")
        await stuck.started.wait()
        if in_a_cycle:
            call.itself = call
        del call
        gc.collect()
        await stuck.ended.wait()


async def test_a_stream_call_may_be_dropped_in_another_thread() -> None:
    stuck = Stuck()
    asyncio.get_running_loop().set_debug(True)  # In which asyncio refuses what is not safe from another thread.
    async with connected(us=stuck.us) as channel:
        calls = [method(channel, "us")(b"x")]
        await stuck.started.wait()
        await asyncio.to_thread(calls.clear)
        await stuck.ended.wait()


async def test_an_iteration_that_is_dropped_is_cancelled_at_the_server() -> None:
    stuck = Stuck()
    async with connected(us=stuck.us) as channel:
        async for message in method(channel, "us")(b"x"):
            assert message == b"first"
            break
        gc.collect()
        await stuck.ended.wait()


async def test_a_unary_call_that_is_dropped_goes_on() -> None:
    served = asyncio.Event()

    async def handler(request: bytes, context: Any) -> bytes:
        served.set()
        return b""

    async with connected(uu=handler) as channel:
        method(channel, "uu")(b"x")
        gc.collect()
        await served.wait()


async def test_a_server_that_never_started_gives_its_port_back() -> None:
    server = make_server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    del server
    gc.collect()
    assert make_server(options=[("grpc.so_reuseport", 0)]).add_insecure_port(f"127.0.0.1:{port}") == port


# Stopping a server.


async def test_a_server_stops_although_connections_never_speak() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    await until(lambda: len(server._transports) == 5)  # type: ignore[attr-defined]
    silent[0][1].write(b"PRI * HTTP/2.0\r\n\r\n")
    # With a long grace: they have no calls to wait for.
    await server.stop(1000)
    for reader, writer in silent:
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_server_stops_although_a_client_does_not_answer_its_goodbye() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
    await until(lambda: any(transport.core.ready for transport in server._transports))  # type: ignore[attr-defined]
    await server.stop(None)
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_silent_connection_is_closed_in_time() -> None:
    async with serving(options=[("grpc.server_handshake_timeout_ms", 30)]) as target:
        host, _, port = target.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert b"handshake" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_graceful_stop_lets_calls_finish_and_refuses_new_ones() -> None:
    go = asyncio.Event()
    started = asyncio.Event()

    async def handler(request: bytes, context: Any) -> bytes:
        started.set()
        await go.wait()
        return b"done"

    server = make_server(uu=handler)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = method(channel, "uu")(b"x")
        await started.wait()
        stopping = asyncio.create_task(server.stop(1000))
        await until(lambda: channel.get_state().name != "READY")
        assert (await failure(method(channel, "uu")(b"y"))).code() is StatusCode.UNAVAILABLE
        go.set()
        assert await call == b"done"
        await stopping
    assert await server.wait_for_termination(0.001) is False


async def test_a_second_stop_shortens_the_grace() -> None:
    stuck = Stuck()
    server = make_server(uu=stuck.uu)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = method(channel, "uu")(b"x")
        await stuck.started.wait()
        patient = asyncio.create_task(server.stop(1000))
        await until(lambda: channel.get_state().name != "READY")
        await server.stop(None)
        await patient
        assert (await failure(call)).code() is StatusCode.UNAVAILABLE
        assert stuck.ended.is_set()


async def test_stopping_twice_is_harmless() -> None:
    server = make_server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.gather(server.stop(None), server.stop(5), server.stop(None))
    await server.stop(None)


async def test_a_server_that_stopped_does_not_start_again() -> None:
    server = make_server()
    await server.start()
    await server.stop(None)
    with pytest.raises(aio.UsageError):
        await server.start()


async def test_a_server_that_is_stopped_before_it_starts_gives_its_port_back() -> None:
    server = make_server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.stop(None)
    other = make_server(options=[("grpc.so_reuseport", 0)])
    assert other.add_insecure_port(f"127.0.0.1:{port}") == port
    with pytest.raises(aio.UsageError, match="add ports again"):
        await server.start()
    await other.stop(None)


async def test_calls_that_nobody_reads_do_not_keep_a_server_from_stopping() -> None:
    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        while True:
            yield bytes(65_536)

    server = make_server(us=flood)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = method(channel, "us")(b"")
        await call.read()
        await server.stop(None)
        with pytest.raises(aio.AioRpcError):
            while True:
                await call.read()
        assert await call.code() is StatusCode.UNAVAILABLE


# Closing a channel.


async def test_a_channel_that_is_closed_cancels_its_calls() -> None:
    stuck = Stuck()
    async with serving(uu=stuck.uu) as target:
        channel = aio.insecure_channel(target)
        call = method(channel, "uu")(b"x")
        await stuck.started.wait()
        await channel.close()
        with pytest.raises(asyncio.CancelledError):
            await call
        await stuck.ended.wait()
        with pytest.raises(aio.UsageError):
            method(channel, "uu")(b"x")
        await channel.close()


async def test_a_channel_that_never_connected_closes() -> None:
    async with aio.insecure_channel("127.0.0.1:1"):
        pass


async def test_a_channel_closes_while_it_connects() -> None:
    with socket.socket() as silent:
        # It accepts, by way of the system's backlog, and never speaks.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        channel = aio.insecure_channel(f"127.0.0.1:{silent.getsockname()[1]}")
        call = method(channel, "uu")(b"x", wait_for_ready=True)
        await until(lambda: channel.get_state().name == "CONNECTING")
        await channel.close()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_channel_closes_while_it_waits_to_connect_again() -> None:
    channel = aio.insecure_channel("127.0.0.1:1")
    assert (await failure(method(channel, "uu")(b"x"))).code() is StatusCode.UNAVAILABLE
    await channel.close()


async def test_a_channel_closes_although_the_server_does_not_read() -> None:
    closed = asyncio.Event()

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(bytes.fromhex("000006040000000000 00047fffffff 000004080000000000 7fff0000"))
            transport.pause_reading()
            self.transport = transport

    loop = asyncio.get_running_loop()
    connections: list[Deaf] = []

    def accept() -> Deaf:
        connections.append(Deaf())
        return connections[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    channel = aio.insecure_channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    call = method(channel, "su")()

    async def write() -> None:
        while True:
            await call.write(bytes(65_536))

    writer = asyncio.create_task(write())
    await channel.channel_ready()
    (transport,) = channel._connections.transports.values()  # type: ignore[attr-defined]
    await until(lambda: transport.core.sending_paused)
    await channel.close()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert not closed.is_set()
    await until(lambda: not channel._connections.transports)  # type: ignore[attr-defined]
    for connection in connections:
        connection.transport.abort()
    server.close()
    await server.wait_closed()


# Event loops.


def test_two_loops_one_after_the_other() -> None:
    async def main() -> None:
        async with connected() as channel:
            assert await method(channel, "uu")(b"x") == b"x"

    for _ in range(3):
        asyncio.run(main())


def test_a_channel_may_be_made_outside_of_a_loop() -> None:
    channel = aio.insecure_channel("127.0.0.1:1")

    async def main() -> None:
        assert (await failure(method(channel, "uu")(b"x"))).code() is StatusCode.UNAVAILABLE
        await channel.close()

    asyncio.run(main())


def test_a_server_may_be_made_outside_of_a_loop() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")

    async def main() -> None:
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await method(channel, "uu")(b"x") == b"x"
        await server.stop(None)

    asyncio.run(main())


async def test_no_task_is_left_when_channel_and_server_are_closed() -> None:
    stuck = Stuck()
    before = asyncio.all_tasks()
    server = make_server(uu=stuck.uu, us=stuck.us)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = aio.insecure_channel(f"127.0.0.1:{port}")

    async def requests() -> AsyncIterator[bytes]:
        yield b"x"
        await never()

    calls = [method(channel, "uu")(b"x"), method(channel, "us")(b"x"), method(channel, "ss")(requests())]
    await stuck.started.wait()
    await channel.close()
    await server.stop(None)
    assert all(call.done() for call in calls)
    await until(lambda: asyncio.all_tasks() <= before)


# Logging.

NOISY = """
import asyncio, sys
import pygrpc
from pygrpc import aio
from tests.aio.support import failure, make_server, method

async def bad(request, context):
    raise RuntimeError("the handler is broken")

def broken(value):
    raise ValueError("the serializer is broken")

async def main():
    # On a machine that is busy any step can take long, which says nothing of the library.
    asyncio.get_running_loop().slow_callback_duration = 60
    server = make_server(uu=bad)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.nonsense", 1)]) as channel:
        assert (await failure(method(channel, "uu")(b"x"))).code().name == "UNKNOWN"
        call = channel.unary_unary("/aio.Test/uu", request_serializer=broken)
        try:
            await call(b"x")
        except BaseException as error:
            print(type(error).__name__)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\\r\\n\\r\\n")
        await reader.read()
        writer.close()
    await server.stop(None)

asyncio.run(main())
"""


def test_nothing_is_written_to_stderr() -> None:
    program = [sys.executable, "-W", "error", "-X", "dev", "-c", NOISY]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_what_goes_wrong_is_logged_by_the_logger_pygrpc(caplog: pytest.LogCaptureFixture) -> None:
    async def bad(request: bytes, context: Any) -> bytes:
        raise RuntimeError("the handler is broken")

    with caplog.at_level(logging.DEBUG):
        async with connected(uu=bad) as channel:
            assert (await failure(method(channel, "uu")(b"x"))).code() is StatusCode.UNKNOWN
    ours = [record for record in caplog.records if record.name.startswith("pygrpc")]
    assert [record.levelname for record in ours] == ["ERROR"]
    assert ours[0].exc_info is not None
    assert not [record for record in caplog.records if record not in ours and record.levelno >= logging.INFO]
