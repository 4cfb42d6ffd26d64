"""The errors that a call raises, and what a status carries from the server to the client."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.handlers import drain
from tests.behaviour.peers import ARITIES, Peers, Witness

each_arity = pytest.mark.parametrize("arity", ARITIES)

#: Every status but OK, which is no error.
CODES = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]

#: google.rpc.Status{code: 5, message: "gone"} on the wire.
DETAILS_BIN = b"\x08\x05\x12\x04gone"


def aborting(peers: Peers, code: str, details: str = "", trailing: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return handlers of all arities that abort with a status."""

    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        await context.abort(peers.server.code[code], details, trailing)
        return b""

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        await drain(request)
        await context.abort(peers.server.code[code], details, trailing)
        yield b""

    return {"uu": unary, "us": stream, "su": unary, "ss": stream}


@pytest.mark.parametrize("code", CODES)
async def test_code_arrives(peers: Peers, code: str) -> None:
    async with peers.serve(**aborting(peers, code, "why")) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code[code]
        assert error.details() == "why"


@each_arity
async def test_error_and_call_agree(peers: Peers, arity: str) -> None:
    trailing = (("reason", "none"), ("reason-bin", b"\x00\xff"))
    async with peers.serve(**aborting(peers, "NOT_FOUND", "gone", trailing)) as link:
        call = link.start(arity, b"x")
        error = await link.failure(call)
        assert await call.code() is error.code() is peers.client.code.NOT_FOUND
        assert await call.details() == error.details() == "gone"
        assert tuple(await call.trailing_metadata()) == tuple(error.trailing_metadata()) == trailing
        assert tuple(await call.initial_metadata()) == tuple(error.initial_metadata()) == ()
        assert (call.done(), call.cancelled()) == (True, False)


@pytest.mark.parametrize("arity", ["uu", "su"])
async def test_error_is_raised_again(peers: Peers, arity: str) -> None:
    async with peers.serve(**aborting(peers, "NOT_FOUND", "gone")) as link:
        call = link.start(arity, b"x")
        for _ in range(2):
            assert (await link.failure(call)).details() == "gone"


@pytest.mark.parametrize(
    "details",
    ["", " ", "100%", "%zz", "caf\u00e9", "\u65e5\u672c", "\U0001f600", "two\nlines", "tab\tbell\x07", "a" * 2000],
    ids=ascii,
)
async def test_details_arrive_unchanged(peers: Peers, details: str) -> None:
    async with peers.serve(**aborting(peers, "ABORTED", details)) as link:
        assert (await link.failure(link.uu(b""))).details() == details


async def test_status_details_metadata_arrives(peers: Peers) -> None:
    trailing = (("grpc-status-details-bin", DETAILS_BIN),)
    async with peers.serve(**aborting(peers, "NOT_FOUND", "gone", trailing)) as link:
        error = await link.failure(link.uu(b""))
        assert dict(error.trailing_metadata())["grpc-status-details-bin"] == DETAILS_BIN


async def test_error_has_the_metadata_that_came_before_it(peers: Peers) -> None:
    async def fails(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("started", "yes"),))
        await context.abort(peers.server.code.ABORTED, "late", (("ended", "yes"),))
        return b""

    async with peers.serve(uu=fails) as link:
        error = await link.failure(link.uu(b""))
        assert tuple(error.initial_metadata()) == (("started", "yes"),)
        assert tuple(error.trailing_metadata()) == (("ended", "yes"),)


async def test_error_is_an_rpc_error(peers: Peers) -> None:
    assert issubclass(peers.client.aio.AioRpcError, peers.client.root.RpcError)
    assert issubclass(peers.client.root.RpcError, Exception)


@pytest.mark.only(client="aio", reason="the synchronous API has no such classes")
async def test_misuse_is_a_base_error(peers: Peers) -> None:
    aio = peers.client.aio
    for error in (aio.UsageError, aio.InternalError, aio.AbortError):
        assert issubclass(error, aio.BaseError)
        assert not issubclass(error, peers.client.root.RpcError)
    assert issubclass(aio.BaseError, Exception)


async def test_error_tells_its_status_as_text(peers: Peers) -> None:
    async with peers.serve(**aborting(peers, "NOT_FOUND", "gone")) as link:
        error = await link.failure(link.uu(b""))
        for text in (str(error), repr(error)):
            assert text.startswith(f"<{type(error).__name__} of RPC that terminated with:\n")
            assert "\tstatus = StatusCode.NOT_FOUND\n" in text
            assert '\tdetails = "gone"\n' in text


@pytest.mark.only(client="pygrpc aio", reason="grpcio's synchronous errors hold a lock")
async def test_error_can_be_pickled(peers: Peers) -> None:
    trailing = (("reason", "none"), ("reason-bin", b"\x00\xff"))
    async with peers.serve(**aborting(peers, "NOT_FOUND", "gone", trailing)) as link:
        error = await link.failure(link.uu(b""))
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert copy.code() is peers.client.code.NOT_FOUND
        assert copy.details() == "gone"
        assert tuple(copy.trailing_metadata()) == trailing
        assert tuple(copy.initial_metadata()) == ()
        assert str(copy) == str(error)


@pytest.mark.only(client="aio", reason="the synchronous API has no such class")
async def test_error_can_be_made_by_an_application(peers: Peers) -> None:
    aio = peers.client.aio
    error = aio.AioRpcError(
        peers.client.code.ABORTED, aio.Metadata(("a", "1")), aio.Metadata(("b", "2")), "text", "debug"
    )
    assert error.code() is peers.client.code.ABORTED
    assert tuple(error.initial_metadata()) == (("a", "1"),)
    assert tuple(error.trailing_metadata()) == (("b", "2"),)
    assert (error.details(), error.debug_error_string()) == ("text", "debug")
    with pytest.raises(peers.client.root.RpcError):
        raise error


async def test_code_that_this_version_does_not_know_is_unknown(peers: Peers) -> None:
    async def sets(request: bytes, context: Any) -> bytes:
        context.set_code(99)
        context.set_details("from the future")
        return b""

    async with peers.serve(uu=sets) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.UNKNOWN
        assert error.details() == "from the future"


@each_arity
async def test_method_that_is_not_served(peers: Peers, arity: str) -> None:
    async with peers.serve() as link:
        error = await link.failure(link.open(arity))
        assert error.code() is peers.client.code.UNIMPLEMENTED
        assert error.details() == "Method not found!"


async def test_service_that_is_not_served(peers: Peers) -> None:
    async with peers.serve() as link:
        error = await link.failure(link.channel.unary_unary("/no.Such/Method")(b""))
        assert error.code() is peers.client.code.UNIMPLEMENTED
        assert error.details() == "Method not found!"


async def test_error_does_not_disturb_other_calls(peers: Peers) -> None:
    entered = Witness()
    fails = aborting(peers, "INTERNAL", "broken")

    async def echo_each(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        entered()
        async for request in requests:
            yield request

    async with peers.serve(uu=fails["uu"], ss=echo_each) as link:
        stream = link.ss()
        await stream.write(b"1")
        await entered
        await link.failure(link.uu(b""))
        assert await stream.read() == b"1"
        await stream.write(b"2")
        assert await stream.read() == b"2"
        stream.cancel()
