"""A channel to a server in the same event loop, over memory in place of a socket."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pygrpc.aio.channel import Channel
from pygrpc.aio.connecting import ClientTransport, Connections, Opener
from pygrpc.aio.interceptor import ClientInterceptor
from pygrpc.aio.server import Server
from pygrpc.core.targets import Address
from pygrpc.options import Options

_PEER = "in-process"


class MemoryTransport(asyncio.Transport):
    """One end of a pipe between two protocols of one loop.

    It keeps the order of a socket, and its back-pressure: what the other end's protocol has not been given yet counts
    as this end's write buffer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        """Makes an end that is not connected; see ``connect``."""
        super().__init__(extra={"peername": _PEER})
        self._loop = loop
        self._protocol = protocol
        self._other: MemoryTransport
        self._buffered = 0
        self._high = 65_536
        self._paused = False
        self._closing = False

    @staticmethod
    def connect(loop: asyncio.AbstractEventLoop, first: asyncio.Protocol, second: asyncio.Protocol) -> None:
        """Connects two protocols; both are told so in the next turns of the loop."""
        ends = MemoryTransport(loop, first), MemoryTransport(loop, second)
        ends[0]._other, ends[1]._other = ends[1], ends[0]
        for end in ends:
            loop.call_soon(end._protocol.connection_made, end)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hands bytes to the other end in the next turn of the loop."""
        if self._closing or not data:
            return
        self._buffered += len(data)
        self._loop.call_soon(self._other._receive, bytes(data))
        if self._buffered > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _receive(self, data: bytes) -> None:
        other = self._other
        other._buffered -= len(data)
        if not self._closing:
            self._protocol.data_received(data)
        if other._paused and other._buffered <= other._high // 4:
            other._paused = False
            if not other._closing:
                other._protocol.resume_writing()

    def close(self) -> None:
        """Closes both ends, behind what has been written."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)
            self._loop.call_soon(self._other.close)

    abort = close

    def is_closing(self) -> bool:
        """Whether this end is closed."""
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Sets the size of the write buffer, in bytes, from which on the protocol is to pause."""
        self._high = 65_536 if high is None else high

    def get_write_buffer_size(self) -> int:
        """The bytes that the other end's protocol has not been given yet."""
        return self._buffered


class InProcessChannel(Channel):
    """A channel to a server in the same event loop."""

    def __init__(self, server: Server, options: Options, interceptors: Sequence[ClientInterceptor] | None) -> None:
        """Makes a channel that is idle; ``pygrpc.testing.in_process_channel`` is the public way."""
        self._server = server
        # A path needs no look-up.
        named = replace(options, default_authority=options.default_authority or _PEER)
        super().__init__(f"unix:{_PEER}", named, interceptors)

    def opener(self) -> Opener:
        """Connects the two ends in memory."""
        server = self._server

        async def connect(owner: Connections, address: Address, tls: dict[str, Any]) -> ClientTransport:
            transport = ClientTransport(owner)
            MemoryTransport.connect(owner.loop, server.accept_in_process(), transport)
            await asyncio.sleep(0)
            return transport

        return connect
