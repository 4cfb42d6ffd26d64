"""The forms that a method's handler may have, and what happens when it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, ECHOED, drain
from tests.behaviour.peers import ARITIES, Peers, Witness, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)


def plain_echo(request: bytes, context: Any) -> bytes:
    return request


def plain_repeat(request: bytes, context: Any) -> Iterator[bytes]:
    for _ in range(3):
        yield request


def plain_join(requests: Iterator[bytes], context: Any) -> bytes:
    return b",".join(requests)


def plain_echo_each(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield from requests


PLAIN = {"uu": plain_echo, "us": plain_repeat, "su": plain_join, "ss": plain_echo_each}


@each_arity
async def test_plain_functions_and_generators_serve(peers: Peers, arity: str) -> None:
    async with peers.serve(**PLAIN) as link:
        assert await collect(link.start(arity, b"x")) == ECHOED[arity]


async def test_plain_stream_handler_answers_in_turn(peers: Peers) -> None:
    async with peers.serve(**PLAIN) as link:
        call = link.ss()
        for message in (b"1", b"2", b"3"):
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert await call.read() is peers.client.aio.EOF


@each_arity
async def test_plain_handlers_do_not_run_on_the_loop_thread(peers: Peers, arity: str) -> None:
    seen = Witness()
    loop = asyncio.get_running_loop()

    def unary(request: Any, context: Any) -> bytes:
        assert b"".join(request) == b"x" if arity[0] == "s" else request == b"x"
        loop.call_soon_threadsafe(seen, threading.current_thread())
        return b""

    def stream(request: Any, context: Any) -> Iterator[bytes]:
        yield unary(request, context)

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        assert await collect(link.start(arity, b"x")) == [b""]
        assert await seen is not threading.current_thread()


async def test_plain_function_may_return_an_iterator(peers: Peers) -> None:
    def listing(request: bytes, context: Any) -> Iterator[bytes]:
        return iter([b"1", b"2"])

    async with peers.serve(us=listing) as link:
        assert await collect(link.us(b"")) == [b"1", b"2"]


@pytest.mark.parametrize("arity", ["uu", "su"])
async def test_plain_function_can_abort(peers: Peers, arity: str) -> None:
    def aborts(request: Any, context: Any) -> bytes:
        context.set_trailing_metadata((("reason", "plain"),))
        context.abort(peers.server.code.ABORTED, "by a thread")
        return b"not reached"

    async with peers.serve(**{arity: aborts}) as link:
        error = await link.failure(link.start(arity, b"x"))
        assert error.code() is peers.client.code.ABORTED
        assert error.details() == "by a thread"
        assert tuple(error.trailing_metadata()) == (("reason", "plain"),)


async def test_plain_generator_can_abort(peers: Peers) -> None:
    def aborts(request: bytes, context: Any) -> Iterator[bytes]:
        context.abort(peers.server.code.ABORTED, "by a thread")
        yield b"not reached"

    async with peers.serve(us=aborts) as link:
        error = await link.failure(link.us(b""))
        assert error.code() is peers.client.code.ABORTED
        assert error.details() == "by a thread"


@pytest.mark.only(server="pygrpc", reason="grpcio can lose the status if the message before it is still being sent")
async def test_plain_generator_can_abort_after_a_message(peers: Peers) -> None:
    def aborts(request: bytes, context: Any) -> Iterator[bytes]:
        yield b"1"
        context.abort(peers.server.code.ABORTED, "by a thread")

    async with peers.serve(us=aborts) as link:
        call = link.us(b"")
        assert await call.read() == b"1"
        assert (await link.failure(call.read())).details() == "by a thread"


async def test_plain_function_has_the_context(peers: Peers) -> None:
    def uses(request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("trailing", "2"),))
        context.set_details("fine")
        metadata = dict(context.invocation_metadata())
        return f"{metadata['key']} {context.peer()[:5]} {0 < context.time_remaining() < 61}".encode()

    async with peers.serve(uu=uses) as link:
        call = link.uu(b"", metadata=(("key", "value"),), timeout=60)
        assert await call == b"value ipv4: True"
        assert tuple(await call.initial_metadata()) == (("initial", "1"),)
        assert tuple(await call.trailing_metadata()) == (("trailing", "2"),)


async def test_plain_function_that_raises(peers: Peers) -> None:
    def breaks(request: bytes, context: Any) -> bytes:
        raise ValueError("boom")

    async with peers.serve(uu=breaks) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.UNKNOWN
        assert error.details() == peers.server.exception_text(ValueError("boom"))


async def test_plain_function_calls_back(peers: Peers) -> None:
    called = Witness()
    loop = asyncio.get_running_loop()

    def registers(request: bytes, context: Any) -> bytes:
        context.add_callback(lambda: loop.call_soon_threadsafe(called, "called"))
        return b""

    async with peers.serve(uu=registers) as link:
        await link.uu(b"")
        assert await called == "called"


async def test_handler_writes_without_yielding(peers: Peers) -> None:
    async def writes(request: bytes, context: Any) -> None:
        await context.write(request + b"1")
        await context.write(request + b"2")

    async with peers.serve(us=writes) as link:
        assert await collect(link.us(b"x")) == [b"x1", b"x2"]


async def test_handler_reads_and_writes_by_turns(peers: Peers) -> None:
    ended = Witness()

    async def turns(requests: Any, context: Any) -> None:
        while (request := await context.read()) is not peers.server.aio.EOF:
            await context.write(request.upper())
        ended(await context.read() is peers.server.aio.EOF)

    async with peers.serve(ss=turns) as link:
        call = link.ss()
        for message in (b"a", b"b"):
            await call.write(message)
            assert await call.read() == message.upper()
        await call.done_writing()
        assert await call.read() is peers.client.aio.EOF
        assert await ended


async def test_handler_reads_then_returns(peers: Peers) -> None:
    async def reads(requests: Any, context: Any) -> bytes:
        total = b""
        while (request := await context.read()) is not peers.server.aio.EOF:
            total += request
        return total

    async with peers.serve(su=reads) as link:
        assert await link.su([b"a", b"b"]) == b"ab"


@pytest.mark.parametrize("arity", ["us", "ss"])
async def test_what_a_stream_handler_returns_is_not_sent(peers: Peers, arity: str) -> None:
    async def returns(request: Any, context: Any) -> bytes:
        await drain(request)
        await context.write(b"written")
        return b"returned"

    async with peers.serve(**{arity: returns}) as link:
        assert await collect(link.start(arity, b"x")) == [b"written"]


async def test_stream_handler_may_send_nothing(peers: Peers) -> None:
    async def nothing(request: Any, context: Any) -> None:
        return None

    async with peers.serve(us=nothing, ss=nothing) as link:
        assert await collect(link.us(b"x")) == []
        assert await collect(link.ss([])) == []


async def test_handler_need_not_read_the_requests(peers: Peers) -> None:
    async def hasty(requests: Any, context: Any) -> bytes:
        return b"done"

    async with peers.serve(su=hasty) as link:
        call = link.su()
        assert await call == b"done"
        assert await call.code() is peers.client.code.OK


async def test_handlers_may_be_methods(peers: Peers) -> None:
    class Servicer:
        async def unary(self, request: bytes, context: Any) -> bytes:
            return b"unary " + request

        async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield b"stream " + request

    servicer = Servicer()
    async with peers.serve(uu=servicer.unary, us=servicer.stream) as link:
        assert await link.uu(b"1") == b"unary 1"
        assert await collect(link.us(b"2")) == [b"stream 2"]


class OwnError(Exception):
    """An application's error, whose text shows in the status as the class does."""


