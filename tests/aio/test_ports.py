"""Ports of servers and targets of channels that don't work."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import sys
from pathlib import Path

import pytest

from pygrpc import ChannelConnectivity, StatusCode, aio
from tests.aio.support import failure, make_server, method, raw_server, serving

EXCLUSIVE = [("grpc.so_reuseport", 0)]


def listening() -> tuple[socket.socket, int]:
    """A socket of somebody else, and its port."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken, taken.getsockname()[1]


def has_ipv6() -> bool:
    """Whether there is a loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


# Servers.


async def test_a_port_in_use_is_an_error() -> None:
    taken, port = listening()
    with taken:
        server = make_server(options=EXCLUSIVE)
        with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}: Address already in use"):
            server.add_insecure_port(f"127.0.0.1:{port}")
        # It can still have another one.
        assert server.add_insecure_port("127.0.0.1:0") not in (0, port)


async def test_two_servers_share_a_port_only_if_both_want_to() -> None:
    first = make_server()
    port = first.add_insecure_port("127.0.0.1:0")
    assert make_server().add_insecure_port(f"127.0.0.1:{port}") == port
    with pytest.raises(RuntimeError, match="Address already in use"):
        make_server(options=EXCLUSIVE).add_insecure_port(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "has no host"),
        ("127.0.0.1:port", "must be a number"),
        ("127.0.0.1:70000", "must be a number"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("no..such.host:0", ""),
        ("unix:", "has no socket path"),
        ("unix:/no/such/folder/a.sock", "No such file or directory"),
        ("unix:/" + "x" * 300, "too long"),
    ],
)
async def test_an_address_that_cannot_be_used_says_why(address: str, reason: str) -> None:
    with pytest.raises(RuntimeError, match=f"Failed to bind to address .*{reason}"):
        make_server().add_insecure_port(address)


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]"), ("[::]:0", "127.0.0.1")]
)
async def test_addresses_that_serve(address: str, host: str) -> None:
    if address.startswith("[") and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = make_server()
    port = server.add_insecure_port(address)
    await server.start()
    async with aio.insecure_channel(f"{host}:{port}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)


async def test_a_server_has_several_ports() -> None:
    server = make_server()
    ports = [server.add_insecure_port("127.0.0.1:0") for _ in range(3)]
    await server.start()
    assert len(set(ports)) == 3
    for port in ports:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)


async def test_a_unix_socket_serves_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    server = make_server()
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    assert stat.S_ISSOCK(path.stat().st_mode)
    async with aio.insecure_channel(f"unix:{path}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)
    assert not path.exists()


async def test_a_unix_socket_that_nobody_listens_on_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    server = make_server()
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    async with aio.insecure_channel(f"unix:{path}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)


async def test_a_unix_socket_in_use_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    server = make_server()
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    with pytest.raises(RuntimeError, match="Address already in use"):
        make_server().add_insecure_port(f"unix:{path}")
    async with aio.insecure_channel(f"unix:{path}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("data")
    with pytest.raises(RuntimeError, match="Address already in use"):
        make_server().add_insecure_port(f"unix:{path}")
    assert path.read_text() == "data"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
async def test_an_abstract_socket_serves() -> None:
    address = f"unix-abstract:pygrpc-test-{os.getpid()}"
    server = make_server()
    server.add_insecure_port(address)
    await server.start()
    async with aio.insecure_channel(address) as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    await server.stop(None)


async def test_a_server_without_ports_starts_and_stops() -> None:
    server = make_server()
    await server.start()
    await server.stop(None)
    assert await server.wait_for_termination(0.001) is False


# Channels.


BAD_TARGETS = ["", ":1", "host:port", "[::1", "unix:", "http://host:80"]


@pytest.mark.parametrize("arity", ["uu", "ss"])
@pytest.mark.parametrize("target", BAD_TARGETS)
async def test_a_target_that_cannot_be_read_fails_the_calls(target: str, arity: str) -> None:
    async with aio.insecure_channel(target) as channel:
        for wait_for_ready in (False, True):
            request = b"x" if arity == "uu" else iter([b"x"])
            error = await failure(method(channel, arity)(request, wait_for_ready=wait_for_ready))
            assert error.code() is StatusCode.UNAVAILABLE
            assert str(error.details()).startswith(f"Failed to create channel to {target!r}: the ")


@pytest.mark.parametrize("target", BAD_TARGETS)
async def test_a_target_that_cannot_be_read_never_becomes_ready(target: str) -> None:
    async with aio.insecure_channel(target) as channel:
        with pytest.raises(aio.UsageError, match="Failed to create channel"):
            await channel.channel_ready()
        assert channel.get_state(try_to_connect=True) is not ChannelConnectivity.READY
        while (state := channel.get_state()) is not ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)


def free_port() -> int:
    """A port that nobody listens on."""
    taken, port = listening()
    taken.close()
    return port


@pytest.mark.parametrize("arity", ["uu", "ss"])
async def test_a_refused_connection_is_unavailable(arity: str) -> None:
    port = free_port()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = await failure(method(channel, arity)(b"x" if arity == "uu" else iter([b"x"])))
        assert error.code() is StatusCode.UNAVAILABLE
        assert f"127.0.0.1:{port}" in str(error.details())
        assert "refused" in str(error.details()).lower()


@pytest.mark.parametrize(
    "target",
    ["a..b:1", "x" * 70 + ".test:1", "a\0b:1", "unix:/no/such/socket", "unix:/" + "x" * 300, "unix:a%00b"],
    ids=ascii,
)
async def test_an_address_that_nobody_can_connect_to_is_unavailable(target: str) -> None:
    async with aio.insecure_channel(target) as channel:
        error = await failure(method(channel, "uu")(b"x"))
        assert error.code() is StatusCode.UNAVAILABLE
        assert re.search("failed to connect to all addresses|DNS resolution failed", str(error.details()))
        # And it says so again at once, until it tries again.
        assert (await failure(method(channel, "uu")(b"x"))).code() is StatusCode.UNAVAILABLE


async def test_the_next_address_is_tried() -> None:
    async with serving() as target, aio.insecure_channel(f"ipv4:127.0.0.1:{free_port()},{target}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it speaks HTTP/1, not HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP/2"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "does not speak HTTP/2"),
        (b"\0\0\0\4\0\0\0\0\1", "the peer broke HTTP/2"),
        (b"", "the peer closed the connection"),
    ],
    ids=["HTTP/1", "SSH", "TLS", "SETTINGS on a stream", "nothing"],
)
async def test_a_peer_that_is_no_grpc_server_is_unavailable(answer: bytes, reason: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as target, aio.insecure_channel(target) as channel:
        error = await failure(method(channel, "uu")(b"x"))
        assert error.code() is StatusCode.UNAVAILABLE
        assert reason in str(error.details())
