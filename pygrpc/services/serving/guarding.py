"""The guards that a configuration asks for: who calls, how often, what is counted, logged and kept."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from google.protobuf import descriptor_pool
from prometheus_client import CollectorRegistry

from pygrpc import aio
from pygrpc.health.v1 import health_pb2
from pygrpc.services.callers import Identify, unknown
from pygrpc.services.guards import (
    Access,
    AccessLog,
    Authentication,
    Cache,
    Cached,
    Certificates,
    GuardError,
    JwtTokens,
    Metrics,
    MetricsEndpoint,
    Rate,
    RateLimit,
    RequestIds,
    StaticTokens,
    Tokens,
    identified,
    methods_of,
)
from pygrpc.services.serving.configuration import Configuration
from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.services import SERVICES
from pygrpc.services.serving.statistics import Statistics

_T = TypeVar("_T")


class Guards:
    """The guards of a server, and what tells of the metrics.

    Attributes:
        interceptors: In their order.
        identify: Knows who makes a call, if there is authentication.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Makes them.

        Raises:
            StartError: A file of keys or tokens cannot be used.
        """
        self._configuration = configuration
        self._metrics: Metrics | None = None
        self._registry = CollectorRegistry()
        try:
            self.interceptors = list(self._make())
        except GuardError as error:
            raise StartError(str(error)) from error
        self.identify: Identify = identified if configuration.authenticates else unknown

    def _make(self) -> list[aio.ServerInterceptor]:
        configuration = self._configuration
        made: list[aio.ServerInterceptor] = []
        if configuration.gives_request_ids:
            made.append(RequestIds())
        if configuration.log_calls:
            made.append(AccessLog())
        if configuration.metrics:
            self._metrics = Metrics(self._registry, methods=_methods(configuration))
            made.append(self._metrics)
        if configuration.authenticates:
            made.append(_authentication(configuration))
        rates = _for_all_contracts(dict(configuration.rate_limits))
        if rates:
            made.append(RateLimit({method: _rate(given) for method, given in rates.items()}))
        cached = _cached(configuration)
        if cached:
            made.append(Cache(cached))
        return made

    @asynccontextmanager
    async def telling(self, served: bool) -> AsyncIterator[str]:
        """Logs a summary of the metrics again and again, and serves them.

        Args:
            served: Whether this process serves them.

        Yields:
            Where they are, a URL; empty if they are not served.

        Raises:
            StartError: They cannot be served.
        """
        if self._metrics is None:
            yield ""
            return
        summing = asyncio.create_task(Statistics(self._registry).log(self._configuration.metrics_interval_ms / 1000))
        host, port = self._configuration.metrics_host, self._configuration.metrics_port
        endpoint = MetricsEndpoint(self._metrics.text, host, port)
        shown = f"[{host}]" if ":" in host else host
        try:
            if served:
                try:
                    port = await endpoint.start()
                except OSError as error:
                    raise StartError(f"the metrics cannot be served on {shown}:{port}: {_reason(error)}") from error
            yield f"http://{shown}:{port}/metrics" if served else ""
        finally:
            summing.cancel()
            await asyncio.wait((summing,))
            await endpoint.stop()


def _methods(configuration: Configuration) -> dict[str, str]:
    """Returns all methods of the services that are run, and of health."""
    pool = descriptor_pool.Default()
    contracts = [contract for name in configuration.services for contract in SERVICES[name].contracts]
    files = {
        pool.FindServiceByName(contract).file.name: pool.FindServiceByName(contract).file for contract in contracts
    }
    return methods_of(*files.values(), health_pb2.DESCRIPTOR)


def _authentication(configuration: Configuration) -> Authentication:
    tokens: list[Tokens] = []
    if configuration.auth_keys:
        tokens.append(
            JwtTokens(
                configuration.auth_keys,
                algorithms=configuration.auth_algorithms,
                audience=configuration.auth_audience or None,
                issuer=configuration.auth_issuer or None,
            )
        )
    if configuration.auth_tokens:
        tokens.append(StaticTokens.from_file(configuration.auth_tokens))
    # The CA vouches for them, and what they may do is in the table of roles, where they have none.
    certificates = Certificates({}, others=()) if configuration.auth_certificates else None
    roles = _for_all_contracts(dict(configuration.auth_roles)) or None
    return Authentication(tokens, certificates=certificates, access=Access(roles, public=configuration.auth_public))


def _for_all_contracts(rules: dict[str, _T]) -> dict[str, _T]:
    """Returns rules for methods, with the same ones for the methods of that name in the other contracts of a service.

    What one contract forbids could be had from another one over the same data otherwise. A contract for whose method or
    for all of which there is a rule keeps to that, and one that no rule speaks of, not even `*`, stays closed.
    """
    made = dict(rules)
    if "*" not in rules:
        return made
    for contracts in (service.contracts for service in SERVICES.values()):
        for contract, other in itertools.permutations(contracts, 2):
            if f"/{other}/*" in rules:
                continue
            for pattern, rule in rules.items():
                of, _, method = pattern.rpartition("/")
                if of == f"/{contract}":
                    made.setdefault(f"/{other}/{method}", rule)
    return made


def _rate(given: str) -> Rate:
    rate, _, burst = given.partition("/")
    return Rate(float(rate), int(burst))


def _cached(configuration: Configuration) -> dict[str, Cached]:
    if not configuration.cache_time:
        return {}
    reads = [read for name in configuration.services for read in SERVICES[name].reads.items()]
    return {method: Cached(configuration.cache_time, writers) for method, writers in reads}


def _reason(error: OSError) -> str:
    # The words of the system: those of asyncio name the address once more. Numbers below zero are the resolver's.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
