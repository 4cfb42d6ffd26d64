"""The server: ports, starting and stopping, and the limit of calls."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, Stuck
from tests.behaviour.peers import BOUND, Peers, Witness, collect, pause


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "[::]:0", "0.0.0.0:0"])
async def test_serves_on(peers: Peers, address: str) -> None:
    async with peers.serve(**ECHO, address=address) as link:
        port = link.target.rpartition(":")[2]
        assert 0 < int(port) < 65536
        host = {"[::]": "localhost", "0.0.0.0": "127.0.0.1"}.get(address[:-2], address[:-2])
        async with peers.open_channel(f"{host}:{port}") as channel:
            assert await channel.unary_unary("/behaviour.Peer/uu")(b"x") == b"x"


async def test_any_address_of_ipv6_takes_ipv4_too(peers: Peers) -> None:
    server = peers.make_server(handlers=[peers.handlers(**ECHO)])
    port = peers.add_port(server, "[::]:0")
    async with peers.run(server), peers.open_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/behaviour.Peer/uu")(b"x") == b"x"


@pytest.mark.parametrize("form", ["unix:{path}", "unix://{path}"])
async def test_serves_on_a_unix_socket(peers: Peers, tmp_path: Any, form: str) -> None:
    async with peers.serve(**ECHO, address=form.format(path=tmp_path / "socket")) as link:
        assert await link.uu(b"x") == b"x"


async def test_serves_on_several_ports(peers: Peers) -> None:
    server = peers.make_server(handlers=[peers.handlers(**ECHO)])
    other = peers.add_port(server, "127.0.0.1:0")
    async with peers.run(server) as link, peers.open_channel(f"127.0.0.1:{other}") as channel:
        assert await link.uu(b"x") == b"x"
        assert await channel.unary_unary("/behaviour.Peer/uu")(b"y") == b"y"


async def test_port_is_known_before_the_start(peers: Peers) -> None:
    server = peers.make_server()
    port = peers.add_port(server, "127.0.0.1:0")
    assert 0 < port < 65536
    await server.stop(None)


@pytest.mark.parametrize("options", [(("grpc.so_reuseport", 0),), ()], ids=["alone", "reuse"])
async def test_port_in_use_is_a_runtime_error(peers: Peers, options: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        server = peers.make_server(options=options)
        with pytest.raises(RuntimeError, match=f"Failed to bind to address {address}"):
            peers.add_port(server, address)
        await server.stop(None)


async def test_ports_are_shared_by_default(peers: Peers) -> None:
    first, second = peers.make_server(), peers.make_server()
    port = peers.add_port(first, "127.0.0.1:0")
    assert peers.add_port(second, f"127.0.0.1:{port}") == port
    await first.stop(None)
    await second.stop(None)


@pytest.mark.parametrize("address", ["127.0.0.1:port", "no-such-host.invalid:0", ""], ids=repr)
async def test_address_that_cannot_be_bound_is_a_runtime_error(peers: Peers, address: str) -> None:
    server = peers.make_server()
    with pytest.raises(RuntimeError, match="Failed to bind to address"):
        peers.add_port(server, address)
    await server.stop(None)


@pytest.mark.only(server="aio", reason="a synchronous server has ended then")
async def test_stop_before_the_start_does_nothing(peers: Peers) -> None:
    server = peers.make_server(handlers=[peers.handlers(**ECHO)])
    await server.stop(None)
    async with peers.run(server) as link:
        assert await link.uu(b"x") == b"x"


@pytest.mark.only(server="aio", reason="the synchronous API raises ValueError, as the next test has it")
async def test_start_twice_is_harmless(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        await link.server.start()
        assert await link.uu(b"x") == b"x"


async def test_stop_twice_is_harmless(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        await link.server.stop(None)
        await link.server.stop(None)
        await link.server.stop(1)


async def test_start_after_the_stop_is_a_usage_error(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        await link.server.stop(None)
        with pytest.raises(peers.server.aio.UsageError):
            await link.server.start()


async def test_stop_cancels_calls_at_once(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.uu(b"x")
        await stuck.started
        await link.server.stop(None)
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        assert (await link.failure(call)).code() is peers.client.code.UNAVAILABLE


async def test_stop_with_grace_lets_calls_finish(peers: Peers) -> None:
    started, gate = Witness(), asyncio.Event()

    async def waits(request: bytes, context: Any) -> bytes:
        started()
        await gate.wait()
        return request

    async with peers.serve(uu=waits, ss=ECHO["ss"]) as link:
        unary, stream = link.uu(b"x"), link.ss()
        await stream.write(b"1")
        assert await stream.read() == b"1"
        await started
        stopping = asyncio.create_task(link.server.stop(BOUND))
        for number in range(3):
            await stream.write(b"%d" % number)
            assert await stream.read() == b"%d" % number
        assert not stopping.done()
        gate.set()
        assert await unary == b"x"
        assert not stopping.done()
        await stream.done_writing()
        assert await stream.read() is peers.client.aio.EOF
        await stopping
        assert await stream.code() is peers.client.code.OK


async def test_stop_with_grace_refuses_new_connections(peers: Peers) -> None:
    async with peers.serve(ss=ECHO["ss"], uu=ECHO["uu"]) as link:
        stream = link.ss()
        await stream.write(b"1")
        assert await stream.read() == b"1"
        stopping = asyncio.create_task(link.server.stop(BOUND))
        await pause()
        # The answer shows that the server has worked since then.
        await stream.write(b"2")
        assert await stream.read() == b"2"
        async with link.open_channel(options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            error = await link.failure(channel.unary_unary("/behaviour.Peer/uu")(b"x"))
            assert error.code() is peers.client.code.UNAVAILABLE
        await stream.done_writing()
        assert await stream.read() is peers.client.aio.EOF
        await stopping


async def test_stop_cancels_calls_after_the_grace(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.us(b"x")
        await stuck.started
        await link.server.stop(0.05)
        assert isinstance(await stuck.ended, asyncio.CancelledError)
        assert (await link.failure(call)).code() is peers.client.code.UNAVAILABLE


async def test_shorter_grace_overrules_a_longer_one(peers: Peers) -> None:
    stuck = Stuck()
    async with peers.serve(**stuck.all) as link:
        call = link.us(b"x")
        await stuck.started
        patient = asyncio.create_task(link.server.stop(BOUND))
        await pause()
        await link.server.stop(None)
        await patient
        assert (await link.failure(call)).code() is peers.client.code.UNAVAILABLE


async def test_idle_server_stops_without_waiting_for_the_grace(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        assert await link.uu(b"x") == b"x"
        async with asyncio.timeout(BOUND / 2):
            await link.server.stop(BOUND)


async def test_wait_for_termination_ends_with_the_server(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        waiting = asyncio.create_task(link.server.wait_for_termination())
        assert await link.uu(b"x") == b"x"
        assert not waiting.done()
        await link.server.stop(None)
        assert await waiting is False
        assert await link.server.wait_for_termination(1) is False


async def test_wait_for_termination_can_time_out(peers: Peers) -> None:
    async with peers.serve(**ECHO) as link:
        assert await link.server.wait_for_termination(0.01) is True
        assert await link.uu(b"x") == b"x"


async def test_calls_over_the_limit_are_refused(peers: Peers) -> None:
    started, gate = Witness(), asyncio.Event()

    async def waits(request: bytes, context: Any) -> bytes:
        started()
        await gate.wait()
        return request

    async with peers.serve(uu=waits, us=ECHO["us"], server={"maximum_concurrent_rpcs": 1}) as link:
        first = link.uu(b"x")
        await started
        error = await link.failure(link.us(b"x"))
        assert error.code() is peers.client.code.RESOURCE_EXHAUSTED
        assert error.details() == "Concurrent RPC limit exceeded!"
        gate.set()
        assert await first == b"x"
        assert await collect(link.us(b"x")) == [b"x", b"x", b"x"]


@pytest.mark.only(server="aio", reason="the synchronous API takes any number")
@pytest.mark.parametrize("limit", [0, -1])
async def test_limit_of_calls_is_positive(peers: Peers, limit: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        peers.make_server(maximum_concurrent_rpcs=limit)


async def test_unknown_options_are_ignored(peers: Peers) -> None:
    options = (("grpc.no_such_option", 1), ("typo", "value"))
    settings: Any = {"server": {"options": options}, "channel": {"options": options}}
    async with peers.serve(**ECHO, **settings) as link:
        assert await link.uu(b"x") == b"x"


@pytest.mark.only(server="pygrpc", reason="grpcio's server may refuse a stream that replaces one that it just ended")
async def test_streams_over_the_limit_wait(peers: Peers) -> None:
    running = 0
    most = 0

    async def counts(request: bytes, context: Any) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await pause()
        running -= 1
        return request

    async with peers.serve(uu=counts, server={"options": (("grpc.max_concurrent_streams", 3),)}) as link:
        # The client learns of the limit with the server's SETTINGS, so it has to have a connection first.
        assert await link.uu(b"x") == b"x"
        calls = [link.uu(b"%d" % number) for number in range(30)]
        assert await asyncio.gather(*map(collect, calls)) == [[b"%d" % number] for number in range(30)]
        assert 1 <= most <= 3


async def test_two_servers_and_two_channels_in_one_loop(peers: Peers) -> None:
    async def name(request: bytes, context: Any) -> bytes:
        return b"other"

    async with peers.serve(**ECHO) as link, peers.serve(uu=name) as other:
        assert await asyncio.gather(collect(link.uu(b"x")), collect(other.uu(b"x"))) == [[b"x"], [b"other"]]
