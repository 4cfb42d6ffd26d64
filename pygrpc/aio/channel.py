"""The asyncio channel: multi-callables for the user, one connection at a time to the server."""

import asyncio
import random
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pygrpc._tls import ClientSecurity, insecure_client
from pygrpc.aio import base
from pygrpc.aio.authentication import NOT_PRIVATE, Authentication
from pygrpc.aio.errors import UsageError
from pygrpc.aio.intercepted_call import InterceptedCall
from pygrpc.aio.interceptor import ClientInterceptor, ClientInterceptors
from pygrpc.aio.multicallable import (
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from pygrpc.aio.transport import DeadlineTimer, Transport
from pygrpc.call_credentials import PluginSource, call_plugins
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.client_call import CANCELLED_LOCALLY, DEADLINE_EXCEEDED, ClientCall, RequestHeaders
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.configuration import http2_settings, message_limits, user_agent
from pygrpc.core.headers import request_headers
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.core.targets import Address, parse_target
from pygrpc.options import Options
from pygrpc.status import StatusCode

#: Seconds that a closing channel waits for what is queued to be written.
_GOODBYE = 0.5


class ClientTransport(Transport[ClientConnection]):
    """A connection to the server, which tells its channel when it is ready and when it drains."""

    def __init__(self, channel: "Channel", loop: asyncio.AbstractEventLoop) -> None:
        """Makes the protocol of a connection that is still to be made."""
        super().__init__(loop, channel._on_lost)
        self._channel = channel
        self.ready: asyncio.Future[None] = loop.create_future()

    def make_core(self) -> ClientConnection:
        """Makes the core of the connection."""
        self._channel._transports.add(self)
        return ClientConnection(self, self._channel.http2_settings, self._loop.time())

    def on_ready(self) -> None:
        """The server's SETTINGS arrived."""
        self._channel.security.remember(self.ssl_object)
        if not self.ready.done():
            self.ready.set_result(None)

    def on_draining(self, unsent: list[ClientCall]) -> None:
        """The connection takes no more calls."""
        self._channel._on_draining(self, unsent)

    def flush(self) -> None:
        """Writes what is queued."""
        super().flush()
        self._channel._after_flush()


class Channel(base.Channel):
    """A channel to one target.

    It belongs to the event loop that makes the first call. It connects when it is first needed; after a failure it
    tries again with growing delays (doc/connection-backoff.md).
    """

    def __init__(
        self,
        target: str,
        options: Options,
        interceptors: Sequence[ClientInterceptor] | None = None,
        security: ClientSecurity | None = None,
    ) -> None:
        """Makes a channel that is idle; ``insecure_channel`` and ``secure_channel`` are the public ways."""
        self._target = parse_target(target)
        self._options = options
        self.interceptors = ClientInterceptors(interceptors)
        self.security = security or insecure_client()
        self._intercepted: weakref.WeakSet[InterceptedCall] = weakref.WeakSet()
        #: Calls whose credentials' plugins are still to be asked, or are being asked.
        self._authentications: dict[ClientCall, Authentication] = {}
        self.limits = message_limits(options)
        self.compression = options.compression
        self.authority = options.default_authority or self.security.authority or self._target.authority
        self.user_agent = user_agent(options)
        self.http2_settings = http2_settings(options)
        policy = BackoffPolicy(options.initial_reconnect_backoff, options.max_reconnect_backoff)
        self._backoff = Backoff(policy, random.random)
        self._state = ChannelConnectivity.IDLE
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: DeadlineTimer[ClientCall] | None = None
        self._current: ClientTransport | None = None
        self._transports: set[ClientTransport] = set()
        #: Calls that wait for a connection, with whether they wait for ready.
        self._pending: dict[ClientCall, bool] = {}
        self._connecting: asyncio.Task[None] | None = None
        self._last_error = "not connected"
        self._state_waiters: list[asyncio.Future[None]] = []
        self._idle_waiter: asyncio.Future[None] | None = None
        self._lost_waiter: asyncio.Future[None] | None = None

    # Calls.

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the channel belongs to: the one that runs when it is first used."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._deadlines = DeadlineTimer(self._loop, self._on_deadline)
        return self._loop

    def check_open(self) -> None:
        """Raises UsageError if the channel is closed."""
        if self._state is ChannelConnectivity.SHUTDOWN:
            raise UsageError("Channel is closed.")

    def start(self, call: ClientCall, wait_for_ready: bool) -> None:
        """Gives a call to the connection, or lets it wait for one; one that has ended is passed over."""
        if call.ended:
            return
        if call.deadline is not None:
            if call.deadline <= self.loop.time():
                call.cancel(DEADLINE_EXCEEDED)
                return
            assert self._deadlines is not None
            self._deadlines.add(call)
        if call in self._authentications:
            self._authentications[call].begin(call, self.loop, lambda: self._dispatch(call, wait_for_ready))
        else:
            self._dispatch(call, wait_for_ready)

    def _dispatch(self, call: ClientCall, wait_for_ready: bool) -> None:
        self._authentications.pop(call, None)
        call.stop_waiting = None
        current = self._current
        if current is not None:
            current.core.now = self.loop.time()
            current.core.start(call)
        elif self._state is ChannelConnectivity.TRANSIENT_FAILURE and not wait_for_ready:
            call.cancel(Status(StatusCode.UNAVAILABLE, self._last_error))
        else:
            self._pending[call] = wait_for_ready
            call.stop_waiting = lambda: self._pending.pop(call, None)
            self._connect()

    def plugins(self, credentials: Any) -> tuple[PluginSource, ...]:
        """The call credentials of a call: the channel's, and its own.

        Raises:
            UsageError: It has its own, but this is an insecure channel.
        """
        own = call_plugins(credentials)
        if own and self.security.insecure:
            raise UsageError("Call credentials are only valid on secure channels")
        return self.security.plugins + own

    def authenticate(
        self, call: ClientCall, plugins: tuple[PluginSource, ...], method: str, headers: list[Header]
    ) -> None:
        """Makes a new call wait, once it is started, for the metadata of plugins."""
        if self.security.private:
            scheme = self.security.url_scheme
            self._authentications[call] = Authentication(plugins, scheme, self.authority, method, headers)
            call.stop_waiting = lambda: self._authentications.pop(call, None)
        else:
            call.cancel(NOT_PRIVATE)

    def track(self, call: InterceptedCall) -> None:
        """Takes note of a call that goes through interceptors, so that ``close`` cancels it."""
        self._intercepted.add(call)

    def request_headers(self, method: str, encoding: bytes | None, metadata: list[Header]) -> RequestHeaders:
        """Returns what makes the header block of a call once its timeout is known."""

        def build(timeout: float | None) -> list[Header]:
            scheme = self.security.scheme
            return request_headers(method, self.authority, scheme, self.user_agent, timeout, encoding, metadata)

        return build

    def flush_call(self, call: ClientCall) -> None:
        """Writes at once what a call has queued."""
        for transport in self._transports:
            if transport.core is call.connection:
                transport.flush()
                return

    def flush_lone_call(self, call: ClientCall) -> None:
        """Writes at once what a call has queued, unless other calls may add to the same write in this turn."""
        current = self._current
        if current is not None and call.connection is current.core and len(current.core.calls) == 1:
            current.flush()

    def _on_deadline(self, call: ClientCall) -> None:
        call.cancel(DEADLINE_EXCEEDED)

    # Connecting.

    def _set_state(self, state: ChannelConnectivity) -> None:
        if state is self._state:
            return
        self._state = state
        waiters, self._state_waiters = self._state_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _connect(self) -> None:
        if self._connecting is None and self._current is None:
            self._connecting = self.loop.create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        """Tries until a connection is ready."""
        loop = self.loop
        try:
            while True:
                if self._state is not ChannelConnectivity.TRANSIENT_FAILURE or any(self._pending.values()):
                    self._set_state(ChannelConnectivity.CONNECTING)
                started = loop.time()
                transport = await self._try_addresses()
                if transport is not None:
                    self._became_ready(transport)
                    return
                self._fail_pending()
                self._set_state(ChannelConnectivity.TRANSIENT_FAILURE)
                await asyncio.sleep(max(0.0, started + self._backoff.next_delay() - loop.time()))
        finally:
            self._connecting = None

    async def _try_addresses(self) -> "ClientTransport | None":
        timeout = max(self._options.min_reconnect_backoff, 0.1)
        for address in self._target.addresses:
            try:
                async with asyncio.timeout(timeout):
                    return await self._handshake(address)
            except TimeoutError:
                reason = f"no answer within {timeout:g} seconds"
            except OSError as error:
                reason = self.security.explain(error)
            except ValueError as error:
                # A host that can't be a name: UnicodeError from IDNA, or a NUL within.
                reason = str(error)
            self._last_error = f"failed to connect to all addresses; last error: {address}: {reason}"
        return None

    async def _handshake(self, address: Address) -> "ClientTransport":
        """Connects and waits for the server's SETTINGS."""
        tls: dict[str, Any] = {}
        if (context := self.security.context()) is not None:
            tls = {"ssl": context, "server_hostname": self.security.server_name(self.authority)}
        transport = await self._connect_to(address, tls)
        try:
            self.security.check(transport.ssl_object, transport.peer_address)
            await transport.ready
        except BaseException:
            transport.abort()
            raise
        return transport

    async def _connect_to(self, address: Address, tls: dict[str, Any]) -> "ClientTransport":
        """Makes the connection itself."""
        loop = self.loop

        def factory() -> ClientTransport:
            return ClientTransport(self, loop)

        if address.path:
            return (await loop.create_unix_connection(factory, address.path, **tls))[1]
        return (await loop.create_connection(factory, address.host, address.port, **tls))[1]

    def _became_ready(self, transport: "ClientTransport") -> None:
        self._backoff.reset()
        if transport.core.draining or transport.core.failure:
            self._set_state(ChannelConnectivity.IDLE)
            self.loop.call_soon(self._reconnect_if_needed)
            return
        self._current = transport
        self._set_state(ChannelConnectivity.READY)
        self._start_pending()

    def _start_pending(self) -> None:
        transport = self._current
        assert transport is not None
        transport.core.now = self.loop.time()
        pending, self._pending = self._pending, {}
        for call, wait_for_ready in pending.items():
            call.stop_waiting = None
            if transport is self._current:
                transport.core.start(call)
            else:
                self._pending[call] = wait_for_ready

    def _fail_pending(self) -> None:
        for call, wait_for_ready in list(self._pending.items()):
            if not wait_for_ready:
                call.cancel(Status(StatusCode.UNAVAILABLE, self._last_error))

    def _reconnect_if_needed(self) -> None:
        if self._pending and self._state is not ChannelConnectivity.SHUTDOWN:
            self._connect()

    # What connections report.

    def _on_draining(self, transport: ClientTransport, unsent: list[ClientCall]) -> None:
        if transport is self._current:
            self._current = None
            if self._state is not ChannelConnectivity.SHUTDOWN:
                self._set_state(ChannelConnectivity.IDLE)
        for call in unsent:
            # They never left, so they go to the next connection as if nothing had happened.
            self._pending[call] = True
            call.stop_waiting = lambda call=call: self._pending.pop(call, None)
        if unsent:
            self.loop.call_soon(self._reconnect_if_needed)

    def _on_lost(self, transport: Transport[ClientConnection], reason: str) -> None:
        assert isinstance(transport, ClientTransport)
        self._transports.discard(transport)
        if self._lost_waiter is not None and not self._lost_waiter.done() and not self._transports:
            self._lost_waiter.set_result(None)
        if not transport.ready.done():
            transport.ready.set_exception(ConnectionError(reason))
            # Whoever waits for it may have gone; then nobody is to be told.
            transport.ready.exception()
        self._after_flush()

    def _after_flush(self) -> None:
        if self._idle_waiter is not None and not self._idle_waiter.done() and not self._active_calls():
            self._idle_waiter.set_result(None)

    # The public rest.

    def _active_calls(self) -> list[ClientCall]:
        calls = [*self._authentications, *self._pending]
        for transport in self._transports:
            if hasattr(transport, "core"):
                calls += transport.core.all_calls()
        return calls

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:  # noqa: D102
        if try_to_connect and self._state is ChannelConnectivity.IDLE:
            self._connect()
        return self._state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:  # noqa: D102
        while self._state is last_observed_state:
            waiter = self.loop.create_future()
            self._state_waiters.append(waiter)
            await waiter

    async def channel_ready(self) -> None:  # noqa: D102
        while (state := self.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
            if state is ChannelConnectivity.SHUTDOWN:
                raise UsageError("Channel is closed.")
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:  # noqa: D102
        if self._state is ChannelConnectivity.SHUTDOWN:
            return
        if grace is not None and grace < 0:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        self._set_state(ChannelConnectivity.SHUTDOWN)
        if self._loop is None:
            return
        if grace and self._active_calls():
            self._idle_waiter = self.loop.create_future()
            await asyncio.wait([self._idle_waiter], timeout=grace)
        for intercepted in list(self._intercepted):
            intercepted.cancel()
        for call in self._active_calls():
            call.cancel(CANCELLED_LOCALLY)
        if self._deadlines is not None:
            self._deadlines.close()
        self._current = None
        for transport in list(self._transports):
            transport.core.drain()
            transport.flush()
        await self._wait_closed()

    async def _wait_closed(self) -> None:
        """Waits until the sockets are closed; one whose peer doesn't read what is queued is cut off."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._transports:
            self._lost_waiter = self.loop.create_future()
            await asyncio.wait([self._lost_waiter], timeout=_GOODBYE)
        for transport in list(self._transports):
            transport.abort()

    async def __aenter__(self) -> Self:
        """Returns the channel."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Closes the channel; calls in flight are cancelled."""
        await self.close()

    def unary_unary(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable:
        interceptors = self.interceptors.unary_unary
        return UnaryUnaryMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def unary_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        interceptors = self.interceptors.unary_stream
        return UnaryStreamMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def stream_unary(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        interceptors = self.interceptors.stream_unary
        return StreamUnaryMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def stream_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        interceptors = self.interceptors.stream_stream
        return StreamStreamMultiCallable(self, method, request_serializer, response_deserializer, interceptors)
