"""Connecting: one attempt to reach any address of a target, without waiting for anything.

The addresses of a name are tried in turn, IPv6 and IPv4 alternating; the next one starts when one has failed, or has
not answered for ``HEAD_START`` seconds (RFC 8305, "Happy Eyeballs"). The first connection on which the server's
SETTINGS arrive wins, and the others are closed.
"""

import contextlib
import errno
import itertools
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from pygrpc._tls import ClientSecurity
from pygrpc.core.client_call import ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.targets import Address, peer_name
from pygrpc.sync.driver import Driver
from pygrpc.sync.poller import READ, WRITE
from pygrpc.sync.transport import Transport

#: Seconds that an address has for itself before the next one is tried too.
HEAD_START = 0.25

_IN_PROGRESS = frozenset([0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR])
_REFUSED = "Failed to connect to remote host: "


class Endpoint(NamedTuple):
    """An address that needs no look-up any more.

    Attributes:
        family: The family of the socket.
        name: What ``connect`` takes.
    """

    family: int
    name: Any

    def __str__(self) -> str:
        """The address as grpcio writes it."""
        if isinstance(self.name, (str, bytes)):
            return f"unix:{os.fsdecode(self.name)}"
        return peer_name("ipv6" if self.family == socket.AF_INET6 else "ipv4", self.name[0], self.name[1])


def resolve(addresses: Iterable[Address], numeric: bool = False) -> list[Endpoint]:
    """Looks up the endpoints of addresses; waits for the system's resolver unless ``numeric``.

    Args:
        addresses: The addresses.
        numeric: Whether to look up nothing.

    Raises:
        OSError: A name has no address; with ``numeric``, it is a name.
    """
    found: list[Endpoint] = []
    for address in addresses:
        if address.path:
            found.append(Endpoint(socket.AF_UNIX, address.path))
            continue
        flags = socket.AI_NUMERICHOST if numeric else 0
        try:
            # As bytes, unless IDNA is needed: to import its codec now could lock up the child of a fork meanwhile.
            host = address.host.encode() if address.host.isascii() else address.host
            results = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
        except ValueError as error:
            # A host that can't be a name: UnicodeError from IDNA, or a NUL within.
            raise OSError(str(error)) from None
        found += _alternating([Endpoint(family, name) for family, _, _, _, name in results])
    return found


