"""Cancellation in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck, echo
from tests.behaviour.peers import ARITIES, Peers, Witness, collect, never

each_arity = pytest.mark.parametrize("arity", ARITIES)
stream_response = pytest.mark.parametrize("arity", ["us", "ss"])


@each_arity
async def test_cancel_ends_the_call(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        assert call.cancel() is True
        assert (call.done(), call.cancelled()) == (True, True)
        assert await call.code() is peers.client.code.CANCELLED
        assert await call.details() == "Locally cancelled by application!"
        assert tuple(await call.initial_metadata()) == ()
        assert tuple(await call.trailing_metadata()) == ()


@each_arity
async def test_cancel_of_a_cancelled_call_does_nothing(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        call.cancel()
        assert call.cancel() is False


@each_arity
async def test_cancel_of_a_finished_call_does_nothing(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        await collect(call)
        await call.code()
        assert call.cancel() is False
        assert not call.cancelled()
        assert await call.code() is peers.client.code.OK


@each_arity
async def test_cancel_before_the_call_got_out(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert call.cancel() is True
        with pytest.raises(asyncio.CancelledError):
            await collect(call)
        assert await call.code() is peers.client.code.CANCELLED
        assert await link.uu(b"next") == b"next"


@each_arity
async def test_result_of_a_cancelled_call_is_cancelled_error(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collect(call)


@stream_response
async def test_reading_a_cancelled_call_is_cancelled_error(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        call.cancel()
        for _ in range(2):
            with pytest.raises(asyncio.CancelledError):
                await call.read()


@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_writing_to_a_cancelled_call_is_an_invalid_state(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.method(arity)()
        await stuck.started
        call.cancel()
        with pytest.raises(asyncio.InvalidStateError, match=r"RPC already finished\."):
            await call.write(b"x")
        await call.done_writing()


@each_arity
async def test_cancel_calls_back(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        called = Witness()
        call.add_done_callback(called)
        await stuck.started
        call.cancel()
        assert await called is call


@each_arity
async def test_server_handler_is_cancelled(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        call.cancel()
        assert isinstance(await stuck.ended, asyncio.CancelledError)


@each_arity
async def test_server_calls_back_after_cancellation(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        context = await stuck.started
        called = Witness()
        context.add_done_callback(called)
        call.cancel()
        assert await called is context


@pytest.mark.only(server="pygrpc", reason="grpcio leaves cancelled() and done() false when the client has cancelled")
@each_arity
async def test_server_context_tells_of_the_cancellation(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        context = await stuck.started
        assert (context.cancelled(), context.done()) == (False, False)
        called = Witness()
        context.add_done_callback(lambda done: called((done.cancelled(), done.done())))
        call.cancel()
        await stuck.ended
        assert await called == (True, True)


@pytest.mark.only(client="aio", reason="the synchronous API knows nothing of tasks")
@each_arity
async def test_cancelling_the_task_cancels_the_call(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        task = asyncio.create_task(collect(call))
        await stuck.started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()
        assert await call.code() is peers.client.code.CANCELLED
        assert isinstance(await stuck.ended, asyncio.CancelledError)


@pytest.mark.only(client="aio", reason="the synchronous API knows nothing of tasks")
@stream_response
async def test_cancelling_a_read_cancels_the_call(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        task = asyncio.create_task(call.read())
        await stuck.started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()
        assert isinstance(await stuck.ended, asyncio.CancelledError)


@pytest.mark.only(client="aio", reason="the synchronous API knows nothing of tasks")
@each_arity
async def test_giving_up_waiting_cancels_the_call(peers: Peers, arity: str) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.start(arity, b"x")
        await stuck.started
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(collect(call), 0.01)
        assert call.cancelled()
        assert isinstance(await stuck.ended, asyncio.CancelledError)


async def test_cancel_between_messages(peers: Peers) -> None:
    ended = Witness()

    async def endless(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await never()
        finally:
            ended()

    async with peers.serve(us=endless) as link:
        call = link.us(b"x")
        assert await call.read() == b"first"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.read()
        await ended


async def test_cancel_reaches_a_handler_that_writes(peers: Peers) -> None:
    ended = Witness()

    async def endless(request: bytes, context: Any) -> None:
        try:
            while True:
                await context.write(bytes(1 << 16))
        except BaseException as error:
            ended(error)
            raise

    async with peers.serve(us=endless) as link:
        call = link.us(b"x")
        await call.read()
        call.cancel()
        assert await ended is not None


@pytest.mark.only(server="pygrpc", reason="to a handler that reads, grpcio may show a cancelled call as ended requests")
async def test_cancel_reaches_a_handler_that_reads(peers: Peers) -> None:
    started, ended = Witness(), Witness()

    async def reads(requests: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            async for request in requests:
                started(request)
        except BaseException as error:
            ended(error)
            raise
        ended(None)
        return b""

    async with peers.serve(su=reads) as link:
        call = link.su()
        await call.write(b"x")
        await started
        call.cancel()
        assert isinstance(await ended, asyncio.CancelledError)


async def test_other_calls_go_on(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(uu=stuck.all["uu"], ss=ECHO["ss"]) as link:
        stream = link.ss()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        call = link.uu(b"x")
        await stuck.started
        call.cancel()
        await stuck.ended
        await stream.write(b"after")
        assert await stream.read() == b"after"
        await stream.done_writing()
        assert await stream.read() is peers.client.aio.EOF


async def test_closing_the_channel_cancels_its_calls(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        channel = link.open_channel()
        call = channel.unary_unary("/behaviour.Peer/uu")(b"x")
        await stuck.started
        await channel.close()
        # In the synchronous API only the one who called cancel() has cancelled a call.
        assert call.cancelled() is (peers.client.api == "aio")
        assert await call.code() is peers.client.code.CANCELLED
        assert isinstance(await stuck.ended, asyncio.CancelledError)


@pytest.mark.only(client="aio", reason="the synchronous API closes a channel at once")
async def test_closing_the_channel_with_grace_lets_calls_finish(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        channel = link.open_channel()
        call = channel.stream_stream("/behaviour.Peer/ss")()
        await call.write(b"x")
        closing = asyncio.create_task(channel.close(20))
        assert await call.read() == b"x"
        assert not closing.done()
        await call.done_writing()
        assert await call.read() is peers.client.aio.EOF
        await closing
        assert await call.code() is peers.client.code.OK


async def test_server_can_answer_with_cancelled(peers: Peers) -> None:
    async def cancels(request: bytes, context: Any) -> bytes:
        await context.abort(peers.server.code.CANCELLED, "the server's choice")
        return b""

    async with peers.serve(uu=cancels) as link:
        call = link.uu(b"x")
        error = await link.failure(call)
        assert error.code() is peers.client.code.CANCELLED
        assert error.details() == "the server's choice"
        assert call.cancelled() is (peers.client.api == "aio")


@pytest.mark.only(server="pygrpc", reason="grpcio's server sends no status then, and the client hangs")
async def test_handler_that_raises_cancelled_error_ends_the_call(peers: Peers) -> None:
    async def gives_up(request: bytes, context: Any) -> bytes:
        raise asyncio.CancelledError

    async with peers.serve(uu=gives_up, us=ECHO["us"]) as link:
        error = await link.failure(link.uu(b"x"))
        assert error.code() in (peers.client.code.CANCELLED, peers.client.code.UNKNOWN)
        assert await collect(link.us(b"x")) == [b"x", b"x", b"x"]


@pytest.mark.only(server="pygrpc aio", reason="grpcio's synchronous server may count a stream that was reset")
async def test_cancelled_calls_leave_room_for_others(peers: Peers) -> None:
    started: asyncio.Queue[None] = asyncio.Queue()

    async def waits(request: bytes, context: Any) -> AsyncIterator[bytes]:
        started.put_nowait(None)
        await never()
        yield b""

    async with peers.serve(uu=echo, us=waits, server={"options": (("grpc.max_concurrent_streams", 2),)}) as link:
        for _ in range(5):
            call = link.us(b"x")
            await started.get()
            call.cancel()
        assert await link.uu(b"x") == b"x"
