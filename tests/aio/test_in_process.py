"""The in-process channel: everything but the socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import pygrpc
from pygrpc import aio
from pygrpc.testing import in_process_channel


async def _echo(request: bytes, context: Any) -> bytes:
    return request


async def _echo_all(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _tell_peer(request: bytes, context: Any) -> bytes:
    return str(context.peer()).encode()


async def _wait(request: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


@asynccontextmanager
async def _channel() -> AsyncIterator[aio.Channel]:
    server = aio.server()
    methods = {
        "Echo": pygrpc.unary_unary_rpc_method_handler(_echo),
        "EchoAll": pygrpc.stream_stream_rpc_method_handler(_echo_all),
        "Peer": pygrpc.unary_unary_rpc_method_handler(_tell_peer),
        "Wait": pygrpc.unary_unary_rpc_method_handler(_wait),
    }
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("test.Service", methods),))
    await server.start()
    async with in_process_channel(server) as channel:
        yield channel
    await server.stop(None)


async def test_calls_work_without_a_port() -> None:
    async with _channel() as channel:
        assert await channel.unary_unary("/test.Service/Echo")(b"hello") == b"hello"
        assert await channel.unary_unary("/test.Service/Peer")(b"") == b"in-process"


async def test_large_streams_pass_both_ways() -> None:
    async with _channel() as channel:
        requests = [bytes([number]) * 300_000 for number in range(20)]
        assert [r async for r in channel.stream_stream("/test.Service/EchoAll")(requests)] == requests


async def test_a_slow_reader_holds_up_the_writer() -> None:
    async with _channel() as channel:
        call = channel.stream_stream("/test.Service/EchoAll")()
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await call.write(b"x" * 65_536)
                written += 1

        writer = asyncio.create_task(write())
        for _ in range(500):
            await asyncio.sleep(0)
        stuck = written
        for _ in range(500):
            await asyncio.sleep(0)
        assert written == stuck < 100
        writer.cancel()
        call.cancel()
        await asyncio.wait([writer])


async def test_a_deadline_ends_a_call() -> None:
    async with _channel() as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Wait")(b"", timeout=0.05)
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_server_that_is_not_started_is_unavailable() -> None:
    server = aio.server()
    async with in_process_channel(server) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Echo")(b"")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "not started" in str(caught.value.details())


def test_another_kind_of_server_is_refused() -> None:
    with pytest.raises(TypeError, match=r"pygrpc\.aio\.server"):
        in_process_channel(object())  # type: ignore[arg-type]
