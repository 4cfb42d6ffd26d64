"""Options over sockets: both APIs, and grpcio at the other end where that shows something."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

import pygrpc
from tests.behaviour.frames import message
from tests.behaviour.raw import raw_client, request_headers
from tests.tls.peers import (
    GRPC_SYNC,
    METHOD,
    PYGRPC_SYNC,
    Sync,
    call,
    failure,
    open_channel,
    ours,
    pairs,
    serving,
)


@pairs
async def test_user_agents_and_authority(client: Any, server: Any) -> None:
    options = [
        ("grpc.primary_user_agent", "first/1"),
        ("grpc.secondary_user_agent", "last/2"),
        ("grpc.default_authority", "authority.example"),
    ]
    async with serving(server, None) as (target, seen):
        assert await call(client, target, None, options) == b"ping"
    agent = dict(seen.metadata[0])["user-agent"]
    assert agent.startswith("first/1 grpc-python") and agent.endswith(" last/2")


@pairs
@pytest.mark.parametrize("end", ["client", "server"])
async def test_messages_of_any_size_may_be_allowed(client: Any, server: Any, end: str) -> None:
    large = b"x" * (5 << 20)
    options = [("grpc.max_receive_message_length", -1)]
    async with serving(server, None, options=options) as (target, _):
        if end == "client":
            assert await call(client, target, None, options, large) == large
        else:
            error = await failure(client, target, None, request=large)
            assert error.code() is client.StatusCode.RESOURCE_EXHAUSTED
            assert "CLIENT: Received message larger than max (5242880 vs. 4194304)" in error.details()


@pairs
async def test_metadata_beyond_the_limit_of_a_response(client: Any, server: Any) -> None:
    # With a limit of its own for the client, and a server that doesn't mind.
    wide = [("grpc.absolute_max_metadata_size", 100_000), ("grpc.max_metadata_size", 80_000)]
    async with serving(server, None, options=wide) as (target, seen):
        seen.trailing = [("key", "v" * 20_000)]
        assert await call(client, target, None, wide) == b"ping"
        error = await failure(client, target, None)
    assert error.code() is client.StatusCode.RESOURCE_EXHAUSTED
    # Either the client says so, or a server that has heard of its limit.
    assert "exceed" in error.details()


@ours
async def test_connections_beyond_the_limit_are_closed(api: Any) -> None:
    options = [("grpc.max_allowed_incoming_connections", 1)]
    async with serving(api, None, options=options) as (target, _):
        first = open_channel(api, target, None)
        try:
            await speak(api, first)
            error = await failure(api, target, None)
            assert error.code() is pygrpc.StatusCode.UNAVAILABLE
            await speak(api, first)
        finally:
            closing = first.close()
            if closing is not None:
                await closing
        # Who left makes room, as soon as the server has noticed.
        while True:
            try:
                assert await call(api, target, None) == b"ping"
                break
            except pygrpc.RpcError:
                await asyncio.sleep(0)


async def speak(api: Any, channel: Any) -> None:
    if isinstance(api, Sync):
        assert await asyncio.to_thread(channel.unary_unary(METHOD), b"ping", timeout=15) == b"ping"
    else:
        assert await channel.unary_unary(METHOD)(b"ping", timeout=15) == b"ping"


@ours
@pytest.mark.parametrize("timeout", [0, 50])
async def test_a_client_that_says_nothing_is_closed(api: Any, timeout: int) -> None:
    async with serving(api, None, options=[("grpc.server_handshake_timeout_ms", timeout)]) as (target, _):
        reader, writer = await asyncio.open_connection("localhost", int(target.rpartition(":")[2]))
        try:
            async with asyncio.timeout(20):
                await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@ours
async def test_ports_are_not_shared_unless_allowed(api: Any) -> None:
    async with serving(api, None, "127.0.0.1:0", options=[("grpc.so_reuseport", 0)]) as (target, _):
        port = target.rpartition(":")[2]
        with pytest.raises(RuntimeError, match="Failed to bind to address"):
            async with serving(api, None, f"127.0.0.1:{port}"):
                pass
    async with serving(api, None, "127.0.0.1:0") as (target, _):
        port = target.rpartition(":")[2]
        async with serving(api, None, f"127.0.0.1:{port}"):
            pass


@ours
async def test_one_stream_of_a_connection_at_a_time(api: Any) -> None:
    async with serving(api, None, options=[("grpc.max_concurrent_streams", 1)]) as (target, seen):
        channel = open_channel(api, target, None)
        try:
            async with asyncio.timeout(20):
                await asyncio.gather(*(speak(api, channel) for _ in range(5)))
        finally:
            closing = channel.close()
            if closing is not None:
                await closing
    assert len(seen.metadata) == 5


@pytest.mark.parametrize("server", [pygrpc, PYGRPC_SYNC, grpc, GRPC_SYNC], ids=["aio", "sync", "grpc-aio", "grpc-sync"])
@pytest.mark.parametrize(("level", "encoding"), [(0, None), (1, "gzip"), (2, "deflate"), (3, "deflate")])
async def test_the_level_of_a_server(server: Any, level: int, encoding: str | None) -> None:
    options = [("grpc.default_compression_level", level)]
    headers = request_headers(path=METHOD, grpc_accept_encoding="identity, deflate, gzip")
    async with (
        asyncio.timeout(20),
        serving(server, None, "127.0.0.1:0", options=options) as (target, _),
        raw_client(int(target.rpartition(":")[2])) as client,
    ):
        half = await client.answer(headers, message(b"x" * 1000))
    assert half.header("grpc-encoding") in (encoding, encoding or "identity")
