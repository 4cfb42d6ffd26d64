"""How much each client may do."""

from __future__ import annotations

import inspect
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.buckets import SECOND, Buckets, Rate
from pygrpc.services.errors import RequestError
from pygrpc.services.guards.calls import (
    DOMAIN,
    GuardedCall,
    GuardError,
    Wrapped,
    behaviour_of,
    current_call,
    entered,
    refused,
    remade,
)
from pygrpc.services.guards.patterns import MethodTable

# What one customer usually has of IPv6 addresses, and can make up any number of clients from (RFC 6177).
_IPV6_PREFIX = 64


class RateLimit(aio.ServerInterceptor):
    """Refuses the calls of clients that make too many of them, and says when they may come again.

    A client is who the call is from, by `Authentication`, or else the address of its connection.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate],
        *,
        costs: Mapping[str, int] | None = None,
        message_costs: Mapping[str, int] | None = None,
        most_clients: int = 10_000,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Makes the guard.

        Args:
            rates: For a method, `/package.Service/Method`, for the methods of a service, `/package.Service/*`, or for
                all others, `*`. Each client has a bucket for each of these rules; a method without one has no limit.
            costs: How many tokens a call takes, in the same form; 1 without a rule.
            message_costs: How many tokens each request of a stream takes besides, in the same form; 0 without a rule.
            most_clients: The number of clients that are remembered for each rule.
            clock: Gives the time in nanoseconds.

        Raises:
            GuardError: Something is no method, or no rate.
        """
        try:
            buckets = {pattern: Buckets(rate, most_clients, clock) for pattern, rate in rates.items()}
        except ValueError as error:
            raise GuardError(str(error)) from error
        self._buckets = MethodTable(buckets)
        self._costs = MethodTable(costs or {})
        self._message_costs = MethodTable(message_costs or {})
        self._limited = Wrapped(self._limit_messages)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Refuses the call if its client has made too many."""
        call = entered(handler_call_details)
        method = call.details.method
        cost = self._costs.get(method)
        refusal = self._refusal(call, 1 if cost is None else cost)
        if refusal is not None:
            return refused(call, refusal)
        handler = await continuation(handler_call_details)
        if handler is not None and handler.request_streaming and self._message_costs.get(method):
            return self._limited.of(handler)
        return handler

    def _refusal(self, call: GuardedCall, cost: int) -> RequestError | None:
        buckets = self._buckets.get(call.details.method)
        if buckets is None or cost == 0:
            return None
        client = client_of(call)
        wait = buckets.take(client, cost)
        return too_much(client, wait) if wait else None

    # Messages.

    def _message_refusal(self) -> RequestError | None:
        call = current_call()
        if call is None:
            return None
        return self._refusal(call, self._message_costs.get(call.details.method) or 0)

    def _limit_messages(self, handler: pygrpc.RpcMethodHandler) -> pygrpc.RpcMethodHandler:
        behaviour = behaviour_of(handler)

        async def coroutine(requests: Any, context: Any) -> Any:
            limited = _LimitedContext(context, self._message_refusal)
            return await behaviour(_each(requests, context, self._message_refusal), limited)

        async def generator(requests: Any, context: Any) -> AsyncIterator[Any]:
            limited = _LimitedContext(context, self._message_refusal)
            async for response in behaviour(_each(requests, context, self._message_refusal), limited):
                yield response

        def plain(requests: Any, context: Any) -> Any:
            return behaviour(_each_in_thread(requests, context, self._message_refusal), context)

        if _is(inspect.isasyncgenfunction, behaviour):
            return remade(handler, generator)
        return remade(handler, coroutine if _is(inspect.iscoroutinefunction, behaviour) else plain)


def client_of(call: GuardedCall) -> str:
    """Returns what a client is called: its identity, or the address of its connection without the port."""
    if call.identity is not None:
        return f"identity:{call.identity.name}"
    return f"peer:{address_of(call.details.peer())}"


def address_of(peer: str) -> str:
    """Returns the part of a peer's name that it can't choose at will: not its port, and of IPv6 only the network."""
    kind, _, address = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    host = address.rpartition(":")[0]
    if kind == "ipv4":
        return host
    host = host.replace("%5B", "").replace("%5D", "").strip("[]").partition("%")[0]
    try:
        return str(ipaddress.ip_network((host, _IPV6_PREFIX), strict=False))
    except ValueError:
        return host


def too_much(client: str, wait: int) -> RequestError:
    """Returns the error of a call that comes too early.

    Args:
        client: Whose calls are too many.
        wait: Nanoseconds until it may be made.
    """
    quota = QuotaFailure()
    quota.violations.add(subject=client, description="too many calls in a short time")
    retry = RetryInfo(retry_delay=Duration(seconds=wait // SECOND, nanos=wait % SECOND))
    info = ErrorInfo(reason="RATE_LIMITED", domain=DOMAIN)
    message = f"too many calls; try again in {wait / SECOND:.3f} seconds"
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, retry, quota, info)


class _LimitedContext:
    """The context of a handler, whose reads are counted."""

    def __init__(self, context: Any, refusal: Callable[[], RequestError | None]) -> None:
        self._context = context
        self._refusal = refusal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        request = await self._context.read()
        if request is not aio.EOF and (error := self._refusal()) is not None:
            await self._context.abort(*error.as_abort())
        return request


async def _each(requests: Any, context: Any, refusal: Callable[[], RequestError | None]) -> AsyncIterator[Any]:
    async for request in requests:
        if (error := refusal()) is not None:
            await context.abort(*error.as_abort())
        yield request


def _each_in_thread(requests: Any, context: Any, refusal: Callable[[], RequestError | None]) -> Iterator[Any]:
    for request in requests:
        if (error := refusal()) is not None:
            context.abort(*error.as_abort())
        yield request


def _is(kind: Callable[[Any], bool], behaviour: Any) -> bool:
    while hasattr(behaviour, "func"):
        behaviour = behaviour.func
    return kind(behaviour) or kind(getattr(behaviour, "__call__", None))  # noqa: B004 - objects with such a method
