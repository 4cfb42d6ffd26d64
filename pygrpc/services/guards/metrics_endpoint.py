"""The place where the metrics can be read: a small HTTP server, on a port of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 16
# Of a request, in bytes and in seconds; for the answer there is as much time again.
_LARGEST_REQUEST = 8192
_PATIENCE = 5.0
_TEXT = "text/plain; charset=utf-8"


class MetricsEndpoint:
    """Answers `GET /metrics` (HTTP/1.1, RFC 9112), one request for each connection.

    It tells everybody who can reach it, so it listens on loopback unless it is told otherwise.
    """

    def __init__(self, text: Callable[[], bytes], host: str = "127.0.0.1", port: int = 0) -> None:
        """Makes an endpoint that does not listen yet.

        Args:
            text: Returns the metrics; called in a thread.
            host: A name or address to listen on.
            port: 0 lets the system choose.
        """
        self._text = text
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Begins to listen.

        Returns:
            The port.

        Raises:
            OSError: The address can't be used.
        """
        self._server = await asyncio.start_server(self._connected, self._host, self._port, limit=_LARGEST_REQUEST)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stops to listen, and ends what is being answered."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or len(self._connections) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        connection = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(2 * _PATIENCE):
                async with asyncio.timeout(_PATIENCE):
                    request = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(request))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Nobody waits for an answer, or nobody should get one.
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", _TEXT, b"The metrics are at /metrics.\n")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", _TEXT, b"Metrics can only be read.\n", "Allow: GET, HEAD\r\n")
        try:
            body = await asyncio.to_thread(self._text)
        except Exception:
            _log.exception("the metrics cannot be told")
            return _response("500 Internal Server Error", _TEXT, b"The metrics cannot be told; see the log.\n")
        answer = _response("200 OK", CONTENT_TYPE_LATEST, body)
        return answer if method == b"GET" else answer[: len(answer) - len(body)]


def _response(status: str, content_type: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
