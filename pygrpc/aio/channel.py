"""The asyncio channel: multi-callables for the user, one connection at a time to the server."""

import asyncio
import contextlib
import logging
import random
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pygrpc._tls import ClientSecurity, insecure_client
from pygrpc.aio import base
from pygrpc.aio.authentication import NOT_PRIVATE, Authentication
from pygrpc.aio.connecting import ClientTransport, open_connection, reach
from pygrpc.aio.errors import UsageError
from pygrpc.aio.intercepted_call import InterceptedCall
from pygrpc.aio.interceptor import ClientInterceptor, ClientInterceptors
from pygrpc.aio.loops import default_loop, loop_runs
from pygrpc.aio.multicallable import (
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from pygrpc.aio.observers import Watchers
from pygrpc.aio.transport import DeadlineTimer
from pygrpc.call_credentials import PluginSource, call_plugins
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.client_call import CANCELLED_LOCALLY, DEADLINE_EXCEEDED, ClientCall, RequestHeaders
from pygrpc.core.configuration import http2_settings, message_limits, user_agent
from pygrpc.core.connectivity import Connectivity
from pygrpc.core.headers import request_headers
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.core.targets import Address, Target, parse_target
from pygrpc.options import Options
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")
#: Seconds that a closing channel waits for what is queued to be written.
_GOODBYE = 0.5
_COLLECTED = Status(StatusCode.CANCELLED, "Channel closed!")


def _expire(call: ClientCall) -> None:
    call.cancel(DEADLINE_EXCEEDED)


def _retry_later(channel: "weakref.ref[Channel]") -> None:
    still_there = channel()
    if still_there is not None:
        still_there.on_retry()


def _drop(calls: list[ClientCall], transports: list[ClientTransport], retry: asyncio.TimerHandle | None) -> None:
    """Ends what is left of a channel that was collected."""
    if retry is not None:
        retry.cancel()
    for call in calls:
        call.cancel(_COLLECTED)
    for transport in transports:
        transport.core.drain()
        transport.flush()


class Channel(base.Channel):
    """A channel to one target.

    It belongs to the event loop that makes the first call; when that is closed, to the next one. It connects when it is
    first needed; after a failure it tries again with growing delays (doc/connection-backoff.md).
    """

    def __init__(
        self,
        target: str | bytes,
        options: Options,
        interceptors: Sequence[ClientInterceptor] | None = None,
        security: ClientSecurity | None = None,
    ) -> None:
        """Makes a channel that is idle; ``insecure_channel`` and ``secure_channel`` are the public ways.

        Args:
            target: Where the server is. One that can't be understood fails the calls, not the channel, as in grpcio.
            options: The options.
            interceptors: Step between the user and the calls.
            security: How connections are secured; None for not at all.
        """
        if isinstance(target, bytes):
            target = target.decode()
        self._target_error: Status | None = None
        try:
            self._target = parse_target(target)
        except ValueError as error:
            self._target = Target((), target)
            self._target_error = Status(StatusCode.UNAVAILABLE, f"Failed to create channel to {target!r}: {error}")
        self._options = options
        by_kind = ClientInterceptors(interceptors)
        # Named as in grpcio: the asyncio clients of Google's APIs append to these lists before they make their methods.
        self._unary_unary_interceptors = by_kind.unary_unary
        self._unary_stream_interceptors = by_kind.unary_stream
        self._stream_unary_interceptors = by_kind.stream_unary
        self._stream_stream_interceptors = by_kind.stream_stream
        self.security = security or insecure_client()
        self._intercepted: weakref.WeakSet[InterceptedCall] = weakref.WeakSet()
        self.limits = message_limits(options)
        self.compression = options.request_compression
        self.authority = options.default_authority or self.security.authority or self._target.authority
        self.user_agent = user_agent(options)
        self.http2_settings = http2_settings(options)
        #: Whether ``close`` was called; calls in flight may still have their grace.
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle_waiter: asyncio.Future[None] | None = None
        self._lost_waiter: asyncio.Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        """Makes all that belongs to one event loop."""
        policy = BackoffPolicy(self._options.initial_reconnect_backoff, self._options.max_reconnect_backoff)
        self._watchers = Watchers()
        self._connectivity = Connectivity(Backoff(policy, random.random), self._watchers.tell)
        self._deadlines: DeadlineTimer[ClientCall] | None = None
        self._current: ClientTransport | None = None
        self._transports: set[ClientTransport] = set()
        #: Calls whose credentials' plugins are still to be asked, or are being asked.
        self._authentications: dict[ClientCall, Authentication] = {}
        self._attempt: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None

    def __del__(self) -> None:
        """Closes a channel that nobody can use any more, in its loop: garbage may be collected in any thread."""
        loop = getattr(self, "_loop", None)
        if loop is None or self._closed or loop.is_closed():
            return
        if self._transports or self._retry is not None or self._connectivity.waiting:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_drop, self._active_calls(), list(self._transports), self._retry)

    # Calls.

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the channel belongs to: the one that runs when it is first used.

        Raises:
            UsageError: Another loop runs.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = default_loop()
        if running is not self._loop:
            self._move_to(running)
        return running

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            if not self._loop.is_closed():
                raise UsageError("This channel belongs to another event loop; make a channel for each loop.")
            # What was connected is gone with the loop.
            self._begin()
        self._loop = loop
        self._deadlines = DeadlineTimer(loop, _expire)

    def check_open(self) -> None:
        """Raises UsageError if the channel is closed."""
        if self._closed:
            raise UsageError("Channel is closed.")

    def start(self, call: ClientCall, wait_for_ready: bool) -> None:
        """Gives a call to the connection, or lets it wait for one; one that has ended is passed over."""
        if call.ended:
            return
        if wait_for_ready:
            call.wait_for_ready = True
        if call.deadline is not None:
            assert self._loop is not None and self._deadlines is not None
            if call.deadline <= self._loop.time():
                call.cancel(DEADLINE_EXCEEDED)
                return
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
            assert self._loop is not None
            current.core.now = self._loop.time()
            current.core.start(call)
        elif self._target_error is not None:
            call.cancel(self._target_error)
        else:
            self._connectivity.admit(call, wait_for_ready)
            self._connect_if_due()

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

        def build(timeout: float | None) -> Sequence[Header]:
            scheme, accepted = self.security.scheme, self.limits.accept_encoding
            return request_headers(
                method, self.authority, scheme, self.user_agent, timeout, encoding, metadata, accepted
            )

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

    # Connecting.

    def _connect_if_due(self) -> None:
        """Begins to connect, or takes care that it happens later; does nothing if no attempt is to be made."""
        due = self._connectivity.attempt_at()
        if due is None:
            return
        loop = self.loop
        now = loop.time()
        if due <= now:
            self._connectivity.attempt_begins(now)
            self._attempt = loop.create_task(self._try_to_connect())
        elif self._retry is None:
            # Weakly, so that a channel that nobody uses doesn't try for ever.
            self._retry = loop.call_at(due, _retry_later, weakref.ref(self))

    def on_retry(self) -> None:
        """The delay behind a failed attempt is over."""
        self._retry = None
        self._connect_if_due()

    async def _try_to_connect(self) -> None:
        """Makes one attempt."""
        transport = None
        reason = ""
        try:
            if self._target_error is not None:
                reason = self._target_error.details
            else:
                timeout = max(self._options.min_reconnect_backoff, 0.1)
                transport = await reach(self, self._target.addresses, timeout)
        except ConnectionError as error:
            reason = str(error)
        except Exception as error:
            # Whatever it is, the calls that wait must not wait for ever.
            _LOGGER.exception("an attempt to connect to %s raised", self._target.authority)
            reason = f"failed to connect: unexpected {type(error).__name__}: {error}"
        self._attempt = None
        if transport is None:
            self._connectivity.attempt_failed(reason)
        else:
            self._on_connected(transport)
        self._connect_if_due()

    async def open(self, address: Address, tls: dict[str, Any]) -> ClientTransport:
        """Makes a connection; see ConnectionOwner."""
        return await open_connection(self, self.loop, address, tls)

    def _on_connected(self, transport: ClientTransport) -> None:
        core = transport.core
        # The goodbye may have come with the greeting.
        usable = not core.draining and core.failure is None
        if usable:
            self._current = transport
            core.now = self.loop.time()
        for call, wait_for_ready in self._connectivity.connected():
            if transport is self._current:
                core.start(call)
            else:
                self._connectivity.admit(call, wait_for_ready)
        if not usable:
            self._connectivity.connection_left()

    # What connections report: see ConnectionOwner.

    def on_opened(self, transport: ClientTransport) -> None:
        """A connection is made."""
        self._transports.add(transport)
        if self._idle_waiter is not None:
            transport.after_flush = self._check_idle

    def on_draining(self, transport: ClientTransport) -> None:
        """A connection takes no new calls."""
        if transport is self._current:
            self._current = None
            self._connectivity.connection_left()

    def on_unsent(self, calls: list[ClientCall]) -> None:
        """No server has handled these calls; they go to the next connection as if nothing had happened."""
        for call in calls:
            self._dispatch(call, call.wait_for_ready)

    def on_lost(self, transport: ClientTransport) -> None:
        """A connection is closed."""
        self._transports.discard(transport)
        if self._lost_waiter is not None and not self._lost_waiter.done() and not self._transports:
            self._lost_waiter.set_result(None)

    # The public rest.

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:  # noqa: D102
        if self._closed:
            return ChannelConnectivity.SHUTDOWN
        state = self._connectivity.state
        if try_to_connect:
            self._connectivity.want()
            if loop_runs():
                self._connect_if_due()
        return state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:  # noqa: D102
        self.check_open()
        while self.get_state() is last_observed_state:
            await self._watchers.wait(self.loop)

    async def channel_ready(self) -> None:  # noqa: D102
        while (state := self.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
            if self._target_error is not None:
                raise UsageError(self._target_error.details)
            await self.wait_for_state_change(state)

    # The end.

    def _active_calls(self) -> list[ClientCall]:
        calls = [*self._authentications, *self._connectivity.waiting]
        for transport in self._transports:
            calls += transport.core.all_calls()
        return calls

    async def close(self, grace: float | None = None) -> None:  # noqa: D102
        if self._closed:
            return
        if grace is not None and grace < 0:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        if self._loop is None or self._loop.is_closed():
            self._closed = True
            return
        # Asking for the loop makes sure that it is this one.
        self._loop = self.loop
        self._closed = True
        self._watchers.tell(ChannelConnectivity.SHUTDOWN)
        if grace:
            await self._wait_idle(grace)
        for intercepted in list(self._intercepted):
            intercepted.cancel()
        for call in self._active_calls():
            call.cancel(CANCELLED_LOCALLY)
        self._connectivity.shut_down()
        self._current = None
        if self._deadlines is not None:
            self._deadlines.close()
        if self._retry is not None:
            self._retry.cancel()
        for transport in list(self._transports):
            transport.core.drain()
            transport.flush()
        await self._wait_closed()

    async def _wait_idle(self, grace: float) -> None:
        """Waits until the last call has ended, but not longer than the grace."""
        if self._active_calls():
            self._idle_waiter = self.loop.create_future()
            for transport in self._transports:
                transport.after_flush = self._check_idle
            await asyncio.wait([self._idle_waiter], timeout=grace)

    def _check_idle(self) -> None:
        if self._idle_waiter is not None and not self._idle_waiter.done() and not self._active_calls():
            self._idle_waiter.set_result(None)

    async def _wait_closed(self) -> None:
        """Waits until the sockets are closed; one whose peer doesn't read what is queued is cut off."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt])
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
        interceptors = self._unary_unary_interceptors
        return UnaryUnaryMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def unary_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        interceptors = self._unary_stream_interceptors
        return UnaryStreamMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def stream_unary(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        interceptors = self._stream_unary_interceptors
        return StreamUnaryMultiCallable(self, method, request_serializer, response_deserializer, interceptors)

    def stream_stream(  # noqa: D102
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        interceptors = self._stream_stream_interceptors
        return StreamStreamMultiCallable(self, method, request_serializer, response_deserializer, interceptors)
