"""Connecting: one attempt to reach any address of a target, and the connection that comes of it."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from pygrpc._tls import ClientSecurity
from pygrpc.aio.transport import Transport
from pygrpc.core.client_call import ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.targets import Address


class ConnectionOwner(Protocol):
    """The channel that connections belong to."""

    authority: str
    http2_settings: Http2Settings
    security: ClientSecurity

    async def open(self, address: Address, tls: dict[str, Any]) -> "ClientTransport":
        """Makes the connection itself; ``tls`` is what asyncio wants to know for TLS."""

    def on_opened(self, transport: "ClientTransport") -> None:
        """There is a connection, of which nobody knows yet whether it works."""

    def on_draining(self, transport: "ClientTransport") -> None:
        """A connection takes no new calls."""

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls: they are to be started anew."""

    def on_lost(self, transport: "ClientTransport") -> None:
        """A connection is closed."""


class ClientTransport(Transport[ClientConnection]):
    """A connection to the server. It doesn't keep its channel, so that one nobody uses is collected."""

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        """Makes the protocol of a connection that is still to be made."""
        super().__init__(loop)
        self._owner = weakref.ref(owner)
        self._security = owner.security
        self._settings = owner.http2_settings
        #: Done when the server's SETTINGS have arrived, or never will.
        self.ready: asyncio.Future[None] = loop.create_future()
        #: Called behind each write, while somebody waits for the last call to end.
        self.after_flush: Callable[[], None] | None = None

    def make_core(self) -> ClientConnection:
        """Makes the core of the connection."""
        core = ClientConnection(self, self._settings, self._loop.time())
        owner = self._owner()
        if owner is not None:
            owner.on_opened(self)
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
            owner.on_draining(self)

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls."""
        owner = self._owner()
        if owner is not None:
            owner.on_unsent(calls)


async def reach(owner: ConnectionOwner, addresses: tuple[Address, ...], timeout: float) -> ClientTransport:
    """Connects to the first address that answers.

    Args:
        owner: The channel.
        addresses: The addresses of the target, which are tried one after the other.
        timeout: Seconds that each of them has.

    Returns:
        A connection on which the server's SETTINGS have arrived.

    Raises:
        ConnectionError: None of them answers; the text says why the last one did not.
    """
    last = ""
    for address in addresses:
        try:
            async with asyncio.timeout(timeout):
                return await _handshake(owner, address)
        except TimeoutError:
            reason = f"no answer within {timeout:g} seconds"
        except OSError as error:
            reason = owner.security.explain(error)
        except ValueError as error:
            # A host that can't be a name: UnicodeError from IDNA, or a NUL within.
            reason = str(error)
        last = f"{address}: Failed to connect to remote host: {reason}"
    raise ConnectionError(f"failed to connect to all addresses; last error: {last}")


async def _handshake(owner: ConnectionOwner, address: Address) -> ClientTransport:
    """Connects and waits for the server's SETTINGS."""
    tls: dict[str, Any] = {}
    if (context := owner.security.context()) is not None:
        tls = {"ssl": context, "server_hostname": owner.security.server_name(owner.authority)}
    transport = await owner.open(address, tls)
    try:
        owner.security.check(transport.ssl_object, transport.peer_address)
        await transport.ready
    except BaseException:
        transport.abort()
        raise
    return transport


async def open_connection(
    owner: ConnectionOwner, loop: asyncio.AbstractEventLoop, address: Address, tls: dict[str, Any]
) -> ClientTransport:
    """Makes a connection by way of a socket."""

    def factory() -> ClientTransport:
        return ClientTransport(owner, loop)

    if address.path:
        return (await loop.create_unix_connection(factory, address.path, **tls))[1]
    return (await loop.create_connection(factory, address.host, address.port, **tls))[1]
