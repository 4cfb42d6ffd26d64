"""A subchannel: one address, its state, and the delay between attempts to reach it.

    IDLE --connect()--> CONNECTING --ready--> READY --connection left--> IDLE
      ^                     | failed
      | delay is over       v
      +------------ TRANSIENT_FAILURE            every state --close()--> SHUTDOWN

The states are those of doc/connectivity-semantics-and-api.md. As in gRFC A62 a subchannel does not connect by itself
again: behind the delay it is IDLE, and its policy decides.
"""

from collections.abc import Callable
from typing import Protocol

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff
from pygrpc.core.balancing.policy import Endpoint
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.targets import peer_name

_IDLE, _CONNECTING, _READY, _FAILED, _SHUTDOWN = ChannelConnectivity


class Connector(Protocol):
    """Who makes connections for subchannels: the shell. It reports later, never before a method has returned."""

    def connect(self, subchannel: "Subchannel") -> None:
        """Begins to connect; ``connected`` or ``connect_failed`` of the channel is to be called with the outcome."""

    def abandon(self, subchannel: "Subchannel") -> None:
        """Gives up an attempt that has no outcome yet; nothing is to be reported of it."""

    def leave(self, connection: ClientConnection) -> None:
        """A connection takes no more calls: it is to be drained, and closed behind its last call."""


class Subchannel:
    """One address of a target. Policies call ``connect`` and ``close``; the channel does the rest."""

    def __init__(
        self,
        endpoint: Endpoint,
        connector: Connector,
        backoff: Backoff,
        min_connect_timeout: float,
        on_change: Callable[["Subchannel", ChannelConnectivity], None],
        on_close: Callable[["Subchannel"], None],
    ) -> None:
        """Makes a subchannel that is idle.

        Args:
            endpoint: Where it connects to.
            connector: Who makes connections.
            backoff: The delays between attempts.
            min_connect_timeout: Seconds that an attempt has at least (doc/connection-backoff.md).
            on_change: Told each new state.
            on_close: Told that it is shut down.
        """
        self.endpoint = endpoint
        self.state = _IDLE
        #: The connection that takes calls while the state is READY.
        self.connection: ClientConnection | None = None
        #: Why the last attempt failed, for people.
        self.last_error = ""
        self._connector = connector
        self._backoff = backoff
        self._min_connect_timeout = min_connect_timeout
        self._on_change = on_change
        self._on_close = on_close
        self._wakeup: float | None = None
        self._retry_at = 0.0
        self._now = 0.0

    def __str__(self) -> str:
        """The address, as grpcio writes it."""
        host, port, path = self.endpoint.address
        return peer_name("unix" if path else "ipv6" if ":" in host else "ipv4", host, port, path)

    def _move(self, state: ChannelConnectivity) -> None:
        if state is not self.state and self.state is not _SHUTDOWN:
            self.state = state
            self._on_change(self, state)

    # What policies do.

    def connect(self, now: float) -> None:
        """Begins to connect if it is idle."""
        if self.state is not _IDLE:
            return
        self._now = now
        delay = self._backoff.next_delay()
        self._retry_at = now + delay
        self._wakeup = now + max(delay, self._min_connect_timeout)
        self._move(_CONNECTING)
        self._connector.connect(self)

    def close(self) -> None:
        """Connects no more; calls on the connection finish."""
        state, connection = self.state, self.connection
        if state is _SHUTDOWN:
            return
        self.state = _SHUTDOWN
        self.connection = self._wakeup = None
        self._on_close(self)
        if state is _CONNECTING:
            self._connector.abandon(self)
        elif connection is not None:
            self._connector.leave(connection)

    # What the channel reports.

    def connected(self, connection: ClientConnection) -> bool:
        """An attempt led to a connection that works; returns False if nobody wants it any more."""
        if self.state is not _CONNECTING:
            return False
        self._wakeup = None
        self._backoff.reset()
        if connection.draining:
            self._move(_IDLE)
            return True
        self.connection = connection
        self._move(_READY)
        return True

    def connect_failed(self, reason: str) -> None:
        """An attempt failed; the delay counts from its beginning."""
        if self.state is _CONNECTING:
            self.last_error = reason
            self._wakeup = self._retry_at
            self._move(_FAILED)

    def connection_left(self, connection: ClientConnection) -> None:
        """A connection takes no more calls."""
        if connection is self.connection:
            self.connection = None
            self._move(_IDLE)

    def reset_backoff(self) -> None:
        """The next attempt may be made at once."""
        self._backoff.reset()
        if self.state is _FAILED:
            self._wakeup = self._retry_at = self._now

    # Time.

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` is to be called, or None."""
        return self._wakeup

    def handle_timeout(self, now: float) -> None:
        """Ends an attempt that takes too long, or a delay."""
        if self._wakeup is None or now < self._wakeup:
            return
        if self.state is _CONNECTING:
            self._connector.abandon(self)
            self.connect_failed(f"{self}: no answer within {self._wakeup - self._now:g} seconds")
        if self.state is _FAILED and now >= self._retry_at:
            self._wakeup = None
            self._move(_IDLE)
