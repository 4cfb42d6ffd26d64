"""The sync server: ports, connections, finding handlers, stopping."""

import contextvars
import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pygrpc import interfaces
from pygrpc._sockets import Binding, bind
from pygrpc._tls import ServerSecurity
from pygrpc.core.configuration import http2_settings, message_limits, upkeep
from pygrpc.core.deadlines import Deadlines
from pygrpc.core.metadata import RawMetadata
from pygrpc.core.server_call import ServerCall
from pygrpc.core.server_connection import ServerConnection
from pygrpc.core.status import Status
from pygrpc.credentials import ServerCredentials, insecure_server_credentials
from pygrpc.handlers import GenericRpcHandler, HandlerCallDetails, RpcMethodHandler, behavior_of, require_handler
from pygrpc.interceptors import find_handler
from pygrpc.options import Options
from pygrpc.status import StatusCode
from pygrpc.sync import fork
from pygrpc.sync.io_thread import IoThread
from pygrpc.sync.server_transport import ServerTransport
from pygrpc.sync.servicer import ServicerContext
from pygrpc.sync.workers import Workers

_LOGGER = logging.getLogger("pygrpc")

#: Seconds that clients have to answer the goodbye when no grace is given.
_GOODBYE = 0.1
_SHUTTING_DOWN = Status(StatusCode.UNAVAILABLE, "the server is shutting down")
_LIMIT = Status(StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
_NOT_FOUND = Status(StatusCode.UNIMPLEMENTED, "Method not found!")


class _CallDetails(NamedTuple):
    method: str
    invocation_metadata: RawMetadata


class Handlers:
    """The handlers of a server."""

    def __init__(self, interceptors: Sequence[interfaces.ServerInterceptor]) -> None:
        """Starts without handlers.

        Args:
            interceptors: What is asked before a handler is looked for.
        """
        self._interceptors = tuple(interceptors)
        self._lock = threading.Lock()
        self.generic: list[GenericRpcHandler] = []
        self.registered: dict[str, RpcMethodHandler] = {}

    def find(self, details: HandlerCallDetails) -> RpcMethodHandler | None:
        """Finds the handler of a call, by way of the interceptors; for one call at a time, as in grpcio."""
        with self._lock:
            return find_handler(self._interceptors, self._find, details)

    def _find(self, details: HandlerCallDetails) -> RpcMethodHandler | None:
        handler = self.registered.get(details.method)
        if handler is not None:
            return handler
        for generic in self.generic:
            handler = generic.service(details)
            if handler is not None:
                return require_handler(handler, details.method)
        return None


class _Service:
    """What goes on in the I/O thread: it doesn't know the Server, so that one which nobody holds is collected."""

    def __init__(self, handlers: Handlers, workers: Workers, options: Options) -> None:
        self._handlers = handlers
        self._workers = workers
        self._options = options
        self._limits = message_limits(options)
        self._settings = http2_settings(options)
        self._upkeep = upkeep(options)
        self.io = IoThread("pygrpc-server")
        self.lock = threading.RLock()
        self.started = False
        self.stopping = False
        self.terminated = threading.Event()
        self._bindings: list[tuple[Binding, ServerSecurity]] = []
        self._transports: set[ServerTransport] = set()
        self._deadlines: Deadlines[ServerCall] = Deadlines()
        self._deadlines_lock = threading.Lock()
        self._deadline_at: float | None = None
        self._grace_ends: float | None = None
        fork.register(self)

    # Ports.

    def bind(self, address: str, security: ServerSecurity) -> int:
        binding = bind(address, self._options.so_reuseport)
        with self.lock:
            self._bindings.append((binding, security))
            if self.started:
                self.io.post(lambda: self._listen(binding, security))
        return binding.port

    def start(self) -> None:
        with self.lock:
            if self.started:
                raise ValueError("Cannot start already-started server!")
            if self.terminated.is_set():
                raise ValueError("Cannot start a server that was stopped; make another one")
            self.started = True
            self.io.start()
            for binding, security in self._bindings:
                self.io.post(functools.partial(self._listen, binding, security))

    def _listen(self, binding: Binding, security: ServerSecurity) -> None:
        if not self.stopping:
            for listener in binding.sockets:
                self.io.listen(listener, lambda sock: self._accepted(sock, security))

    def accept_in_process(self, sock: Any) -> None:
        if not self.started or self.stopping:
            raise ConnectionRefusedError("the server is stopping" if self.stopping else "the server is not started")
        self.io.post(lambda: self._accepted(sock, ServerSecurity(insecure_server_credentials())))

    def _accepted(self, sock: Any, security: ServerSecurity) -> None:
        if self.stopping:
            # It came while the server was being stopped.
            sock.close()
            return
        limit = self._options.max_connections
        if limit is not None and len(self._transports) >= limit:
            _LOGGER.debug("a connection is refused: there are %d already", limit)
            sock.close()
            return
        try:
            transport = ServerTransport(self, sock, security)
        except ConnectionError as error:
            _LOGGER.warning("a connection is refused: %s", error)
            sock.close()
            return
        except OSError as error:
            _LOGGER.debug("a client has gone before it was served: %s", error)
            sock.close()
            return
        if not transport.closed:
            self._transports.add(transport)

    # TransportOwner.

    def make_connection(self, transport: ServerTransport) -> ServerConnection:
        return ServerConnection(
            transport,
            self._settings,
            self._limits,
            time.monotonic(),
            handshake_timeout=self._options.handshake_timeout,
            upkeep=self._upkeep,
            random=random.random(),
        )

    def on_lost(self, transport: ServerTransport) -> None:
        self._transports.discard(transport)
        if self.stopping and not self._transports:
            self.io.post(self._terminate)

    def on_call(self, call: ServerCall, transport: ServerTransport) -> None:
        """Finds the handler of a new call, or refuses it."""
        if self.stopping:
            with transport:
                transport.core.turn_away(call)
            return
        variables = contextvars.Context()
        details = _CallDetails(call.head.path, call.head.metadata)
        try:
            handler = variables.run(self._handlers.find, details)
            behavior = None if handler is None else behavior_of(handler)
        except Exception as error:
            _LOGGER.exception("Exception servicing handler: %s", error)
            _refuse(call, transport, Status(StatusCode.UNKNOWN, "Error in service handler!"))
            return
        if handler is None or behavior is None:
            _refuse(call, transport, _NOT_FOUND)
        elif not self._workers.admit():
            _refuse(call, transport, _LIMIT)
        else:
            self._begin(call, ServicerContext(call, handler, behavior, transport, variables, self._workers.finished))

    def _begin(self, call: ServerCall, context: ServicerContext) -> None:
        with context.transport:
            if call.ended:
                self._workers.finished()
                return
            call.set_compression(self._options.response_compression)
            context.begin()
        if call.deadline is not None:
            with self._deadlines_lock:
                self._deadlines.add(call)
                self._watch_deadline(call.deadline)

    def on_ready(self, context: ServicerContext) -> None:
        self._workers.submit(context)

    # Deadlines.

    def _watch_deadline(self, deadline: float) -> None:
        """Has the I/O thread look at a time at the latest; requires the lock of the deadlines."""
        if self._deadline_at is None or deadline < self._deadline_at:
            self._deadline_at = deadline
            self.io.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        with self._deadlines_lock:
            self._deadline_at = None
            expired = self._deadlines.pop_expired(time.monotonic())
            following = self._deadlines.next()
            if following is not None:
                self._watch_deadline(following)
        for call in expired:
            if isinstance(call.listener, ServicerContext):
                call.listener.expire()

    # Stopping.

    def stop(self, grace: float | None) -> None:
        """Begins to stop, or makes the end come sooner; None lets calls take their time."""
        with self.lock:
            if self.terminated.is_set():
                return
            if not self.started:
                self._close_bindings()
                self.terminated.set()
                return
        ends = None if grace is None else time.monotonic() + grace
        self.io.post(lambda: self._stop(ends))

    def _stop(self, ends: float | None) -> None:
        if not self.stopping:
            self.stopping = True
            for binding, _ in self._bindings:
                for listener in binding.sockets:
                    _unless_closed(self.io.unregister, listener)
            self._close_bindings()
            for transport in list(self._transports):
                transport.shutdown()
        if ends is not None and (self._grace_ends is None or ends < self._grace_ends):
            self._grace_ends = ends
            self.io.call_at(ends, self._end_grace)
        if not self._transports:
            self.io.post(self._terminate)

    def _end_grace(self) -> None:
        for transport in list(self._transports):
            with transport:
                transport.core.cancel_calls(_SHUTTING_DOWN)
                transport.dirty = True
        if self._transports:
            self.io.call_at(time.monotonic() + _GOODBYE, self._abort)

    def _abort(self) -> None:
        for transport in list(self._transports):
            with transport:
                transport.lost("the server was stopped")

    def _terminate(self) -> None:
        """Ends the thread, behind what calls that have just ended still want of it."""
        self.io.end()
        self.terminated.set()

    def _close_bindings(self) -> None:
        for binding, _ in self._bindings:
            binding.close()
        self._bindings.clear()

    @property
    def fork_lock(self) -> Any:
        """The lock that nobody else may hold while the process forks."""
        return self.lock

    def after_fork(self) -> None:
        """Lets go of all sockets in the child of a fork: they, and the files of Unix sockets, are the parent's.

        A server that has not started yet may start there: it shares its ports with others that were forked before.
        """
        if not self.started:
            self.lock = threading.RLock()
            return
        for binding, _ in self._bindings:
            for listener in binding.sockets:
                listener.close()
        self._bindings.clear()
        for transport in self._transports:
            transport.abandon()
        self._transports.clear()
        self.io.close()
        self.stopping = True
        self.lock = threading.RLock()
        self.terminated = threading.Event()
        self.terminated.set()


def _refuse(call: ServerCall, transport: ServerTransport, status: Status) -> None:
    with transport:
        call.finish(status, [])


def _unless_closed(unregister: Callable[[Any], None], listener: Any) -> None:
    """Unregisters a listener that may not be registered just now."""
    try:
        unregister(listener)
    except KeyError:
        _LOGGER.debug("a listener had been paused when the server stopped")


class Server(interfaces.Server):
    """A server; ``pygrpc.server`` is the public way to make one. One that is collected stops."""

    def __init__(
        self,
        thread_pool: Any,
        handlers: Sequence[GenericRpcHandler] | None,
        interceptors: Sequence[interfaces.ServerInterceptor] | None,
        options: Options,
        maximum_concurrent_rpcs: int | None,
    ) -> None:
        """Makes a server without ports.

        Args:
            thread_pool: Where handlers run: anything with ``submit``.
            handlers: Generic handlers to begin with.
            interceptors: What is asked before a handler is looked for; the first one first.
            options: The options.
            maximum_concurrent_rpcs: Calls beyond this number are refused with RESOURCE_EXHAUSTED; None for no limit.

        Raises:
            AttributeError: A handler has no ``service`` method.
            TypeError: The maximum is no number.
        """
        if not isinstance(maximum_concurrent_rpcs, int | None):
            raise TypeError(f"maximum_concurrent_rpcs must be a number or None, not {maximum_concurrent_rpcs!r}")
        self._handlers = Handlers(interceptors or ())
        self._service = _Service(self._handlers, Workers(thread_pool, maximum_concurrent_rpcs), options)
        self.add_generic_rpc_handlers(handlers or ())

    # Set-up.

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[GenericRpcHandler]) -> None:  # noqa: D102
        checked = list(generic_rpc_handlers)
        for handler in checked:
            if not hasattr(handler, "service"):
                text = f'"{handler}" must conform to grpc.GenericRpcHandler type but does not have "service" method!'
                raise AttributeError(text)
        self._handlers.generic.extend(checked)

    def add_registered_method_handlers(  # noqa: D102
        self, service_name: str, method_handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        if self._service.started:
            _LOGGER.warning("Cannot register method handlers once server has started")
            return
        for method, handler in method_handlers.items():
            self._handlers.registered[f"/{service_name}/{method}"] = handler

    def add_insecure_port(self, address: str) -> int:  # noqa: D102
        return self._service.bind(_text(address), ServerSecurity(insecure_server_credentials()))

    def add_secure_port(self, address: str, server_credentials: ServerCredentials) -> int:  # noqa: D102
        try:
            security = ServerSecurity(server_credentials)
        except OSError as error:
            raise RuntimeError(f"Failed to bind to address {address}: {error.strerror or error}") from error
        return self._service.bind(_text(address), security)

    def start(self) -> None:  # noqa: D102
        self._service.start()

    def accept_in_process(self, sock: Any) -> None:
        """Serves a connection that needs no socket.

        Args:
            sock: The server's end, something that passes for a socket.

        Raises:
            ConnectionError: The server isn't started, or is stopping.
        """
        self._service.accept_in_process(sock)

    # Stopping.

    def stop(self, grace: float | None) -> threading.Event:  # noqa: D102
        service = self._service
        service.stop(grace or 0.0)
        if grace is None and not service.io.is_current:
            # As in grpcio: without a grace there is nothing to wait for, and little to wait.
            service.terminated.wait()
        return service.terminated

    def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: D102
        return not self._service.terminated.wait(timeout)

    def __del__(self) -> None:
        """Stops a server that nobody holds any more; calls in flight take their time."""
        service = getattr(self, "_service", None)
        if service is not None:
            service.stop(None)


def _text(address: str | bytes) -> str:
    return address.decode() if isinstance(address, bytes) else address
