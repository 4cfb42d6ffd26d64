"""Compression: which messages go out compressed, by what, and that they arrive either way.

The relay tells what is on the wire: the grpc-encoding header and the compressed flag of each message.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, ECHOED
from tests.behaviour.peers import ARITIES, Peers, Witness, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)
each_algorithm = pytest.mark.parametrize("algorithm", ["Gzip", "Deflate"])

#: Large and repetitive, so that compressing it pays for any algorithm.
TEXT = b"the same words again " * 200

#: "deflate" is the zlib format (compression.md), never the raw one.
DECODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@each_algorithm
@each_arity
async def test_call_compresses_requests(peers: Peers, arity: str, algorithm: str) -> None:
    compression = peers.client.root.Compression[algorithm]
    async with peers.serve(**ECHO, relay=True) as link:
        assert await collect(link.start(arity, TEXT, compression=compression)) == [TEXT] * len(ECHOED[arity])
        request = link.wire.request
        assert request.header("grpc-encoding") == algorithm.lower()
        assert [(flag, DECODERS[algorithm.lower()](data)) for flag, data in request.messages] == [(1, TEXT)]


@each_algorithm
@each_arity
async def test_channel_compresses_requests(peers: Peers, arity: str, algorithm: str) -> None:
    channel = {"compression": peers.client.root.Compression[algorithm]}
    async with peers.serve(**ECHO, relay=True, channel=channel) as link:
        assert await collect(link.start(arity, TEXT)) == [TEXT] * len(ECHOED[arity])
        assert link.wire.request.header("grpc-encoding") == algorithm.lower()
        assert link.wire.request.flags == [1]


@each_algorithm
async def test_channel_option_compresses_requests(peers: Peers, algorithm: str) -> None:
    channel = {"options": (("grpc.default_compression_algorithm", int(peers.client.root.Compression[algorithm])),)}
    async with peers.serve(**ECHO, relay=True, channel=channel) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.request.header("grpc-encoding") == algorithm.lower()
        assert link.wire.request.flags == [1]


async def test_call_overrules_the_channel(peers: Peers) -> None:
    compression = peers.client.root.Compression
    async with peers.serve(**ECHO, relay=True, channel={"compression": compression.Gzip}) as link:
        assert await link.uu(TEXT, compression=compression.Deflate) == TEXT
        assert link.wire.request.header("grpc-encoding") == "deflate"


@pytest.mark.only(client="pygrpc", reason="grpcio takes NoCompression for an argument that was not given")
async def test_call_can_do_without_the_compression_of_the_channel(peers: Peers) -> None:
    compression = peers.client.root.Compression
    async with peers.serve(**ECHO, relay=True, channel={"compression": compression.Gzip}) as link:
        assert await link.uu(TEXT, compression=compression.NoCompression) == TEXT
        assert link.wire.request.flags == [0]


@each_arity
async def test_nothing_is_compressed_unasked(peers: Peers, arity: str) -> None:
    async with peers.serve(**ECHO, relay=True) as link:
        await collect(link.start(arity, TEXT))
        assert link.wire.request.flags == [0]
        assert set(link.wire.response.flags) == {0}
        assert link.wire.request.header("grpc-encoding") in (None, "identity")
        assert link.wire.response.header("grpc-encoding") in (None, "identity")


async def test_both_sides_say_what_they_accept(peers: Peers) -> None:
    async with peers.serve(**ECHO, relay=True) as link:
        await link.uu(TEXT)
        for half in (link.wire.request, link.wire.response):
            accepted = half.header("grpc-accept-encoding")
            assert accepted is not None
            assert {"identity", "gzip", "deflate"} <= {name.strip() for name in accepted.split(",")}


@each_algorithm
@each_arity
async def test_server_compresses_responses(peers: Peers, arity: str, algorithm: str) -> None:
    server = {"compression": peers.server.root.Compression[algorithm]}
    async with peers.serve(**ECHO, relay=True, server=server) as link:
        assert await collect(link.start(arity, TEXT)) == [TEXT] * len(ECHOED[arity])
        response = link.wire.response
        assert response.header("grpc-encoding") == algorithm.lower()
        assert {(flag, DECODERS[algorithm.lower()](data)) for flag, data in response.messages} == {(1, TEXT)}


async def test_directions_are_independent(peers: Peers) -> None:
    server = {"compression": peers.server.root.Compression.Deflate}
    async with peers.serve(**ECHO, relay=True, server=server) as link:
        assert await link.uu(TEXT, compression=peers.client.root.Compression.Gzip) == TEXT
        assert link.wire.request.header("grpc-encoding") == "gzip"
        assert link.wire.response.header("grpc-encoding") == "deflate"


@each_algorithm
async def test_handler_sets_the_compression_of_its_stream(peers: Peers, algorithm: str) -> None:
    async def handler(request: bytes, context: Any) -> None:
        context.set_compression(peers.server.root.Compression[algorithm])
        await context.write(request)

    async with peers.serve(us=handler, relay=True) as link:
        assert await collect(link.us(TEXT)) == [TEXT]
        assert link.wire.response.header("grpc-encoding") == algorithm.lower()
        assert link.wire.response.flags == [1]


@each_algorithm
async def test_handler_sets_the_compression_of_its_response(peers: Peers, algorithm: str) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        context.set_compression(peers.server.root.Compression[algorithm])
        await context.send_initial_metadata(())
        return request

    async with peers.serve(uu=handler, relay=True) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.response.header("grpc-encoding") == algorithm.lower()
        assert link.wire.response.flags == [1]


@pytest.mark.only(server="pygrpc", reason="grpcio forgets it unless the handler sends the initial metadata by itself")
async def test_handler_sets_the_compression_without_sending_metadata(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        context.set_compression(peers.server.root.Compression.Gzip)
        return request

    async with peers.serve(uu=handler, relay=True) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.response.header("grpc-encoding") == "gzip"
        assert link.wire.response.flags == [1]


async def test_handler_may_compress_although_the_server_does_not(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> None:
        context.set_compression(peers.server.root.Compression.Gzip)
        for _ in range(2):
            await context.write(request)

    async with peers.serve(us=handler, uu=ECHO["uu"], relay=True) as link:
        await collect(link.us(TEXT))
        await link.uu(TEXT)
        assert [half.flags for half in link.wire.responses] == [[1, 1], [0]]


@pytest.mark.only(server="aio", reason="the synchronous API ignores it then")
async def test_compression_cannot_be_set_after_the_metadata(peers: Peers) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata(())
        try:
            context.set_compression(peers.server.root.Compression.Gzip)
        except RuntimeError as error:
            seen(error)
        return request

    async with peers.serve(uu=handler) as link:
        await link.uu(TEXT)
        assert "before sending initial metadata" in str(await seen)


async def test_next_message_can_go_out_uncompressed(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> None:
        await context.write(request)
        context.disable_next_message_compression()
        await context.write(request)
        await context.write(request)

    async with peers.serve(us=handler, relay=True, server={"compression": peers.server.root.Compression.Gzip}) as link:
        assert await collect(link.us(TEXT)) == [TEXT] * 3
        assert link.wire.response.flags == [1, 0, 1]


async def test_only_response_can_go_out_uncompressed(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        context.disable_next_message_compression()
        return request

    async with peers.serve(uu=handler, relay=True, server={"compression": peers.server.root.Compression.Gzip}) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.response.flags == [0]


async def test_empty_and_small_messages_arrive(peers: Peers) -> None:
    settings: Any = {"compression": peers.client.root.Compression.Gzip}
    server = {"compression": peers.server.root.Compression.Deflate}
    messages = [b"", b"a", TEXT, b""]
    async with peers.serve(**ECHO, server=server, channel=settings) as link:
        assert await collect(link.ss(messages)) == messages


async def test_message_that_cannot_be_compressed_arrives(peers: Peers) -> None:
    noise = gzip.compress(TEXT * 10) * 20
    async with peers.serve(**ECHO) as link:
        assert await link.uu(noise, compression=peers.client.root.Compression.Gzip) == noise


def enabled(*algorithms: Any) -> dict[str, Any]:
    """The option that enables some algorithms and no others, as settings of a channel or a server."""
    bits = 1 | sum(1 << int(algorithm) for algorithm in algorithms)
    return {"options": (("grpc.compression_enabled_algorithms_bitset", bits),)}


@pytest.mark.only(client="pygrpc aio", reason="grpcio's synchronous client waits for a message to send")
@each_arity
async def test_requests_in_a_disabled_encoding_are_unimplemented(peers: Peers, arity: str) -> None:
    server = enabled(peers.server.root.Compression.Deflate)
    async with peers.serve(**ECHO, server=server) as link:
        compression = peers.client.root.Compression
        call = link.method(arity)(TEXT if arity[0] == "u" else None, compression=compression.Gzip)
        error = await link.failure(call)
        assert error.code() is peers.client.code.UNIMPLEMENTED
        assert error.details() == "Compression algorithm 'gzip' is disabled."
        assert await collect(link.start(arity, TEXT, compression=compression.Deflate)) == [TEXT] * len(ECHOED[arity])


async def test_enabled_encodings_are_made_known(peers: Peers) -> None:
    server, channel = (enabled(side.root.Compression.Deflate) for side in (peers.server, peers.client))
    async with peers.serve(**ECHO, server=server, channel=channel, relay=True) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.request.header("grpc-accept-encoding") == "identity, deflate"
        assert link.wire.response.header("grpc-accept-encoding") == "identity, deflate"


async def test_default_that_is_disabled_means_no_compression(peers: Peers) -> None:
    server, channel = (
        enabled(side.root.Compression.Deflate) | {"compression": side.root.Compression.Gzip}
        for side in (peers.server, peers.client)
    )
    async with peers.serve(**ECHO, server=server, channel=channel, relay=True) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.request.flags == [0]
        assert link.wire.response.flags == [0]


@pytest.mark.only(server="pygrpc", reason="grpcio's server compresses although the client refuses it")
async def test_server_does_not_compress_what_the_client_has_disabled(peers: Peers) -> None:
    channel = enabled(peers.client.root.Compression.Deflate)
    server = {"compression": peers.server.root.Compression.Gzip}
    async with peers.serve(**ECHO, server=server, channel=channel, relay=True) as link:
        assert await link.uu(TEXT) == TEXT
        assert link.wire.response.flags == [0]
