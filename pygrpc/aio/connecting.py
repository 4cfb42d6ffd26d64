"""Connecting: what the core of a channel asks for, done with asyncio."""

import asyncio
import contextlib
import functools
import logging
import os
import random
import socket
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from pygrpc._naming import Naming
from pygrpc._tls import ClientSecurity
from pygrpc.aio.transport import Transport
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing import Endpoint, Subchannel
from pygrpc.core.client_call import ClientCall, RequestHeaders
from pygrpc.core.client_channel import ClientChannel
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.configuration import channel_settings, default_policy, http2_settings, user_agent
from pygrpc.core.headers import request_headers
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.proxies import TUNNEL, Tunnel, TunnelHandshake, find_proxy
from pygrpc.core.service_config import ServiceConfig
from pygrpc.core.targets import Address, Target
from pygrpc.options import Options

_LOGGER = logging.getLogger("pygrpc")

#: Makes the connection itself; the arguments behind the address are what asyncio wants to know for TLS.
Opener = Callable[["Connections", Address, dict[str, Any]], Awaitable["ClientTransport"]]


class ClientTransport(Transport[ClientConnection]):
    """A connection to the server. It doesn't keep its channel, so that one nobody uses is collected."""

    def __init__(self, owner: "Connections") -> None:
        """Makes the protocol of a connection that is still to be made."""
        super().__init__(owner.loop)
        self._owner = weakref.ref(owner)
        self._security = owner.security
        self._settings = owner.http2_settings
        self._keepalive = owner.core.keepalive
        #: Done when the server's SETTINGS have arrived, or never will.
        self.ready: asyncio.Future[None] = owner.loop.create_future()
        #: Called behind each write, while somebody waits for the last call to end.
        self.after_flush: Callable[[], None] | None = None

    def make_core(self) -> ClientConnection:
        """Makes the core of the connection."""
        core = ClientConnection(self, self._settings, self._loop.time(), keepalive=self._keepalive)
        owner = self._owner()
        if owner is not None:
            owner.on_opened(self, core)
        return core

    def flush(self) -> None:
        """Writes what is queued."""
        super().flush()
        if self.after_flush is not None:
            self.after_flush()

    def on_lost(self, reason: str) -> None:
        """The socket is closed."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
            # Whoever waits for it may have gone; then nobody is to be told.
            self.ready.exception()
        owner = self._owner()
        if owner is not None:
            owner.on_lost(self)
        if self.after_flush is not None:
            self.after_flush()

    # ClientConnectionOwner.

    def on_ready(self) -> None:
        """The server's SETTINGS arrived."""
        self._security.remember(self.ssl_object)
        if not self.ready.done():
            self.ready.set_result(None)

    def on_draining(self) -> None:
        """The connection takes no new calls."""
        owner = self._owner()
        if owner is not None:
            owner.core.connection_draining(self.core, self._loop.time())

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls."""
        owner = self._owner()
        if owner is not None:
            owner.core.unsent(calls, self._loop.time())


async def open_connection(owner: "Connections", address: Address, tls: dict[str, Any]) -> ClientTransport:
    """Makes a connection by way of a socket."""

    def factory() -> ClientTransport:
        return ClientTransport(owner)

    if address.path:
        return (await owner.loop.create_unix_connection(factory, address.path, **tls))[1]
    return (await owner.loop.create_connection(factory, address.host, address.port, **tls))[1]


async def open_on_socket(owner: "Connections", sock: socket.socket, tls: dict[str, Any]) -> ClientTransport:
    """Makes a connection of a socket that is connected."""
    try:
        return (await owner.loop.create_connection(lambda: ClientTransport(owner), sock=sock, **tls))[1]
    except BaseException:
        sock.close()
        raise


async def open_tunnel(loop: asyncio.AbstractEventLoop, address: Address, tunnel: Tunnel) -> socket.socket:
    """Connects to a proxy, and has it make a tunnel.

    Raises:
        OSError: It can't be reached, or doesn't make one.
    """
    handshake = TunnelHandshake(tunnel)
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, (address.host, address.port))
        await loop.sock_sendall(sock, handshake.request)
        while not handshake.receive(await loop.sock_recv(sock, handshake.wanted)):
            pass
    except BaseException:
        sock.close()
        raise
    return sock


def _wake_up(connections: "weakref.ref[Connections]") -> None:
    still_there = connections()
    if still_there is not None:
        still_there.core.handle_timeout(still_there.loop.time())


class Connections:
    """The connections of one channel in one event loop, and the core that says what becomes of them.

    It is apart from the channel, which it doesn't keep: so a channel that nobody uses is collected at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
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
            loop: The loop of the channel.
            target: Where the servers are.
            options: The options of the channel.
            config: Its service config.
            security: How connections are secured.
            authority: Whom the servers' certificates are for.
            opener: Makes the connections themselves.
            on_state: Told each new state of the channel.
        """
        self.loop = loop
        self.security = security
        self.http2_settings: Http2Settings = http2_settings(options)
        self._naming = Naming(self, target, find_proxy(target, options, os.environ))
        self._options = options
        self._authority = authority
        self._opener = opener
        self._on_state = on_state
        #: All that are open, also while they are made and while they drain.
        self.transports: dict[ClientConnection, ClientTransport] = {}
        #: Attempts to connect that are under way.
        self._tasks: dict[Subchannel, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._on_change: Callable[[], None] | None = None
        self.core: ClientChannel = ClientChannel(
            self,
            channel_settings(options),
            random.random,
            config,
            default_policy(options),
            awaits_config=target.resolver is not None,
        )

    def start(self, call: ClientCall, now: float) -> None:
        """Starts a call, or lets it wait. A lone one is written at once, others with what else is to be written."""
        direct = self.core.direct
        transport = None if direct is None else self.transports.get(direct)
        if transport is None:
            self.core.start(call, now)
            return
        held = transport.hold()
        try:
            self.core.start(call, now)
        finally:
            transport.release(held, lone=len(transport.core.calls) == 1)

    # ChannelShell.

    def request_headers(self, path: str) -> RequestHeaders:
        """What makes the header block of a call that the channel makes for itself."""
        start = (path, self._authority, self.security.scheme, user_agent(self._options))
        return functools.partial(request_headers, *start, encoding=None, metadata=[])

    def on_state(self, state: ChannelConnectivity) -> None:
        """The channel has a new state."""
        self._on_state(state)

    def on_wakeup(self, when: float | None) -> None:
        """The core wants to be woken at another time."""
        if self._timer is not None:
            self._timer.cancel()
        # Weakly, so that a channel that nobody uses does nothing for ever.
        self._timer = None if when is None else self.loop.call_at(when, _wake_up, weakref.ref(self))

    def resolve(self) -> bool:
        """Looks the target up."""
        return self._naming.resolve()

    def stop_resolving(self) -> None:
        """Nobody is interested in the target any more."""
        self._naming.stop()

    # What look-ups need.

    def now(self) -> float:
        """Monotonic time in seconds."""
        return self.loop.time()

    def on_core(self, action: Callable[[], None]) -> None:
        """Has something done in the loop; for any thread."""
        # A loop that is closed has no channel any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(action)

    def run_user_code(self, action: Callable[[], None]) -> None:
        """Runs what a user wrote, in the loop."""
        action()

    # Attempts to connect.

    def connect(self, subchannel: Subchannel) -> None:
        """Begins to connect."""
        self._tasks[subchannel] = self.loop.create_task(self._connect(subchannel))

    async def _connect(self, subchannel: Subchannel) -> None:
        transport = None
        reason = ""
        try:
            transport = await self._handshake(subchannel.endpoint)
        except OSError as error:
            reason = self.security.explain(error)
        except Exception as error:
            # Whatever it is, the calls that wait must not wait for ever.
            _LOGGER.exception("an attempt to connect to %s raised", subchannel)
            reason = _reason(error)
        if self._tasks.get(subchannel) is asyncio.current_task():
            del self._tasks[subchannel]
        if transport is not None:
            self.core.connected(subchannel, transport.core, self.loop.time())
        else:
            text = f"{subchannel}: Failed to connect to remote host: {reason}"
            self.core.connect_failed(subchannel, text, self.loop.time())

    async def _handshake(self, endpoint: Endpoint) -> ClientTransport:
        """Connects and waits for the server's SETTINGS."""
        tls: dict[str, Any] = {}
        if (context := self.security.context()) is not None:
            tls = {"ssl": context, "server_hostname": self.security.server_name(self._authority)}
        if (tunnel := endpoint.attributes.get(TUNNEL)) is not None:
            sock = await open_tunnel(self.loop, endpoint.address, tunnel)
            transport = await open_on_socket(self, sock, tls)
        else:
            transport = await self._opener(self, endpoint.address, tls)
        try:
            self.security.check(transport.ssl_object, transport.peer_address)
            await transport.ready
        except BaseException:
            transport.abort()
            raise
        return transport

    def abandon(self, subchannel: Subchannel) -> None:
        """Gives an attempt up."""
        self._tasks.pop(subchannel).cancel()

    def leave(self, connection: ClientConnection) -> None:
        """Lets the calls of a connection finish, and closes it behind the last one."""
        connection.drain()
        transport = self.transports.get(connection)
        if transport is not None:
            transport.flush()

    # What connections report.

    def on_opened(self, transport: ClientTransport, core: ClientConnection) -> None:
        """There is a connection, of which nobody knows yet whether it works."""
        self.transports[core] = transport
        transport.after_flush = self._on_change

    def on_lost(self, transport: ClientTransport) -> None:
        """A connection is closed."""
        self.transports.pop(transport.core, None)
        self.core.connection_lost(transport.core, self.loop.time())

    def watch(self, on_change: Callable[[], None] | None) -> None:
        """Has somebody told, or nobody, when connections have written, and when they are gone."""
        self._on_change = on_change
        for transport in self.transports.values():
            transport.after_flush = on_change

    # The end.

    def close(self) -> list["asyncio.Task[None]"]:
        """Ends all; what is under way on connections is the channel's to cancel.

        Returns:
            Tasks that are about to end.
        """
        tasks = list(self._tasks.values())
        self.core.close(self.loop.time())
        for task in self._tasks.values():
            task.cancel()
        for transport in list(self.transports.values()):
            self.leave(transport.core)
        return tasks


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"unexpected {type(error).__name__}: {error}"
