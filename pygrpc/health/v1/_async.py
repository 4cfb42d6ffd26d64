"""The health service for servers of the asyncio API."""

from __future__ import annotations

import asyncio

import pygrpc
import pygrpc.aio
from pygrpc.health.v1 import _statuses, health_pb2_grpc
from pygrpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

_CheckContext = pygrpc.aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]
_ListContext = pygrpc.aio.ServicerContext[HealthListRequest, HealthListResponse]


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells clients the status of the server and its services; used in one event loop.

    The server as a whole, whose name is ``OVERALL_HEALTH``, is SERVING from the start. A client that watches a service
    gets its status at once, and the latest one whenever that has changed; what it was in between may be left out. A
    client that doesn't read holds up nobody.
    """

    def __init__(self) -> None:
        """Starts with no status but that of the server."""
        self._statuses = _statuses.Statuses()
        #: One event for each call of Watch. Services that nobody watches have no entry, as clients choose the names.
        self._server_watchers: dict[str, set[asyncio.Event]] = {}

    async def Check(self, request: HealthCheckRequest, context: _CheckContext) -> HealthCheckResponse:
        """Tells the status of a service; NOT_FOUND if it has none."""
        status = self._statuses.known(request.service)
        if status is None:
            await context.abort(pygrpc.StatusCode.NOT_FOUND, _statuses.unknown(request.service))
        return HealthCheckResponse(status=status)

    async def List(self, request: HealthListRequest, context: _ListContext) -> HealthListResponse:
        """Tells the status of each service that has one; RESOURCE_EXHAUSTED if these are more than 100."""
        response = self._statuses.listed()
        if response is None:
            await context.abort(pygrpc.StatusCode.RESOURCE_EXHAUSTED, _statuses.too_many())
        return response

    async def Watch(self, request: HealthCheckRequest, context: _CheckContext) -> None:
        """Tells the status of a service now and whenever it has changed, until the client ends the call."""
        service, changed = request.service, asyncio.Event()
        watchers = self._server_watchers.setdefault(service, set())
        watchers.add(changed)
        sent = None
        try:
            while True:
                changed.clear()
                status = self._statuses.watched(service)
                if status != sent:
                    sent = status
                    await context.write(HealthCheckResponse(status=status))
                await changed.wait()
        finally:
            watchers.discard(changed)
            if not watchers:
                del self._server_watchers[service]

    async def set(self, service: str, status: HealthCheckResponse.ServingStatus | str) -> None:
        """Sets the status of a service, and tells those who watch it if it is another one.

        Does nothing after ``enter_graceful_shutdown``.

        Args:
            service: Its full name; any text will do, as long as the clients ask for the same.
            status: Such as ``HealthCheckResponse.SERVING``; the name of a status will do too.

        Raises:
            TypeError: The name isn't text.
            ValueError: There is no such status.
        """
        if self._statuses.set(service, status):
            self._notify(service)

    async def enter_graceful_shutdown(self) -> None:
        """Sets the status of all services to NOT_SERVING, for good: before the server is stopped."""
        if self._statuses.shut_down():
            for service in self._server_watchers:
                self._notify(service)

    def _notify(self, service: str) -> None:
        for changed in self._server_watchers.get(service, ()):
            changed.set()
