"""One connection of a server: the I/O thread reads it, or a worker for a while; any thread writes to it.

One lock guards all of it. Two threads may come to read at the same time: each takes what it finds.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from pygrpc._auth_context import AuthContext
from pygrpc._tls import ServerSecurity
from pygrpc.core.server_call import ServerCall
from pygrpc.core.server_connection import ServerConnection
from pygrpc.sync.io_thread import READ, WRITE, IoThread, Timer
from pygrpc.sync.poller import READ as POLL_READ
from pygrpc.sync.poller import Poller, create_poller, milliseconds
from pygrpc.sync.transport import Transport

_LOGGER = logging.getLogger("pygrpc")


#: Seconds that a worker waits for the next call. A client that makes one call after the other needs less, even on
#: a busy machine.
_LINGER = 0.01
#: Calls one after the other that make this a habit of the client.
_HABIT = 2


class TransportOwner(Protocol):
    """The server that connections belong to."""

    io: IoThread

    def make_connection(self, transport: "ServerTransport") -> ServerConnection:
        """Makes the core of a connection."""

    def on_call(self, call: ServerCall, transport: "ServerTransport") -> None:
        """A call has begun; the lock is not held."""

    def on_ready(self, context: Any) -> None:
        """A handler can start; called in the I/O thread, and the lock is not held."""

    def on_lost(self, transport: "ServerTransport") -> None:
        """A connection is closed; called in the I/O thread."""


class ServerTransport(Transport[ServerConnection]):
    """A connection from a client; ``with transport:`` takes its lock, and at the end writes what the core queued."""

    def __init__(self, owner: TransportOwner, sock: socket.socket, security: ServerSecurity) -> None:
        """Takes over a connection that has been accepted; in the I/O thread.

        Args:
            owner: The server.
            sock: A socket that doesn't block.
            security: How the connections of its port are secured.

        Raises:
            OSError: The connection is gone, or is not to be served.
        """
        self._owner = owner
        self._io = owner.io
        self._security = security
        self._auth_context: AuthContext | None = None
        self._new_calls: list[ServerCall] = []
        #: The contexts whose handlers can start, for whoever has just read.
        self.ready: list[Any] = []
        #: Whether a worker reads, and what it polls.
        self._taken_over = False
        #: How many calls have begun in a row while no other was going on.
        self._alone = 0
        self._poller: Poller | None = None
        self._wants_write = False
        self._timer: Timer | None = None
        #: When that is due: the core's own object.
        self._timer_at: float | None = None
        self.lock = threading.Lock()
        address = sock.getpeername()
        security.check(address)
        context = security.next_context()
        #: Whether the TLS handshake is still going on.
        self._handshaking = context is not None
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(sock, owner.make_connection(self))
        self._peer = super().peer
        self._io.register(sock, READ, self._on_event)
        if not self._handshaking:
            with self:
                pass
        self._set_timer()

    @property
    def peer(self) -> str:  # noqa: D102
        return self._peer

    def auth_context(self) -> AuthContext:
        """What is known of the client; worked out when somebody first asks."""
        if self._auth_context is None:
            self._auth_context = self._security.auth_context(
                self.socket if isinstance(self.socket, ssl.SSLSocket) else None
            )
        return self._auth_context

    # The lock; for any thread.

    def __enter__(self) -> None:
        """Takes the lock."""
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Writes what the core has queued, and gives the lock back."""
        try:
            if self.dirty:
                self.flush()
        finally:
            self.lock.release()

    def when_unlocked(self, action: Callable[[], object]) -> None:
        """Has the I/O thread run something soon, without the lock."""
        self._io.post(action)

    # Reading: in the I/O thread, or in a worker that waits for the next call.

    @property
    def may_be_taken_over(self) -> bool:
        """Whether the client makes one call after the other, and the I/O thread need not wait for the next."""
        return self._alone >= _HABIT and self._io.can_pause and len(self.core.calls) <= 1

    def take_over(self) -> bool:
        """Has the I/O thread wait for nothing here until ``linger`` or ``give_back``; returns whether it does so."""
        with self.lock:
            if self.closed or self._taken_over:
                return False
            self._taken_over = True
            self._io.pause(self.socket.fileno())
            return True

    def give_back(self) -> None:
        """Has the I/O thread wait here again."""
        with self.lock:
            self._taken_over = False
            if not self.closed:
                self._io.resume(self.socket.fileno(), self._mask)

    def linger(self) -> list[Any]:
        """Waits a moment for the next call on a connection that was taken over, and gives it back.

        Returns:
            The contexts of calls whose handlers can start, for the caller to see to.
        """
        with self.lock:
            if self._poller is None and not self.closed:
                self._poller = create_poller()
                self._poller.register(self.socket.fileno(), POLL_READ)
        try:
            self._wait_for_calls(time.monotonic() + _LINGER)
        finally:
            # The next handler may take its time, so somebody else has to read meanwhile.
            self.give_back()
        return self._take_ready()

    def _wait_for_calls(self, until: float) -> None:
        now = time.monotonic()
        while self._poller is not None and now < until and self._poller.poll(milliseconds(until - now)):
            now = time.monotonic()
            with self:
                if not self.closed:
                    self.receive(now)
                if self.closed or self._new_calls or self.ready:
                    return

    def _take_ready(self) -> list[Any]:
        """Begins the calls that have just come; returns those whose handlers can start."""
        if self._new_calls:
            with self.lock:
                calls, self._new_calls = self._new_calls, []
            self._alone = self._alone + 1 if len(self.core.calls) == 1 else 0
            for call in calls:
                self._owner.on_call(call, self)
        self._set_timer()
        if not self.ready:
            return []
        with self.lock:
            ready, self.ready = self.ready, []
        return ready

    # What the I/O thread does.

    def _on_event(self, mask: int) -> None:
        if self.closed:
            return
        if self._handshaking:
            self._shake_hands()
            return
        with self:
            if mask & READ:
                self.receive(time.monotonic())
            if mask & WRITE:
                self.dirty = True
        self._hand_on()

    def _hand_on(self) -> None:
        for context in self._take_ready():
            self._owner.on_ready(context)

    def _shake_hands(self) -> None:
        tls: Any = self.socket
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._io.modify(tls, READ)
            return
        except ssl.SSLWantWriteError:
            self._io.modify(tls, WRITE)
            return
        except OSError as error:
            _LOGGER.debug("a TLS handshake with %s failed: %s", self._peer, error)
            with self:
                self.lost(str(error))
            return
        self._handshaking = False
        self._io.modify(tls, READ)
        # The client's first data may have come with the end of its handshake.
        self._on_event(READ | WRITE)

    def _set_timer(self) -> None:
        if self.core.wakeup is not self._timer_at:
            with self.lock:
                self._cancel_timer()
                when = None if self.closed else self.core.wakeup
                if when is not None:
                    self._timer_at = when
                    self._timer = self._io.call_at(when, self._on_timer)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        self._timer_at = None
        if timer is not None:
            self._io.cancel(timer)

    def _on_timer(self) -> None:
        with self:
            self._timer = self._timer_at = None
            if self.closed:
                return
            self.core.handle_timeout(time.monotonic())
            self.dirty = True
        self._hand_on()

    def shutdown(self) -> None:
        """Begins the graceful goodbye; for the I/O thread."""
        with self:
            self.core.shutdown(time.monotonic(), refuse=True)
            self.dirty = True
        self._set_timer()

    def flush(self) -> None:  # noqa: D102 - the contract is in Transport
        if not self._handshaking:
            super().flush()
        elif self.core.closing:
            self.lost("the TLS handshake was not finished in time")

    def want_write(self, wanted: bool) -> None:  # noqa: D102
        self._wants_write = wanted
        self._in_io_thread(self._watch)

    @property
    def _mask(self) -> int:
        return READ | WRITE if self._wants_write else READ

    def _watch(self) -> None:
        if not self.closed:
            self._io.modify(self.socket, self._mask)

    def on_lost(self, reason: str) -> None:  # noqa: D102
        self._in_io_thread(self._close)

    def _close(self) -> None:
        self._cancel_timer()
        self._io.unregister(self.socket)
        self.socket.close()
        self._owner.on_lost(self)

    def _in_io_thread(self, action: Callable[[], object]) -> None:
        if self._io.is_current:
            action()
        else:
            self._io.post(action)

    def abandon(self) -> None:
        """Lets go of the socket in the child of a fork, where it is the parent's and nobody else holds the lock."""
        self.closed = True
        self.lock = threading.Lock()
        self.socket.close()

    # ServerConnectionOwner.

    def on_call(self, call: ServerCall) -> None:
        """A request's headers arrived. Users have a say in who serves it, so that waits until the lock is free."""
        self._new_calls.append(call)
