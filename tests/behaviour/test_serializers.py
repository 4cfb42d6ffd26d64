"""Serializers and deserializers that raise, in each of the four places.

grpcio's asyncio client swallows such an error (it sends an empty message, or hands the application None), and its
server takes it for one of the application's. The specification gives INTERNAL to a failure to parse (statuscodes.md),
and the texts are those of grpcio's synchronous API.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, ECHOED
from tests.behaviour.peers import ARITIES, Peers, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)
client_only = pytest.mark.only(client="pygrpc", reason="grpcio sends an empty message or returns None")
server_only = pytest.mark.only(server="pygrpc", reason="grpcio gives UNKNOWN, where statuscodes.md has INTERNAL")


def breaks(message: Any) -> Any:
    raise ValueError("cannot")


def breaks_at_x(message: bytes) -> bytes:
    if message == b"x":
        raise ValueError("cannot")
    return message


@client_only
@each_arity
async def test_request_serializer(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        method = link.method(arity, request_serializer=breaks)
        call = method(b"x") if arity[0] == "u" else method([b"x"])
        error = await link.failure(call)
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Exception serializing request!"


@client_only
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_request_serializer_of_a_write(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        call = link.method(arity, request_serializer=breaks_at_x)()
        await call.write(b"a")
        error = await link.failure(call.write(b"x"))
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Exception serializing request!"


@client_only
@each_arity
async def test_response_deserializer(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO) as link:
        method = link.method(arity, response_deserializer=breaks)
        call = method(b"x") if arity[0] == "u" else method([b"x"])
        error = await link.failure(call)
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Exception deserializing response!"
        assert await call.code() is peers.client.code.INTERNAL


@server_only
@each_arity
async def test_request_deserializer(peers: Peers, arity: str) -> None:
    async with peers.serve(serializers={"request_deserializer": breaks}, **ECHO) as link:
        error = await link.failure(await link.send(arity, b"x"))
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Exception deserializing request!"


@server_only
@each_arity
async def test_response_serializer(peers: Peers, arity: str) -> None:
    async with peers.serve(serializers={"response_serializer": breaks}, **ECHO) as link:
        call = await link.send(arity, b"x")
        if arity == "su":
            await call.done_writing()
        error = await link.failure(call)
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Failed to serialize response!"


@server_only
async def test_handler_that_returns_none_has_no_response_to_serialize(peers: Peers) -> None:
    async def forgets(request: bytes, context: Any) -> None:
        return None

    async with peers.serve(serializers={"response_serializer": bytes}, uu=forgets) as link:
        error = await link.failure(link.uu(b"x"))
        assert error.code() is peers.client.code.INTERNAL
        assert error.details() == "Failed to serialize response!"


@each_arity
async def test_other_calls_go_on(peers: Peers, arity: str) -> None:
    serializers = {"request_deserializer": breaks_at_x}
    async with peers.serve(serializers=serializers, **ECHO) as link:
        await link.failure(await link.send(arity, b"x"))
        assert await collect(link.start(arity, b"y")) == [b"y"] * len(ECHOED[arity])
