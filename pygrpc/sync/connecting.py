"""Connecting: what the core of a channel asks for, done with sockets that don't block."""

import contextlib
import errno
import functools
import os
import random
import socket
import ssl
import time
import weakref
from collections.abc import Callable
from typing import Any

from pygrpc._naming import Naming
from pygrpc._tls import ClientSecurity
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing import Subchannel
from pygrpc.core.client_call import ClientCall, RequestHeaders
from pygrpc.core.client_channel import ClientChannel
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.configuration import channel_settings, default_policy, http2_settings, user_agent
from pygrpc.core.headers import request_headers
from pygrpc.core.proxies import TUNNEL, TunnelHandshake, find_proxy
from pygrpc.core.service_config import ServiceConfig
from pygrpc.core.targets import Address, Target
from pygrpc.options import Options
from pygrpc.sync.driver import Driver
from pygrpc.sync.poller import READ, WRITE
from pygrpc.sync.transport import Transport
from pygrpc.sync.user_code import UserCode

_IN_PROGRESS = frozenset([0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR])

#: Begins to connect to an address; raises OSError if that fails at once.
Opener = Callable[[Address], Any]


class ClientTransport(Transport[ClientConnection]):
    """A connection to the server. It doesn't keep its channel, so that one nobody uses is collected."""

    def __init__(
        self, owner: "Connections", sock: socket.socket, subchannel: Subchannel, tunnel: TunnelHandshake | None
    ) -> None:
        """Takes over a socket that is connected or will be.

        Args:
            owner: The connections of the channel.
            sock: A socket that doesn't block.
            subchannel: Whose attempt to connect this is.
            tunnel: What to say first to the proxy that the socket leads to, or None.
        """
        self._owner = weakref.ref(owner)
        self._driver = owner.driver
        self._security = owner.security
        self._authority = owner.authority
        #: The handshake with the proxy while it lasts, and what of the request has not been sent.
        self._tunnel = tunnel
        self._unasked = b"" if tunnel is None else tunnel.request
        self._handshaking = False
        #: Whose attempt this is, until that has come to an end.
        self.subchannel: Subchannel | None = subchannel
        self.connected = False
        core = ClientConnection(self, owner.http2_settings, time.monotonic(), keepalive=owner.core.keepalive)
        super().__init__(sock, core)
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
        """The socket is connected or failed, or the handshake with a proxy or that of TLS can go on."""
        if not self._handshaking:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            if self._tunnel is not None and not self._go_on_tunnelling(self._tunnel):
                return
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

    def _go_on_tunnelling(self, tunnel: TunnelHandshake) -> bool:
        """Asks a proxy for a tunnel, as far as the socket takes it; returns whether there is one."""
        try:
            while self._unasked:
                self._unasked = self._unasked[self.socket.send(self._unasked) :]
            self._driver.modify(self.socket.fileno(), READ)
            while not tunnel.receive(self.socket.recv(tunnel.wanted)):
                pass
        except BlockingIOError:
            return False
        self._tunnel = None
        return True

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
        owner = self._owner()
        if owner is not None:
            failure = self.core.failure
            error = ConnectionError(failure.details if failure else reason)
            owner.on_lost(self, self._security.explain(error))

    # ClientConnectionOwner.

    def on_ready(self) -> None:
        """The server's SETTINGS arrived."""
        if isinstance(self.socket, ssl.SSLSocket):
            # Tickets to resume the session come with the first data.
            self._security.remember(self.socket)
        owner = self._owner()
        subchannel, self.subchannel = self.subchannel, None
        if owner is not None and subchannel is not None:
            owner.on_ready(self, subchannel)

    def on_draining(self) -> None:
        """The connection takes no new calls."""
        owner = self._owner()
        if owner is not None:
            owner.core.connection_draining(self.core, time.monotonic())

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls."""
        owner = self._owner()
        if owner is not None:
            owner.core.unsent(calls, time.monotonic())


class Connections:
    """The connections of one channel, and the core that says what becomes of them; all requires the driver's lock.

    It is apart from the channel, which it doesn't keep: so a channel that nobody uses is collected at once.
    """

    def __init__(
        self,
        driver: Driver,
        target: Target,
        options: Options,
        config: ServiceConfig,
        security: ClientSecurity,
        authority: str,
        opener: Opener,
        on_state: Callable[[ChannelConnectivity], None],
    ) -> None:
        """Makes a core that is idle.

        Args:
            driver: The lock, and who polls.
            target: Where the servers are.
            options: The options of the channel.
            config: Its service config.
            security: How connections are secured.
            authority: Whom the servers' certificates are for.
            opener: Begins to connect.
            on_state: Told each new state of the channel.
        """
        self.driver = driver
        self.security = security
        self.authority = authority
        self.http2_settings = http2_settings(options)
        self._naming = Naming(self, target, find_proxy(target, options, os.environ))
        self._user_code: UserCode | None = None
        self._options = options
        self._opener = opener
        self._on_state = on_state
        #: All that are open, also while they are made and while they drain.
        self.transports: dict[ClientConnection, ClientTransport] = {}
        self._attempts: dict[Subchannel, ClientTransport | None] = {}
        #: Those with something to write.
        self.dirty: list[ClientTransport] = []
        self.wakeup: float | None = None
        self._closed = False
        self.core: ClientChannel = ClientChannel(
            self,
            channel_settings(options),
            random.random,
            config,
            default_policy(options),
            awaits_config=target.resolver is not None,
        )

    # ChannelShell.

    def request_headers(self, path: str) -> RequestHeaders:
        """What makes the header block of a call that the channel makes for itself."""
        start = (path, self.authority, self.security.scheme, user_agent(self._options))
        return functools.partial(request_headers, *start, encoding=None, metadata=[])

    def on_state(self, state: ChannelConnectivity) -> None:
        """The channel has a new state."""
        self._on_state(state)

    def on_wakeup(self, when: float | None) -> None:
        """The core wants to be woken at another time."""
        self.wakeup = when
        if when is not None:
            self.driver.time_set(when)
            self.driver.ensure_watcher()

    def resolve(self) -> bool:
        """Looks the target up."""
        return self._naming.resolve()

    def stop_resolving(self) -> None:
        """Nobody is interested in the target any more."""
        self._naming.stop()

    # What look-ups need.

    def now(self) -> float:
        """Monotonic time in seconds."""
        return time.monotonic()

    def on_core(self, action: Callable[[], None]) -> None:
        """Has something done with the lock; for any thread."""

        def act() -> None:
            if not self._closed:
                action()
                self.driver.hurry()

        self.driver.act(act)

    def run_user_code(self, action: Callable[[], None]) -> None:
        """Has a thread run what a user wrote, behind what it runs already."""
        if self._user_code is None:
            self._user_code = UserCode()
        self._user_code.add(action)

    # Attempts to connect.

    def connect(self, subchannel: Subchannel) -> None:
        """Begins to connect."""
        self.driver.add_urgent(subchannel)
        self._attempts[subchannel] = None
        try:
            wanted = subchannel.endpoint.attributes.get(TUNNEL)
            tunnel = None if wanted is None else TunnelHandshake(wanted)
            sock = self._opener(subchannel.endpoint.address)
        except OSError as error:
            self._failed(subchannel, error.strerror or str(error))
            return
        transport = ClientTransport(self, sock, subchannel, tunnel)
        self._attempts[subchannel] = transport
        self.transports[transport.core] = transport

    def _over(self, subchannel: Subchannel) -> ClientTransport | None:
        self.driver.remove_urgent(subchannel)
        return self._attempts.pop(subchannel, None)

    def _failed(self, subchannel: Subchannel, reason: str) -> None:
        self._over(subchannel)
        text = f"{subchannel}: Failed to connect to remote host: {reason}"
        self.core.connect_failed(subchannel, text, time.monotonic())

    def abandon(self, subchannel: Subchannel) -> None:
        """Gives an attempt up."""
        transport = self._over(subchannel)
        if transport is not None:
            transport.subchannel = None
            with contextlib.suppress(OSError):
                transport.lost("the attempt to connect was given up")

    def leave(self, connection: ClientConnection) -> None:
        """Lets the calls of a connection finish, and closes it behind the last one."""
        connection.drain()
        transport = self.transports.get(connection)
        if transport is not None:
            transport.on_output()

    # What connections report.

    def on_ready(self, transport: ClientTransport, subchannel: Subchannel) -> None:
        """An attempt has led to a connection that works."""
        self._over(subchannel)
        self.core.connected(subchannel, transport.core, time.monotonic())
        self.driver.ensure_watcher()

    def on_lost(self, transport: ClientTransport, reason: str) -> None:
        """A connection is closed."""
        self.transports.pop(transport.core, None)
        subchannel, transport.subchannel = transport.subchannel, None
        if subchannel is not None:
            self._failed(subchannel, reason)
        self.core.connection_lost(transport.core, time.monotonic())

    # What the channel does.

    def lose(self, reason: str) -> None:
        """Closes all connections at once: nobody knows what became of the bytes on one of them."""
        for transport in list(self.transports.values()):
            transport.lost(reason)

    def close(self) -> None:
        """Ends all; what is under way on connections is the channel's to cancel."""
        self._closed = True
        self.core.close(time.monotonic())
        for transport in list(self.transports.values()):
            transport.core.drain()
            transport.flush()
            transport.lost("the channel is closed")

    def abandon_sockets(self) -> None:
        """Closes the sockets without a word: they are the parent's."""
        self._closed = True
        for transport in self.transports.values():
            transport.closed = True
            transport.socket.close()


def begin_to_connect(address: Address) -> socket.socket:
    """Makes a socket that doesn't block and is on its way to an address, which is a number or a path.

    Raises:
        OSError: It fails at once.
    """
    name: Any = address.path
    if address.path:
        family = socket.AF_UNIX
    else:
        # Without a look-up this gives the number of the interface behind a link-local address.
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
        family, name = found[0][0], found[0][4]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        number = sock.connect_ex(name)
        # A Unix socket connects at once or not at all: EAGAIN says that too many wait already.
        if number not in _IN_PROGRESS or (number and address.path):
            raise OSError(number, os.strerror(number))
    except OSError:
        sock.close()
        raise
    return sock
