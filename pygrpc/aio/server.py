"""The asyncio server: ports, connections, finding handlers, stopping."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from pygrpc._auth_context import AuthContext
from pygrpc._sockets import BACKLOG, Binding, bind
from pygrpc._tls import ServerSecurity
from pygrpc.aio import base
from pygrpc.aio.errors import UsageError
from pygrpc.aio.handler_search import HandlerSearch, InterceptedCall
from pygrpc.aio.interceptor import ServerInterceptor
from pygrpc.aio.running import HandlerRunner
from pygrpc.aio.servicer import ServicerContext
from pygrpc.aio.transport import DeadlineTimer, Transport
from pygrpc.core.configuration import http2_settings, message_limits, upkeep
from pygrpc.core.metadata import RawMetadata
from pygrpc.core.server_call import ServerCall
from pygrpc.core.server_connection import ServerConnection
from pygrpc.core.status import Status
from pygrpc.credentials import insecure_server_credentials
from pygrpc.handlers import GenericRpcHandler, HandlerCallDetails, RpcMethodHandler, known_handlers, require_handler
from pygrpc.options import Options
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")
#: Turns of the loop between the acceptance of a connection and connection_made.
_ACCEPT_TURNS = 3
#: Seconds that clients have to answer the goodbye when no grace is given.
_GOODBYE = 0.1
_SHUTTING_DOWN = Status(StatusCode.UNAVAILABLE, "the server is shutting down")


class _CallDetails(NamedTuple):
    method: str
    invocation_metadata: RawMetadata


class _Link:
    """How what the event loop keeps finds its server without keeping it: one that nobody uses is collected, and stops.

    While it stops, ``server`` keeps it after all.
    """

    __slots__ = ("server",)

    def __init__(self, server: Server) -> None:
        self.server: Callable[[], Server | None] = weakref.ref(server)


class _ServerTransport(Transport[ServerConnection]):
    def __init__(self, link: _Link, loop: asyncio.AbstractEventLoop, security: ServerSecurity) -> None:
        super().__init__(loop)
        self._link = link
        self._security = security
        self._auth_context: AuthContext | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self._security.check(self.peer_address)
        except ConnectionError as error:
            _LOGGER.warning("a connection is refused: %s", error)
            self.abort()
        server = self._link.server()
        limit = server._options.max_connections if server is not None else 0
        if limit is not None and (server is None or len(server._transports) > limit):
            _LOGGER.debug("a connection is refused: there are %d already", limit)
            self.abort()

    def auth_context(self) -> AuthContext:
        """What is known of the client; worked out when somebody first asks."""
        if self._auth_context is None:
            self._auth_context = self._security.auth_context(self.ssl_object)
        return self._auth_context

    def make_core(self) -> ServerConnection:
        server = self._link.server()
        assert server is not None
        core = server._make_connection(self)
        server._transports.add(self)
        return core

    def on_lost(self, reason: str) -> None:
        server = self._link.server()
        if server is not None:
            server._on_lost(self)

    def on_call(self, call: ServerCall) -> None:
        server = self._link.server()
        if server is None:
            self.core.turn_away(call)
        else:
            server._on_call(call, self)


class Server(base.Server):
    """A server; ``pygrpc.aio.server`` is the public way to make one."""

    def __init__(
        self,
        executor: Executor | None,
        handlers: Sequence[GenericRpcHandler] | None,
        options: Options,
        maximum_concurrent_rpcs: int | None,
        interceptors: Sequence[ServerInterceptor] | None = None,
    ) -> None:
        """Makes a server without ports.

        Raises:
            ValueError: The limit of calls is not positive.
        """
        if maximum_concurrent_rpcs is not None and maximum_concurrent_rpcs <= 0:
            raise ValueError(f"maximum_concurrent_rpcs must be positive, not {maximum_concurrent_rpcs}")
        self._interceptors = _checked_interceptors(interceptors)
        self._link = _Link(self)
        self._searches: set[HandlerSearch] = set()
        self._executor = executor
        self._generic = list(handlers or ())
        self._registered: dict[str, RpcMethodHandler] = {}
        #: Those that nobody needs to be asked for.
        self._known = known_handlers(self._registered, self._generic)
        self._options = options
        self._compression = options.response_compression
        self._limits = message_limits(options)
        self._settings = http2_settings(options)
        self._upkeep = upkeep(options)
        self._maximum_calls = maximum_concurrent_rpcs
        #: What is bound, and how its connections are secured.
        self._bindings: list[tuple[Binding, ServerSecurity]] = []
        #: Whether ``stop`` has closed ports of a server that had not started.
        self._ports_given_up = False
        self._transports: set[_ServerTransport] = set()
        self._contexts: set[ServicerContext] = set()
        self._listeners: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: HandlerRunner | None = None
        self._deadlines: DeadlineTimer[ServerCall] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._grace_ends: float | None = None
        self._terminated: asyncio.Event = asyncio.Event()
        self._empty: asyncio.Event = asyncio.Event()

    # Set-up.

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[GenericRpcHandler]) -> None:  # noqa: D102
        self._generic.extend(generic_rpc_handlers)
        self._known = known_handlers(self._registered, self._generic)

    def add_registered_method_handlers(  # noqa: D102
        self, service_name: str, method_handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        for method, handler in method_handlers.items():
            self._registered[f"/{service_name}/{method}"] = handler
        self._known = known_handlers(self._registered, self._generic)

    def add_insecure_port(self, address: str) -> int:  # noqa: D102
        return self._add_port(address, ServerSecurity(insecure_server_credentials()))

    def add_secure_port(self, address: str, server_credentials: Any) -> int:  # noqa: D102
        try:
            security = ServerSecurity(server_credentials)
        except OSError as error:
            raise RuntimeError(f"Failed to bind to address {address}: {error.strerror or error}") from error
        return self._add_port(address, security)

    def _add_port(self, address: str, security: ServerSecurity) -> int:
        if self._loop is not None:
            raise UsageError("add ports before the server is started")
        binding = bind(address, self._options.so_reuseport)
        self._bindings.append((binding, security))
        return binding.port

    async def start(self) -> None:  # noqa: D102
        if self._stopping is not None or self._terminated.is_set():
            raise UsageError("Server is stopped.")
        if self._loop is not None:
            return
        if self._ports_given_up and not self._bindings:
            raise UsageError("stop() has given up the ports of this server; add ports again before start()")
        loop = self._loop = asyncio.get_running_loop()
        self._runner = HandlerRunner(loop, self._executor)
        self._deadlines = DeadlineTimer(loop, ServerCall.expire)
        for binding, security in self._bindings:
            context = security.context()
            tls: dict[str, Any] = {}
            if context is not None:
                tls = {"ssl": context, "ssl_handshake_timeout": self._options.handshake_timeout}
            factory = functools.partial(_ServerTransport, self._link, loop, security)
            for listener in binding.sockets:
                self._listeners.append(await loop.create_server(factory, sock=listener, backlog=BACKLOG, **tls))

    def accept_in_process(self) -> asyncio.Protocol:
        """Makes the server's end of a connection that needs no socket.

        Raises:
            ConnectionError: The server isn't started, or is stopping.
        """
        if self._loop is None or self._stopping is not None:
            raise ConnectionError("the server is not started" if self._loop is None else "the server is stopping")
        return _ServerTransport(self._link, self._loop, ServerSecurity(insecure_server_credentials()))

    # Calls.

    def _make_connection(self, transport: _ServerTransport) -> ServerConnection:
        assert self._loop is not None
        connection = ServerConnection(
            transport,
            self._settings,
            self._limits,
            self._loop.time(),
            handshake_timeout=self._options.handshake_timeout,
            upkeep=self._upkeep,
            random=random.random(),
        )
        if self._stopping is not None:
            connection.shutdown(self._loop.time(), refuse=True)
        return connection

    def _on_call(self, call: ServerCall, transport: _ServerTransport) -> None:
        """Finds the handler of a new call, or refuses it."""
        if self._stopping is not None:
            transport.core.turn_away(call)
            return
        active = len(self._contexts) + len(self._searches)
        if self._maximum_calls is not None and active >= self._maximum_calls:
            call.finish(Status(StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"), [])
            return
        if self._interceptors:
            self._search(call, transport)
            return
        handler = self._known.get(call.head.path)
        if handler is None:
            try:
                handler = self._find_handler(_CallDetails(call.head.path, call.head.metadata))
            except Exception as error:
                _LOGGER.exception("a generic handler raised for %s", call.head.path)
                call.finish(Status(StatusCode.UNKNOWN, f"Error in service handler: {error}"), [])
                return
            if handler is None:
                call.finish(Status(StatusCode.UNIMPLEMENTED, "Method not found!"), [])
                return
        self._watch_deadline(call)
        assert self._runner is not None
        self._make_context(call, handler, transport).begin_when_ready(self._runner.begin)

    def _watch_deadline(self, call: ServerCall) -> None:
        if call.deadline is not None:
            assert self._deadlines is not None
            self._deadlines.add(call)

    def _make_context(
        self, call: ServerCall, handler: RpcMethodHandler, transport: _ServerTransport
    ) -> ServicerContext:
        assert self._loop is not None
        call.request_streaming = handler.request_streaming
        if self._compression:
            call.set_compression(self._compression)
        context = ServicerContext(call, handler, transport, self._loop, self._contexts.discard)
        call.listener = context
        self._contexts.add(context)
        return context

    def _search(self, call: ServerCall, transport: _ServerTransport) -> None:
        """Finds the handler of a new call by way of the interceptors, and serves it."""

        def serve(handler: RpcMethodHandler, task: asyncio.Task[None]) -> Awaitable[None]:
            context = self._make_context(call, handler, transport)
            context.task = task
            assert self._runner is not None
            return self._runner.run(context, handler)

        search = HandlerSearch(call, self._interceptors, self._find_handler, serve, self._searches.discard)
        call.listener = search
        self._searches.add(search)
        self._watch_deadline(call)
        assert self._loop is not None
        search.begin(self._loop, InterceptedCall(call, transport))

    def _find_handler(self, details: HandlerCallDetails) -> RpcMethodHandler | None:
        handler = self._known.get(details.method)
        if handler is None:
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    return require_handler(handler, details.method)
        return handler

    def _on_lost(self, transport: _ServerTransport) -> None:
        self._transports.discard(transport)
        if not self._transports:
            self._empty.set()

    # Stopping.

    async def stop(self, grace: float | None) -> None:  # noqa: D102
        if self._loop is None:
            self._give_up_ports()
            return
        ends = self._loop.time() + (grace or 0)
        if self._stopping is None:
            self._grace_ends = ends
            self._stopping = self._loop.create_task(self._stop())
        elif self._grace_ends is not None and ends < self._grace_ends:
            self._grace_ends = ends
            self._empty.set()
        await asyncio.shield(self._stopping)

    def _give_up_ports(self) -> None:
        """Closes what is bound before the server has started; it may be given other ports and start then."""
        self._ports_given_up = self._ports_given_up or bool(self._bindings)
        self._close_sockets()
        self._bindings.clear()

    async def _stop(self) -> None:
        assert self._loop is not None and self._grace_ends is not None
        await self._stop_listening()
        for transport in list(self._transports):
            transport.core.shutdown(self._loop.time(), refuse=True)
            transport.flush()
        while self._transports and (left := self._grace_ends - self._loop.time()) > 0:
            await self._wait_empty(left)
        for transport in list(self._transports):
            transport.core.cancel_calls(_SHUTTING_DOWN)
            transport.flush()
        await self._wait_empty(_GOODBYE)
        for transport in list(self._transports):
            transport.abort()
        running: list[ServicerContext | HandlerSearch] = [*self._contexts, *self._searches]
        tasks = [each.task for each in running if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)
        await self._wait_empty(_GOODBYE)
        self._close_sockets()
        if self._deadlines is not None:
            self._deadlines.close()
        self._terminated.set()

    async def _stop_listening(self) -> None:
        assert self._loop is not None
        for bound in (listener for binding, _ in self._bindings for listener in binding.sockets):
            # A Server of asyncio that is closed loses the sockets that it has just accepted, so it first stops to
            # accept and gets the time to tell us of them. Loops that can't do that have no such gap.
            with contextlib.suppress(NotImplementedError, RuntimeError):
                self._loop.remove_reader(bound.fileno())
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()

    async def _wait_empty(self, timeout: float) -> None:
        if self._transports:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout)

    def _close_sockets(self) -> None:
        for binding, _ in self._bindings:
            binding.close()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: D102
        try:
            await asyncio.wait_for(self._terminated.wait(), timeout)
        except TimeoutError:
            return True
        return False

    def __del__(self) -> None:
        """Stops a server that nobody can use any more, in its loop: garbage may be collected in any thread."""
        loop = getattr(self, "_loop", None)
        if loop is None:
            for binding, _ in getattr(self, "_bindings", ()):
                binding.close()
        elif self._stopping is None and not loop.is_closed():
            self._link.server = lambda: self
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop_at_once)

    def _stop_at_once(self) -> None:
        assert self._loop is not None
        if self._stopping is None:
            self._grace_ends = self._loop.time()
            self._stopping = self._loop.create_task(self._stop())


def _checked_interceptors(interceptors: Sequence[Any] | None) -> tuple[ServerInterceptor, ...]:
    invalid = [each for each in interceptors or () if not isinstance(each, ServerInterceptor)]
    if invalid:
        raise ValueError(f"Interceptor must be ServerInterceptor, the following are invalid: {invalid}")
    return tuple(interceptors or ())
