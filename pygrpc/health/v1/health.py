"""The health service for servers of the sync API, and in ``aio`` the one for servers of the asyncio API."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pygrpc
from pygrpc.health.v1 import _async as aio
from pygrpc.health.v1 import _statuses, health_pb2, health_pb2_grpc
from pygrpc.health.v1._statuses import OVERALL_HEALTH
from pygrpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

__all__ = ["OVERALL_HEALTH", "SERVICE_NAME", "HealthServicer", "aio"]

SERVICE_NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
"""The name of the health service itself."""


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells clients the status of the server and its services; may be used from any thread.

    The server as a whole, whose name is ``OVERALL_HEALTH``, is SERVING from the start. A client that watches a service
    gets its status at once, and the latest one whenever that has changed; what it was in between may be left out. A
    client that watches needs no thread. One that stops reading, until what it has not read fills the send buffer of
    its call, has its call cancelled, and holds up nobody.
    """

    def __init__(
        self,
        experimental_non_blocking: bool = True,
        experimental_thread_pool: futures.ThreadPoolExecutor | None = None,
    ) -> None:
        """Starts with no status but that of the server.

        Args:
            experimental_non_blocking: Whether calls of Watch go on without a thread. With False each one occupies a
                thread of the server's executor.
            experimental_thread_pool: Where calls of Watch begin; None for the server's executor.
        """
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._statuses = _statuses.Statuses()
        #: The calls of Watch. Services that nobody watches have no entry, as clients choose the names.
        self._send_response_callbacks: defaultdict[str, set[_Watcher]] = defaultdict(set)
        # Servers read the two settings from the function that they call. It is one for each servicer, so that the
        # settings of one are not those of another.
        watch: Any = functools.partial(self.Watch)
        watch.experimental_non_blocking = experimental_non_blocking
        watch.experimental_thread_pool = experimental_thread_pool
        self.Watch = watch  # type: ignore[method-assign]

    def Check(self, request: HealthCheckRequest, context: pygrpc.ServicerContext) -> HealthCheckResponse:
        """Tells the status of a service; NOT_FOUND if it has none."""
        with self._lock:
            status = self._statuses.known(request.service)
        if status is None:
            context.set_code(pygrpc.StatusCode.NOT_FOUND)
            context.set_details(_statuses.unknown(request.service))
        return HealthCheckResponse(status=status)

    def List(self, request: HealthListRequest, context: pygrpc.ServicerContext) -> HealthListResponse:
        """Tells the status of each service that has one; RESOURCE_EXHAUSTED if these are more than 100."""
        with self._lock:
            response = self._statuses.listed()
        if response is None:
            context.set_code(pygrpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details(_statuses.too_many())
        return response or HealthListResponse()

    def Watch(
        self,
        request: HealthCheckRequest,
        context: pygrpc.ServicerContext,
        send_response_callback: Callable[[HealthCheckResponse], Any] | None = None,
    ) -> Iterator[HealthCheckResponse]:
        """Tells the status of a service now and whenever it has changed, until the client ends the call.

        Args:
            request: It names the service.
            context: The call.
            send_response_callback: By what to send; None from a server that wants an iterator, and gives it a thread.
        """
        if send_response_callback is None:
            return self._blocking(request.service, context)
        watcher = _Watcher(request.service, send_response_callback, context)
        with self._lock:
            self._send_response_callbacks[watcher.service].add(watcher)
        if context.add_callback(functools.partial(self._forget, watcher)):
            self._deliver(watcher)
        else:
            self._forget(watcher)
        return iter(())

    def set(self, service: str, status: HealthCheckResponse.ServingStatus | str) -> None:
        """Sets the status of a service, and tells those who watch it if it is another one.

        Does nothing after ``enter_graceful_shutdown``.

        Args:
            service: Its full name; any text will do, as long as the clients ask for the same.
            status: Such as ``HealthCheckResponse.SERVING``; the name of a status will do too.

        Raises:
            TypeError: The name isn't text.
            ValueError: There is no such status.
        """
        with self._lock:
            if not self._statuses.set(service, status):
                return
            self._changed.notify_all()
            watchers = list(self._send_response_callbacks.get(service, ()))
        for watcher in watchers:
            self._deliver(watcher)

    def enter_graceful_shutdown(self) -> None:
        """Sets the status of all services to NOT_SERVING, for good: before the server is stopped."""
        with self._lock:
            if not self._statuses.shut_down():
                return
            self._changed.notify_all()
            watchers = [watcher for each in self._send_response_callbacks.values() for watcher in each]
        for watcher in watchers:
            self._deliver(watcher)

    def _deliver(self, watcher: _Watcher) -> None:
        """Sends a watcher what it doesn't know yet, without the lock: to send may take long, and ends calls."""
        with self._lock:
            if watcher.busy:
                # Whoever is sending looks for more when that is done.
                return
            watcher.busy = True
        while (response := self._next(watcher)) is not None:
            if watcher.send(response) is False:
                # It stays busy, so nothing more is sent to it.
                watcher.context.cancel()
                return

    def _next(self, watcher: _Watcher) -> HealthCheckResponse | None:
        """Returns what to send to a watcher; None if it is up to date, and then nobody is sending any more."""
        with self._lock:
            status = self._statuses.watched(watcher.service)
            if status == watcher.sent:
                watcher.busy = False
                return None
            watcher.sent = status
        return HealthCheckResponse(status=status)

    def _forget(self, watcher: _Watcher) -> None:
        """A call of Watch has ended."""
        with self._lock:
            watchers = self._send_response_callbacks[watcher.service]
            watchers.discard(watcher)
            if not watchers:
                del self._send_response_callbacks[watcher.service]

    def _blocking(self, service: str, context: pygrpc.ServicerContext) -> Iterator[HealthCheckResponse]:
        """The responses of a Watch that has a thread of its own."""
        over = False

        def end() -> None:
            nonlocal over
            with self._lock:
                over = True
                self._changed.notify_all()

        if context.add_callback(end) is False:
            return
        sent = None
        while True:
            with self._lock:
                while (status := self._statuses.watched(service)) == sent and not over:
                    self._changed.wait()
                if over:
                    return
            sent = status
            yield HealthCheckResponse(status=sent)


class _Watcher:
    """A call of Watch that has no thread; its servicer's lock guards what changes."""

    __slots__ = ("busy", "context", "send", "sent", "service")

    def __init__(
        self, service: str, send: Callable[[HealthCheckResponse], Any], context: pygrpc.ServicerContext
    ) -> None:
        self.service = service
        #: Servers of pygrpc can send without waiting for a client that doesn't read; others have one way only.
        self.send: Callable[[HealthCheckResponse], Any] = getattr(send, "without_waiting", send)
        self.context = context
        #: The status that was sent last.
        self.sent: HealthCheckResponse.ServingStatus | None = None
        #: Whether somebody is sending.
        self.busy = False
