"""How a channel connects: at once or later, or not at all."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck
from tests.behaviour.peers import ARITIES, BOUND, Peers, collect, pause
from tests.behaviour.threads import close_listener

each_arity = pytest.mark.parametrize("arity", ARITIES)

#: Reconnect soon after a failure, so that nobody waits for a second.
EAGER = {
    "options": (
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 100),
    )
}


@pytest.mark.parametrize("arity", ["uu", "us"])
async def test_refused_connection_is_unavailable(peers: Peers, refusing_port: int, arity: str) -> None:
    await check_refused(peers, refusing_port, arity)


@pytest.mark.only(client="pygrpc", reason="grpcio cancels the call when its request iterator cannot be sent")
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_refused_connection_is_unavailable_to_a_stream(peers: Peers, refusing_port: int, arity: str) -> None:
    await check_refused(peers, refusing_port, arity)


async def check_refused(peers: Peers, port: int, arity: str) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{port}") as channel:
        method = getattr(channel, ARITIES[arity])("/behaviour.Peer/uu")
        for _ in range(2):
            error = await peers.failure(method(b"x") if arity[0] == "u" else method([b"x"]))
            assert error.code() is peers.client.code.UNAVAILABLE
            assert "127.0.0.1" in error.details()
            assert str(port) in error.details()


@pytest.mark.only(client="aio", reason="the synchronous API takes requests from an iterator and refuses no writes")
@pytest.mark.parametrize("arity", ["su", "ss"])
async def test_first_write_of_a_call_that_failed_fast_has_its_status(
    peers: Peers, refusing_port: int, arity: str
) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}") as channel:
        await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
        call = getattr(channel, ARITIES[arity])(f"/behaviour.Peer/{arity}")()
        error = await peers.failure(call.write(b"x"))
        assert error.code() is peers.client.code.UNAVAILABLE
        with pytest.raises(asyncio.InvalidStateError):
            await call.write(b"x")


async def test_missing_unix_socket_is_unavailable(peers: Peers, tmp_path: Any) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"unix:{tmp_path}/absent") as channel:
        error = await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
        assert error.code() is peers.client.code.UNAVAILABLE


async def test_name_that_does_not_resolve_is_unavailable(peers: Peers) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel("no-such-host.invalid:1") as channel:
        error = await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
        assert error.code() is peers.client.code.UNAVAILABLE
        assert "no-such-host.invalid" in error.details()


@each_arity
async def test_call_that_waits_for_ready_is_served_later(peers: Peers, refusing_port: int, arity: str) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER) as channel:
        method = getattr(channel, ARITIES[arity])(f"/behaviour.Peer/{arity}")
        call = method(b"x" if arity[0] == "u" else [b"x"], wait_for_ready=True)
        await reach(channel, peers.client.root.ChannelConnectivity.TRANSIENT_FAILURE)
        assert not call.done()
        server = peers.make_server(handlers=[peers.handlers(**ECHO)])
        peers.add_port(server, f"127.0.0.1:{refusing_port}")
        await server.start()
        assert set(await collect(call)) == {b"x"}
        await server.stop(None)


async def test_channel_connects_again_after_the_server_came_back(peers: Peers, refusing_port: int) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}", **EAGER) as channel:
        method = channel.unary_unary("/behaviour.Peer/uu")
        for _ in range(2):
            server = peers.make_server(handlers=[peers.handlers(**ECHO)])
            peers.add_port(server, f"127.0.0.1:{refusing_port}")
            await server.start()
            assert await method(b"x", wait_for_ready=True) == b"x"
            await server.stop(None)
            await leave(channel, peers.client.root.ChannelConnectivity.READY)


async def test_channel_ready(peers: Peers) -> None:
    connectivity = peers.client.root.ChannelConnectivity
    async with peers.serve(**ECHO) as link, link.open_channel() as channel:
        assert channel.get_state() is connectivity.IDLE
        await channel.channel_ready()
        assert channel.get_state() is connectivity.READY


async def test_state_changes_can_be_waited_for(peers: Peers) -> None:
    connectivity = peers.client.root.ChannelConnectivity
    async with peers.serve(**ECHO) as link, link.open_channel() as channel:
        waiting = asyncio.create_task(channel.wait_for_state_change(connectivity.IDLE))
        assert await channel.unary_unary("/behaviour.Peer/uu")(b"x") == b"x"
        await waiting
        assert channel.get_state() is connectivity.READY


async def test_refused_channel_is_in_transient_failure(peers: Peers, refusing_port: int) -> None:
    connectivity = peers.client.root.ChannelConnectivity
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}") as channel:
        await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
        assert channel.get_state() is connectivity.TRANSIENT_FAILURE


async def test_closed_channel_is_shut_down(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        channel = link.open_channel()
        method = channel.unary_unary("/behaviour.Peer/uu")
        await method(b"x")
        await channel.close()
        assert channel.get_state() is peers.client.root.ChannelConnectivity.SHUTDOWN
        with pytest.raises(peers.client.aio.UsageError, match=r"Channel is closed\.|on closed channel!"):
            await method(b"x")
        await channel.close()


@pytest.mark.only(client="aio", reason="the synchronous API has no wait for a state")
async def test_state_of_a_closed_channel_cannot_be_waited_for(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        channel = link.open_channel()
        waiting = asyncio.create_task(channel.wait_for_state_change(channel.get_state()))
        await pause()
        await channel.close()
        await waiting
        for state in peers.client.root.ChannelConnectivity:
            with pytest.raises(peers.client.aio.UsageError, match=r"Channel is closed\."):
                await channel.wait_for_state_change(state)
        with pytest.raises(peers.client.aio.UsageError, match=r"Channel is closed\."):
            await channel.channel_ready()


async def test_asking_for_the_state_makes_the_channel_connect(peers: Peers) -> None:
    connectivity = peers.client.root.ChannelConnectivity
    async with peers.serve(**ECHO) as link, link.open_channel() as channel:
        # The answer is the state before.
        assert channel.get_state(try_to_connect=True) is connectivity.IDLE
        await reach(channel, connectivity.READY)


@pytest.mark.only(client="aio", reason="the synchronous API closes a channel at once")
async def test_closing_with_negative_grace_is_a_value_error(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link, link.open_channel() as channel:
        with pytest.raises(ValueError, match="non-negative"):
            await channel.close(-1)


@pytest.mark.only(client="aio", reason="the synchronous API has no wait_for_connection")
async def test_call_waits_until_the_connection_is_there(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.ss()
        await call.wait_for_connection()
        await stuck.started
        assert not call.done()
        call.cancel()


@pytest.mark.only(client="aio", reason="the synchronous API has no wait_for_connection")
async def test_wait_for_connection_raises_what_ended_the_call(peers: Peers, refusing_port: int) -> None:
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{refusing_port}") as channel:
        call = channel.unary_stream("/behaviour.Peer/us")(b"x")
        with pytest.raises(peers.client.aio.AioRpcError) as failed:
            await call.wait_for_connection()
        assert failed.value.code() is peers.client.code.UNAVAILABLE


async def test_lost_connection_is_unavailable(peers: Peers) -> None:
    # A peer that takes the connection and closes it without a word.
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with asyncio.timeout(BOUND), peers.open_channel(f"127.0.0.1:{port}") as channel:
        error = await peers.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
        assert error.code() is peers.client.code.UNAVAILABLE
    await close_listener(listener)


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{port}", "ipv4:127.0.0.1:{port}", "dns:127.0.0.1:{port}", "dns:///127.0.0.1:{port}"]
)
async def test_target_may_have_the_form(peers: Peers, form: str) -> None:
    async with peers.serve(**ECHO) as link:
        port = link.target.rpartition(":")[2]
        async with peers.open_channel(form.format(port=port)) as channel:
            assert await channel.unary_unary("/behaviour.Peer/uu")(b"x") == b"x"


async def reach(channel: Any, state: Any) -> None:
    """Make the channel try to connect and wait until it is in a state."""
    while (now := channel.get_state(try_to_connect=True)) is not state:
        await channel.wait_for_state_change(now)


async def leave(channel: Any, state: Any) -> None:
    """Wait until the channel is in another state."""
    if channel.get_state() is state:
        await channel.wait_for_state_change(state)


def test_refusing_port_is_refused(refusing_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", refusing_port), timeout=5)
