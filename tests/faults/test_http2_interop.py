"""The cases of doc/http2-interop-test-descriptions.md in the grpc repository, against servers played by hand.

There are fewer bytes in them here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.behaviour.frames import data, goaway, message, padded_data, reset, settings
from tests.behaviour.raw import (
    CANCEL,
    INTERNAL_ERROR,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    REFUSED_STREAM,
    RESPONSE,
    RawServer,
    Script,
    raw_server,
)
from tests.faults.clients import CLIENTS, Client
from tests.faults.load import options
from tests.faults.proxy import BOUND

ANSWER = bytes(range(256)) * 200
OK = ("OK", ANSWER)

CLIENT = pytest.mark.parametrize("kind", CLIENTS)


async def run(
    kind: str, script: Script, play: Callable[[Client], Any], first: bytes | None = None, retry: bool = False
) -> Any:
    """Plays a client's part against a server's script, in a thread; returns what the client's part returns."""

    def play_with_client(port: int) -> Any:
        client = CLIENTS[kind](f"127.0.0.1:{port}", options(retry=retry))
        try:
            return play(client)
        finally:
            client.close()

    async with asyncio.timeout(2 * BOUND), raw_server(script, first) as port:
        return await asyncio.to_thread(play_with_client, port)


async def serve(server: RawServer, count: int) -> None:
    """Answers so many calls."""
    for _ in range(count):
        server.respond(await server.request(), ANSWER)


# goaway


@CLIENT
async def test_goaway(kind: str) -> None:
    connections: list[RawServer] = []

    async def script(server: RawServer) -> None:
        connections.append(server)
        stream = await server.request()
        server.respond(stream, ANSWER)
        if len(connections) == 1:
            server.write(goaway(stream))
            await server.until_closed()

    def play(client: Client) -> Any:
        first = client.call()
        client.wait_for_state(lambda state: state != "READY")
        return [first, client.call()]

    assert await run(kind, script, play) == [OK, OK]
    assert [len(each.streams) for each in connections] == [1, 1]


@CLIENT
async def test_goaway_in_the_middle_of_calls(kind: str) -> None:
    connections: list[RawServer] = []

    async def script(server: RawServer) -> None:
        connections.append(server)
        if len(connections) > 1:
            await serve(server, 1)
            return
        handled, ignored = await server.request(), await server.request()
        server.write(goaway(handled))
        await server.settled()
        server.respond(handled, ANSWER)
        await server.until_closed()
        assert not server.stream(ignored).blocks[1:]

    def play(client: Client) -> Any:
        return [end() for end in [client.begin(), client.begin()]]

    # The server says that it has not handled the second one, so that goes to the other connection.
    assert await run(kind, script, play) == [OK, OK]
    assert len(connections) == 2


# rst_after_header, rst_during_data, rst_after_data

RESETS = pytest.mark.parametrize(
    ("code", "status"),
    [
        (NO_ERROR, "INTERNAL"),
        (INTERNAL_ERROR, "INTERNAL"),
        (CANCEL, "CANCELLED"),
        (REFUSED_STREAM, "UNAVAILABLE"),
    ],
)
PARTS = pytest.mark.parametrize(
    ("part", "whole"),
    [(b"", False), (message(ANSWER)[: len(ANSWER) // 2], False), (message(ANSWER), True)],
    ids=["after_header", "during_data", "after_data"],
)


@RESETS
@PARTS
@CLIENT
async def test_rst(kind: str, part: bytes, whole: bool, code: int, status: str) -> None:
    async def script(server: RawServer) -> None:
        for _ in range(2):
            stream = await server.request()
            server.write(server.writer.headers(stream, RESPONSE))
            server.write((data(stream, part) if part else b"") + reset(stream, code))
        await serve(server, 1)

    def play(client: Client) -> Any:
        return client.call()[0], client.call(name="us")[0], client.call()

    assert await run(kind, script, play) == (status, status, OK)


@CLIENT
async def test_rst_is_not_tried_again_behind_an_answer(kind: str) -> None:
    async def script(server: RawServer) -> None:
        stream = await server.request()
        server.write(server.writer.headers(stream, RESPONSE) + reset(stream, REFUSED_STREAM))
        await serve(server, 1)

    # A call whose headers have come is committed, whatever its policy says.
    assert await run(kind, script, lambda client: (client.call()[0], client.call()), retry=True) == ("UNAVAILABLE", OK)


# ping


@CLIENT
async def test_ping(kind: str) -> None:
    async def script(server: RawServer) -> None:
        await server.settled()
        for _ in range(2):
            stream = await server.request()
            await server.settled()
            server.write(server.writer.headers(stream, RESPONSE))
            await server.settled()
            content = message(ANSWER)
            server.write(data(stream, content[:100]))
            await server.settled()
            server.write(data(stream, content[100:]))
            await server.settled()
            server.write(server.writer.headers(stream, [("grpc-status", "0")], end=True))

    assert await run(kind, script, lambda client: [client.call(), client.call()]) == [OK, OK]


# max_streams


@pytest.mark.parametrize("limit", [1, 3])
@CLIENT
async def test_max_streams(kind: str, limit: int) -> None:
    async def script(server: RawServer) -> None:
        # Without the limit all would come at once.
        for first in range(0, 12, limit):
            streams = [await server.request() for _ in range(min(limit, 12 - first))]
            await server.settled()
            assert len(server.streams) == first + len(streams)
            for stream in streams:
                server.respond(stream, ANSWER)

    def play(client: Client) -> Any:
        return [end() for end in [client.begin() for _ in range(12)]]

    assert await run(kind, script, play, settings({MAX_CONCURRENT_STREAMS: limit})) == [OK] * 12


# data_frame_padding, no_df_padding_sanity_test


@pytest.mark.parametrize("padding", [None, 0, 1, 255])
@CLIENT
async def test_data_frame_padding(kind: str, padding: int | None) -> None:
    # More, with the padding, than all windows: it has to be credited too.
    count = 10

    async def script(server: RawServer) -> None:
        for _ in range(count):
            stream = await server.request()
            server.write(server.writer.headers(stream, RESPONSE))
            content = message(ANSWER)
            for start in range(0, len(content), 50):
                piece = content[start : start + 50]
                server.write(data(stream, piece) if padding is None else padded_data(stream, piece, padding))
            server.write(server.writer.headers(stream, [("grpc-status", "0")], end=True))

    assert await run(kind, script, lambda client: [client.call() for _ in range(count)]) == [OK] * count
