"""A channel's core with a shell that does no I/O: the test says what becomes of every look-up and every attempt."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable
from typing import Any

from pygrpc import ChannelConnectivity
from pygrpc.core.backoff import BackoffPolicy
from pygrpc.core.balancing import Balancer, Endpoint, PickFirst
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.channel_shell import ChannelSettings
from pygrpc.core.client_call import ClientCall, RequestHeaders
from pygrpc.core.client_channel import ClientChannel
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.headers import request_headers
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.service_config import parse_service_config
from pygrpc.core.targets import Address
from tests.core.pair import ClientEnd, RawPeer

IDLE, CONNECTING, READY, FAILED, SHUTDOWN = ChannelConnectivity

#: Delays of 1, 2, 4 and again 4 seconds.
BACKOFF = BackoffPolicy(initial=1.0, maximum=4.0, multiplier=2.0, jitter=0.0)
SETTINGS = ChannelSettings(backoff=BACKOFF, min_connect_timeout=20.0, min_time_between_resolutions=30.0)


def endpoint(name: str) -> Endpoint:
    """The endpoint of a short name: ``a`` is IPv4, ``a6`` is IPv6."""
    host = f"::{name}" if name.endswith("6") else name
    return Endpoint(Address(host, 1))


class FakeShell:
    """The shell of one channel; ``now`` is the time of all that the test does."""

    def __init__(
        self,
        settings: ChannelSettings = SETTINGS,
        random: float = 0.5,
        policy: type[Balancer] = PickFirst,
        config: dict[str, Any] | None = None,
        awaits_config: bool = False,
    ) -> None:
        self.now = 100.0
        self.states: list[ChannelConnectivity] = []
        self.look_ups = 0
        self.stops = 0
        #: Whether each look-up has an outcome, as those of the system's resolver do.
        self.resolver_answers = True
        #: The attempts that have no outcome yet, and all there ever were, by name.
        self.attempts: dict[str, Subchannel] = {}
        self.attempted: list[str] = []
        self.connections: dict[ClientConnection, Subchannel] = {}
        self.left: list[ClientConnection] = []
        self.wakeup: float | None = None
        #: The SETTINGS of servers that answer.
        self.limit: dict[int, int] = {}
        parsed = None if config is None else parse_service_config(json.dumps(config))
        self.channel = ClientChannel(self, settings, lambda: random, parsed, policy, awaits_config)

    # ChannelShell.

    def resolve(self) -> bool:
        self.look_ups += 1
        return self.resolver_answers

    def stop_resolving(self) -> None:
        self.stops += 1

    def request_headers(self, path: str) -> RequestHeaders:
        return functools.partial(request_headers, path, "authority", b"http", b"test/1", encoding=None, metadata=[])

    def on_state(self, state: ChannelConnectivity) -> None:
        self.states.append(state)

    def on_wakeup(self, when: float | None) -> None:
        assert when != self.wakeup
        self.wakeup = when

    def connect(self, subchannel: Subchannel) -> None:
        assert subchannel not in self.attempts.values(), "one attempt at a time for each subchannel"
        name = subchannel.endpoint.address.host.removeprefix("::")
        self.attempted.append(name)
        # While one policy takes over from another, both may want the same address.
        self.attempts[name if name not in self.attempts else f"{name} again"] = subchannel

    def abandon(self, subchannel: Subchannel) -> None:
        (name,) = [name for name, other in self.attempts.items() if other is subchannel]
        del self.attempts[name]

    def leave(self, connection: ClientConnection) -> None:
        self.left.append(connection)
        connection.drain()
        self._close_if_over(connection)

    # What happens outside.

    def resolved(self, *names: str, config: dict[str, Any] | None = None) -> None:
        parsed = None if config is None else parse_service_config(json.dumps(config))
        self.channel.resolved([endpoint(name) for name in names], self.now, parsed)

    def resolution_failed(self, reason: str = "no such name") -> None:
        self.channel.resolution_failed(reason, self.now)

    def fail(self, name: str, reason: str = "refused") -> None:
        self.channel.connect_failed(self.attempts.pop(name), f"{name}: {reason}", self.now)

    def answer(self, name: str) -> RawPeer:
        """The address answers: a server of one's own is there."""
        subchannel = self.attempts.pop(name)
        owner = _Owner(self)
        connection = owner.connection = ClientConnection(
            owner, Http2Settings(), self.now, keepalive=self.channel.keepalive
        )
        peer = RawPeer(connection, is_client=False, settings=self.limit, now=self.now)
        self.connections[connection] = subchannel
        self.channel.connected(subchannel, connection, self.now)
        return peer

    def lose(self, peer: RawPeer) -> None:
        """The connection breaks."""
        assert isinstance(peer.core, ClientConnection)
        peer.core.lost("gone")
        self._close_if_over(peer.core)

    def _close_if_over(self, connection: ClientConnection) -> None:
        if connection.closing and self.connections.pop(connection, None) is not None:
            self.channel.connection_lost(connection, self.now)

    def wait(self, seconds: float) -> None:
        """Lets time pass; what is due is done in time."""
        until = self.now + seconds
        for _ in range(10_000):
            if self.wakeup is None or self.wakeup > until:
                self.now = until
                return
            self.now = max(self.now, self.wakeup)
            self.channel.handle_timeout(self.now)
        raise AssertionError("time does not pass")

    def call(self, wait_for_ready: bool = False) -> ClientEnd:
        """Starts a call."""
        end = ClientEnd()
        end.call.wait_for_ready = wait_for_ready
        self.channel.start(end.call, self.now)
        return end.send(b"x")

    def ready(self, *names: str) -> list[RawPeer]:
        """Connects to all of these, which are the addresses of the target."""
        self.channel.exit_idle(self.now)
        self.resolved(*names)
        # A policy that connects only when somebody wants it does so now.
        self.channel.exit_idle(self.now)
        return [self.answer(name) for name in names if name in self.attempts]


class _Owner:
    connection: ClientConnection

    def __init__(self, shell: FakeShell) -> None:
        self._shell = shell

    def on_ready(self) -> None: ...

    def on_draining(self) -> None:
        self._shell.channel.connection_draining(self.connection, self._shell.now)

    def on_unsent(self, calls: list[ClientCall]) -> None:
        self._shell.channel.unsent(calls, self._shell.now)


def streams(peers: Iterable[RawPeer]) -> list[int]:
    """How many calls each of these servers has got so far."""
    for peer in peers:
        peer.receive()
    return [len({frame.stream_id for frame in peer.frames if frame.stream_id}) for peer in peers]


def turns(pattern: str, length: int) -> str:
    """The first letters of an endless repetition."""
    return "".join(itertools.islice(itertools.cycle(pattern), length))
