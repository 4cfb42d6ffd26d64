"""Reading the metrics over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.request import urlopen

import pytest

from pygrpc.services.guards import Metrics, MetricsEndpoint, metrics_endpoint
from tests.services.guards.support import until


@asynccontextmanager
async def endpoint(text: Callable[[], bytes] = lambda: b"metrics 1\n") -> AsyncIterator[int]:
    made = MetricsEndpoint(text)
    port = await made.start()
    try:
        yield port
    finally:
        await made.stop()


async def ask(port: int, request: bytes) -> tuple[str, bytes]:
    """Sends bytes; returns the status line and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0].decode(), body


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Waits for the end of a connection that gets no answer."""
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_a_client_of_http_reads_the_metrics() -> None:
    async with endpoint(Metrics().text) as port:

        def get() -> tuple[int, str, bytes]:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
                return response.status, response.headers["content-type"], response.read()

        status, kind, body = await asyncio.to_thread(get)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert b"# TYPE grpc_server_started_total counter" in body


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1", "200 OK", b"metrics 1\n"),
        (b"GET /metrics?name=x HTTP/1.0", "200 OK", b"metrics 1\n"),
        (b"HEAD /metrics HTTP/1.1", "200 OK", b""),
        (b"POST /metrics HTTP/1.1", "405 Method Not Allowed", b"Metrics can only be read.\n"),
        (b"GET / HTTP/1.1", "404 Not Found", b"The metrics are at /metrics.\n"),
        (b"nonsense", "404 Not Found", b"The metrics are at /metrics.\n"),
    ],
)
async def test_answers(line: bytes, status: str, body: bytes) -> None:
    async with endpoint() as port:
        answer = await ask(port, line + b"\r\nHost: localhost\r\n\r\n")
    assert answer == (f"HTTP/1.1 {status}", body)


async def test_metrics_that_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bytes:
        raise ValueError("a mistake")

    async with endpoint(broken) as port:
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 500 Internal Server Error"
    assert "a mistake" in caplog.text


async def test_a_request_without_end_is_given_up() -> None:
    async with endpoint() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000)
        await nothing(reader, writer)


async def test_a_client_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_endpoint, "_PATIENCE", 0.05)
    async with endpoint() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await nothing(reader, writer)


async def test_connections_have_a_bound() -> None:
    release = threading.Event()

    def slow() -> bytes:
        release.wait(20)
        return b"x"

    made = MetricsEndpoint(slow)
    port = await made.start()
    asked = [asyncio.create_task(ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")) for _ in range(16)]
    await until(lambda: len(made._connections) == 16)
    await nothing(*await asyncio.open_connection("127.0.0.1", port))
    release.set()
    assert {status for status, _ in await asyncio.gather(*asked)} == {"HTTP/1.1 200 OK"}
    await made.stop()
    await made.stop()


async def test_stopping_ends_what_is_being_answered() -> None:
    made = MetricsEndpoint(lambda: b"")
    port = await made.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: len(made._connections) == 1)
    await made.stop()
    await nothing(reader, writer)
