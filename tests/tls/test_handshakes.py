"""Handshakes that go wrong, take too long or are followed by nothing, and connections that end in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pygrpc
from pygrpc._tls_contexts import _as_file
from tests.behaviour.frames import PREFACE, Writer, data, message, settings
from tests.behaviour.raw import request_headers
from tests.tls import certificates
from tests.tls.peers import METHOD, call, failure, is_ours, ours, pairs, serving

SHORT = [("grpc.server_handshake_timeout_ms", 200)]


def tls_server(module: Any) -> Any:
    return module.ssl_server_credentials([certificates.server()])


def tls_client(module: Any) -> Any:
    return module.ssl_channel_credentials(certificates.roots())


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificates.roots().decode())
    context.set_alpn_protocols(["h2"])
    return context


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@contextlib.asynccontextmanager
async def connected(target: str, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("localhost", int(target.rpartition(":")[2]), **options)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def works(api: Any, target: str) -> None:
    """Makes a call; again if a busy machine has not let it shake hands in that short time."""
    async with asyncio.timeout(20):
        while True:
            try:
                assert await call(api, target, tls_client) == b"ping"
                return
            except pygrpc.RpcError as error:
                assert error.code() is pygrpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


@ours
@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        PREFACE + settings({}),
        b"\x16\x03\x01\xff\xff" + bytes(100),
        b"\0" * 20_000,
    ],
    ids=["http", "http2", "no hello", "zeros"],
)
async def test_garbage_on_a_tls_port(api: Any, sent: bytes) -> None:
    async with serving(api, tls_server, options=SHORT) as (target, _):
        async with connected(target) as (reader, writer):
            writer.write(sent)
            await until_closed(reader)
        await works(api, target)


@ours
@pytest.mark.parametrize("part", [0, 1, 100, None], ids=["nothing", "a byte", "half a hello", "a hello"])
async def test_a_handshake_that_takes_too_long(api: Any, part: int | None) -> None:
    async with serving(api, tls_server, options=SHORT) as (target, _), connected(target) as (reader, writer):
        writer.write(client_hello()[:part])
        # Others don't wait for it.
        await works(api, target)
        await until_closed(reader)


@ours
async def test_nothing_behind_the_handshake(api: Any) -> None:
    async with serving(api, tls_server, options=SHORT) as (target, _):
        async with connected(target, ssl=client_context()) as (reader, _):
            # The server's SETTINGS, and then a GOAWAY that says why.
            assert b"did not finish the HTTP/2 handshake in time" in await until_closed(reader)
        await works(api, target)


@ours
@pytest.mark.parametrize("how", ["close_notify", "half-closed", "reset"])
async def test_a_client_that_leaves_in_the_middle(api: Any, how: str) -> None:
    async with serving(api, tls_server) as (target, seen):
        sock = socket.create_connection(("localhost", int(target.rpartition(":")[2])), timeout=20)
        tls = client_context().wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
        await asyncio.to_thread(tls.do_handshake)
        headers = Writer().headers(1, request_headers(scheme="https", path=METHOD))
        tls.sendall(PREFACE + settings({}) + headers + data(1, message(b"x"), end=True))
        await asyncio.to_thread(tls.recv, 1)
        if how == "reset":
            # No goodbye of TLS, and none of TCP.
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half-closed":
            # No goodbye of TLS; the other direction stays open.
            tls.shutdown(socket.SHUT_WR)
        else:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(tls.unwrap)
        tls.close()
        assert await call(api, target, tls_client) == b"ping"
        assert len(seen.metadata) in (1, 2)


@ours
@pytest.mark.parametrize("polite", [True, False])
async def test_a_server_that_leaves_behind_the_handshake(api: Any, polite: bool) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    with _as_file(b"\n".join(certificates.server())) as path:
        context.load_cert_chain(path)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not polite:
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(leave, "localhost", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(api, f"localhost:{port}", tls_client)
    assert error.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "(it may expect another client certificate)" in error.details()


@pairs
async def test_a_certificate_that_has_expired(client: Any, server: Any) -> None:
    expired = certificates.expired("localhost")
    async with serving(server, lambda m: m.ssl_server_credentials([expired])) as (target, seen):
        error = await failure(client, target, tls_client)
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert not seen.metadata
    if is_ours(client):
        assert "the server's certificate was refused: certificate has expired" in error.details()


@pairs
async def test_a_client_certificate_that_has_expired(client: Any, server: Any) -> None:
    expired = certificates.expired("client.example")

    def mtls_server(module: Any) -> Any:
        return module.ssl_server_credentials([certificates.server()], certificates.roots(), True)

    async with serving(server, mtls_server) as (target, seen):
        error = await failure(client, target, lambda m: m.ssl_channel_credentials(certificates.roots(), *expired))
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert not seen.metadata
    if is_ours(client):
        # What the server had to say of it is lost if its reset overtakes it.
        assert "(it may expect another client certificate)" in error.details()
