"""The servicer context: what a handler learns from it and what it can do to the call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck, drain
from tests.behaviour.peers import ARITIES, Peers, Witness, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)


def with_context(act: Callable[[Any], Any]) -> Any:
    """Return a unary handler that awaits `act(context)` and answers with nothing."""

    async def handler(request: bytes, context: Any) -> bytes:
        await act(context)
        return b""

    return handler


@each_arity
async def test_abort_ends_the_handler(peers: Peers, arity: str) -> None:
    ended = Witness()

    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        try:
            await context.abort(peers.server.code.ABORTED, "enough")
        except BaseException as error:
            ended(error)
            raise
        return b"not reached"

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield await unary(request, context)

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        error = await link.failure(link.start(arity, b"x"))
        assert error.code() is peers.client.code.ABORTED
        assert error.details() == "enough"
        assert isinstance(await ended, peers.server.aio.AbortError)


async def test_abort_takes_trailing_metadata(peers: Peers) -> None:
    trailing = (("a", "1"), ("a", "2"), ("b-bin", b"\x00"))

    async def act(context: Any) -> None:
        context.set_trailing_metadata((("replaced", "yes"),))
        await context.abort(peers.server.code.ABORTED, "enough", trailing)

    async with peers.serve(uu=with_context(act)) as link:
        assert tuple((await link.failure(link.uu(b""))).trailing_metadata()) == trailing


@pytest.mark.only(server="aio", reason="abort has no default for the details in the synchronous API")
async def test_abort_keeps_what_was_set(peers: Peers) -> None:
    async def act(context: Any) -> None:
        context.set_code(peers.server.code.NOT_FOUND)
        context.set_details("set before")
        context.set_trailing_metadata((("kept", "yes"),))
        await context.abort(peers.server.code.ABORTED)

    async with peers.serve(uu=with_context(act)) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.ABORTED
        assert error.details() == "set before"
        assert tuple(error.trailing_metadata()) == (("kept", "yes"),)


@pytest.mark.only(server="aio", reason="the synchronous API takes a number for a mistake, which is UNKNOWN")
async def test_abort_takes_a_number(peers: Peers) -> None:
    async def act(context: Any) -> None:
        await context.abort(5, "by number")

    async with peers.serve(uu=with_context(act)) as link:
        assert (await link.failure(link.uu(b""))).code() is peers.client.code.NOT_FOUND


@pytest.mark.only(server="aio", reason="in the synchronous API the call goes on until the handler has ended")
async def test_abort_twice_is_a_usage_error(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        try:
            await context.abort(peers.server.code.ABORTED, "first")
        except peers.server.aio.AbortError:
            try:
                await context.abort(peers.server.code.NOT_FOUND, "second")
            except peers.server.aio.UsageError as error:
                seen(error)
            raise

    async with peers.serve(uu=with_context(act)) as link:
        error = await link.failure(link.uu(b""))
        assert (error.code(), error.details()) == (peers.client.code.ABORTED, "first")
        assert str(await seen) == "Abort already called!"


async def test_abort_that_is_suppressed_still_counts(peers: Peers) -> None:
    async def act(context: Any) -> None:
        with pytest.raises(peers.server.aio.AbortError):
            await context.abort(peers.server.code.ABORTED, "enough")

    async with peers.serve(uu=with_context(act)) as link:
        assert (await link.failure(link.uu(b""))).details() == "enough"


@pytest.mark.only(server="aio", reason="in the synchronous API the call goes on until the handler has ended")
async def test_write_after_abort_is_refused(peers: Peers) -> None:
    seen = Witness()

    async def stubborn(request: bytes, context: Any) -> None:
        try:
            await context.abort(peers.server.code.ABORTED, "enough")
        except peers.server.aio.AbortError:
            try:
                await context.write(b"more")
            except Exception as error:
                seen(error)
            raise

    async with peers.serve(us=stubborn) as link:
        assert (await link.failure(link.us(b""))).details() == "enough"
        assert isinstance(await seen, (peers.server.aio.AbortError, peers.server.aio.UsageError))


@pytest.mark.only(server="pygrpc", reason="grpcio's server sends no status then, and the client hangs")
async def test_abort_with_ok_is_an_error_of_the_handler(peers: Peers) -> None:
    async def act(context: Any) -> None:
        await context.abort(peers.server.code.OK, "fine?")

    async with peers.serve(uu=with_context(act)) as link:
        assert (await link.failure(link.uu(b""))).code() is peers.client.code.UNKNOWN


async def test_abort_with_status(peers: Peers) -> None:
    status = SimpleNamespace(code=peers.server.code.OUT_OF_RANGE, details="far", trailing_metadata=(("a", "1"),))

    async def act(context: Any) -> None:
        await context.abort_with_status(status)

    async with peers.serve(uu=with_context(act)) as link:
        error = await link.failure(link.uu(b""))
        assert (error.code(), error.details()) == (peers.client.code.OUT_OF_RANGE, "far")
        assert tuple(error.trailing_metadata()) == (("a", "1"),)


@each_arity
async def test_code_that_is_set_ends_the_call(peers: Peers, arity: str) -> None:
    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        context.set_code(peers.server.code.DATA_LOSS)
        context.set_details("lost")
        return b"ignored"

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        await drain(request)
        yield b"1"
        context.set_code(peers.server.code.DATA_LOSS)
        context.set_details("lost")

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        error = await link.failure(link.start(arity, b"x"))
        assert (error.code(), error.details()) == (peers.client.code.DATA_LOSS, "lost")


@pytest.mark.only(server="aio", reason="the synchronous API takes a number for a mistake, which is UNKNOWN")
async def test_code_may_be_set_as_a_number(peers: Peers) -> None:
    async def act(context: Any) -> None:
        context.set_code(7)

    async with peers.serve(uu=with_context(act)) as link:
        assert (await link.failure(link.uu(b""))).code() is peers.client.code.PERMISSION_DENIED


async def test_set_values_can_be_read_back(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        before = (context.code(), context.details(), tuple(context.trailing_metadata()))
        context.set_code(peers.server.code.OK)
        context.set_details("text")
        context.set_trailing_metadata((("a", "1"),))
        after = (context.code(), context.details(), tuple(context.trailing_metadata()))
        seen((before, after))

    async with peers.serve(uu=with_context(act)) as link:
        await link.uu(b"")
        before, after = await seen
        assert before == (None, "", ())
        assert after == (peers.server.code.OK, "text", (("a", "1"),))


async def test_trailing_metadata_can_be_replaced(peers: Peers) -> None:
    async def act(context: Any) -> None:
        context.set_trailing_metadata((("a", "1"),))
        context.set_trailing_metadata((("b", "2"),))

    async with peers.serve(uu=with_context(act)) as link:
        call = link.uu(b"")
        await call
        assert tuple(await call.trailing_metadata()) == (("b", "2"),)


async def test_initial_metadata_is_sent_once(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        await context.send_initial_metadata((("a", "1"),))
        try:
            await context.send_initial_metadata((("b", "2"),))
        except peers.server.aio.UsageError as error:
            seen(error)

    async with peers.serve(uu=with_context(act)) as link:
        call = link.uu(b"")
        await call
        assert tuple(await call.initial_metadata()) == (("a", "1"),)
        assert re.search("already sent|no longer allowed", str(await seen))


async def test_initial_metadata_after_a_message_is_a_usage_error(peers: Peers) -> None:
    seen = Witness()

    async def late(request: bytes, context: Any) -> None:
        await context.write(b"1")
        try:
            await context.send_initial_metadata((("a", "1"),))
        except peers.server.aio.UsageError as error:
            seen(error)

    async with peers.serve(us=late) as link:
        call = link.us(b"")
        assert await collect(call) == [b"1"]
        assert tuple(await call.initial_metadata()) == ()
        assert re.search("already sent|no longer allowed", str(await seen))


async def test_time_remaining_without_a_deadline(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen(context.time_remaining())

    async with peers.serve(uu=with_context(act)) as link:
        await link.uu(b"")
        assert await seen is None


async def test_time_remaining_is_what_the_client_gave(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen(context.time_remaining())

    async with peers.serve(uu=with_context(act)) as link:
        await link.uu(b"", timeout=300)
        # The client may round the time up when it encodes it, by less than a second at this length.
        assert 200 < await seen <= 301


async def test_context_is_not_done_while_the_handler_runs(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen((context.done(), context.cancelled()))

    async with peers.serve(uu=with_context(act)) as link:
        await link.uu(b"")
        assert await seen == (False, False)


@each_arity
async def test_context_calls_back_when_done(peers: Peers, arity: str) -> None:
    called = Witness()

    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        context.add_done_callback(lambda done: called((done is context, done.done(), done.cancelled())))
        return b"x"

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield await unary(request, context)

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        await collect(link.start(arity, b"x"))
        assert await called == (True, True, False)


async def test_context_calls_back_after_an_exception(peers: Peers) -> None:
    called = Witness()

    async def breaks(request: bytes, context: Any) -> bytes:
        context.add_done_callback(called)
        raise ValueError("boom")

    async with peers.serve(uu=breaks) as link:
        await link.failure(link.uu(b""))
        assert (await called).done()


@pytest.mark.only(server="aio", reason="a synchronous server goes on with the other callbacks")
async def test_callback_that_raises_harms_no_call_and_ends_the_callbacks(peers: Peers) -> None:
    called = []

    async def handler(request: bytes, context: Any) -> bytes:
        context.add_done_callback(lambda _: called.append("before"))
        context.add_done_callback(lambda _: 1 / 0)
        context.add_done_callback(lambda _: called.append("behind"))
        return request

    async with peers.serve(uu=handler) as link:
        assert await link.uu(b"1") == b"1"
        assert await link.uu(b"2") == b"2"
        await link.server.stop(None)
    assert called == ["before"] * 2


@pytest.mark.parametrize(
    ("address", "peer"),
    [("127.0.0.1:0", "ipv4:127.0.0.1:"), ("[::1]:0", "ipv6:%5B::1%5D:")],
)
async def test_peer_is_the_address_of_the_client(peers: Peers, address: str, peer: str) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen(context.peer())

    async with peers.serve(uu=with_context(act), address=address) as link:
        await link.uu(b"")
        text = await seen
        assert text.startswith(peer)
        assert text.removeprefix(peer).isdecimal()


async def test_peer_of_a_unix_socket(peers: Peers, tmp_path: Any) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen(context.peer())

    async with peers.serve(uu=with_context(act), address=f"unix:{tmp_path}/socket") as link:
        await link.uu(b"")
        # The socket of a client has no name.
        assert await seen == "unix:"


async def test_client_is_known_by_its_certificate_only(peers: Peers) -> None:
    seen = Witness()

    async def act(context: Any) -> None:
        seen((context.peer_identities(), context.peer_identity_key()))

    async with peers.serve(uu=with_context(act)) as link:
        await link.uu(b"")
        assert await seen == peers.transport.identities


async def test_context_of_calls_are_their_own(peers: Peers) -> None:
    async def tag(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("tag", request.decode()),))
        return request

    async with peers.serve(uu=tag) as link:
        calls = [link.uu(b"%d" % number) for number in range(10)]
        await asyncio.gather(*map(collect, calls))
        tags = [dict(await call.trailing_metadata())["tag"] for call in calls]
        assert tags == [str(number) for number in range(10)]


async def test_details_without_an_error_code_stay_with_ok(peers: Peers) -> None:
    async def act(context: Any) -> None:
        context.set_details("all is well")

    async with peers.serve(uu=with_context(act)) as link:
        call = link.uu(b"")
        assert await call == b""
        assert await call.code() is peers.client.code.OK


async def test_abort_leaves_the_connection_alone(peers: Peers) -> None:
    stuck = Stuck()

    async def act(context: Any) -> None:
        await context.abort(peers.server.code.ABORTED, "enough")

    async with peers.serve(uu=with_context(act), ss=stuck.all["ss"], us=ECHO["us"]) as link:
        waiting = link.ss()
        await stuck.started
        await link.failure(link.uu(b""))
        assert not waiting.done()
        assert await collect(link.us(b"x")) == [b"x", b"x", b"x"]
        waiting.cancel()
