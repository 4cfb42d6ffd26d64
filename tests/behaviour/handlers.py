"""Handlers that many behaviours share. Messages are bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.behaviour.peers import Witness, never


async def echo(request: bytes, context: Any) -> bytes:
    """Unary to unary: the request."""
    return request


async def repeat(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """Unary to stream: the request, three times."""
    for _ in range(3):
        yield request


async def join(requests: AsyncIterator[bytes], context: Any) -> bytes:
    """Stream to unary: the requests joined by commas."""
    return b",".join([request async for request in requests])


async def echo_each(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Stream to stream: each request as it comes."""
    async for request in requests:
        yield request


async def drain(request: Any) -> None:
    """Read a stream of requests to its end, for handlers that then fail.

    If a status arrives while grpcio's client still sends requests of an iterator, then the client may report its own
    failed write in place of that status.
    """
    if hasattr(request, "__aiter__"):
        async for _ in request:
            pass


#: One handler for each arity, as arguments of `Peers.serve`.
ECHO = {"uu": echo, "us": repeat, "su": join, "ss": echo_each}

#: What `ECHO` answers to the one request b"x".
ECHOED = {"uu": [b"x"], "us": [b"x", b"x", b"x"], "su": [b"x"], "ss": [b"x"]}


class Stuck:
    """Handlers of all arities that wait until they are cancelled.

    Attributes:
        started: Gets the context when the handler runs.
        ended: Gets the exception that ended it.
    """

    def __init__(self) -> None:
        self.started = Witness()
        self.ended = Witness()

    async def _wait(self, context: Any) -> None:
        self.started(context)
        try:
            await never()
        except BaseException as error:
            self.ended(error)
            raise

    async def _unary(self, request: Any, context: Any) -> bytes:
        await self._wait(context)
        return b""

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        await self._wait(context)
        yield b""

    @property
    def all(self) -> dict[str, Any]:
        """The handlers as arguments of `Peers.serve`."""
        return {"uu": self._unary, "us": self._stream, "su": self._unary, "ss": self._stream}
