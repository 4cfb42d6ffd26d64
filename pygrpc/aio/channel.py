"""The asyncio channel: multi-callables for the user, one connection at a time to the server."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pygrpc._tls import ClientSecurity, insecure_client
from pygrpc.aio import base
from pygrpc.aio.authentication import NOT_PRIVATE, Authentication
from pygrpc.aio.connecting import Connections, Opener, open_connection
from pygrpc.aio.errors import UsageError
from pygrpc.aio.intercepted_call import Chain
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
from pygrpc.core.call_factory import Calls
from pygrpc.core.client_call import CANCELLED_LOCALLY, DEADLINE_EXCEEDED, ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.configuration import message_limits, service_config, user_agent
from pygrpc.core.headers import RequestBlock
from pygrpc.core.metadata import Header
from pygrpc.core.service_config import ServiceConfig
from pygrpc.core.status import Status
from pygrpc.core.targets import Target, parse_target
from pygrpc.options import Options
from pygrpc.status import StatusCode

#: Seconds that a closing channel waits for what is queued to be written.
_GOODBYE = 0.5
#: What channels of the parent had open, in the child of a fork: nobody may touch those sockets there.
_of_the_parent: list[Connections] = []
_COLLECTED = Status(StatusCode.CANCELLED, "Channel closed!")


def _expire(call: ClientCall) -> None:
    call.cancel(DEADLINE_EXCEEDED)


def _drop(calls: list[ClientCall], connections: Connections) -> None:
    """Ends what is left of a channel that was collected."""
    for call in calls:
        call.cancel(_COLLECTED)
    connections.close()


class Channel(base.Channel):
    """A channel to one target.

    It belongs to the event loop that makes the first call; when that is closed, to the next one. In the child of a fork
    the loop of the parent counts as closed. It connects when it is first needed; after a failure it tries again with
    growing delays (doc/connection-backoff.md).
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
        self._target_error = ""
        self._target, self._config = Target((), target), ServiceConfig()
        try:
            self._target = parse_target(target)
            self._config = service_config(options)
        except ValueError as error:
            self._target_error = f"Failed to create channel to {target!r}: {error}"
        self._options = options
        by_kind = ClientInterceptors(interceptors)
        # Named as in grpcio: the asyncio clients of Google's APIs append to these lists before they make their methods.
        self._unary_unary_interceptors = by_kind.unary_unary
        self._unary_stream_interceptors = by_kind.unary_stream
        self._stream_unary_interceptors = by_kind.stream_unary
        self._stream_stream_interceptors = by_kind.stream_stream
        self.security = security or insecure_client()
        #: The interceptors of calls that have not ended, so that ``close`` can cancel them.
        self.chains: set[Chain] = set()
        self.limits = message_limits(options)
        self.compression = options.request_compression
        self.authority = options.default_authority or self.security.authority or self._target.authority
        self.user_agent = user_agent(options)
        #: Whether ``close`` was called; calls in flight may still have their grace.
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchers = Watchers()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes all that belongs to one event loop."""
        self._loop = loop
        self._process = os.getpid()
        self._deadlines: DeadlineTimer[ClientCall] = DeadlineTimer(loop, _expire)
        #: Calls whose credentials' plugins are still to be asked, or are being asked.
        self._authentications: dict[ClientCall, Authentication] = {}
        self._connections = Connections(
            loop,
            self._target,
            self._options,
            self._config,
            self.security,
            self.authority,
            self.opener(),
            self._watchers.tell,
        )
        if self._target_error:
            self._connections.core.target_is_bad(self._target_error)

    def opener(self) -> Opener:
        """What makes the connections; it may not keep the channel."""
        return open_connection

    def __del__(self) -> None:
        """Closes a channel that nobody can use any more, in its loop: garbage may be collected in any thread."""
        loop = getattr(self, "_loop", None)
        if loop is not None and not self._closed and not loop.is_closed() and self._process == os.getpid():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_drop, self._active_calls(), self._connections)

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
            if self._process != os.getpid():
                _of_the_parent.append(self._connections)
            elif not self._loop.is_closed():
                raise UsageError("This channel belongs to another event loop; make a channel for each loop.")
            # What was connected is gone with the loop.
            self._watchers = Watchers()
        self._begin(loop)

    @property
    def calls(self) -> Calls:
        """Makes the calls; to be asked behind ``loop``."""
        return self._connections.core.calls

    def check_open(self) -> None:
        """Raises UsageError if the channel is closed."""
        if self._closed:
            raise UsageError("Channel is closed.")

    def start(self, call: ClientCall, wait_for_ready: bool | None) -> None:
        """Gives a call to a connection, or lets it wait for one; one that has ended is passed over.

        Args:
            call: The call.
            wait_for_ready: Whether it waits while no connection can be had; None for what the service config says.
        """
        if call.ended:
            return
        if wait_for_ready is not None:
            call.wait_for_ready = wait_for_ready
        if call.deadline is not None:
            assert self._loop is not None
            if call.deadline <= self._loop.time():
                call.cancel(DEADLINE_EXCEEDED)
                return
            self._deadlines.add(call)
        if call in self._authentications:
            self._authentications[call].begin(call, self.loop, lambda: self._dispatch(call))
        else:
            self._dispatch(call)

    def _dispatch(self, call: ClientCall) -> None:
        assert self._loop is not None
        self._authentications.pop(call, None)
        call.stop_waiting = None
        self._connections.start(call, self._loop.time())

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

    def request_headers(self, method: str, encoding: bytes | None, metadata: list[Header]) -> RequestBlock:
        """Returns what makes the header block of a call once its timeout is known."""
        scheme, accepted = self.security.scheme, self.limits.accept_encoding
        return RequestBlock(method, self.authority, scheme, self.user_agent, encoding, metadata, accepted)

    def flush_call(self, call: ClientCall) -> None:
        """Writes at once what a call has queued."""
        if isinstance(call.connection, ClientConnection):
            transport = self._connections.transports.get(call.connection)
            if transport is not None:
                transport.flush()

    # The public rest.

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:  # noqa: D102
        if self._closed:
            return ChannelConnectivity.SHUTDOWN
        state = ChannelConnectivity.IDLE if self._loop is None else self._connections.core.state
        if try_to_connect and loop_runs():
            now = self.loop.time()
            self._connections.core.exit_idle(now)
        return state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:  # noqa: D102
        self.check_open()
        while self.get_state() is last_observed_state:
            await self._watchers.wait(self.loop)

    async def channel_ready(self) -> None:  # noqa: D102
        while (state := self.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
            if self._target_error:
                raise UsageError(self._target_error)
            await self.wait_for_state_change(state)

    # The end.

    def _active_calls(self) -> list[ClientCall]:
        return [*self._authentications, *self._connections.core.all_calls()]

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
        connections = self._connections
        self._closed = True
        self._watchers.tell(ChannelConnectivity.SHUTDOWN)
        if grace:
            await self._wait_until(lambda: not self._active_calls(), grace)
        for chain in list(self.chains):
            chain.cancel()
        for call in self._active_calls():
            call.cancel(CANCELLED_LOCALLY)
        self._deadlines.close()
        tasks = connections.close()
        if tasks:
            await asyncio.wait(tasks)
        # One whose peer doesn't read what is queued is cut off, and so is one whose peer doesn't answer TLS's goodbye.
        if any(transport.has_unsent for transport in connections.transports.values()):
            await self._wait_until(lambda: not connections.transports, _GOODBYE)
        for transport in list(connections.transports.values()):
            transport.abort()
        await self._wait_until(lambda: not connections.transports, _GOODBYE)

    async def _wait_until(self, so: Callable[[], bool], seconds: float) -> None:
        """Waits until something is so that connections change, but not longer than so many seconds."""
        connections = self._connections
        change = asyncio.Event()
        connections.watch(change.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not so():
                    change.clear()
                    await change.wait()
        connections.watch(None)

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
