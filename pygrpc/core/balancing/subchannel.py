"""A subchannel: one address, its state, and the delay between attempts to reach it.

    IDLE --connect()--> CONNECTING --ready--> READY --last connection left--> IDLE
      ^                     | failed
      | delay is over       v
      +------------ TRANSIENT_FAILURE            every state --close()--> SHUTDOWN

The states are those of doc/connectivity-semantics-and-api.md. As in gRFC A62 a subchannel does not connect by itself
again: behind the delay it is IDLE, and its policy decides.

While it is connected, others may hold it: a health check (gRFC A17), or the policy outlier_detection (gRFC A50). Then
it shows their state instead of READY, but stays connected.

With leave to have several connections it makes another one when a call has to wait for a stream (gRFC A105). Then it
is READY while it has one, whatever becomes of the attempt; when the last one goes, an attempt or a delay that is still
going on shows, so that READY is followed by CONNECTING or TRANSIENT_FAILURE.
"""

import enum
import functools
from collections.abc import Callable
from typing import Protocol

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff
from pygrpc.core.balancing.policy import Endpoint
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.health_check import Act, HealthCheck
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


class _Phase(enum.Enum):
    """What goes on besides the connections that there are."""

    REST = enum.auto()
    ATTEMPT = enum.auto()
    DELAY = enum.auto()


