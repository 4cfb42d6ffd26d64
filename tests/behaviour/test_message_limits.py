"""Limits of the length of messages: which side refuses, with which status and text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, ECHOED
from tests.behaviour.peers import ARITIES, Link, Peers, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)

RECEIVE = "grpc.max_receive_message_length"
SEND = "grpc.max_send_message_length"

LIMITS = {
    ("server", RECEIVE): "SERVER: Received message larger than max (11 vs. 10)",
    ("server", SEND): "SERVER: Sent message larger than max (11 vs. 10)",
    ("channel", RECEIVE): "CLIENT: Received message larger than max (11 vs. 10)",
    ("channel", SEND): "CLIENT: Sent message larger than max (11 vs. 10)",
}

each_limit = pytest.mark.parametrize("limit", LIMITS, ids=[f"{side}-{name[9:13]}" for side, name in LIMITS])


@each_limit
@each_arity
async def test_message_at_the_limit_passes(peers: Peers, arity: str, limit: tuple[str, str]) -> None:
    side, option = limit
    settings: Any = {side: {"options": ((option, 10),)}}
    async with peers.serve(**ECHO, **settings) as link:
        assert await collect(link.start(arity, b"x" * 10)) == [b"x" * 10] * len(ECHOED[arity])


@each_limit
@pytest.mark.parametrize("arity", ["uu", "us"])
async def test_message_over_the_limit_is_refused(peers: Peers, arity: str, limit: tuple[str, str]) -> None:
    await check_refusal(peers, arity, limit)


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit != ("channel", SEND)], ids=str)
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_streamed_message_over_the_limit_is_refused(peers: Peers, arity: str, limit: tuple[str, str]) -> None:
    await check_refusal(peers, arity, limit)


@pytest.mark.only(client="pygrpc", reason="grpcio says INTERNAL if its failed write is noticed before the status")
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_streamed_message_over_the_clients_own_limit_is_refused(peers: Peers, arity: str) -> None:
    await check_refusal(peers, arity, ("channel", SEND))


async def check_refusal(peers: Peers, arity: str, limit: tuple[str, str]) -> None:
    side, option = limit
    settings: Any = {side: {"options": ((option, 10),)}}
    async with peers.serve(**ECHO, **settings) as link:
        error = await refused(link, arity, ends_requests=limit != ("server", RECEIVE))
        assert error.code() is peers.client.code.RESOURCE_EXHAUSTED
        # Where it is the client that refuses, grpcio may put words of its own around the text.
        assert LIMITS[limit] in error.details()
        assert await link.uu(b"next") == b"next"


async def refused(link: Link, arity: str, *, ends_requests: bool) -> Any:
    """Send a message of 11 bytes and return the error of the call, wherever it shows."""
    try:
        call = await link.send(arity, b"x" * 11)
        if arity == "su" and ends_requests:
            await call.done_writing()
    except link.peers.client.aio.AioRpcError as error:
        return error
    return await link.failure(call)


async def test_four_mebibytes_are_received_by_default(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        assert await link.method("uu", response_deserializer=len)(bytes(4 << 20)) == 4 << 20


async def test_more_is_refused_by_default(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        error = await link.failure(link.uu(bytes((4 << 20) + 1)))
        assert error.code() is peers.client.code.RESOURCE_EXHAUSTED
        assert error.details() == "SERVER: Received message larger than max (4194305 vs. 4194304)"


async def test_minus_one_is_no_limit(peers: Peers) -> None:
    options = ((RECEIVE, -1), (SEND, -1))
    settings: Any = {"server": {"options": options}, "channel": {"options": options}}
    async with peers.serve(**ECHO, **settings) as link:
        assert await link.method("uu", response_deserializer=len)(bytes(9 << 20)) == 9 << 20


async def test_zero_allows_only_empty_messages(peers: Peers) -> None:
    async with peers.serve(**ECHO, server={"options": ((RECEIVE, 0),)}) as link:
        assert await link.uu(b"") == b""
        assert (await link.failure(link.uu(b"x"))).details() == "SERVER: Received message larger than max (1 vs. 0)"


async def test_messages_before_the_large_one_are_delivered(peers: Peers) -> None:
    async with peers.serve(**ECHO, channel={"options": ((RECEIVE, 10),)}) as link:
        call = link.ss()
        await call.write(b"small")
        assert await call.read() == b"small"
        await call.write(b"x" * 11)
        assert (await link.failure(call.read())).code() is peers.client.code.RESOURCE_EXHAUSTED


async def test_messages_that_came_with_the_large_one_are_delivered(peers: Peers) -> None:
    async def sends(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in (b"1", b"2", b"x" * 11, b"3"):
            yield message

    async with peers.serve(us=sends, channel={"options": ((RECEIVE, 10),)}) as link:
        call = link.us(b"")
        assert await call.read() == b"1"
        assert await call.read() == b"2"
        assert (await link.failure(call.read())).code() is peers.client.code.RESOURCE_EXHAUSTED
        assert await call.code() is peers.client.code.RESOURCE_EXHAUSTED


async def test_what_a_compressed_request_expands_to_is_limited(peers: Peers) -> None:
    async with peers.serve(**ECHO, server={"options": ((RECEIVE, 1000),)}) as link:
        error = await link.failure(link.uu(bytes(100_000), compression=peers.client.root.Compression.Gzip))
        assert error.code() is peers.client.code.RESOURCE_EXHAUSTED
        assert "larger than max" in error.details()


async def test_what_a_compressed_response_expands_to_is_limited(peers: Peers) -> None:
    async def large(request: bytes, context: Any) -> bytes:
        return bytes(100_000)

    settings: Any = {
        "server": {"compression": peers.server.root.Compression.Deflate},
        "channel": {"options": ((RECEIVE, 1000),)},
    }
    async with peers.serve(uu=large, **settings) as link:
        error = await link.failure(link.uu(b""))
        assert error.code() is peers.client.code.RESOURCE_EXHAUSTED
        assert "larger than max" in error.details()
