"""Channels of the asyncio API that go through an HTTP proxy."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pygrpc import StatusCode, aio
from tests.aio.support import failure, method, serving, until
from tests.http_proxy import BOUND, GOOD, http_proxy

NAME = "server.invalid:1"


def port_of(target: str) -> int:
    return int(target.rpartition(":")[2])


@pytest.mark.parametrize("way", ["", "byte_by_byte", "joined"])
async def test_a_call_goes_through_the_proxy(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as target:
        with http_proxy({NAME: port_of(target)}) as proxy:
            if way:
                setattr(proxy, way, True)
            monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:pw@"))
            async with aio.insecure_channel(NAME) as channel:
                assert await method(channel, "uu")(b"x" * 100_000) == b"x" * 100_000
            (head,) = proxy.heads
            assert head.startswith(f"CONNECT {NAME} HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic bWU6cHc=\r\n" in head


async def test_the_exceptions_are_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with (
        serving() as target,
        aio.insecure_channel(target, [("grpc.http_proxy", "http://127.0.0.1:1")]) as channel,
    ):
        assert await method(channel, "uu")(b"x") == b"x"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP proxy returned response code 403 (Forbidden)"),
        (b"", "the HTTP proxy closed the connection without an answer"),
        (b"220 mail.example ESMTP\r\n", "the HTTP proxy's answer is not HTTP: it begins with b'220 '"),
        (b"HTTP/1.1 " + b"2" * 20_000, "the HTTP proxy's answer has more than 16384 bytes"),
        (GOOD, "the peer closed the connection"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(answer: bytes, text: str) -> None:
    with http_proxy({}) as proxy:
        proxy.answer = answer
        async with aio.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)]) as channel:
            error = await failure(method(channel, "uu")(b""))
    assert error.code() is StatusCode.UNAVAILABLE
    assert f"last error: ipv4:127.0.0.1:{proxy.port}: Failed to connect to remote host: {text}" in str(error.details())


async def test_a_proxy_that_says_nothing_is_given_up() -> None:
    options = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100)]
    with http_proxy({}) as proxy:
        proxy.silent = True
        async with aio.insecure_channel(NAME, [("grpc.http_proxy", proxy.url), *options]) as channel:
            error = await failure(method(channel, "uu")(b""))
            assert "no answer within 0." in str(error.details())
            assert await asyncio.to_thread(proxy.left.acquire, timeout=BOUND)


async def test_closing_ends_the_wait_for_a_proxy() -> None:
    with http_proxy({}) as proxy:
        proxy.silent = True
        async with aio.insecure_channel(NAME, [("grpc.http_proxy", proxy.url)]) as channel:
            call = method(channel, "uu")(b"")
            await until(proxy.came.is_set)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(proxy.left.acquire, timeout=BOUND)


async def test_a_name_that_cannot_be_told_to_a_proxy() -> None:
    with http_proxy({}) as proxy:
        async with aio.insecure_channel("a%20b:1", [("grpc.http_proxy", proxy.url)]) as channel:
            error = await failure(method(channel, "uu")(b""))
    assert "the name 'a b:1' can't be told to an HTTP proxy" in str(error.details())


async def test_a_proxy_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with aio.insecure_channel(NAME, [("grpc.http_proxy", f"http://127.0.0.1:{port}")]) as channel:
        error = await failure(method(channel, "uu")(b""))
    assert f"ipv4:127.0.0.1:{port}: Failed to connect to remote host: " in str(error.details())
