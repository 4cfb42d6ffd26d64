"""One connection on plain sockets: bytes between a socket that doesn't block and the core."""

import socket
import ssl
from collections.abc import Callable
from typing import Generic, TypeVar

from pygrpc._sockets import describe_peer
from pygrpc.core.connection import Connection

#: Bytes that one read takes at most, and how many full reads follow each other before others get their turn.
_READ_SIZE = 65_536
_READS = 16

_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

C = TypeVar("C", bound=Connection)


def _nothing_pending() -> int:
    return 0


class Transport(Generic[C]):
    """The socket of one connection, and its core.

    Every method requires the lock that guards the core. Nothing here waits: what the socket doesn't take at once is
    kept, ``want_write`` is told, and the core makes no more DATA meanwhile.
    """

    def __init__(self, sock: socket.socket, core: C) -> None:
        """Takes over a connected socket that doesn't block.

        Args:
            sock: The socket.
            core: The connection on it, whose first bytes are queued already.
        """
        self.socket = sock
        self.core = core
        #: Whether the core has something to write.
        self.dirty = True
        self.closed = False
        self._unsent: bytes | memoryview = b""
        #: Set when writing has failed: what the peer sent before is still read, and then reading fails too.
        self._broken = False
        #: Counts the bytes that a TLS socket has taken from the system already, so that no poller shows them.
        self._pending: Callable[[], int] = _nothing_pending
        core.on_output = self.on_output
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket_changed()

    def _socket_changed(self) -> None:
        """To be called when ``socket`` has been wrapped for TLS."""
        self._pending = getattr(self.socket, "pending", _nothing_pending)

    @property
    def peer(self) -> str:
        """How the other end is named."""
        try:
            return describe_peer(self.socket.family, self.socket.getpeername())
        except OSError:
            return "unknown"

    # What a subclass adds.

    def want_write(self, wanted: bool) -> None:
        """The socket is, or isn't any more, to be watched for room to write."""
        raise NotImplementedError

    def on_lost(self, reason: str) -> None:
        """The connection is gone, and the socket is to be closed; called once."""
        raise NotImplementedError

    def on_output(self) -> None:
        """The core has something to write: ``flush`` is to be called before the lock is given back."""
        self.dirty = True

    # Bytes.

    def receive(self, now: float) -> None:
        """Takes what the socket has, and tells the core."""
        reads = 0
        while True:
            try:
                data = self.socket.recv(_READ_SIZE)
            except _WOULD_BLOCK:
                return
            except OSError as error:
                self.lost(error.strerror or str(error))
                return
            if not data:
                self.lost("the peer closed the connection")
                return
            self._receive_data(data, now)
            if self.core.closing:
                # What has made it so may have queued nothing.
                self.on_output()
            reads += 1
            if self.closed or ((len(data) < _READ_SIZE or reads == _READS) and not self._pending()):
                return

    def _receive_data(self, data: bytes, now: float) -> None:
        try:
            self.core.receive_data(data, now)
        except BaseException:
            # A signal handler raised, or there is a bug: these bytes are half handled, and nothing can follow them.
            self.lost("interrupted while it was reading")
            raise

    def flush(self) -> None:
        """Writes what is queued, as far as the socket takes it."""
        self.dirty = False
        if self.closed or self._broken:
            return
        try:
            self._write()
        except BaseException:
            # As above: what has been taken from the core may not have been sent.
            self.lost("interrupted while it was writing")
            raise

    def _write(self) -> None:
        core = self.core
        data = self._unsent or core.data_to_send()
        while data:
            try:
                sent = self.socket.send(data)
            except _WOULD_BLOCK:
                sent = 0
            except OSError:
                self._broken = True
                core.sending_paused = True
                return
            if sent < len(data):
                self._keep(memoryview(data)[sent:])
                if core.abandoned:
                    self.lost("the peer takes nothing any more")
                return
            if core.sending_paused:
                self._unsent = b""
                core.sending_paused = False
                self.want_write(False)
            data = core.data_to_send()
        if core.closing:
            self.lost("the connection was shut down")

    def _keep(self, rest: memoryview) -> None:
        self._unsent = rest
        if not self.core.sending_paused:
            self.core.sending_paused = True
            self.want_write(True)

    def lost(self, reason: str) -> None:
        """Closes the connection; every call on it ends."""
        if self.closed:
            return
        self.closed = True
        self._unsent = b""
        self.core.lost(reason)
        self.on_lost(reason)
