"""One connection on asyncio: bytes between a transport and the core, and timers."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pygrpc.core.client_call import ClientCall
from pygrpc.core.connection import Connection
from pygrpc.core.deadlines import Deadlines
from pygrpc.core.server_call import ServerCall
from pygrpc.core.targets import peer_name

#: Bytes in the transport's buffer above which no more DATA is made.
_WRITE_BUFFER = 262_144

C = TypeVar("C", bound=Connection)
T = TypeVar("T", ClientCall, ServerCall)


class Transport(asyncio.Protocol, Generic[C]):
    """The asyncio side of one connection.

    The core calls ``flush_soon`` when it has something to write; what many calls have to say in one turn of the loop
    goes out in one write.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes the protocol of a connection that is still to be made.

        Args:
            loop: The loop that runs it.
        """
        self._loop = loop
        self._closed = False
        self._transport: asyncio.Transport | None = None
        self._flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        #: When that is due: the core's own object.
        self._timer_at: float | None = None
        self.core: C
        self.peer = "unknown"

    def make_core(self) -> C:
        """Makes the core of the connection, now that there is one."""
        raise NotImplementedError

    def on_lost(self, reason: str) -> None:
        """The connection is gone, for a reason that is put for people; called once."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = _peer(transport)
        self.core = self.make_core()
        self.core.on_output = self.flush_soon
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        # What comes of these bytes goes out in one write below, so nobody needs to schedule one.
        held = self.hold()
        try:
            self.core.receive_data(data, self._loop.time())
        finally:
            self._flush_scheduled = held
        self.flush()

    @property
    def has_unsent(self) -> bool:
        """Whether there are bytes that the system has not taken yet."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def ssl_object(self) -> Any:
        """The ``ssl.SSLObject`` of the connection, or None."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    @property
    def peer_address(self) -> Any:
        """The address of the other end as the socket module gives it."""
        return None if self._transport is None else self._transport.get_extra_info("peername")

    def eof_received(self) -> bool:
        """The peer sends no more; in HTTP/2 that is the end."""
        return False

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.core.sending_paused = True

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self.core.sending_paused = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        reason = getattr(exc, "strerror", None) or (str(exc) if exc else "the peer closed the connection")
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self.core.lost(reason)
        self.on_lost(self.core.failure.details if self.core.failure else reason)

    def flush_soon(self) -> None:
        """Writes what is queued at the end of this turn of the loop."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def hold(self) -> bool:
        """Keeps back what is about to be queued, until ``release``; returns what that has to be told."""
        held, self._flush_scheduled = self._flush_scheduled, True
        return held

    def release(self, held: bool, lone: bool) -> None:
        """Lets go what was queued.

        Args:
            held: What ``hold`` has returned.
            lone: Whether no other call may add to the same write in this turn: then it is written at once, which saves
                a turn.
        """
        if held:
            return
        self._flush_scheduled = False
        if lone:
            self.flush()
        else:
            self.flush_soon()

    def flush(self) -> None:
        """Writes what is queued, without waiting for what else this turn of the loop brings."""
        transport = self._transport
        if transport is None:
            return
        core = self.core
        data = core.data_to_send()
        while data:
            transport.write(data)
            data = core.data_to_send()
        if core.wakeup is not self._timer_at:
            self._set_timer()
        if core.failure is not None and (core.sending_paused or core.abandoned):
            # The peer doesn't read, so it would never see why, and close() would wait for it.
            self.abort()
        elif core.closing and not self._closed:
            # Only once: behind a second close() asyncio's TLS forgets what it is on.
            self._closed = True
            transport.close()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        when = self._timer_at = self.core.wakeup
        self._timer = None if when is None else self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        self.core.handle_timeout(self._loop.time())
        self.flush()

    def abort(self) -> None:
        """Closes the socket at once, whatever is queued."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()


def _peer(transport: asyncio.Transport) -> str:
    raw = transport.get_extra_info("socket")
    name = transport.get_extra_info("peername")
    if raw is None and isinstance(name, str):
        return name
    if raw is None or not name or raw.family == socket.AF_UNIX:
        path = name if isinstance(name, str) else ""
        return peer_name("unix", "", 0, path)
    host, port = name[0], name[1]
    if raw.family == socket.AF_INET6:
        # A socket on [::] shows IPv4 clients as mapped addresses.
        mapped = host.removeprefix("::ffff:")
        return peer_name("ipv4", mapped, port) if "." in mapped else peer_name("ipv6", host, port)
    return peer_name("ipv4", host, port)


class DeadlineTimer(Generic[T]):
    """One timer for the deadlines of many calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expired: Callable[[T], None]) -> None:
        """Makes a timer that isn't running.

        Args:
            loop: The loop that runs it.
            on_expired: Called for each call whose deadline has passed.
        """
        self._loop = loop
        self._on_expired: Callable[[T], None] = on_expired
        self._deadlines: Deadlines[T] = Deadlines()
        self._handle: asyncio.TimerHandle | None = None

    def add(self, call: T) -> None:
        """Watches a call that has a deadline."""
        self._deadlines.add(call)
        deadline = call.deadline
        if deadline is not None and (self._handle is None or deadline < self._handle.when()):
            self._set(deadline)

    def _set(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        for call in self._deadlines.pop_expired(self._loop.time()):
            self._on_expired(call)
        following = self._deadlines.next()
        if following is not None:
            self._set(following)

    def close(self) -> None:
        """Stops the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