_STATES = {_Phase.REST: _IDLE, _Phase.ATTEMPT: _CONNECTING, _Phase.DELAY: _FAILED}


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
        act: Act,
        health: bool = True,
    ) -> None:
        """Makes a subchannel that is idle.

        Args:
            endpoint: Where it connects to.
            connector: Who makes connections.
            backoff: The delays between attempts.
            min_connect_timeout: Seconds that an attempt has at least (doc/connection-backoff.md).
            on_change: Told each new state.
            on_close: Told that it is shut down.
            act: Runs what a connection asks for, as one step of the channel.
            health: Whether others may hold it.
        """
        self.endpoint = endpoint
        self.state = _IDLE
        #: The connection that takes calls while the state is READY: the oldest one.
        self.connection: ClientConnection | None = None
        #: Why the last attempt failed, or why it is held, for people.
        self.last_error = ""
        self.health = health
        self._connector = connector
        self._backoff = backoff
        self._min_connect_timeout = min_connect_timeout
        self._on_change = on_change
        self._on_close = on_close
        self._act = act
        self._phase = _Phase.REST
        self._connections: list[ClientConnection] = []
        self._most = 1
        self._holds: dict[object, ChannelConnectivity] = {}
        self._check: HealthCheck | None = None
        self._wakeup: float | None = None
        self._retry_at = 0.0
        self._now = 0.0

    def __str__(self) -> str:
        """The address, as grpcio writes it."""
        host, port, path = self.endpoint.address
        return peer_name("unix" if path else "ipv6" if ":" in host else "ipv4", host, port, path)

    def _refresh(self) -> None:
        """Tells the state if it is another one."""
        if self.state is _SHUTDOWN:
            return
        if not self._connections:
            state = _STATES[self._phase]
        elif not self._holds:
            state = _READY
        else:
            state = _FAILED if _FAILED in self._holds.values() else _CONNECTING
        if state is not self.state:
            self.state = state
            self._on_change(self, state)

    # What policies do.

    def connect(self, now: float) -> None:
        """Begins to connect if it is idle."""
        if self.state is _IDLE:
            self._attempt(now)

    def close(self) -> None:
        """Connects no more; calls on its connections finish."""
        if self.state is _SHUTDOWN:
            return
        self.state = _SHUTDOWN
        self.connection = self._wakeup = None
        self._on_close(self)
        self.check_health(None, 0.0)
        if self._phase is _Phase.ATTEMPT:
            self._connector.abandon(self)
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.on_full = None
            self._connector.leave(connection)

    def hold(self, by: object, state: ChannelConnectivity, reason: str) -> None:
        """Shows another state than READY while connected.

        Args:
            by: Who wants it; each has one say.
            state: CONNECTING or TRANSIENT_FAILURE.
            reason: Why it has failed, for people.
        """
        if self.health:
            self._holds[by] = state
            if reason:
                self.last_error = reason
            self._refresh()

    def release(self, by: object) -> None:
        """Shows what it is again, as far as this holder is concerned."""
        if self._holds.pop(by, None) is not None:
            self._refresh()

    # What the channel reports.

    def _attempt(self, now: float) -> None:
        self._now = now
        delay = self._backoff.next_delay()
        self._retry_at = now + delay
        self._wakeup = now + max(delay, self._min_connect_timeout)
        self._phase = _Phase.ATTEMPT
        self._refresh()
        self._connector.connect(self)

    def connected(self, connection: ClientConnection) -> bool:
        """An attempt led to a connection that works; returns False if nobody wants it, or it takes no calls."""
        if self.state is _SHUTDOWN or self._phase is not _Phase.ATTEMPT:
            return False
        if connection.draining:
            # The goodbye came with the greeting. Policies hear of that as of any attempt that led to nothing.
            self.connect_failed(f"{self}: the server left at once")
            return False
        self._phase = _Phase.REST
        self._wakeup = None
        self._backoff.reset()
        self._connections.append(connection)
        self._watch_streams(connection)
        if self.connection is None:
            self.connection = connection
            if self._check is not None:
                self._check.begin(connection, connection.now)
        else:
            connection.join(self.connection)
            self._extend(connection.now)
        self._refresh()
        return True

    def connect_failed(self, reason: str) -> None:
        """An attempt failed; the delay counts from its beginning."""
        if self.state is not _SHUTDOWN and self._phase is _Phase.ATTEMPT:
            self.last_error = reason
            self._wakeup = self._retry_at
            self._phase = _Phase.DELAY
            self._refresh()

    def connection_left(self, connection: ClientConnection) -> None:
        """A connection takes no more calls."""
        if connection not in self._connections:
            return
        connection.on_full = None
        self._connections.remove(connection)
        self.connection = self._connections[0] if self._connections else None
        if self._check is not None and self._check.uses(connection):
            if self.connection is None:
                self._check.end()
            else:
                self._check.begin(self.connection, connection.now)
        self._extend(connection.now)
        self._refresh()

    def reset_backoff(self) -> None:
        """The next attempt may be made at once."""
        self._backoff.reset()
        if self._phase is _Phase.DELAY:
            self._wakeup = self._retry_at = self._now

    # Several connections.

    def allow_connections(self, most: int, now: float) -> None:
        """How many connections it may have; those that there are stay (gRFC A105)."""
        if most != self._most:
            self._most = most
            for connection in self._connections:
                self._watch_streams(connection)
            self._extend(now)

    def _watch_streams(self, connection: ClientConnection) -> None:
        if self._most > 1:
            connection.on_full = functools.partial(self._full, connection)
        else:
            connection.on_full = None

    def _full(self, connection: ClientConnection) -> None:
        self._act(functools.partial(self._extend, connection.now), connection.now)

    def _extend(self, now: float) -> None:
        """Makes another connection if calls wait for a stream, and one more is allowed."""
        wanted = self._phase is _Phase.REST and self._connections and self._connections[0].has_waiting
        if wanted and len(self._connections) < self._most:
            self._attempt(now)

    # Health.

    def check_health(self, check: HealthCheck | None, now: float) -> None:
        """Has the server's health watched, or not any more."""
        old, self._check = self._check, check
        # In this order, so that it doesn't seem ready in between.
        if check is not None and self.connection is not None:
            check.begin(self.connection, now)
        if old is not None:
            old.end()

    @property
    def watched_service(self) -> str | None:
        """The service whose health is watched, or None."""
        return None if self._check is None else self._check.service

    # Time.

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` is to be called, or None."""
        other = None if self._check is None else self._check.next_wakeup()
        if other is None or self._wakeup is None:
            return self._wakeup if other is None else other
        return min(other, self._wakeup)

    def handle_timeout(self, now: float) -> None:
        """Ends an attempt that takes too long, or a delay; watches its server's health again."""
        if self._check is not None:
            self._check.handle_timeout(now)
        if self._wakeup is None or now < self._wakeup:
            return
        if self._phase is _Phase.ATTEMPT:
            self._connector.abandon(self)
            self.connect_failed(f"{self}: no answer within {self._wakeup - self._now:g} seconds")
        if self._phase is _Phase.DELAY and now >= self._retry_at:
            self._wakeup = None
            self._phase = _Phase.REST
            self._extend(now)
            self._refresh()
