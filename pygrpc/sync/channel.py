"""The sync channel: multi-callables for the user, one connection at a time to the server."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pygrpc import interfaces
from pygrpc._tls import ClientSecurity, insecure_client
from pygrpc.call_credentials import PluginSource, call_plugins, plugin_context
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.client_call import DEADLINE_EXCEEDED, ClientCall, RequestHeaders
from pygrpc.core.configuration import http2_settings, message_limits, user_agent
from pygrpc.core.connectivity import Connectivity
from pygrpc.core.deadlines import Deadlines
from pygrpc.core.headers import request_headers
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.core.targets import Target, parse_target
from pygrpc.options import Options
from pygrpc.status import StatusCode
from pygrpc.sync import fork
from pygrpc.sync.authentication import NOT_PRIVATE, Authentication
from pygrpc.sync.connecting import Attempt, ClientTransport, Endpoint, begin_to_connect
from pygrpc.sync.driver import Driver
from pygrpc.sync.multicallable import (
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from pygrpc.sync.observers import Observer, Observers
from pygrpc.sync.private_views import ChannelView

#: Seconds without a look at the connection after which a new call looks before it uses it.
_STALE = 0.001
_CLOSED = Status(StatusCode.CANCELLED, "Channel closed!")
_FORKED = Status(StatusCode.CANCELLED, "Call cancelled in fork child")

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class Channel(interfaces.Channel):
    """A channel to one target.

    It connects when it is first needed; after a failure it tries again with growing delays (doc/connection-backoff.md).
    It may be used by any number of threads. ``driver`` holds its lock.
    """

    def __init__(self, target: str | bytes, options: Options, security: ClientSecurity | None = None) -> None:
        """Makes a channel that is idle; ``pygrpc.insecure_channel`` and ``pygrpc.secure_channel`` are the public ways.

        Args:
            target: Where the server is. One that can't be understood fails the calls, not the channel, as in grpcio.
            options: The options.
            security: How connections are secured; None for not at all.
        """
        if isinstance(target, bytes):
            target = target.decode()
        self._target_text = target
        self._target_error: Status | None = None
        try:
            self._target = parse_target(target)
        except ValueError as error:
            self._target = Target((), target)
            self._target_error = Status(StatusCode.UNAVAILABLE, f"Failed to create channel to {target!r}: {error}")
        self._options = options
        self.security = security or insecure_client()
        self.limits = message_limits(options)
        self.compression = options.request_compression
        self.authority = options.default_authority or self.security.authority or self._target.authority
        self.user_agent = user_agent(options)
        self.http2_settings = http2_settings(options)
        policy = BackoffPolicy(options.initial_reconnect_backoff, options.max_reconnect_backoff)
        self._backoff = Backoff(policy, random.random)
        self._observers = Observers()
        self._connectivity = Connectivity(self._backoff, self._observers.tell)
        self._deadlines: Deadlines[ClientCall] = Deadlines()
        #: Calls whose credentials' plugins are still to be asked, or are being asked.
        self._authentications: dict[ClientCall, Authentication] = {}
        self._attempt: Attempt | None = None
        self._current: ClientTransport | None = None
        self._transports: set[ClientTransport] = set()
        #: Connections with something to write.
        self.dirty: list[ClientTransport] = []
        self.driver = Driver(self)
        fork.register(self)

    # Calls.

    def check_open(self) -> None:
        """Raises ValueError if the channel is closed."""
        if self._connectivity.state is ChannelConnectivity.SHUTDOWN:
            raise ValueError("Cannot invoke RPC on closed channel!")

    def start(self, call: ClientCall, wait_for_ready: bool) -> None:
        """Gives a call to the connection, or lets it wait for one; requires the lock.

        Raises:
            ValueError: The channel is closed.
        """
        self.check_open()
        if call.ended:
            return
        if wait_for_ready:
            call.wait_for_ready = True
        now = time.monotonic()
        # Nobody may have read for a while, and the server may have said goodbye.
        self.driver.look(now, _STALE)
        if call.deadline is not None and call.deadline <= now:
            call.cancel(DEADLINE_EXCEEDED)
        elif call in self._authentications:
            self._authentications[call].begin(call, lambda: self._dispatch(call, wait_for_ready, time.monotonic()))
        else:
            self._dispatch(call, wait_for_ready, now)

    def _dispatch(self, call: ClientCall, wait_for_ready: bool, now: float) -> None:
        if call.stop_waiting is not None:
            call.stop_waiting()
            call.stop_waiting = None
        if self._current is not None:
            self._current.start(call, now)
        elif self._target_error is not None:
            call.cancel(self._target_error)
        else:
            self._connectivity.admit(call, wait_for_ready)
            self._connect_if_due(now)

    def plugins(self, credentials: Any) -> tuple[PluginSource, ...]:
        """The call credentials of a call: the channel's, and its own.

        Raises:
            TypeError: Its own are none.
        """
        return self.security.plugins + call_plugins(credentials) if credentials is not None else self.security.plugins

    def authenticate(
        self, call: ClientCall, plugins: tuple[PluginSource, ...], method: str, headers: list[Header]
    ) -> None:
        """Makes a new call wait, once it is started, for the metadata of plugins."""
        if self.security.private:
            context = plugin_context(self.security.url_scheme, self.authority, method)
            self._authentications[call] = Authentication(self.driver, plugins, context, headers)
            call.stop_waiting = lambda: self._authentications.pop(call, None)
        else:
            call.cancel(NOT_PRIVATE)

    def watch_deadline(self, call: ClientCall) -> None:
        """Ends a call at its deadline even if nobody waits for it then; requires the lock."""
        if call.deadline is not None and not call.ended:
            self._deadlines.add(call)
            self.driver.time_set(call.deadline)
            self.driver.ensure_watcher()

    def request_headers(self, method: str, encoding: bytes | None, metadata: list[Header]) -> RequestHeaders:
        """Returns what makes the header block of a call once its timeout is known."""

        def build(timeout: float | None) -> Sequence[Header]:
            scheme, accepted = self.security.scheme, self.limits.accept_encoding
            return request_headers(
                method, self.authority, scheme, self.user_agent, timeout, encoding, metadata, accepted
            )

        return build

    # What the driver asks for, with its lock held.

    def next_time(self) -> float | None:
        """When ``on_time`` is to be called."""
        when = self._deadlines.next()
        other = self._attempt.next_time() if self._attempt is not None else self._connectivity.attempt_at()
        if when is None or (other is not None and other < when):
            when = other
        for transport in self._transports:
            other = transport.core.next_wakeup()
            if other is not None and (when is None or other < when):
                when = other
        return when

    def on_time(self, now: float) -> None:
        """Does what is due."""
        for call in self._deadlines.pop_expired(now):
            call.cancel(DEADLINE_EXCEEDED)
        if self._attempt is not None:
            self._attempt.on_time(now)
        self._connect_if_due(now)
        for transport in list(self._transports):
            wakeup = transport.core.next_wakeup()
            if wakeup is not None and wakeup <= now:
                transport.core.handle_timeout(now)
                transport.on_output()

    def flush(self) -> None:
        """Writes what is queued."""
        while self.dirty:
            self.dirty.pop().flush()

    # Connecting.

    def _connect_if_due(self, now: float) -> None:
        due = self._connectivity.attempt_at()
        if due is None or due > now:
            return
        self._connectivity.attempt_begins(now)
        timeout = max(self._options.min_reconnect_backoff, 0.1)
        self._attempt = Attempt(self, self._target.addresses, timeout, now)
        self.driver.add_urgent(self._attempt)
        self._attempt.on_time(now)

    def _attempt_over(self) -> None:
        if self._attempt is not None:
            self.driver.remove_urgent(self._attempt)
            self._attempt = None

    def open_socket(self, endpoint: Endpoint) -> Any:
        """Begins to connect to an endpoint.

        Raises:
            OSError: It fails at once.
        """
        return begin_to_connect(endpoint)

    def on_attempt_failed(self, reason: str) -> None:
        """No address could be reached."""
        self._attempt_over()
        self._connectivity.attempt_failed(reason)
        self.driver.ensure_watcher()

    def on_connected(self, transport: ClientTransport) -> None:
        """A connection works."""
        self._attempt_over()
        self._transports.add(transport)
        self._current = transport
        for call, wait_for_ready in self._connectivity.connected():
            if transport is self._current:
                transport.start(call, transport.core.now)
            else:
                self._connectivity.admit(call, wait_for_ready)
        self.driver.ensure_watcher()

    def on_draining(self, transport: ClientTransport) -> None:
        """A connection takes no new calls."""
        if transport is self._current:
            self._current = None
            self._connectivity.connection_left()

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls; they go to the next connection as if nothing had happened."""
        for call in calls:
            self._dispatch(call, call.wait_for_ready, time.monotonic())

    def on_lost(self, transport: ClientTransport) -> None:
        """A connection is closed."""
        self._transports.discard(transport)

    # The public rest.

    @property
    def _channel(self) -> ChannelView:
        return ChannelView(self, self._target_text)

    def state(self, try_to_connect: bool) -> ChannelConnectivity:
        """The state of the channel, as it was before it connects.

        Args:
            try_to_connect: Whether it is to connect if it is idle.
        """
        with self.driver.lock:
            state = self._connectivity.state
            if try_to_connect and self._target_error is None and state is not ChannelConnectivity.SHUTDOWN:
                self._connectivity.want()
                self._connect_if_due(time.monotonic())
                self.driver.settle()
            return state

    def subscribe(self, callback: Observer, try_to_connect: bool | None = False) -> None:  # noqa: D102
        with self.driver.lock:
            if self._connectivity.state is ChannelConnectivity.SHUTDOWN:
                return
            if try_to_connect and self._target_error is None:
                self._connectivity.want()
            self._observers.add(callback, self._connectivity.state)
            self._connect_if_due(time.monotonic())
            self.driver.settle()

    def unsubscribe(self, callback: Observer) -> None:  # noqa: D102
        self.driver.act(lambda: self._observers.remove(callback))

    def close(self) -> None:  # noqa: D102
        self.driver.act(lambda: self._close(_CLOSED))

    def _close(self, status: Status) -> None:
        if self._connectivity.state is ChannelConnectivity.SHUTDOWN:
            return
        self._observers.clear()
        self._connectivity.shut_down()
        calls = [*self._authentications, *self._connectivity.waiting]
        for transport in self._transports:
            calls += transport.core.all_calls()
        for call in calls:
            call.cancel(status)
        if self._attempt is not None:
            self._attempt.abort()
            self._attempt_over()
        self._current = None
        for transport in list(self._transports):
            transport.core.drain()
            transport.flush()
            transport.lost("the channel is closed")
        self.driver.close()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Closes a channel that nobody can use any more."""
        if is_finalizing():
            # The names of modules may be gone by now, and sockets close by themselves.
            return
        driver = getattr(self, "driver", None)
        if driver is not None and self._connectivity.state is not ChannelConnectivity.SHUTDOWN:
            driver.act_without_waiting(lambda: self._close(_CLOSED))

    @property
    def fork_lock(self) -> Any:
        """The lock that nobody else may hold while the process forks."""
        return self.driver.lock

    def after_fork(self) -> None:
        """Begins anew in the child of a fork: the sockets are the parent's, so they are dropped without a word."""
        if self._connectivity.state is ChannelConnectivity.SHUTDOWN:
            return
        transports = [*self._transports, *(self._attempt.transports if self._attempt is not None else ())]
        calls = [*self._authentications, *self._connectivity.waiting]
        for transport in transports:
            transport.closed = True
            transport.socket.close()
            calls += transport.core.all_calls()
        self.driver.abandon()
        self.driver = Driver(self)
        self._observers.after_fork()
        self._connectivity = Connectivity(self._backoff, self._observers.tell)
        self._deadlines = Deadlines()
        self._authentications = {}
        self._attempt = self._current = None
        self._transports = set()
        self.dirty = []
        for call in calls:
            call.cancel(_FORKED)

    def __enter__(self) -> Self:
        """Returns the channel."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Closes the channel."""
        self.close()

    def unary_unary(  # noqa: D102
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable:
        return UnaryUnaryMultiCallable(self, method, request_serializer, response_deserializer)

    def unary_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        return UnaryStreamMultiCallable(self, method, request_serializer, response_deserializer)

    def stream_unary(  # noqa: D102
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        return StreamUnaryMultiCallable(self, method, request_serializer, response_deserializer)

    def stream_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        return StreamStreamMultiCallable(self, method, request_serializer, response_deserializer)
