"""The services in one process: opened, served, watched, and stopped gracefully."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from pygrpc import aio
from pygrpc.health.v1 import health, health_pb2_grpc
from pygrpc.reflection import enable_server_reflection
from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import open_fanout
from pygrpc.services.serving.configuration import Configuration
from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.guarding import Guards
from pygrpc.services.serving.kinds import without_passwords
from pygrpc.services.serving.services import SERVICES, Opened, Shared
from pygrpc.services.serving.tls import CertificateFiles
from pygrpc.services.serving.watch import Health, Watcher

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
#: What stands for "never" and "any time" in the options of gRPC: INT32_MAX milliseconds.
_NEVER_MS = 2147483647
#: A client that keeps to the shortest interval between its PINGs must not be punished for a network that bunches them.
_SLACK = 0.9


class Server:
    """The services of a configuration on one port of this process, in the running event loop.

        async with Server(Configuration(port=0)) as server:
            print(server.address)

    It is started once and stopped once. `pygrpc.services.serving.run` adds signals and worker processes.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        address: str = "",
        share_port: bool = False,
        serve_metrics: bool = True,
    ) -> None:
        """Opens nothing yet.

        Args:
            configuration: How to run; `workers` does not count here.
            address: Where to listen, `HOST:PORT`; that of the configuration if it is empty.
            share_port: Whether other processes may listen on the same port.
            serve_metrics: Whether this process serves the metrics, if the configuration wants them.
        """
        self._configuration = configuration
        self._wanted = address or listen_address(configuration)
        self._share_port = share_port
        self._serve_metrics = serve_metrics
        self._stack = AsyncExitStack()
        self._opened: list[Opened] = []
        self._health = Health()
        self._server: aio.Server | None = None
        self._address = ""
        self._metrics_address = ""

    @property
    def metrics_address(self) -> str:
        """Where the metrics are, a URL; empty before the start, or if there are none."""
        return self._metrics_address

    @property
    def address(self) -> str:
        """Where calls are accepted, `HOST:PORT`; empty before the start."""
        return self._address

    async def start(self) -> None:
        """Opens the services, and accepts calls.

        Raises:
            StartError: That is not possible; the text says why, and nothing is left open.
            RuntimeError: It was started before.
        """
        if self._server is not None:
            raise RuntimeError("a server is started once; make another one")
        try:
            await self._start()
        except BaseException as error:
            if self._server is not None:
                await self._server.stop(None)
            await self._stack.aclose()
            if isinstance(error, StoreError):
                raise StartError(str(error)) from error
            raise

    async def _start(self) -> None:
        configuration = self._configuration
        credentials = None
        if configuration.uses_tls:
            files = CertificateFiles(configuration.tls_certificate, configuration.tls_key, configuration.tls_ca)
            credentials = files.credentials(configuration.wants_client_certificates)
        guards = Guards(configuration)
        self._server = server = aio.server(
            interceptors=guards.interceptors,
            options=server_options(configuration, self._share_port),
            maximum_concurrent_rpcs=configuration.max_calls or None,
        )
        try:
            # The port comes before the databases, which are not to be touched when another server has it.
            if credentials is None:
                port = server.add_insecure_port(self._wanted)
            else:
                port = server.add_secure_port(self._wanted, credentials)
        except (OSError, RuntimeError) as error:
            raise StartError(str(error)) from error
        needs = await self._open_services(server, guards)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if configuration.reflection:
            enable_server_reflection((*needs, health.SERVICE_NAME), server)
        watcher = Watcher(
            self._health, needs, interval=configuration.health_interval, timeout=configuration.health_timeout
        )
        await watcher.check()
        self._metrics_address = await self._stack.enter_async_context(guards.telling(self._serve_metrics))
        await server.start()
        watching = asyncio.create_task(watcher.run())
        self._stack.push_async_callback(asyncio.wait, (watching,))
        self._stack.callback(watching.cancel)
        self._address = f"{self._wanted.rpartition(':')[0]}:{port}"
        self._log_start()

    async def _open_services(self, server: aio.Server, guards: Guards) -> dict[str, Any]:
        """Opens and registers them; returns what each contract needs."""
        fanout = await self._open("fan-out", open_fanout(self._configuration.fanout))
        shared = Shared(self._configuration, fanout, guards.identify)
        needs: dict[str, Any] = {}
        for name in self._configuration.services:
            service = SERVICES[name]
            opened = await self._open(f"{name} service", service.open(shared))
            opened.add_to(server)
            self._opened.append(opened)
            needs.update(dict.fromkeys(service.contracts, opened.needs))
        return needs

    async def _open(self, name: str, context: AbstractAsyncContextManager[_T]) -> _T:
        """Opens something until the server stops."""
        limit = self._configuration.start_timeout
        try:
            async with asyncio.timeout(limit):
                return await self._stack.enter_async_context(context)
        except TimeoutError:
            raise StartError(f"the {name} could not be opened within {limit:g} seconds") from None

    def _log_start(self) -> None:
        configuration = self._configuration
        security = "in the clear"
        if configuration.uses_tls:
            security = "over mutual TLS" if configuration.wants_client_certificates else "over TLS"
        if self._metrics_address:
            _log.info("The metrics are at %s.", self._metrics_address)
        _log.info("Serving %s on %s, %s.", ", ".join(configuration.services), self._address, security)
        _log.info("The database is %s.", without_passwords(configuration.database))
        if configuration.fanout:
            _log.info("The fan-out is by %s.", without_passwords(configuration.fanout))
        if "file" in configuration.services:
            _log.info("Files are in %s.", without_passwords(configuration.files))

    async def stop(self, grace: float | None = None) -> None:
        """Says NOT_SERVING, lets the running calls finish within the grace, and closes everything.

        A second call while the first one waits can only make the grace shorter.

        Args:
            grace: In seconds; None for that of the configuration.
        """
        grace = self._configuration.grace if grace is None else grace
        if self._server is None:
            return
        await self._health.shut_down()
        for opened in self._opened:
            opened.shut_down()
        await self._server.stop(grace)
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def __aenter__(self) -> Self:
        """Starts it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops it."""
        await self.stop()


def listen_address(configuration: Configuration) -> str:
    """Returns the address to listen on, `HOST:PORT`."""
    host = f"[{configuration.host}]" if ":" in configuration.host else configuration.host
    return f"{host}:{configuration.port}"


def server_options(configuration: Configuration, share_port: bool) -> list[tuple[str, int]]:
    """Returns the options of the server, as docs/options.md has them."""
    options = [
        # gRPC shares ports by default. But a port that another server has is to be an error.
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.max_receive_message_length", configuration.max_receive_message),
        ("grpc.max_send_message_length", configuration.max_send_message),
        ("grpc.keepalive_time_ms", _or_never(configuration.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _milliseconds(configuration.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        (
            "grpc.http2.min_recv_ping_interval_without_data_ms",
            _milliseconds(configuration.keepalive_least_interval * _SLACK),
        ),
        ("grpc.max_connection_age_ms", _or_never(configuration.max_connection_age)),
        ("grpc.max_connection_idle_ms", _or_never(configuration.max_connection_idle)),
    ]
    if configuration.max_calls_per_connection:
        options.append(("grpc.max_concurrent_streams", configuration.max_calls_per_connection))
    if configuration.max_connections:
        options.append(("grpc.max_allowed_incoming_connections", configuration.max_connections))
    return options


def _milliseconds(seconds: float) -> int:
    return min(math.ceil(seconds * 1000), _NEVER_MS)


def _or_never(seconds: float) -> int:
    return _milliseconds(seconds) or _NEVER_MS
