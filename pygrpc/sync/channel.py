"""The sync channel: multi-callables for the user, one connection at a time to the server."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pygrpc import interfaces
from pygrpc._tls import ClientSecurity, insecure_client
from pygrpc.call_credentials import PluginSource, call_plugins, plugin_context
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.call_factory import Calls
from pygrpc.core.client_call import DEADLINE_EXCEEDED, ClientCall
from pygrpc.core.configuration import message_limits, service_config, user_agent
from pygrpc.core.deadlines import Deadlines
from pygrpc.core.headers import RequestBlock
from pygrpc.core.metadata import Header
from pygrpc.core.service_config import ServiceConfig
from pygrpc.core.status import Status
from pygrpc.core.targets import Target, parse_target
from pygrpc.options import Options
from pygrpc.status import StatusCode
from pygrpc.sync import fork
from pygrpc.sync.authentication import NOT_PRIVATE, Authentication
from pygrpc.sync.connecting import Connections, Opener, begin_to_connect
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
        self._target_error = ""
        self._target, self._config = Target((), target), ServiceConfig()
        try:
            self._target = parse_target(target)
            self._config = service_config(options)
        except ValueError as error:
            self._target_error = f"Failed to create channel to {target!r}: {error}"
        self._options = options
        self.security = security or insecure_client()
        self.limits = message_limits(options)
        self.compression = options.request_compression
        self.authority = options.default_authority or self.security.authority or self._target.authority
        self.user_agent = user_agent(options)
        self._observers = Observers()
        self._begin()
        fork.register(self)

    def _begin(self) -> None:
        """Makes all that belongs to one process."""
        self._deadlines: Deadlines[ClientCall] = Deadlines()
        #: Calls whose credentials' plugins are still to be asked, or are being asked.
        self._authentications: dict[ClientCall, Authentication] = {}
        self.driver = Driver(self)
        self._connections = Connections(
            self.driver,
            self._target,
            self._options,
            self._config,
            self.security,
            self.authority,
            self.opener(),
            self._observers.tell,
        )
        if self._target_error:
            self._connections.core.target_is_bad(self._target_error)

    def opener(self) -> Opener:
        """What begins to connect; it may not keep the channel."""
        return begin_to_connect

    @property
    def _state(self) -> ChannelConnectivity:
        return self._connections.core.state

    @property
    def calls(self) -> Calls:
        """Makes the calls."""
        return self._connections.core.calls

    # Calls.

    def check_open(self) -> None:
        """Raises ValueError if the channel is closed."""
        if self._state is ChannelConnectivity.SHUTDOWN:
            raise ValueError("Cannot invoke RPC on closed channel!")

    def start(self, call: ClientCall, wait_for_ready: bool | None) -> None:
        """Gives a call to a connection, or lets it wait for one; requires the lock.

        Args:
            call: The call.
            wait_for_ready: Whether it waits while no connection can be had; None for what the service config says.

        Raises:
            ValueError: The channel is closed.
        """
        self.check_open()
        if call.ended:
            return
        if wait_for_ready is not None:
            call.wait_for_ready = wait_for_ready
        now = time.monotonic()
        # Nobody may have read for a while, and the server may have said goodbye.
        self.driver.look(now, _STALE)
        if call.deadline is not None and call.deadline <= now:
            call.cancel(DEADLINE_EXCEEDED)
        elif call in self._authentications:
            self._authentications[call].begin(call, lambda: self._dispatch(call, time.monotonic()))
        else:
            self._dispatch(call, now)

    def _dispatch(self, call: ClientCall, now: float) -> None:
        if call.stop_waiting is not None:
            call.stop_waiting()
            call.stop_waiting = None
        try:
            self._connections.core.start(call, now)
        except BaseException:
            # A signal handler raised: nobody knows how far the call has come.
            self._connections.lose("interrupted while a call was starting")
            raise

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

    def request_headers(self, method: str, encoding: bytes | None, metadata: list[Header]) -> RequestBlock:
        """Returns what makes the header block of a call once its timeout is known."""
        scheme, accepted = self.security.scheme, self.limits.accept_encoding
        return RequestBlock(method, self.authority, scheme, self.user_agent, encoding, metadata, accepted)

    # What the driver asks for, with its lock held.

    def next_time(self) -> float | None:
        """When ``on_time`` is to be called."""
        when = self._deadlines.next()
        connections = self._connections
        other = connections.wakeup
        if when is None or (other is not None and other < when):
            when = other
        for connection in connections.transports:
            other = connection.wakeup
            if other is not None and (when is None or other < when):
                when = other
        return when

    def on_time(self, now: float) -> None:
        """Does what is due."""
        for call in self._deadlines.pop_expired(now):
            call.cancel(DEADLINE_EXCEEDED)
        connections = self._connections
        if connections.wakeup is not None and connections.wakeup <= now:
            connections.core.handle_timeout(now)
        for connection, transport in list(connections.transports.items()):
            wakeup = connection.wakeup
            if wakeup is not None and wakeup <= now:
                connection.handle_timeout(now)
                transport.on_output()

    def flush(self) -> None:
        """Writes what is queued."""
        dirty = self._connections.dirty
        while dirty:
            dirty.pop().flush()

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
            state = self._state
            if try_to_connect:
                self._connections.core.exit_idle(time.monotonic())
                self.driver.settle()
            return state

    def subscribe(self, callback: Observer, try_to_connect: bool | None = False) -> None:  # noqa: D102
        with self.driver.lock:
            if self._state is ChannelConnectivity.SHUTDOWN:
                return
            self._observers.add(callback, self._state)
            if try_to_connect:
                self._connections.core.exit_idle(time.monotonic())
            self.driver.settle()

    def unsubscribe(self, callback: Observer) -> None:  # noqa: D102
        self.driver.act(lambda: self._observers.remove(callback))

    def close(self) -> None:  # noqa: D102
        self.driver.act(lambda: self._close(_CLOSED))

    def _close(self, status: Status) -> None:
        if self._state is ChannelConnectivity.SHUTDOWN:
            return
        self._observers.clear()
        for call in self._active_calls():
            call.cancel(status)
        self._connections.close()
        self.driver.close()

    def _active_calls(self) -> list[ClientCall]:
        return [*self._authentications, *self._connections.core.all_calls()]

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Closes a channel that nobody can use any more."""
        if is_finalizing():
            # The names of modules may be gone by now, and sockets close by themselves.
            return
        driver = getattr(self, "driver", None)
        if driver is not None and self._state is not ChannelConnectivity.SHUTDOWN:
            driver.act_without_waiting(lambda: self._close(_CLOSED))

    @property
    def fork_lock(self) -> Any:
        """The lock that nobody else may hold while the process forks."""
        return self.driver.lock

    def after_fork(self) -> None:
        """Begins anew in the child of a fork: the sockets are the parent's, so they are dropped without a word."""
        if self._state is ChannelConnectivity.SHUTDOWN:
            return
        calls = self._active_calls()
        self._connections.abandon_sockets()
        self.driver.abandon()
        self._observers.after_fork()
        self._begin()
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
