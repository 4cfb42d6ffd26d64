"""Binding addresses and naming peers, for both shells."""

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from pygrpc import _sockets
from pygrpc._sockets import bind, describe_peer


def test_a_tcp_port() -> None:
    binding = bind("127.0.0.1:0", reuse_port=True)
    (listener,) = binding.sockets
    assert listener.getsockname() == ("127.0.0.1", binding.port)
    assert not listener.getblocking()
    with socket.create_connection(("127.0.0.1", binding.port)):
        listener.setblocking(True)
        listener.accept()[0].close()
    binding.close()
    assert listener.fileno() == -1


def test_all_addresses_of_a_name_have_one_port() -> None:
    binding = bind("localhost:0", reuse_port=False)
    assert {listener.getsockname()[1] for listener in binding.sockets} == {binding.port}
    binding.close()


def test_a_port_that_is_taken() -> None:
    binding = bind("127.0.0.1:0", reuse_port=False)
    with pytest.raises(RuntimeError, match=r"Failed to bind to address .*: Address already in use"):
        bind(f"127.0.0.1:{binding.port}", reuse_port=False)
    binding.close()


def test_several_servers_may_share_a_port() -> None:
    first = bind("127.0.0.1:0", reuse_port=True)
    second = bind(f"127.0.0.1:{first.port}", reuse_port=True)
    assert second.port == first.port
    first.close()
    second.close()


@pytest.mark.parametrize("address", ["", "host:port", "does-not-exist.invalid:1", "192.0.2.1:0", "unix:/no/such/path"])
def test_what_can_not_be_bound(address: str) -> None:
    with pytest.raises(RuntimeError, match="Failed to bind to address"):
        bind(address, reuse_port=True)


def names(*hosts: str) -> Any:
    def getaddrinfo(host: str, port: int, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    return getaddrinfo


def test_an_address_that_is_not_of_this_machine_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets.socket, "getaddrinfo", names("192.0.2.1", "127.0.0.1"))
    binding = bind("name:0", reuse_port=True)
    assert [listener.getsockname()[0] for listener in binding.sockets] == ["127.0.0.1"]
    binding.close()


def test_a_port_of_the_system_that_is_taken_elsewhere_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    original = _sockets._bind_name

    def bind_name(family: Any, name: Any, *flags: bool) -> socket.socket:
        tries.append(name[1])
        if len(tries) in (2, 4):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return original(family, name, *flags)

    monkeypatch.setattr(_sockets, "_bind_name", bind_name)
    monkeypatch.setattr(_sockets.socket, "getaddrinfo", names("127.0.0.1", "127.0.0.2"))
    binding = bind("name:0", reuse_port=True)
    assert len(binding.sockets) == 2
    assert tries[0] == tries[2] == tries[4] == 0
    binding.close()


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    original = _sockets._bind_name

    def bind_name(family: Any, name: Any, *flags: bool) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return original(family, name, *flags)

    monkeypatch.setattr(_sockets, "_bind_name", bind_name)
    binding = bind("[::]:0", reuse_port=True)
    assert binding.sockets[0].getsockname()[0] == "0.0.0.0"
    binding.close()
    with pytest.raises(RuntimeError, match="not supported"):
        bind("[::1]:0", reuse_port=True)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    binding = bind(f"unix:{path}", reuse_port=True)
    assert (binding.port, binding.path) == (1, str(path))
    with pytest.raises(RuntimeError, match="Address already in use"):
        bind(f"unix:{path}", reuse_port=True)
    binding.close()
    assert not path.exists()
    binding.close()


def test_the_file_of_a_dead_server_is_replaced_and_no_other(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    bind(f"unix:{dead}", reuse_port=True).close()
    precious = tmp_path / "file"
    precious.write_text("precious")
    with pytest.raises(RuntimeError):
        bind(f"unix:{precious}", reuse_port=True)
    assert precious.read_text() == "precious"


def test_an_abstract_unix_socket() -> None:
    binding = bind("unix-abstract:pygrpc-test-sockets", reuse_port=True)
    assert binding.path == ""
    binding.close()


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        (socket.AF_INET, ("1.2.3.4", 5), "ipv4:1.2.3.4:5"),
        (socket.AF_INET6, ("::1", 5, 0, 0), "ipv6:%5B::1%5D:5"),
        (socket.AF_INET6, ("::ffff:1.2.3.4", 5, 0, 0), "ipv4:1.2.3.4:5"),
        (socket.AF_UNIX, "", "unix:"),
        (socket.AF_UNIX, "/run/socket", "unix:/run/socket"),
        (socket.AF_UNIX, b"\0name", "unix:\0name"),
        (socket.AF_INET, None, "unix:"),
        (None, "in-process", "in-process"),
    ],
)
def test_peers(family: int | None, name: Any, expected: str) -> None:
    assert describe_peer(family, name) == expected


def test_a_port_that_is_reserved_takes_no_connections() -> None:
    reserved = _sockets.reserve("127.0.0.1:0")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", reserved.port), 20)
    listening = bind(f"127.0.0.1:{reserved.port}", reuse_port=True)
    socket.create_connection(("127.0.0.1", reserved.port), 20).close()
    listening.close()
    reserved.close()
