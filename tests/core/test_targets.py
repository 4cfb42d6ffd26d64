"""Targets of channels and addresses of servers (doc/naming.md)."""

from collections.abc import Iterator
from typing import Any

import pytest

from pygrpc import resolvers
from pygrpc.core.targets import DEFAULT_PORT, Address, parse_address, parse_listen_address, parse_target, peer_name


@pytest.mark.parametrize(
    ("target", "addresses", "authority"),
    [
        ("localhost:50051", [("localhost", 50051, "")], "localhost:50051"),
        ("localhost", [("localhost", DEFAULT_PORT, "")], "localhost"),
        ("localhost:", [("localhost", DEFAULT_PORT, "")], "localhost:"),
        ("127.0.0.1:0", [("127.0.0.1", 0, "")], "127.0.0.1:0"),
        ("host:65535", [("host", 65535, "")], "host:65535"),
        ("[::1]:50051", [("::1", 50051, "")], "[::1]:50051"),
        ("[::1]", [("::1", DEFAULT_PORT, "")], "[::1]"),
        ("::1", [("::1", DEFAULT_PORT, "")], "::1"),
        ("fe80::1%eth0", [("fe80::1%eth0", DEFAULT_PORT, "")], "fe80::1%eth0"),
        ("::ffff:127.0.0.1", [("::ffff:127.0.0.1", DEFAULT_PORT, "")], "::ffff:127.0.0.1"),
        ("dns:host:1", [("host", 1, "")], "host:1"),
        ("dns:///host:1", [("host", 1, "")], "host:1"),
        ("dns://8.8.8.8/host:1", [("host", 1, "")], "host:1"),
        ("dns:///[::1]:1", [("::1", 1, "")], "[::1]:1"),
        ("dns:/host:1", [("host", 1, "")], "host:1"),
        ("DNS:host:1", [("host", 1, "")], "host:1"),
        ("dns:ho%73t:1", [("host", 1, "")], "host:1"),
        ("ho%73t:1", [("host", 1, "")], "host:1"),
        ("dns:host:1?a=b#c", [("host", 1, "")], "host:1"),
        ("host:1#c", [("host", 1, "")], "host:1"),
        ("passthrough:///host:1", [("host", 1, "")], "host:1"),
        ("ipv4:127.0.0.1:1", [("127.0.0.1", 1, "")], "127.0.0.1:1"),
        ("ipv4:///127.0.0.1:1", [("127.0.0.1", 1, "")], "127.0.0.1:1"),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", [("127.0.0.1", 1, ""), ("127.0.0.2", 2, "")], "127.0.0.1:1"),
        ("ipv4:127.0.0.1:1,", [("127.0.0.1", 1, "")], "127.0.0.1:1"),
        ("ipv6:%5B::1%5D:1", [("::1", 1, "")], "[::1]:1"),
        ("ipv6:[fe80::1%25lo]:1", [("fe80::1%lo", 1, "")], "[fe80::1%lo]:1"),
        ("ipv6:[::1]:1,[::2]", [("::1", 1, ""), ("::2", DEFAULT_PORT, "")], "[::1]:1"),
        ("unix:relative/path", [("", 0, "relative/path")], "localhost"),
        ("unix:/run/a.sock", [("", 0, "/run/a.sock")], "localhost"),
        ("unix:///run/a.sock", [("", 0, "/run/a.sock")], "localhost"),
        ("unix:/run/a%20b.sock", [("", 0, "/run/a b.sock")], "localhost"),
        ("unix-abstract:name", [("", 0, "\0name")], "localhost"),
        ("unix-abstract:a%00b", [("", 0, "\0a\0b")], "localhost"),
    ],
)
def test_a_target_is_read(target: str, addresses: list[tuple[str, int, str]], authority: str) -> None:
    parsed = parse_target(target)
    assert parsed.addresses == tuple(Address(*address) for address in addresses)
    assert parsed.authority == authority


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("", "has no host"),
        (":50051", "has no host"),
        ("dns:", "has no host"),
        ("dns:///", "has no host"),
        ("dns://server", "has no host"),
        ("ipv4:", "has no host"),
        ("ipv4:127.0.0.1:1,,127.0.0.1:1", "has no host"),
        ("ipv4://server/127.0.0.1:1", "has an authority, which 'ipv4' has no use for"),
        ("ipv4:localhost:1", "has 'localhost' where a numeric ipv4 address belongs"),
        ("ipv4:[::1]:1", "has '::1' where a numeric ipv4 address belongs"),
        ("ipv6:127.0.0.1:1", "has '127.0.0.1' where a numeric ipv6 address belongs"),
        ("unix://relative", "must be absolute behind 'unix://'"),
        ("unknown:host:80", "neither host:port nor an IPv6 address"),
        ("[]:1", "has no host"),
        ("host:port", "must be a number from 0 to 65535, not 'port'"),
        ("host:65536", "must be a number"),
        ("host:-1", "must be a number"),
        ("host:\u0661", "must be a number"),
        ("http://host:80", "neither host:port nor an IPv6 address"),
        ("host:80:90", "neither host:port nor an IPv6 address"),
        ("http://host", "must be a number"),
        ("[::1", "without its closing bracket"),
        ("[::1]50051", "without its closing bracket"),
        ("[::1]:x", "must be a number"),
        ("unix:", "has no socket path"),
        ("unix://", "has no socket path"),
        ("unix-abstract:", "has no socket path"),
    ],
)
def test_a_target_that_cannot_be_read_says_why(target: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_target(target)


def test_a_server_listens_on_one_address() -> None:
    assert parse_listen_address("[::]:0") == Address("::", 0)
    assert parse_listen_address("unix:/run/a.sock") == Address("", 0, "/run/a.sock")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("host", 1), "host:1"),
        (Address("::1", 1), "[::1]:1"),
        (Address("", 0, "/run/a"), "unix:/run/a"),
        (Address("", 0, "\0name"), "unix-abstract:name"),
    ],
)
def test_an_address_as_people_write_it(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("ipv4", "127.0.0.1", 5), "ipv4:127.0.0.1:5"),
        (("ipv6", "::1", 5), "ipv6:%5B::1%5D:5"),
        (("unix", "", 0, "/run/a"), "unix:/run/a"),
        (("unix", "", 0), "unix:"),
    ],
)
def test_a_peer_is_named_as_grpcio_names_it(arguments: tuple[str, str, int], name: str) -> None:
    assert peer_name(*arguments) == name