@pytest.mark.parametrize(
    ("error_type", "arguments"),
    [(ValueError, ["boom"]), (KeyError, ["k"]), (OwnError, ["two\nlines"]), (TimeoutError, [])],
)
@each_arity
async def test_exception_of_a_handler_is_unknown(peers: Peers, arity: str, error_type: Any, arguments: Any) -> None:
    error = error_type(*arguments)

    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        raise error

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        await drain(request)
        raise error
        yield b""

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        failed = await link.failure(link.start(arity, b"x"))
        assert failed.code() is peers.client.code.UNKNOWN
        assert failed.details() == peers.server.exception_text(error, streaming=arity[1] == "s")


async def test_exception_after_messages_comes_after_them(peers: Peers) -> None:
    async def breaks(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        raise ValueError("boom")

    async with peers.serve(us=breaks) as link:
        call = link.us(b"")
        assert await call.read() == b"1"
        error = await link.failure(call.read())
        assert error.details() == peers.server.exception_text(ValueError("boom"), streaming=True)


async def test_exception_keeps_the_code_that_was_set(peers: Peers) -> None:
    async def breaks(request: bytes, context: Any) -> bytes:
        context.set_code(peers.server.code.DATA_LOSS)
        context.set_trailing_metadata((("reason", "known"),))
        raise ValueError("boom")

    async with peers.serve(uu=breaks) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.DATA_LOSS
        assert error.details() == peers.server.exception_text(ValueError("boom"))
        assert tuple(error.trailing_metadata()) == (("reason", "known"),)


async def test_server_goes_on_after_an_exception(peers: Peers) -> None:
    async def breaks(request: bytes, context: Any) -> bytes:
        raise ValueError("boom")

    async with peers.serve(uu=breaks, us=ECHO["us"]) as link:
        await link.failure(link.uu(b""))
        assert await collect(link.us(b"x")) == ECHOED["us"]


async def test_generic_handler_that_raises_is_unknown(peers: Peers) -> None:
    class Broken(peers.server.root.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            raise ValueError("no idea")

    async with peers.serve(handlers=[Broken()]) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.UNKNOWN
        # Only the asyncio API says what was raised there.
        assert ("no idea" if peers.server.api == "aio" else "Error in service handler!") in error.details()


async def test_generic_handler_sees_the_call(peers: Peers) -> None:
    seen = Witness()

    class Watching(peers.server.root.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            seen((handler_call_details.method, dict(handler_call_details.invocation_metadata)["key"]))
            return None

    async with peers.serve(handlers=[Watching()], uu=ECHO["uu"]) as link:
        assert await link.uu(b"x", metadata=(("key", "value"),)) == b"x"
        assert await seen == ("/behaviour.Peer/uu", "value")


async def test_first_generic_handler_wins(peers: Peers) -> None:
    async def first(request: bytes, context: Any) -> bytes:
        return b"first"

    async with peers.serve(handlers=[peers.handlers(uu=first)], uu=ECHO["uu"], us=ECHO["us"]) as link:
        assert await link.uu(b"x") == b"first"
        assert await collect(link.us(b"x")) == ECHOED["us"]


async def test_registered_handlers_serve(peers: Peers) -> None:
    server = peers.make_server()
    server.add_registered_method_handlers("behaviour.Peer", {"uu": peers.server.handler("uu", ECHO["uu"])})
    async with peers.run(server) as link:
        assert await link.uu(b"x") == b"x"
        assert (await link.failure(link.us(b"x"))).code() is peers.client.code.UNIMPLEMENTED


async def test_registered_handler_wins_over_a_generic_one(peers: Peers) -> None:
    async def registered(request: bytes, context: Any) -> bytes:
        return b"registered"

    server = peers.make_server(handlers=[peers.handlers(uu=ECHO["uu"])])
    server.add_registered_method_handlers("behaviour.Peer", {"uu": peers.server.handler("uu", registered)})
    async with peers.run(server) as link:
        assert await link.uu(b"x") == b"registered"
