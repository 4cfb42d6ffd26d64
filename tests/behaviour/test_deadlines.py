"""Deadlines, which both sides keep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck
from tests.behaviour.peers import ARITIES, Link, Peers, Witness, collect, never

each_arity = pytest.mark.parametrize("arity", ARITIES)

#: Seconds: short enough to wait for.
SHORT = 0.1

#: Timeouts for calls that have to reach the server before they end. The first is enough, but for a busy machine.
LONGER = (SHORT, 0.5, 2.5, 12.5)


@each_arity
async def test_call_ends_at_its_deadline(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x", timeout=SHORT)
        assert not call.done()
        error = await link.failure(call)
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED
        assert error.details() == "Deadline Exceeded"
        assert await call.code() is peers.client.code.DEADLINE_EXCEEDED
        assert (call.done(), call.cancelled()) == (True, False)
        assert call.time_remaining() == 0


@each_arity
async def test_handler_is_cancelled_at_the_deadline(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call, timeout = await start_in_time(link, arity, stuck)
        context = await stuck.started
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        assert context.time_remaining() <= timeout
        await link.failure(call)


async def start_in_time(link: Link, arity: str, stuck: Stuck) -> tuple[Any, float]:
    """Start a call whose handler begins before the deadline; returns it and its timeout."""
    for timeout in LONGER:
        call = link.start(arity, b"x", timeout=timeout)
        over = asyncio.Event()
        call.add_done_callback(lambda _, over=over: over.set())
        waits = [asyncio.create_task(stuck.started.wait()), asyncio.create_task(over.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if stuck.started.happened:
            return call, timeout
    raise AssertionError("no call reached the server")


@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_call_that_is_being_written_ends_at_its_deadline(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.method(arity)(timeout=SHORT)
        # On a busy machine the deadline comes before the message is out.
        with contextlib.suppress(peers.client.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(b"x")
        assert await call.code() is peers.client.code.DEADLINE_EXCEEDED
        with pytest.raises(asyncio.InvalidStateError):
            await call.write(b"y")


@pytest.mark.parametrize("arity", ["us", "ss"])
async def test_messages_before_the_deadline_are_delivered(peers: Peers, arity: str) -> None:
    async def slow(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"
        await never()

    async with peers.serve(**{arity: slow}) as link:
        for timeout in LONGER:
            call = link.start(arity, b"x", timeout=timeout)
            messages = []
            with pytest.raises(peers.client.aio.AioRpcError) as failed:
                async for message in call:
                    messages.append(message)
            assert failed.value.code() is peers.client.code.DEADLINE_EXCEEDED
            if len(messages) == 2:
                break
        assert messages == [b"1", b"2"]


@each_arity
async def test_deadline_in_the_past_fails_at_once(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        error = await link.failure(link.start(arity, b"x", timeout=-1))
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED
        assert error.details() == "Deadline Exceeded"
        assert await link.uu(b"next") == b"next"


async def test_deadline_of_one_call_leaves_others_alone(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(uu=stuck.all["uu"], ss=ECHO["ss"]) as link:
        stream = link.ss(timeout=60)
        await stream.write(b"before")
        assert await stream.read() == b"before"
        await link.failure(link.uu(b"x", timeout=SHORT))
        await stream.write(b"after")
        assert await stream.read() == b"after"
        await stream.done_writing()
        assert await stream.read() is peers.client.aio.EOF


async def test_deadline_covers_waiting_for_a_connection(peers: Peers, refusing_port: int) -> None:
    async with asyncio.timeout(20), peers.open_channel(f"127.0.0.1:{refusing_port}") as channel:
        call = channel.unary_unary("/behaviour.Peer/uu")(b"x", timeout=SHORT, wait_for_ready=True)
        error = await peers.failure(call)
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED


async def test_deadline_covers_waiting_for_a_stream(peers: Peers) -> None:
    stuck = Stuck()
    server = {"options": (("grpc.max_concurrent_streams", 1),)}
    async with peers.serve(us=stuck.all["us"], uu=ECHO["uu"], server=server) as link:
        waiting = link.us(b"x")
        await stuck.started
        error = await link.failure(link.uu(b"x", timeout=SHORT))
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED
        waiting.cancel()
        assert await link.uu(b"x") == b"x"


async def test_server_may_say_that_a_deadline_passed(peers: Peers) -> None:
    async def tired(request: bytes, context: Any) -> bytes:
        await context.abort(peers.server.code.DEADLINE_EXCEEDED, "the one behind me")
        return b""

    async with peers.serve(uu=tired) as link:
        error = await link.failure(link.uu(b"x"))
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED
        assert error.details() == "the one behind me"


async def test_call_that_is_in_time_is_unharmed(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        for arity in ARITIES:
            call = link.start(arity, b"x", timeout=60)
            await collect(call)
            assert await call.code() is peers.client.code.OK


async def test_done_callbacks_run_at_the_deadline(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call, _ = await start_in_time(link, "us", stuck)
        called, server_called = Witness(), Witness()
        call.add_done_callback(called)
        context = await stuck.started
        context.add_done_callback(server_called)
        assert await called is call
        assert await server_called is context