@pytest.mark.parametrize("target", [None, 50051, ["localhost:50051"]])
def test_a_target_is_text(target: Any) -> None:
    with pytest.raises(TypeError, match="must be text such as 'localhost:50051'"):
        parse_target(target)


def test_a_target_may_name_a_dns_server() -> None:
    assert parse_target("dns://8.8.8.8:53/host").dns_server == "8.8.8.8:53"
    assert parse_target("dns:///host").dns_server == ""
    assert parse_target("passthrough://a/host").dns_server == ""


@pytest.fixture
def scheme() -> Iterator[str]:
    resolvers.register("its-own", lambda target, listener: resolvers.Resolver())
    yield "its-own"
    resolvers.unregister("its-own")


@pytest.mark.parametrize(
    ("rest", "name_server", "endpoint", "authority"),
    [
        ("a", "", "a", "a"),
        ("///a", "", "a", "a"),
        ("//b:1/a", "b:1", "a", "a"),
        ("//b", "b", "", "localhost"),
        ("///a%20b/c", "", "a b/c", "a%20b%2Fc"),
        ("///a:1,b:2", "", "a:1,b:2", "a:1,b:2"),
    ],
)
def test_a_registered_scheme_is_for_its_resolver(
    scheme: str, rest: str, name_server: str, endpoint: str, authority: str
) -> None:
    target = parse_target(f"ITS-own:{rest}")
    assert target.resolver == resolvers.Target(scheme, name_server, endpoint)
    assert target.authority == authority
    assert not target.addresses


def test_a_server_does_not_ask_a_registered_resolver(scheme: str) -> None:
    with pytest.raises(ValueError, match="port of the target"):
        parse_listen_address(f"{scheme}:a")


def test_addresses_that_need_no_look_up() -> None:
    assert parse_address("127.0.0.1:1") == Address("127.0.0.1", 1)
    assert parse_address("[::1]:1") == Address("::1", 1)
    assert parse_address("unix:/a") == Address("", 0, "/a")
    with pytest.raises(ValueError, match="'localhost:1' has a host name where a numeric IP address belongs"):
        parse_address("localhost:1")
