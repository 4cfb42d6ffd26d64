"""Channels of the sync API that go through an HTTP proxy; what can be is compared with grpcio."""

from __future__ import annotations

import base64
import importlib
from typing import Any

import grpc
import pytest

import pygrpc
from tests.http_proxy import GOOD, http_proxy
from tests.sync.peers import BOUND, ECHO, SERVICE, serve

NAME = "server.invalid:1"
CLIENTS = ["pygrpc", "grpc"]
#: The answers of a proxy of which both clients say the same.
ANSWERS = {
    "403": (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP proxy returned response code 403"),
    "407": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP proxy returned response code 407"),
}


def uu(channel: Any) -> Any:
    return channel.unary_unary(f"/{SERVICE}/uu")


def failure(channel: Any) -> Any:
    with pytest.raises((pygrpc.RpcError, grpc.RpcError)) as caught:
        uu(channel)(b"", timeout=BOUND)
    return caught.value


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy", "option"])
def test_a_call_goes_through_the_proxy(client: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = importlib.import_module(client)
    with serve(**ECHO) as link, http_proxy({NAME: link.port}) as proxy:
        options = []
        if variable == "option":
            options = [("grpc.http_proxy", proxy.url)]
        else:
            monkeypatch.setenv(variable, proxy.url)
        with api.insecure_channel(NAME, options) as channel:
            # The name exists nowhere but at the proxy.
            assert uu(channel)(b"x", timeout=BOUND) == b"x"
            assert list(channel.unary_stream(f"/{SERVICE}/us")(b"y" * 100_000)) == [b"y" * 100_000] * 3
    (head,) = proxy.heads
    request, *headers = head.splitlines()
    assert request.startswith(f"CONNECT {NAME} HTTP/1.")
    assert f"Host: {NAME}" in headers


@pytest.mark.parametrize("client", CLIENTS)
def test_the_credentials_of_the_url_are_shown(client: str) -> None:
    api = importlib.import_module(client)
    with serve(**ECHO) as link, http_proxy({NAME: link.port}) as proxy:
        url = proxy.url.replace("//", "//me:p%40ss@")
        with api.insecure_channel(NAME, [("grpc.http_proxy", url)]) as channel:
            assert uu(channel)(b"x", timeout=BOUND) == b"x"
    (line,) = (line for line in proxy.heads[0].splitlines() if line.lower().startswith("proxy-authorization:"))
    scheme, credentials = line.partition(":")[2].split()
    assert (scheme, base64.b64decode(credentials)) == ("Basic", b"me:p@ss")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("exceptions", "option", "through"),
    [
        ("127.0.0.1", 1, False),
        ("0.1", 1, False),
        ("127.0.0.0/8", 1, False),
        ("10.0.0.0/8, other", 1, True),
        ("*", 1, True),
        ("", 1, True),
        ("", 0, False),
    ],
)
def test_exceptions(client: str, exceptions: str, option: int, through: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    api = importlib.import_module(client)
    with serve(**ECHO) as link, http_proxy({link.target: link.port}) as proxy:
        monkeypatch.setenv("grpc_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", exceptions)
        with api.insecure_channel(link.target, [("grpc.enable_http_proxy", option)]) as channel:
            assert uu(channel)(b"x", timeout=BOUND) == b"x"
    assert bool(proxy.heads) is through


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_proxy_that_refuses(client: str, answer: str) -> None:
    api = importlib.import_module(client)
    with http_proxy({}) as proxy:
        proxy.answer, text = ANSWERS[answer]
        with api.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)]) as channel:
            error = failure(channel)
    assert error.code() is api.StatusCode.UNAVAILABLE
    assert error.details().startswith("failed to connect to all addresses; last error: ")
    assert f"ipv4:127.0.0.1:{proxy.port}: " in error.details()
    assert text in error.details()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "the HTTP proxy closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nA: ", "the HTTP proxy closed the connection without an answer"),
        (b"220 mail.example ESMTP\r\n", "the HTTP proxy's answer is not HTTP: it begins with b'220 '"),
        (b"HTTP/1.1 " + b"2" * 20_000, "the HTTP proxy's answer has more than 16384 bytes"),
        (GOOD, "the peer closed the connection"),
    ],
)
def test_a_proxy_that_is_none(answer: bytes, text: str) -> None:
    with http_proxy({}) as proxy:
        proxy.answer = answer
        with pygrpc.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)]) as channel:
            error = failure(channel)
    assert error.code() is pygrpc.StatusCode.UNAVAILABLE
    assert text in error.details()


def test_a_proxy_that_says_nothing_is_given_up() -> None:
    options = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100)]
    with http_proxy({}) as proxy:
        proxy.silent = True
        with pygrpc.insecure_channel(NAME, [("grpc.http_proxy", proxy.url), *options]) as channel:
            error = failure(channel)
            assert proxy.left.acquire(timeout=BOUND)
    assert "no answer within 0." in error.details()


def test_closing_ends_the_wait_for_a_proxy() -> None:
    with http_proxy({}) as proxy:
        proxy.silent = True
        channel = pygrpc.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)])
        future = uu(channel).future(b"")
        assert proxy.came.wait(BOUND)
        channel.close()
        assert future.code() is pygrpc.StatusCode.CANCELLED
        assert proxy.left.acquire(timeout=BOUND)


@pytest.mark.parametrize("way", ["byte_by_byte", "joined"])
def test_however_the_answer_comes(way: str) -> None:
    with serve(**ECHO) as link, http_proxy({NAME: link.port}) as proxy:
        setattr(proxy, way, True)
        with pygrpc.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)]) as channel:
            assert uu(channel)(b"x", timeout=BOUND) == b"x"


@pytest.mark.parametrize("port", [1, None])
def test_a_proxy_that_cannot_be_reached(port: int | None) -> None:
    url = f"http://127.0.0.1:{port}" if port else "http://no-such-host.invalid:1"
    with pygrpc.insecure_channel(NAME, [("grpc.http_proxy", url)]) as channel:
        error = failure(channel)
    assert error.code() is pygrpc.StatusCode.UNAVAILABLE
    assert ("127.0.0.1:1: " if port else "no-such-host.invalid:1: ") in error.details()


def test_a_name_that_cannot_be_told_to_a_proxy() -> None:
    with http_proxy({}) as proxy, pygrpc.insecure_channel("a%20b:1", [("grpc.http_proxy", proxy.url)]) as channel:
        assert "the name 'a b:1' can't be told to an HTTP proxy" in failure(channel).details()


def test_a_channel_connects_through_the_proxy_again() -> None:
    options = [("grpc.initial_reconnect_backoff_ms", 100)]
    with serve(**ECHO) as link, http_proxy({NAME: link.port}) as proxy:
        proxy.answer = ANSWERS["403"][0]
        with pygrpc.insecure_channel(NAME, [("grpc.http_proxy", proxy.url), *options]) as channel:
            failure(channel)
            proxy.answer = None
            assert uu(channel)(b"x", timeout=BOUND, wait_for_ready=True) == b"x"
