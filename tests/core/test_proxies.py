"""Which proxy a channel goes through, and what is said to it."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest

from pygrpc import resolvers
from pygrpc.core.proxies import MAX_ANSWER, Proxy, ProxyError, Tunnel, TunnelHandshake, find_proxy
from pygrpc.core.targets import Address, parse_target
from pygrpc.options import parse_options

PROXY = "http://proxy:3128"


def find(target: str = "server:1", *options: tuple[str, Any], **environment: str) -> Proxy | None:
    return find_proxy(parse_target(target), parse_options(options), environment)


# Which one.


def test_without_a_word_there_is_none() -> None:
    assert find() is None
    assert find(HTTP_PROXY=PROXY, all_proxy=PROXY, no_proxy="") is None


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_variable_names_it(variable: str) -> None:
    assert find(**{variable: PROXY}) == Proxy(Address("proxy", 3128), Tunnel("server:1"))


def test_the_first_that_is_set_counts_even_if_it_is_empty() -> None:
    others = {"https_proxy": "http://second:1", "http_proxy": "http://third:1"}
    found = find(grpc_proxy=PROXY, **others)
    assert found is not None
    assert found.address.host == "proxy"
    assert find(grpc_proxy="", **others) is None
    found = find(**others)
    assert found is not None
    assert found.address.host == "second"


def test_the_options_win() -> None:
    found = find("server:1", ("grpc.http_proxy", "http://mine:2"), grpc_proxy=PROXY)
    assert found is not None
    assert found.address == Address("mine", 2)
    assert find("server:1", ("grpc.http_proxy", ""), grpc_proxy=PROXY) is None
    assert find("server:1", ("grpc.enable_http_proxy", 0), ("grpc.http_proxy", PROXY), grpc_proxy=PROXY) is None


@pytest.mark.parametrize(
    ("url", "address", "credentials"),
    [
        ("http://proxy", Address("proxy", 443), ""),
        ("http://[::1]:3128/", Address("::1", 3128), ""),
        ("HTTP://proxy:1/path?a", Address("proxy", 1), ""),
        ("http://me:secret@proxy:1", Address("proxy", 1), "me:secret"),
        ("http://me:p%40ss%3A@proxy:1", Address("proxy", 1), "me:p@ss:"),
        ("http://a@b@proxy:1", Address("proxy", 1), "a@b"),
    ],
)
def test_the_url_of_a_proxy(url: str, address: Address, credentials: str) -> None:
    found = find(http_proxy=url)
    assert found is not None
    assert found.address == address
    assert base64.b64decode(found.tunnel.credentials).decode() == credentials


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://proxy:1", "must be http, not 'https'"),
        ("proxy:3128", "must be http, not 'proxy'"),
        ("proxy", "must be http, not ''"),
        ("http://", "has no host"),
        ("http://me@:1", "has no host"),
        ("http://proxy:port", "must be a number"),
        ("http://[::1", "Invalid IPv6 URL"),
    ],
)
def test_a_url_that_is_no_good_is_logged_and_ignored(url: str, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "pygrpc"):
        assert find(http_proxy=url) is None
    assert "an HTTP proxy is not used" in caplog.text
    assert problem in caplog.text


@pytest.mark.parametrize("secret", ["http://me:hush@proxy:port", "https://me:hush@proxy:1"])
def test_a_password_does_not_get_into_the_log(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    find(http_proxy=secret)
    assert "an HTTP proxy is not used" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("server", "server:443"),
        ("dns:///server:1", "server:1"),
        ("dns://8.8.8.8/server:1", "server:1"),
        ("passthrough:///server:1", "server:1"),
        ("ipv4:10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:1", "[::1]:1"),
        ("unix:/a", None),
        ("unix-abstract:a", None),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", None),
    ],
)
def test_what_the_proxy_is_asked_for(target: str, asked: str | None) -> None:
    found = find(target, http_proxy=PROXY)
    assert (found and found.tunnel.server) == asked


def test_what_a_registered_resolver_finds_is_reached_without() -> None:
    resolvers.register("mine", lambda target, listener: resolvers.Resolver())
    try:
        assert find("mine:server", http_proxy=PROXY) is None
    finally:
        resolvers.unregister("mine")


@pytest.mark.parametrize(
    ("target", "exceptions", "through"),
    [
        ("server.example:1", "", True),
        ("server.example:1", "example", False),
        ("server.example:1", ".example", False),
        ("server.example:1", "SERVER.Example", False),
        ("server.example:1", "ver.example", False),
        ("server.example:1", "example.", True),
        ("server.example:1", "other, server.example ,x", False),
        ("server.example:1", "server.example:1", True),
        ("server.example:1", "other,, ,", True),
        ("server.example:1", "*", True),
        ("localhost:1", "localhost", False),
        ("10.1.2.3:1", "10.0.0.0/8", False),
        ("10.1.2.3:1", "10.9.9.9/8", False),
        ("11.1.2.3:1", "10.0.0.0/8", True),
        ("10.1.2.3:1", "10.1.2.3", False),
        ("10.1.2.3:1", "10.0.0.0/", True),
        ("10.1.2.3:1", "10.0.0.0/99", True),
        ("10.1.2.3:1", "host/8", True),
        ("host:1", "10.0.0.0/8", True),
        ("[2001:db8::1]:1", "2001:db8::/32", False),
        ("[2001:db9::1]:1", "2001:db8::/32", True),
        ("[2001:db8::1]:1", "10.0.0.0/8", True),
    ],
)
@pytest.mark.parametrize("variable", ["no_grpc_proxy", "no_proxy"])
def test_exceptions(target: str, exceptions: str, through: bool, variable: str) -> None:
    assert (find(target, http_proxy=PROXY, **{variable: exceptions}) is not None) is through


def test_the_exceptions_for_grpc_win() -> None:
    assert find(http_proxy=PROXY, no_grpc_proxy="other", no_proxy="server") is not None
    assert find(http_proxy=PROXY, no_grpc_proxy="", no_proxy="server") is not None
    assert find(http_proxy=PROXY, no_grpc_proxy="server", no_proxy="other") is None


# What is said to it.

GOOD = b"HTTP/1.1 200 Connection established\r\nVia: me\r\n\r\n"


def test_the_request() -> None:
    handshake = TunnelHandshake(Tunnel("server:1"))
    assert handshake.request == b"CONNECT server:1 HTTP/1.1\r\nHost: server:1\r\n\r\n"
    handshake = TunnelHandshake(Tunnel("[::1]:1", "bWU6cHc="))
    assert handshake.request == (
        b"CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n"
    )


def test_a_name_in_other_letters_is_told_as_the_dns_has_it() -> None:
    assert TunnelHandshake(Tunnel("bücher.example:1")).request.startswith(
        b"CONNECT xn--bcher-kva.example:1 HTTP/1.1\r\n"
    )


@pytest.mark.parametrize("name", ["a b:1", "a\r\nX: y:1", "a\0:1", "ä" * 70 + ":1"])
def test_a_name_that_cannot_be_told(name: str) -> None:
    with pytest.raises(ProxyError, match="can't be told to an HTTP proxy"):
        TunnelHandshake(Tunnel(name))


@pytest.mark.parametrize("answer", [GOOD, b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.1 299 \r\nA: \r\r\n\r\n"])
def test_the_answer_is_read_to_its_end_and_no_further(answer: bytes) -> None:
    handshake = TunnelHandshake(Tunnel("server:1"))
    rest = answer + b"PRI"
    while True:
        taken, rest = rest[: handshake.wanted], rest[handshake.wanted :]
        if handshake.receive(taken):
            break
    assert rest == b"PRI"


def test_the_answer_may_come_byte_by_byte() -> None:
    handshake = TunnelHandshake(Tunnel("server:1"))
    done = [handshake.receive(GOOD[i : i + 1]) for i in range(len(GOOD))]
    assert done == [False] * (len(GOOD) - 1) + [True]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"returned response code 403 \(Forbidden\)"),
        (b"HTTP/1.1 407\r\n\r\n", "returned response code 407$"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "returned response code 100"),
        (b"HTTP/1.1 500 a\x07\x1b[2Jb\r\n\r\n", r"code 500 \(a\?\?\[2Jb\)"),
        (b"HTTP/1.1 2000\r\n\r\n", "has no status"),
        (b"HTTP/1.1\r\n\r\n", "has no status"),
        (b"SSH-2.0-OpenSSH", "is not HTTP: it begins with b'SSH-2"),
        (b"\x15\x03\x01", "is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 " + b"x" * MAX_ANSWER, "has more than 16384 bytes"),
    ],
)
def test_an_answer_that_is_no_tunnel(answer: bytes, problem: str) -> None:
    with pytest.raises(ProxyError, match=problem):
        TunnelHandshake(Tunnel("server:1")).receive(answer)
