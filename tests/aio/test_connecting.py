"""Connecting: what goes wrong in an attempt, and channels that nobody uses any more."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from pygrpc import ChannelConnectivity, StatusCode, aio
from tests.aio.support import failure, make_server, method, serving, until

EAGER = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))


class Break:
    """Stands for a loop's create_connection, and fails as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        loop = asyncio.get_running_loop()
        self._works = loop.create_connection
        self._left = times
        monkeypatch.setattr(loop, "create_connection", self)

    async def __call__(self, *arguments: Any, **settings: Any) -> Any:
        if self._left:
            self._left -= 1
            raise KeyError("not foreseen")
        return await self._works(*arguments, **settings)


async def test_an_error_that_nobody_foresaw_fails_the_calls_that_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as target, aio.insecure_channel(target, EAGER) as channel:
        Break(monkeypatch, 2)
        patient = method(channel, "uu")(b"patient", wait_for_ready=True)
        error = await failure(method(channel, "uu")(b"x"))
        assert error.code() is StatusCode.UNAVAILABLE
        assert str(error.details()).endswith("unexpected KeyError: 'not foreseen'")
        # Those that wait for ready do so until an attempt works.
        assert await patient == b"patient"
    logged = [record for record in caplog.records if record.name == "pygrpc" and record.levelno == logging.ERROR]
    assert [record.exc_info[0] for record in logged if record.exc_info] == [KeyError, KeyError]


# Channels that are dropped without being closed.


async def test_a_channel_that_is_dropped_closes_its_connection() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = aio.insecure_channel(f"127.0.0.1:{port}")
    assert await method(channel, "uu")(b"x") == b"x"
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None
    await until(lambda: not server._transports)  # type: ignore[attr-defined]
    await server.stop(None)


async def test_a_channel_that_is_dropped_does_not_try_again() -> None:
    channel = aio.insecure_channel("127.0.0.1:1", EAGER)
    await failure(method(channel, "uu")(b"x"))
    gone = weakref.ref(channel)
    retry = channel._connections._timer  # type: ignore[attr-defined]
    assert retry is not None
    del channel
    gc.collect()
    assert gone() is None
    await until(retry.cancelled)


async def test_a_call_keeps_its_channel() -> None:
    async def slow(request: bytes, context: Any) -> bytes:
        gc.collect()
        return request

    async with serving(uu=slow) as target:
        call = method(aio.insecure_channel(target), "uu")(b"x")
        gc.collect()
        assert await call == b"x"
        stream = method(aio.insecure_channel(target), "ss")()
        for message in (b"1", b"2"):
            gc.collect()
            await stream.write(message)
            assert await stream.read() == message
        await stream.done_writing()
        assert await stream.read() is aio.EOF


@pytest.mark.parametrize("wait_for_ready", [False, True])
async def test_a_call_that_finds_its_connection_gone_waits_only_if_it_waits_for_ready(wait_for_ready: bool) -> None:
    # The server refuses the call with its goodbye, and is gone for good or for a while.
    server = make_server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
        uu = method(channel, "uu")
        assert await uu(b"x") == b"x"
        (connection,) = channel._connections.transports  # type: ignore[attr-defined]
        call = uu(b"late", wait_for_ready=wait_for_ready)
        connection.goaway_received(1, 0, b"")
        await server.stop(None)
        if not wait_for_ready:
            assert (await failure(call)).code() is StatusCode.UNAVAILABLE
            return
        while (state := channel.get_state()) is not ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)
        again = make_server(options=[("grpc.so_reuseport", 0)])
        again.add_insecure_port(f"127.0.0.1:{port}")
        await again.start()
        assert await call == b"late"
        await again.stop(None)
