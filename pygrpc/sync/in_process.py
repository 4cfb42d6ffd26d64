"""A channel to a server in the same process, over memory in place of a socket.

The two ends are objects that pass for sockets which never wait. A poller needs a descriptor, so each end has one that
shows when there is something to read; bytes don't go through it.
"""

import threading
from dataclasses import replace
from typing import Any, Self

from pygrpc.core.targets import Address
from pygrpc.options import Options
from pygrpc.sync.channel import Channel
from pygrpc.sync.connecting import Opener
from pygrpc.sync.poller import WakeUp
from pygrpc.sync.server import Server

_PEER = "in-process"


class MemorySocket:
    """One end of a pipe: what the shell uses of a connected socket that doesn't block.

    It takes all that is written, since HTTP/2's windows bound what can be under way.
    """

    #: No address family: see ``describe_peer``.
    family = None

    def __init__(self) -> None:
        """Makes an end that is not connected; see ``pair``."""
        self._other: MemorySocket
        self._lock = threading.Lock()
        self._arrived = bytearray()
        self._ended = False
        self._closed = False
        self._readable = WakeUp()

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Makes two ends that are connected."""
        first, second = cls(), cls()
        first._other, second._other = second, first
        return first, second

    def fileno(self) -> int:
        """What to poll: readable if ``recv`` has something, and always writable."""
        return self._readable.fileno()

    def recv(self, size: int) -> bytes:
        """Takes what has arrived; nothing behind the end.

        Raises:
            BlockingIOError: Nothing has arrived.
        """
        with self._lock:
            data = bytes(self._arrived[:size])
            del self._arrived[:size]
            if not self._arrived and not self._ended:
                self._readable.clear()
                if not data:
                    raise BlockingIOError
            return data

    def send(self, data: bytes | memoryview) -> int:
        """Hands all bytes to the other end.

        Raises:
            BrokenPipeError: The other end is closed.
        """
        if self._other._closed:
            raise BrokenPipeError("the other end is closed")
        self._other._arrive(data)
        return len(data)

    def _arrive(self, data: bytes | memoryview, ended: bool = False) -> None:
        with self._lock:
            self._ended = self._ended or ended
            if not self._closed:
                self._arrived += data
                self._readable.set()

    def close(self) -> None:
        """Closes this end; the other one reads what is left, and then the end."""
        with self._lock:
            closed, self._closed = self._closed, True
            self._readable.close()
        if not closed:
            self._other._arrive(b"", ended=True)

    def getpeername(self) -> str:
        """How the other end is named."""
        return _PEER

    getsockname = getpeername

    def setsockopt(self, *_: Any) -> None:
        """Does nothing."""

    def getsockopt(self, *_: Any) -> int:
        """Says that connecting has not failed."""
        return 0


class InProcessChannel(Channel):
    """A channel to a server in the same process."""

    def __init__(self, server: Server, options: Options) -> None:
        """Makes a channel that is idle; ``pygrpc.testing.in_process_channel`` is the public way."""
        self._server = server
        # A path needs no look-up.
        super().__init__(f"unix:{_PEER}", replace(options, default_authority=options.default_authority or _PEER))

    def opener(self) -> Opener:
        """Connects to the server."""
        server = self._server

        def connect(address: Address) -> MemorySocket:
            mine, its = MemorySocket.pair()
            try:
                server.accept_in_process(its)
            except ConnectionError:
                mine.close()
                its.close()
                raise
            return mine

        return connect
