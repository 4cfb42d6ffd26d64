"""The states of a channel: what leads to which, and who is told (doc/connectivity-semantics-and-api.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO
from tests.behaviour.peers import BOUND, Peers, pause
from tests.behaviour.test_connecting import EAGER, leave, reach


async def start_server(peers: Peers, port: int) -> Any:
    server = peers.make_server(handlers=[peers.handlers(**ECHO)])
    assert peers.add_port(server, f"127.0.0.1:{port}") == port
    await server.start()
    return server


async def states_until(channel: Any, last: Any) -> list[Any]:
    """Collect the states of a channel, which is not asked to connect, until it is in the last one."""
    seen = [channel.get_state()]
    while seen[-1] is not last:
        await channel.wait_for_state_change(seen[-1])
        seen.append(channel.get_state())
    return seen


async def test_channel_whose_server_went_away_is_idle_until_a_call(peers: Peers, refusing_port: int) -> None:
    states = peers.client.root.ChannelConnectivity
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER) as channel:
        method = channel.unary_unary("/behaviour.Peer/uu")
        server = await start_server(peers, refusing_port)
        assert await method(b"x", wait_for_ready=True) == b"x"
        await server.stop(None)
        await leave(channel, states.READY)
        assert channel.get_state() is states.IDLE
        server = await start_server(peers, refusing_port)
        assert channel.get_state() is states.IDLE
        assert await method(b"x", wait_for_ready=True) == b"x"
        assert channel.get_state() is states.READY
        await server.stop(None)


async def test_channel_that_has_failed_stays_so_until_it_is_ready(peers: Peers, refusing_port: int) -> None:
    states = peers.client.root.ChannelConnectivity
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER) as channel:
        await reach(channel, states.TRANSIENT_FAILURE)
        watching = asyncio.create_task(states_until(channel, states.READY))
        # Some attempts more fail meanwhile.
        await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x", wait_for_ready=True, timeout=0.5))
        server = await start_server(peers, refusing_port)
        assert await watching == [states.TRANSIENT_FAILURE, states.READY]
        await server.stop(None)


async def test_call_of_a_failed_channel_fails_at_once_unless_it_waits_for_ready(
    peers: Peers, refusing_port: int
) -> None:
    # The next attempt is a minute away.
    options = (("grpc.initial_reconnect_backoff_ms", 60_000), ("grpc.min_reconnect_backoff_ms", 60_000))
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", options=options) as channel:
        method = channel.unary_unary("/behaviour.Peer/uu")
        for _ in range(20):
            error = await peers.failure(method(b"x"))
            assert error.code() is peers.client.code.UNAVAILABLE
        error = await peers.failure(method(b"x", wait_for_ready=True, timeout=0.2))
        assert error.code() is peers.client.code.DEADLINE_EXCEEDED


async def test_channel_without_calls_becomes_idle_and_the_next_call_connects_again(peers: Peers) -> None:
    states = peers.client.root.ChannelConnectivity
    options = {"options": (("grpc.client_idle_timeout_ms", 1000),)}
    async with peers.serve(channel=options, **ECHO) as link:
        assert await link.uu(b"x") == b"x"
        assert await states_until(link.channel, states.IDLE) == [states.READY, states.IDLE]
        assert await link.uu(b"y") == b"y"
        assert link.channel.get_state() is states.READY


async def test_channel_ready_may_be_given_up_and_waited_for_again(peers: Peers, refusing_port: int) -> None:
    states = peers.client.root.ChannelConnectivity
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER) as channel:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), 0.3)
        waiting = [asyncio.create_task(channel.channel_ready()) for _ in range(3)]
        await pause()
        server = await start_server(peers, refusing_port)
        await asyncio.gather(*waiting)
        assert channel.get_state() is states.READY
        await channel.channel_ready()
        await server.stop(None)


async def test_all_who_wait_for_a_change_are_told(peers: Peers) -> None:
    states = peers.client.root.ChannelConnectivity
    async with peers.serve(**ECHO) as link, link.open_channel() as channel:
        waiting = [asyncio.create_task(channel.wait_for_state_change(states.IDLE)) for _ in range(3)]
        given_up = asyncio.create_task(channel.wait_for_state_change(states.IDLE))
        await pause()
        given_up.cancel()
        await reach(channel, states.READY)
        await asyncio.gather(*waiting)
        with pytest.raises(asyncio.CancelledError):
            await given_up
        # It is in another state than that already.
        await channel.wait_for_state_change(states.IDLE)


async def test_closing_ends_calls_that_wait_for_ready(peers: Peers, refusing_port: int) -> None:
    async with asyncio.timeout(BOUND):
        channel = peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER)
        call = channel.unary_unary("/behaviour.Peer/uu")(b"x", wait_for_ready=True)
        await reach(channel, peers.client.root.ChannelConnectivity.TRANSIENT_FAILURE)
        assert not call.done()
        await channel.close()
        assert await call.code() is peers.client.code.CANCELLED