def _alternating(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    # RFC 8305, section 4: the families take turns, beginning with the one that the system prefers.
    families = dict.fromkeys(endpoint.family for endpoint in endpoints)
    groups = [[endpoint for endpoint in endpoints if endpoint.family == family] for family in families]
    return [endpoint for turn in itertools.zip_longest(*groups) for endpoint in turn if endpoint is not None]


class ConnectionOwner(Protocol):
    """The channel that connections belong to; all methods are called with the driver's lock held."""

    authority: str
    dirty: "list[ClientTransport]"
    driver: Driver
    http2_settings: Http2Settings
    security: ClientSecurity

    def open_socket(self, endpoint: Endpoint) -> socket.socket:
        """Begins to connect to an endpoint."""

    def on_connected(self, transport: "ClientTransport") -> None:
        """An attempt has led to a connection that works."""

    def on_attempt_failed(self, reason: str) -> None:
        """An attempt has not."""

    def on_draining(self, transport: "ClientTransport") -> None:
        """A connection takes no new calls."""

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls: they are to be started anew."""

    def on_lost(self, transport: "ClientTransport") -> None:
        """A connection is closed."""


class ClientTransport(Transport[ClientConnection]):
    """A connection to the server. It doesn't keep its channel, so that one nobody uses is collected."""

    def __init__(self, owner: ConnectionOwner, sock: socket.socket, attempt: "Attempt") -> None:
        """Takes over a socket that is connected or will be.

        Args:
            owner: The channel.
            sock: A socket that doesn't block.
            attempt: Who made it.
        """
        self._owner = weakref.ref(owner)
        self._driver = owner.driver
        self._security = owner.security
        self._authority = owner.authority
        self._handshaking = False
        #: The attempt that this is part of, until it has come to an end.
        self.attempt: Attempt | None = attempt
        self.connected = False
        super().__init__(sock, ClientConnection(self, owner.http2_settings, time.monotonic()))
        self.dirty = False
        # A socket becomes writable when it is connected.
        self._driver.register(sock.fileno(), WRITE, self._on_event)

    def _on_event(self, mask: int, now: float) -> None:
        if self.closed:
            return
        if not self.connected:
            try:
                self._go_on_connecting()
            except OSError as error:
                self.lost(self._security.explain(error))
            return
        if mask & ~WRITE:
            self.receive(now)
        if mask & WRITE:
            self.on_output()

    def _go_on_connecting(self) -> None:
        """The socket is connected or failed, or the TLS handshake can go on."""
        if not self._handshaking:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            context = self._security.context()
            if context is not None:
                name = self._security.server_name(self._authority)
                self.socket = context.wrap_socket(self.socket, do_handshake_on_connect=False, server_hostname=name)
                self._socket_changed()
            self._handshaking = True
        tls = self.socket if isinstance(self.socket, ssl.SSLSocket) else None
        if tls is not None:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._driver.modify(tls.fileno(), READ)
                return
            except ssl.SSLWantWriteError:
                self._driver.modify(tls.fileno(), WRITE)
                return
        # The peer's address counts only without TLS; with it the peer may have gone already, and left word why.
        self._security.check(tls, None if tls is not None else self.socket.getpeername())
        self.connected = True
        self._driver.modify(self.socket.fileno(), READ)
        self.on_output()

    def start(self, call: ClientCall, now: float) -> None:
        """Gives a call to the connection."""
        self.core.now = now
        try:
            self.core.start(call)
        except BaseException:
            # A signal handler raised: nobody knows how far the call has come.
            self.lost("interrupted while a call was starting")
            raise

    def want_write(self, wanted: bool) -> None:  # noqa: D102 - the contract is in Transport
        if not self.closed:
            self._driver.modify(self.socket.fileno(), READ | WRITE if wanted else READ)

    def flush(self) -> None:  # noqa: D102
        if self.connected:
            super().flush()

    def on_output(self) -> None:  # noqa: D102
        owner = self._owner()
        if not self.dirty and owner is not None:
            self.dirty = True
            owner.dirty.append(self)

    def on_lost(self, reason: str) -> None:  # noqa: D102
        self._driver.unregister(self.socket.fileno())
        self.socket.close()
        failure = self.core.failure
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            error = ConnectionError(failure.details if failure else reason)
            attempt.failed(self, self._security.explain(error))
        owner = self._owner()
        if owner is not None:
            owner.on_lost(self)

    # ClientConnectionOwner.

    def on_ready(self) -> None:
        """The server's SETTINGS arrived."""
        if isinstance(self.socket, ssl.SSLSocket):
            # Tickets to resume the session come with the first data.
            self._security.remember(self.socket)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.succeeded(self)

    def on_draining(self) -> None:
        """The connection takes no new calls."""
        owner = self._owner()
        if owner is not None:
            owner.on_draining(self)

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls."""
        owner = self._owner()
        if owner is not None:
            owner.on_unsent(calls)


class Attempt:
    """One attempt to connect; every method requires the driver's lock."""

    def __init__(self, owner: ConnectionOwner, addresses: tuple[Address, ...], timeout: float, now: float) -> None:
        """Begins.

        Args:
            owner: The channel, which the attempt keeps.
            addresses: The addresses of the target.
            timeout: Seconds that the attempt may take.
            now: Monotonic time in seconds.
        """
        self._owner = owner
        self._ends = now + timeout
        self._timeout = timeout
        self._next = now
        self._left: list[Endpoint] | None = None
        #: The connections that are being made.
        self.transports: dict[ClientTransport, Endpoint] = {}
        self._last_error = f"no answer within {timeout:g} seconds"
        self._over = False
        try:
            self._left = resolve(addresses, numeric=True)
        except OSError:
            # A look-up may take long, and nobody who reads has the time: neither calls with a deadline nor the watcher.
            threading.Thread(target=self._look_up, args=(addresses,), name="pygrpc-resolver", daemon=True).start()

    def _look_up(self, addresses: tuple[Address, ...]) -> None:
        try:
            found: list[Endpoint] = resolve(addresses)
            reason = ""
        except OSError as error:
            found, reason = [], error.strerror or str(error)
        driver = self._owner.driver
        with driver.lock:
            if self._over:
                return
            if found:
                self._left = found
                driver.time_set(self._next)
                driver.hurry()
            else:
                names = ", ".join(str(address) for address in addresses)
                self._give_up(f"errors resolving {names}: {reason}")
            driver.settle()

    def next_time(self) -> float:
        """When ``on_time`` is to be called."""
        return min(self._next, self._ends) if self._left else self._ends

    def on_time(self, now: float) -> None:
        """Tries the next address, or gives up, if that is due."""
        if self._over:
            return
        if now >= self._ends:
            self._fail(f"no answer within {self._timeout:g} seconds")
            return
        while self._left and now >= self._next and not self._over:
            self._try(self._left.pop(0), now)

    def _try(self, endpoint: Endpoint, now: float) -> None:
        self._next = now + HEAD_START
        try:
            sock = self._owner.open_socket(endpoint)
        except OSError as error:
            self._note(endpoint, error.strerror or str(error))
        else:
            self.transports[ClientTransport(self._owner, sock, self)] = endpoint

    def _note(self, endpoint: Endpoint, reason: str) -> None:
        """One address has failed: the next one is due at once, or that was the last."""
        self._last_error = f"{endpoint}: {_REFUSED}{reason}"
        self._next = 0.0
        if not self._left and not self.transports:
            self._fail(self._last_error)

    def failed(self, transport: ClientTransport, reason: str) -> None:
        """A connection of this attempt has failed."""
        endpoint = self.transports.pop(transport)
        if not self._over:
            self._note(endpoint, reason)
            self._owner.driver.time_set(self._next)

    def _fail(self, reason: str) -> None:
        self._give_up(f"failed to connect to all addresses; last error: {reason}")

    def _give_up(self, reason: str) -> None:
        self.abort()
        self._owner.on_attempt_failed(reason)

    def succeeded(self, transport: ClientTransport) -> None:
        """A connection of this attempt works."""
        del self.transports[transport]
        self.abort()
        self._owner.on_connected(transport)

    def abort(self) -> None:
        """Ends the attempt and closes what it has opened."""
        self._over = True
        self._left = None
        transports, self.transports = list(self.transports), {}
        for transport in transports:
            transport.attempt = None
            with contextlib.suppress(OSError):
                transport.lost("another attempt was faster")


def begin_to_connect(endpoint: Endpoint) -> socket.socket:
    """Makes a socket that doesn't block and is on its way to an endpoint.

    Raises:
        OSError: It fails at once.
    """
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        number = sock.connect_ex(endpoint.name)
        # A Unix socket connects at once or not at all: EAGAIN says that too many wait already.
        if number not in _IN_PROGRESS or (number and endpoint.family == getattr(socket, "AF_UNIX", None)):
            raise OSError(number, os.strerror(number))
    except OSError:
        sock.close()
        raise
    return sock
