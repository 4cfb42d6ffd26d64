"""Keepalive and the age of connections, between all sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.frames import GOAWAY, PING, PREFACE, Frame, message, settings
from tests.behaviour.handlers import ECHO, Stuck
from tests.behaviour.peers import Peers, Side, Witness, collect
from tests.behaviour.raw import (
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    data,
    port_of,
    raw_client,
    request_headers,
    serving,
    status_of,
)
from tests.behaviour.test_connecting import reach

#: Asks soon, and gives up as soon as a busy machine allows.
ANXIOUS = (
    ("grpc.keepalive_time_ms", 100),
    ("grpc.keepalive_timeout_ms", 1500),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
)
MAX_STREAM_ID = 2**31 - 1


@pytest.mark.only(client="pygrpc", reason="grpcio's client may wait for a minute, whatever its timeout says")
async def test_a_server_behind_a_black_hole_is_found(peers: Peers) -> None:
    stuck = Stuck()
    options = {"options": (*ANXIOUS, ("grpc.initial_reconnect_backoff_ms", 100))}
    async with peers.serve(us=stuck.all["us"], uu=ECHO["uu"], relay=True, channel=options) as link:
        call = link.us(b"x")
        await stuck.started
        link.wire.swallow()
        error = await link.failure(call)
        assert error.code() is peers.client.code.UNAVAILABLE
        assert "timeout" in error.details()
        # The next call gets a connection of its own.
        assert await link.uu(b"y", wait_for_ready=True) == b"y"


@pytest.mark.only(server="pygrpc", reason="grpcio's server does not notice within twenty seconds")
async def test_a_client_behind_a_black_hole_is_found(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all, relay=True, server={"options": ANXIOUS}) as link:
        call = link.us(b"x")
        await stuck.started
        link.wire.swallow()
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        call.cancel()


async def test_a_call_that_takes_its_time_is_not_given_up(peers: Peers) -> None:
    # Both ask the other a few times while the handler waits.
    async def slow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        await released
        yield request

    released = Witness()
    options = {"options": (*ANXIOUS, ("grpc.keepalive_timeout_ms", 20_000))}
    async with peers.serve(us=slow, relay=True, channel=options, server=options) as link:
        call = link.us(b"x")
        assert await call.read() == b"x"
        await link.wire.until_pings(2)
        released()
        assert await call.read() == b"x"
        assert await call.code() is peers.client.code.OK


PESTERING = (
    ("grpc.keepalive_time_ms", 100),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


async def check_too_many_pings(peers: Peers) -> None:
    stuck = Stuck()
    server = {"options": (("grpc.http2.max_ping_strikes", 1),)}
    async with peers.serve(**stuck.all, channel={"options": PESTERING}, server=server) as link:
        call = link.us(b"x")
        error = await link.failure(call)
        assert error.code() is peers.client.code.UNAVAILABLE
        assert "too" in error.details().lower() and "pings" in error.details()


@pytest.mark.only(client="pygrpc", server="grpcio", reason="it takes seconds, and the next test is the other way round")
async def test_grpcio_sends_away_who_pings_too_often(peers: Peers) -> None:
    await check_too_many_pings(peers)


@pytest.mark.only(client="grpcio", server="pygrpc", reason="it takes seconds, and the last test is the other way round")
async def test_grpcio_is_sent_away_when_it_pings_too_often(peers: Peers) -> None:
    await check_too_many_pings(peers)


async def test_an_old_connection_is_replaced_and_its_calls_finish(peers: Peers) -> None:
    async with peers.serve(**ECHO, relay=True, server={"options": (("grpc.max_connection_age_ms", 100),)}) as link:
        stream = link.ss()
        await stream.write(b"1")
        assert await stream.read() == b"1"
        while link.wire.connections < 2:
            assert await link.uu(b"x") == b"x"
        await stream.write(b"2")
        assert await stream.read() == b"2"
        await stream.done_writing()
        assert await stream.read() is peers.client.aio.EOF
        assert await stream.code() is peers.client.code.OK


async def test_calls_of_an_old_connection_end_with_its_grace(peers: Peers) -> None:
    stuck = Stuck()
    options = (("grpc.max_connection_age_ms", 500), ("grpc.max_connection_age_grace_ms", 100))
    async with peers.serve(**stuck.all, server={"options": options}) as link:
        call = link.us(b"x")
        error = await link.failure(call)
        assert error.code() is peers.client.code.UNAVAILABLE
        assert isinstance(await stuck.ended, asyncio.CancelledError)


async def test_an_idle_connection_is_let_go(peers: Peers) -> None:
    states = peers.client.root.ChannelConnectivity
    async with peers.serve(**ECHO, server={"options": (("grpc.max_connection_idle_ms", 200),)}) as link:
        for _ in range(2):
            await reach(link.channel, states.READY)
            await link.channel.wait_for_state_change(states.READY)
            assert await collect(link.us(b"x")) == [b"x"] * 3


# What a client by hand sees.


async def test_idle_and_age_are_said_in_two_steps(side: Side) -> None:
    for option, reason in (("idle", b"max_idle"), ("age", b"max_age")):
        server = {"options": ((f"grpc.max_connection_{option}_ms", 20),)}
        async with serving(side, server=server) as link, raw_client(port_of(link)) as client:
            await client.until_closed()
            assert client.goaways == [(MAX_STREAM_ID, NO_ERROR), (0, NO_ERROR)]
            assert [frame.payload[8:] for frame in client.frames(GOAWAY)] == [reason, reason]


async def test_pings_are_counted(side: Side) -> None:
    async with serving(side, server={}) as link, raw_client(port_of(link)) as client:
        for _ in range(3):
            await client.settled()
        # Whatever the server sends forgives all.
        assert status_of(await client.answer(request_headers("uu"), message(b"x")))[0] == 0
        for _ in range(3):
            await client.settled()
        client.write(Frame(PING, 0, 0, b"too many").serialize())
        await client.until_closed()
        (goaway,) = client.frames(GOAWAY)
        assert client.goaways == [(1, ENHANCE_YOUR_CALM)]
        assert goaway.payload[8:] == b"too_many_pings"
        # It is answered all the same.
        assert client.frames(PING)[-1].payload == b"too many"


async def test_a_stop_refuses_what_is_new_so_that_it_is_tried_elsewhere(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link)) as client:
        first = client.start(request_headers("ss"))
        client.write(data(first, message(b"1")))
        await client.until(lambda: client.stream(first).messages)
        stopping = asyncio.create_task(link.server.stop(20))
        await client.until(lambda: client.goaways)
        second = client.start(request_headers("ss"))
        await client.until(lambda: client.stream(second).over)
        assert client.stream(second).reset == 7
        client.write(data(first, message(b"2"), end=True))
        half = await client.over(first)
        assert (half.messages, status_of(half)[0]) == ([(0, b"1"), (0, b"2")], 0)
        await client.until_closed()
        await stopping
        assert [code for _, code in client.goaways] == [NO_ERROR, NO_ERROR]


async def test_a_stop_does_not_wait_for_those_who_say_nothing(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link), b"") as silent, raw_client(port_of(link)) as client:
        await client.settled()
        await link.server.stop(20)
        await silent.until_closed()
        await client.until_closed()


async def test_a_stop_gives_up_who_does_not_answer(side: Side) -> None:
    async with serving(side) as link, raw_client(port_of(link), PREFACE + settings({})) as client:
        first = client.start(request_headers("ss"))
        client.write(data(first, message(b"1")))
        await client.until(lambda: client.stream(first).messages)
        await link.server.stop(0.05)
        await client.until_closed()
        assert status_of(client.stream(first))[0] == 14
