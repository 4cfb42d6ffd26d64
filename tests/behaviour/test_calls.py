"""The call objects of the four arities, as the client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, ECHOED, drain, echo_each, join
from tests.behaviour.peers import ARITIES, Peers, Witness, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)
unary_response = pytest.mark.parametrize("arity", ["uu", "su"])
stream_response = pytest.mark.parametrize("arity", ["us", "ss"])


@each_arity
async def test_delivers_messages(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        assert await collect(link.start(arity, b"x")) == ECHOED[arity]


@each_arity
async def test_delivers_empty_messages(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        assert await collect(link.start(arity, b"")) == [b""] * len(ECHOED[arity])


@each_arity
async def test_has_the_status_after_the_messages(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        await collect(call)
        assert await call.code() is peers.client.code.OK
        assert await call.details() == ""
        assert tuple(await call.initial_metadata()) == ()
        assert tuple(await call.trailing_metadata()) == ()


@each_arity
async def test_status_can_be_awaited_before_it_is_known(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        code, details, initial, trailing, messages = await asyncio.gather(
            call.code(), call.details(), call.initial_metadata(), call.trailing_metadata(), collect(call)
        )
        assert (code, details, tuple(initial), tuple(trailing)) == (peers.client.code.OK, "", (), ())
        assert messages == ECHOED[arity]


@pytest.mark.parametrize("arity", ["us", "su", "ss"])
async def test_initial_metadata_comes_before_the_end(peers: Peers, arity: str) -> None:
    await check_early_initial_metadata(peers, arity)


@pytest.mark.only(client="pygrpc", reason="grpcio's unary-unary call takes the initial metadata and the status at once")
async def test_initial_metadata_comes_before_the_end_of_a_unary_call(peers: Peers) -> None:
    await check_early_initial_metadata(peers, "uu")


async def check_early_initial_metadata(peers: Peers, arity: str) -> None:
    gate = asyncio.Event()

    async def unary(request: Any, context: Any) -> bytes:
        await context.send_initial_metadata((("early", "yes"),))
        await gate.wait()
        await drain(request)
        return b""

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata((("early", "yes"),))
        await gate.wait()
        await drain(request)
        yield b""

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        call = link.start(arity, b"x")
        assert tuple(await call.initial_metadata()) == (("early", "yes"),)
        assert not call.done()
        gate.set()
        assert await collect(call) == [b""]


@each_arity
async def test_is_done_when_it_has_a_status(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert (call.done(), call.cancelled()) == (False, False)
        await collect(call)
        await call.code()
        assert (call.done(), call.cancelled()) == (True, False)


@unary_response
async def test_can_be_awaited_again(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert await call == b"x"
        assert await call == b"x"


@unary_response
async def test_can_be_awaited_by_two_tasks(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert await asyncio.gather(collect(call), collect(call)) == [[b"x"], [b"x"]]


@stream_response
async def test_can_be_iterated_once(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert await collect(call) == ECHOED[arity]
        assert await collect(call) == []


@each_arity
async def test_calls_back_when_done(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        called = Witness()
        call.add_done_callback(lambda done: called((done, done.done())))
        await collect(call)
        done, was_done = await called
        assert done is call
        assert was_done


@each_arity
async def test_calls_back_when_done_already(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        await collect(call)
        await call.code()
        called = Witness()
        call.add_done_callback(called)
        assert await called is call


@each_arity
async def test_calls_back_when_failed(peers: Peers, arity: str) -> None:
    async with peers.serve() as link:
        call = link.open(arity)
        called = Witness()
        call.add_done_callback(called)
        await link.failure(call)
        assert await called is call


@each_arity
async def test_has_no_time_remaining_without_a_timeout(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert call.time_remaining() is None
        await collect(call)
        assert call.time_remaining() is None


@each_arity
async def test_has_at_most_its_timeout_remaining(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x", timeout=300)
        assert 200 < call.time_remaining() <= 300
        await collect(call)


@pytest.mark.only(client="aio", reason="the synchronous API has no wait_for_connection")
@each_arity
async def test_waits_for_connection(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert await call.wait_for_connection() is None
        assert await collect(call) == ECHOED[arity]


@pytest.mark.only(client="aio", reason="the parity test has the classes of the synchronous API")
@each_arity
async def test_is_an_instance_of_the_abstract_call(peers: Peers, arity: str) -> None:
    aio = peers.client.aio
    bases = {"uu": "UnaryUnaryCall", "us": "UnaryStreamCall", "su": "StreamUnaryCall", "ss": "StreamStreamCall"}
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        assert isinstance(call, getattr(aio, bases[arity]))
        assert isinstance(call, aio.Call)
        assert isinstance(call, aio.RpcContext)
        await collect(call)


@stream_response
async def test_read_returns_eof_after_the_last_message(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        for expected in ECHOED[arity]:
            assert await call.read() == expected
        assert await call.read() is peers.client.aio.EOF
        assert await call.read() is peers.client.aio.EOF
        assert await call.code() is peers.client.code.OK


async def test_eof_is_false(peers: Peers) -> None:
    assert not peers.client.aio.EOF


async def test_writes_and_reads_in_turn(peers: Peers) -> None:
    async with peers.serve(ss=echo_each) as link:
        call = link.ss()
        for number in range(5):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()
        assert await call.read() is peers.client.aio.EOF


async def test_writes_then_awaits_the_response(peers: Peers) -> None:
    async with peers.serve(su=join) as link:
        call = link.su()
        for message in (b"a", b"b", b"c"):
            await call.write(message)
        await call.done_writing()
        assert await call == b"a,b,c"


async def test_reads_what_was_requested_by_an_iterator(peers: Peers) -> None:
    async with peers.serve(ss=echo_each) as link:
        call = link.ss(iter([b"a", b"b"]))
        assert [await call.read(), await call.read(), await call.read()] == [b"a", b"b", peers.client.aio.EOF]


async def test_iterates_over_answers_to_writes(peers: Peers) -> None:
    async with peers.serve(ss=echo_each) as link:
        call = link.ss()
        await call.write(b"a")
        await call.write(b"b")
        await call.done_writing()
        assert await collect(call) == [b"a", b"b"]


@pytest.mark.only(client="aio", reason="the synchronous API has one way to read")
async def test_iterating_after_read_is_a_usage_error(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.us(b"x")
        await call.read()
        with pytest.raises(peers.client.aio.UsageError, match="may not be mixed"):
            call.__aiter__()


@pytest.mark.only(client="aio", reason="the synchronous API has one way to read")
async def test_reading_after_iteration_began_is_a_usage_error(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.us(b"x")
        async for _ in call:
            break
        with pytest.raises(peers.client.aio.UsageError, match="may not be mixed"):
            await call.read()


@pytest.mark.only(client="aio", reason="the synchronous API takes requests from an iterator and refuses no writes")
@pytest.mark.parametrize("arity", ["su", "ss"])
@pytest.mark.parametrize("operation", ["write", "done_writing"])
async def test_writing_beside_a_request_iterator_is_a_usage_error(peers: Peers, arity: str, operation: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.start(arity, b"x")
        with pytest.raises(peers.client.aio.UsageError, match="may not be mixed"):
            await (call.write(b"y") if operation == "write" else call.done_writing())
        assert await collect(call) == [b"x"]


@pytest.mark.only(client="aio", reason="the synchronous API takes requests from an iterator and refuses no writes")
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_write_after_done_writing_is_an_invalid_state(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity)()
        await call.write(b"x")
        await call.done_writing()
        with pytest.raises(asyncio.InvalidStateError, match=r'RPC is half closed after calling "done_writing"\.'):
            await call.write(b"y")
        assert await collect(call) == [b"x"]


@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_write_after_the_end_is_an_invalid_state(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity)()
        await call.done_writing()
        await collect(call)
        await call.code()
        with pytest.raises(asyncio.InvalidStateError, match=r"RPC already finished\."):
            await call.write(b"y")


@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_done_writing_can_be_repeated(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity)()
        await call.write(b"x")
        await call.done_writing()
        await call.done_writing()
        assert await collect(call) == [b"x"]
        await call.code()
        await call.done_writing()


@stream_response
async def test_reading_a_failed_call_raises_its_status(peers: Peers, arity: str) -> None:
    async with peers.serve() as link:
        call = link.open(arity)
        for _ in range(2):
            with pytest.raises(peers.client.aio.AioRpcError, match="Method not found!"):
                await call.read()


@stream_response
async def test_messages_before_a_failure_are_delivered(peers: Peers, arity: str) -> None:
    async def fails_late(request: Any, context: Any) -> AsyncIterator[bytes]:
        await drain(request)
        yield b"1"
        yield b"2"
        await context.abort(peers.server.code.DATA_LOSS, "late")

    async with peers.serve(**{arity: fails_late}) as link:
        call = link.start(arity, b"x")
        received = []
        with pytest.raises(peers.client.aio.AioRpcError) as failed:
            async for message in call:
                received.append(message)
        assert received == [b"1", b"2"]
        assert failed.value.code() is peers.client.code.DATA_LOSS
        assert failed.value.details() == "late"


@pytest.mark.parametrize("arity", ["uu", "us"])
async def test_request_that_is_not_bytes_is_a_type_error(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        with pytest.raises(TypeError):
            await collect(link.method(arity)("text"))


@pytest.mark.only(client="aio", reason="the thread that sends the requests of an iterator has nobody to raise it for")
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_request_that_is_written_and_not_bytes_is_a_type_error(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity)()
        with pytest.raises(TypeError):
            await call.write("text")
        call.cancel()


async def test_many_calls_share_a_channel(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        calls = [link.uu(b"%d" % number) for number in range(1000)]
        assert await asyncio.gather(*map(collect, calls)) == [[b"%d" % number] for number in range(1000)]


@pytest.mark.parametrize("size", [1 << 14, (1 << 16) + 1, 3 << 20])
async def test_large_messages_pass_both_ways(peers: Peers, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"!"
    async with peers.serve(**ECHO) as link:
        assert await link.uu(message) == message
        assert await collect(link.ss([message, b"small", message])) == [message, b"small", message]


async def test_multi_callable_with_serializers(peers: Peers) -> None:
    serializers = {"request_deserializer": int, "response_serializer": b"<%d>".__mod__}

    async def double(request: int, context: Any) -> int:
        return request * 2

    async with peers.serve(serializers=serializers, uu=double) as link:
        method = link.method("uu", request_serializer=b"%d".__mod__, response_deserializer=bytes.decode)
        assert await method(21) == "<42>"


async def test_registered_methods(peers: Peers) -> None:
    async with peers.serve(uu=ECHO["uu"]) as link:
        method = link.channel.unary_unary("/behaviour.Peer/uu", _registered_method=True)
        assert await method(b"x") == b"x"
