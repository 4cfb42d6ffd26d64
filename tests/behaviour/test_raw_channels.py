"""Connections of our client to servers that leave, limit, break HTTP/2 or never spoke it."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.behaviour.frames import (
    ACK,
    DATA,
    PING,
    PREFACE,
    Frame,
    Headers,
    data,
    goaway,
    message,
    padded_data,
    reset,
    settings,
    window_update,
)
from tests.behaviour.peers import Side, Witness, collect, pause
from tests.behaviour.raw import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    RESPONSE,
    RawServer,
    channel_to,
    error_of,
)

OK: Headers = [("grpc-status", "0")]

# Streams that are over for one side only.


@pytest.mark.parametrize("ended_by", ["cancel", "deadline"])
async def test_what_comes_late_for_a_call_that_is_over_is_ignored(side: Side, ended_by: str) -> None:
    asked, late = Witness(), Witness()

    async def script(server: RawServer) -> None:
        number = await server.request()
        asked()
        await server.until(lambda: server.stream(number).reset is not None)
        assert server.stream(number).reset == CANCEL
        # The server had all of this on its way when the reset came.
        server.respond(number, b"late")
        server.write(window_update(number, 100) + reset(number, 0))
        await server.settled()
        late()
        server.respond(await server.request(), b"next")

    async with channel_to(side, script) as link:
        call = link.uu(b"x", timeout=0.1 if ended_by == "deadline" else None)
        await asked
        if ended_by == "cancel":
            call.cancel()
        assert await call.code() is (side.code.CANCELLED if ended_by == "cancel" else side.code.DEADLINE_EXCEEDED)
        await late
        assert await link.uu(b"y") == b"next"


async def test_call_is_cancelled_between_headers_and_messages(side: Side) -> None:
    async def script(server: RawServer) -> None:
        number = await server.request()
        server.write(server.writer.headers(number, RESPONSE))
        await server.until(lambda: server.stream(number).reset is not None)
        server.write(data(number, message(b"late")))
        server.write(server.writer.headers(number, OK, end=True))
        server.respond(await server.request(), b"next")

    async with channel_to(side, script) as link:
        call = link.us(b"x")
        await call.initial_metadata()
        call.cancel()
        assert await link.uu(b"y") == b"next"


# The end of a connection.


async def test_goaway_lets_lower_streams_finish(side: Side) -> None:
    connections = 0

    async def script(server: RawServer) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            for _ in range(1 if side.name.startswith("grpcio") else 2):
                server.respond(await server.request(), b"elsewhere")
            return
        first = await server.request()
        await server.request()
        server.write(goaway(first))
        await server.settled()
        server.respond(first, b"finished")

    async with channel_to(side, script) as link:
        first, second = link.uu(b"1"), link.us(b"2")
        if side.name.startswith("grpcio"):
            assert (await link.failure(second)).code() is side.code.UNAVAILABLE
        else:
            # Ours begins a call anew that the server has not handled (gRFC A6).
            assert [response async for response in second] == [b"elsewhere"]
        assert await first == b"finished"
        assert await link.uu(b"3") == b"elsewhere"
    assert connections == 2


async def test_goaway_in_two_steps(side: Side) -> None:
    connections = 0

    async def script(server: RawServer) -> None:
        nonlocal connections
        connections += 1
        first = await server.request()
        if connections == 2:
            server.respond(first, b"elsewhere")
            return
        server.write(goaway(0x7FFFFFFF))
        await server.settled()
        server.write(goaway(first))
        server.respond(first, b"finished")

    async with channel_to(side, script) as link:
        assert await link.uu(b"1") == b"finished"
        assert await link.uu(b"2") == b"elsewhere"
    assert connections == 2


@pytest.mark.parametrize("code", [1, 2, 11])
async def test_goaway_with_an_error_is_unavailable(side: Side, code: int) -> None:
    async def script(server: RawServer) -> None:
        await server.request()
        server.write(goaway(0, code, b"go away"))

    assert (await error_of(side, script)).code() is side.code.UNAVAILABLE


async def test_connection_that_is_closed_in_a_call_is_unavailable(side: Side) -> None:
    async def script(server: RawServer) -> None:
        await server.request()
        await server.close()

    assert (await error_of(side, script)).code() is side.code.UNAVAILABLE


async def test_connection_that_is_closed_after_messages_is_unavailable(side: Side) -> None:
    async def script(server: RawServer) -> None:
        number = await server.request()
        server.write(server.writer.headers(number, RESPONSE) + data(number, message(b"1")))
        await server.settled()
        await server.close()

    async with channel_to(side, script) as link:
        call = link.us(b"x")
        assert await call.read() == b"1"
        assert (await link.failure(call.read())).code() is side.code.UNAVAILABLE


NO_HTTP2 = {
    "http/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(100),
    "preface of a client": PREFACE + settings({}),
}


@pytest.mark.parametrize("first", NO_HTTP2.values(), ids=NO_HTTP2)
async def test_server_that_is_not_http2_is_unavailable(side: Side, first: bytes) -> None:
    async with channel_to(side, RawServer.until_closed, first) as link:
        assert (await link.failure(link.uu(b"x"))).code() is side.code.UNAVAILABLE


@pytest.mark.parametrize(
    "first", [b"", bytes.fromhex("15030100020246"), b"\x00\x00"], ids=["nothing", "tls alert", "cut"]
)
async def test_server_that_closes_at_once_is_unavailable(side: Side, first: bytes) -> None:
    async with channel_to(side, RawServer.close, first) as link:
        assert (await link.failure(link.uu(b"x"))).code() is side.code.UNAVAILABLE


BROKEN = {
    "data on stream 0": Frame(DATA, 0, 0, b"x").serialize(),
    "push": Frame(5, 4, 1, b"\x00\x00\x00\x02\x82").serialize(),
    "frame beyond the size": (0xFFFFFF).to_bytes(3, "big") + bytes(6),
    "ping of a wrong length": Frame(PING, 0, 0, bytes(7)).serialize(),
    "undecodable headers": Frame(1, 4, 1, b"\xff" * 7).serialize(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
async def test_connection_that_breaks_http2_is_unavailable(side: Side, content: bytes) -> None:
    async def script(server: RawServer) -> None:
        await server.request()
        server.write(content)
        await server.until_closed()
        assert server.goaways[-1][1] != 0

    assert (await error_of(side, script)).code() is side.code.UNAVAILABLE


# A connection that works, with its limits.


async def test_harmless_frames_are_ignored(side: Side) -> None:
    async def script(server: RawServer) -> None:
        number = await server.request()
        server.write(Frame(0xFA, 0xFF, 0, b"anything").serialize() + Frame(0xFA, 0xFF, number, b"x").serialize())
        server.write(settings({0xFE03: 1}) + window_update(0, 10) + window_update(number, 10))
        server.write(Frame(PING, 0, 0, b"12345678").serialize())
        await server.until(lambda: Frame(PING, ACK, 0, b"12345678") in server.frames(PING))
        server.write(server.writer.headers(number, RESPONSE))
        server.write(padded_data(number, message(b"text")[:3], 255) + padded_data(number, message(b"text")[3:], 0))
        server.write(server.writer.headers(number, OK, end=True))

    async with channel_to(side, script) as link:
        assert await link.uu(b"x") == b"text"


async def test_call_over_the_limit_of_streams_waits(side: Side) -> None:
    async def script(server: RawServer) -> None:
        server.respond(await server.request(), b"ready")
        first = await server.request()
        await server.settled()
        assert list(server.streams) == [1, first]
        server.respond(first, b"first")
        server.respond(await server.request(), b"second")

    async with channel_to(side, script, settings({MAX_CONCURRENT_STREAMS: 1})) as link:
        # The limit is known with the first answer.
        assert await link.uu(b"0") == b"ready"
        assert await asyncio.gather(collect(link.uu(b"1")), collect(link.uu(b"2"))) == [[b"first"], [b"second"]]


async def test_limit_of_streams_may_change(side: Side) -> None:
    async def script(server: RawServer) -> None:
        server.respond(await server.request(), b"ready")
        first = await server.request()
        server.write(settings({MAX_CONCURRENT_STREAMS: 2}))
        second = await server.request()
        server.respond(second, b"second")
        server.respond(first, b"first")

    async with channel_to(side, script, settings({MAX_CONCURRENT_STREAMS: 1})) as link:
        assert await link.uu(b"0") == b"ready"
        assert await asyncio.gather(collect(link.uu(b"1")), collect(link.uu(b"2"))) == [[b"first"], [b"second"]]


async def test_client_keeps_to_the_windows_and_the_frame_size(side: Side) -> None:
    async def script(server: RawServer) -> None:
        server.respond(await server.request(), b"ready")
        server.credit = False
        number = await server.request(whole=False)
        half = server.stream(number)
        await server.until(lambda: sum(half.sizes) >= 40_000)
        await server.settled()
        assert sum(half.sizes) == 40_000
        server.write(window_update(number, 200_000))
        await server.until(lambda: sum(half.sizes) >= 65_535)
        await server.settled()
        assert sum(half.sizes) == 65_535
        server.write(window_update(0, 200_000))
        await server.until(lambda: half.ended)
        assert max(half.sizes) <= 16_384
        server.respond(number, b"%d" % len(half.messages[0][1]))

    async with channel_to(side, script, settings({INITIAL_WINDOW_SIZE: 40_000})) as link:
        assert await link.uu(b"x") == b"ready"
        assert await link.uu(bytes(100_000)) == b"100000"


async def test_requests_end_with_an_empty_frame(side: Side) -> None:
    first = Witness()

    async def script(server: RawServer) -> None:
        number = await server.request(whole=False)
        half = server.stream(number)
        await server.until(lambda: half.messages)
        first()
        await server.until(lambda: half.ended)
        assert half.messages == [(0, b"x")]
        assert half.sizes[-1] == 0
        server.respond(number, b"done")

    async with channel_to(side, script) as link:
        call = link.su()
        await call.write(b"x")
        # The request has gone, so the end of the requests has no message to go with.
        await first
        await call.done_writing()
        assert await call == b"done"


@pytest.mark.parametrize("seconds", [60, 1e6, 1e11])
async def test_deadline_travels_as_a_timeout(side: Side, seconds: float) -> None:
    async def script(server: RawServer) -> None:
        number = await server.request()
        text = server.stream(number).header("grpc-timeout")
        assert text is not None
        assert text[:-1].isdecimal()
        assert len(text) <= 9
        assert text[-1] in "HMSmun"
        server.respond(number, b"x")

    async with channel_to(side, script) as link:
        assert await link.uu(b"x", timeout=seconds) == b"x"


@pytest.mark.parametrize("turns", range(16))
def test_closing_a_channel_that_is_connecting_closes_its_socket(side: Side, turns: int) -> None:
    async def script(server: RawServer) -> None:
        """Leave the connection alone."""

    async def main() -> None:
        async with channel_to(side, script) as link:
            call = link.uu(b"x")
            for _ in range(turns):
                await pause()
            await link.channel.close()
            assert call.done()
            for _ in range(10):
                # The raw server's own Server of asyncio loses a connection that it is closed on while accepting it.
                await pause()

    asyncio.run(main())
    # A socket that nobody closed warns when it is collected, and a warning fails the test.
    gc.collect()
