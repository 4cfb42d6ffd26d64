"""Connections that are no proper HTTP/2, break in the middle, or ask for much: our server goes on."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.frames import (
    ACK,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    data,
    goaway,
    message,
    padded_data,
    reset,
    settings,
    window_update,
)
from tests.behaviour.handlers import Stuck
from tests.behaviour.peers import BOUND, Side, pause
from tests.behaviour.raw import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    attacked,
    port_of,
    raw_client,
    request_headers,
    serving,
    status_of,
)

NO_HTTP2 = {
    "http/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "http/1.0": b"POST /behaviour.Peer/uu HTTP/1.0\r\n\r\n",
    "tls": bytes.fromhex("16030100f8010000f40303") + bytes(240),
    "text": b"hello?\r\n" * 10,
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "preface with a typo": b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n" + settings({}),
}


@pytest.mark.parametrize("first", NO_HTTP2.values(), ids=NO_HTTP2)
async def test_what_is_not_http2_is_closed(side: Side, first: bytes) -> None:
    async with serving(side) as link:
        async with raw_client(port_of(link), first) as client:
            await client.until_closed()
        assert await link.uu(b"x") == b"x"


@pytest.mark.parametrize(
    "first", [b"", PREFACE[:10], PREFACE, PREFACE + b"\x00\x00"], ids=["nothing", "half", "preface", "cut"]
)
async def test_client_may_leave_at_any_time(side: Side, first: bytes) -> None:
    async with serving(side) as link:
        async with raw_client(port_of(link), first):
            await pause()
        assert await link.uu(b"x") == b"x"


async def test_calls_are_cancelled_when_the_client_leaves(side: Side) -> None:
    stuck = Stuck()
    async with serving(side, **stuck.all) as link:
        async with raw_client(port_of(link)) as client:
            client.write(data(client.start(request_headers("ss")), message(b"whole") + b"\x00\x00\x00\x00\x09half"))
            context = await stuck.started
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        assert context.cancelled()


async def test_reset_by_the_client_cancels_the_handler(side: Side) -> None:
    stuck = Stuck()
    async with attacked(side, us=stuck.all["us"]) as client:
        number = client.start(request_headers("us"))
        client.write(data(number, message(b"x"), end=True))
        await stuck.started
        client.write(reset(number, CANCEL))
        assert isinstance(await stuck.ended, asyncio.CancelledError)


# Frames that mean nothing, or little.

HARMLESS = {
    "unknown kind": Frame(0xFA, 0xFF, 0, b"anything").serialize(),
    "unknown kind on a stream": Frame(0xFA, 0xFF, 1, b"anything").serialize(),
    "unknown setting": settings({0xFE03: 1, 0x99: 7}),
    "empty settings": settings({}),
    "priority": Frame(PRIORITY, 0, 1, bytes(4) + b"\x10").serialize(),
    "priority of an idle stream": Frame(PRIORITY, 0, 99, bytes(4) + b"\x10").serialize(),
    "flags without a meaning": Frame(PING, 0xF0, 0, bytes(8)).serialize(),
    "window of the connection": window_update(0, 1000),
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
async def test_harmless_frame_is_ignored(side: Side, content: bytes) -> None:
    async with attacked(side) as client:
        client.write(content)
        await client.settled()


async def test_ping_is_answered_with_its_payload(side: Side) -> None:
    async with attacked(side) as client:
        client.write(Frame(PING, 0, 0, b"12345678").serialize())
        answer = Frame(PING, ACK, 0, b"12345678")
        await client.until(lambda: answer in client.frames(PING))


async def test_settings_are_acknowledged(side: Side) -> None:
    async with attacked(side) as client:
        client.write(settings({INITIAL_WINDOW_SIZE: 100_000}))
        await client.until(lambda: sum(1 for frame in client.frames(SETTINGS) if frame.flags & ACK) == 2)


async def test_padding_is_no_part_of_messages(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers())
        client.write(
            padded_data(number, message(b"text")[:6], 200) + padded_data(number, message(b"text")[6:], 0, end=True)
        )
        assert (await client.over(number)).messages == [(0, b"text")]


async def test_frames_for_a_stream_that_is_over_are_ignored(side: Side) -> None:
    # RFC 9113, section 5.1: such frames may have been on their way.
    async with attacked(side) as client:
        number = client.start(request_headers())
        client.write(data(number, message(b"x")) + reset(number, CANCEL))
        client.write(window_update(number, 1000) + reset(number, CANCEL))
        await client.settled()


async def test_client_may_say_goodbye_and_finish(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link)) as client:
        number = client.start(request_headers("ss"))
        client.write(data(number, message(b"1")))
        await client.until(lambda: client.stream(number).messages == [(0, b"1")])
        client.write(goaway(0))
        client.write(data(number, message(b"2"), end=True))
        half = await client.over(number)
        assert half.messages == [(0, b"1"), (0, b"2")]
        assert status_of(half)[0] == 0


# Frames that break the rules: GOAWAY with the code of RFC 9113, and the connection ends.

BROKEN = {
    "data on stream 0": (Frame(DATA, 0, 0, b"x").serialize(), PROTOCOL_ERROR),
    "data on an idle stream": (Frame(DATA, 0, 9, b"x").serialize(), PROTOCOL_ERROR),
    "headers on stream 0": (Frame(HEADERS, END_HEADERS, 0, b"\x82").serialize(), PROTOCOL_ERROR),
    "headers on an even stream": (Frame(HEADERS, END_HEADERS, 2, b"\x82").serialize(), PROTOCOL_ERROR),
    "push by a client": (Frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02\x82").serialize(), PROTOCOL_ERROR),
    "reset of stream 0": (Frame(RST_STREAM, 0, 0, bytes(4)).serialize(), PROTOCOL_ERROR),
    "reset of an idle stream": (reset(9, CANCEL), PROTOCOL_ERROR),
    "reset of a wrong length": (Frame(RST_STREAM, 0, 1, bytes(3)).serialize(), FRAME_SIZE_ERROR),
    "ping of a wrong length": (Frame(PING, 0, 0, bytes(7)).serialize(), FRAME_SIZE_ERROR),
    "ping on a stream": (Frame(PING, 0, 1, bytes(8)).serialize(), PROTOCOL_ERROR),
    "settings of a wrong length": (Frame(SETTINGS, 0, 0, bytes(5)).serialize(), FRAME_SIZE_ERROR),
    "settings on a stream": (Frame(SETTINGS, 0, 1, b"").serialize(), PROTOCOL_ERROR),
    "acknowledgement with content": (Frame(SETTINGS, ACK, 0, bytes(6)).serialize(), FRAME_SIZE_ERROR),
    "frame size below the least": (settings({MAX_FRAME_SIZE: 1000}), PROTOCOL_ERROR),
    "window beyond the most": (settings({INITIAL_WINDOW_SIZE: 0x80000000}), FLOW_CONTROL_ERROR),
    "window that overflows": (window_update(0, 0x7FFFFFFF), FLOW_CONTROL_ERROR),
    "window update of nothing": (window_update(0, 0), PROTOCOL_ERROR),
    "window update of a wrong length": (Frame(WINDOW_UPDATE, 0, 0, bytes(3)).serialize(), FRAME_SIZE_ERROR),
    "frame beyond the size": ((0xFFFFFF).to_bytes(3, "big") + bytes(6), FRAME_SIZE_ERROR),
    "goaway on a stream": (Frame(GOAWAY, 0, 1, bytes(8)).serialize(), PROTOCOL_ERROR),
    "padding beyond the frame": (Frame(DATA, 0x8, 1, b"\xff" + bytes(5)).serialize(), PROTOCOL_ERROR),
    "continuation of nothing": (Frame(9, END_HEADERS, 1, b"").serialize(), PROTOCOL_ERROR),
    "ping inside of a header block": (
        Frame(HEADERS, 0, 5, b"\x82").serialize() + Frame(PING, 0, 0, bytes(8)).serialize(),
        PROTOCOL_ERROR,
    ),
    "undecodable header block": (Frame(HEADERS, END_HEADERS, 5, b"\xff\xff\xff\xff\xff\xff\xff").serialize(), 9),
}


@pytest.mark.parametrize(("content", "code"), BROKEN.values(), ids=BROKEN)
async def test_broken_frame_ends_the_connection(side: Side, content: bytes, code: int) -> None:
    stuck = Stuck()
    async with serving(side, ss=stuck.all["ss"]) as link:
        async with raw_client(port_of(link)) as client:
            client.start(request_headers("ss"))
            await stuck.started
            client.write(content)
            await client.until_closed()
            assert client.goaways[-1][1] == code
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        assert await link.uu(b"x") == b"x"


# Limits.


async def test_streams_over_the_limit_are_refused(side: Side) -> None:
    stuck = Stuck()
    options = (("grpc.max_concurrent_streams", 2),)
    async with (
        serving(side, us=stuck.all["us"], server={"options": options}) as link,
        raw_client(port_of(link)) as client,
    ):
        first = client.start(request_headers("ss"))
        second = client.start(request_headers("ss"))
        third = client.start(request_headers("ss"))
        assert (await client.over(third)).reset == REFUSED_STREAM
        for number in (first, second):
            client.write(data(number, message(b"x"), end=True))
            assert (await client.over(number)).messages == [(0, b"x")]
        assert status_of(await client.answer(request_headers(), message(b"x")))[0] == 0


async def test_server_keeps_to_the_window_of_a_stream(side: Side) -> None:
    async def large(request: bytes, context: Any) -> bytes:
        return bytes(5000)

    async with attacked(side, su=large) as client:
        client.credit = False
        client.write(settings({INITIAL_WINDOW_SIZE: 1000}))
        number = client.start(request_headers("su"))
        client.write(data(number, b"", end=True))
        half = client.stream(number)
        await client.until(lambda: sum(half.sizes) >= 1000)
        await client.settled()
        assert sum(half.sizes) == 1000
        client.write(window_update(number, 10_000) + window_update(0, 10_000))
        await client.over(number)
        assert half.messages == [(0, bytes(5000))]
        client.credit = True
        client.write(settings({INITIAL_WINDOW_SIZE: 65_535}))


async def test_server_keeps_to_the_window_of_the_connection(side: Side) -> None:
    async def large(request: bytes, context: Any) -> bytes:
        return bytes(100_000)

    async with serving(side, uu=large) as link, raw_client(port_of(link)) as client:
        client.credit = False
        client.write(settings({INITIAL_WINDOW_SIZE: 1 << 20}))
        number = client.start(request_headers())
        client.write(data(number, message(b"x"), end=True))
        half = client.stream(number)
        await client.until(lambda: sum(half.sizes) >= 65_535)
        await client.settled()
        assert sum(half.sizes) == 65_535
        client.write(window_update(0, 1 << 20))
        assert (await client.over(number)).messages == [(0, bytes(100_000))]


async def test_server_keeps_to_the_frame_size(side: Side) -> None:
    async def large(request: bytes, context: Any) -> bytes:
        return bytes(100_000)

    async with serving(side, uu=large) as link, raw_client(port_of(link)) as client:
        half = await client.answer(request_headers(), message(b"x"))
        assert half.messages == [(0, bytes(100_000))]
        assert max(half.sizes) <= 16_384


async def test_server_gives_window_back_as_requests_are_read(side: Side) -> None:
    async def counts(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async with serving(side, su=counts) as link, raw_client(port_of(link)) as client:
        number = client.start(request_headers("su"))
        await client.settled()
        piece = message(bytes(60_000))
        # So much that both windows, the stream's and the connection's, have to be given back more than once.
        total = 4 * max(client.connection_window, client.stream_window(number))
        sent = 0

        def allowed() -> bool:
            return min(client.connection_window, client.stream_window(number)) - sent >= len(piece)

        while sent < total:
            client.write(data(number, piece))
            sent += len(piece)
            # The server has to give window back as its handler reads, or this waits for ever.
            await client.until(allowed)
        client.write(data(number, b"", end=True))
        half = await client.over(number)
        assert half.messages == [(0, b"%d" % (sent // len(piece) * 60_000))]


# The end.


async def test_stop_says_goodbye_twice_and_finishes_calls(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link)) as client:
        number = client.start(request_headers("ss"))
        client.write(data(number, message(b"1")))
        await client.until(lambda: client.stream(number).messages == [(0, b"1")])
        stopping = asyncio.create_task(link.server.stop(BOUND))
        await client.until(lambda: len(client.goaways) == 2)
        assert client.goaways == [(0x7FFFFFFF, 0), (number, 0)]
        late = client.start(request_headers("ss"))
        client.write(data(number, message(b"2"), end=True))
        half = await client.over(number)
        assert [payload for _, payload in half.messages] == [b"1", b"2"]
        assert status_of(half)[0] == 0
        await stopping
        await client.until_closed()
        assert client.stream(late).reset in (None, REFUSED_STREAM)
        assert client.stream(late).blocks == []


async def test_stop_ends_calls_with_a_status(side: Side) -> None:
    stuck = Stuck()
    async with serving(side, **stuck.all) as link, raw_client(port_of(link)) as client:
        number = client.start(request_headers("ss"))
        await stuck.started
        await link.server.stop(None)
        await client.until_closed()
        half = client.stream(number)
        assert half.reset is not None or status_of(half)[0] == 14


async def test_stop_closes_idle_connections(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link)) as client, raw_client(port_of(link), b"") as silent:
        await client.settled()
        await link.server.stop(None)
        await client.until_closed()
        await silent.until_closed()


@pytest.mark.parametrize("turns", range(6))
def test_stop_closes_a_connection_that_is_being_accepted(side: Side, turns: int) -> None:
    async def main() -> None:
        async with serving(side) as link:
            with socket.create_connection(("127.0.0.1", port_of(link))):
                for _ in range(turns):
                    await pause()
                await link.server.stop(None)

    asyncio.run(main())
    # A transport that nobody closed warns when it is collected, and a warning fails the test.
    gc.collect()
