"""Answers that are kept for a while, for calls that only read."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from cachetools import TLRUCache

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.guards.calls import (
    GuardedCall,
    GuardError,
    Observation,
    Wrapped,
    arity_of,
    behaviour_of,
    current_call,
    entered,
)

_log = logging.getLogger(__name__)

#: The metadata that say whether an answer came from the cache: "hit", "miss", or "bypass" if the client wanted none.
STATUS_KEY = "x-cache"
_CONTROL_KEY = "cache-control"
_NOT_READ = "Exception deserializing request!"
_NOT_WRITTEN = "Failed to serialize response!"
# What an entry takes besides its bytes, about.
_ENTRY_SIZE = 500

_Context: TypeAlias = aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Cached:
    """How the answers of a method are kept.

    Attributes:
        seconds: How long.
        invalidated_by: The methods that change what it reads, `/package.Service/Method`: when a call of one of them has
            ended, however it did, the answers from before are not used any more.
    """

    seconds: float
    invalidated_by: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class _Key:
    """What has to be the same for two calls to have the same answer."""

    method: str
    generation: int
    identity: Any
    varying: tuple[Any, ...]
    request: bytes


class _Entry(NamedTuple):
    answer: bytes
    size: int


class Cache(aio.ServerInterceptor):
    """Answers calls out of memory that were answered not long ago, and makes one call of equal ones at the same time.

    Only methods in the table are kept, which must be unary and coroutine functions, and only answers with status OK and
    without trailing metadata. A caller never gets what another one was answered. Writes of other processes are seen
    when an answer has expired, or `invalidate` is called.

    It has to stand behind `Authentication`, and is told by `cache-control: no-cache` in the metadata to ask anew.
    """

    def __init__(
        self,
        methods: Mapping[str, Cached],
        *,
        size: int = 16 << 20,
        vary: Collection[str] = ("user-id",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes an empty cache.

        Args:
            methods: What is kept, by method, `/package.Service/Method`.
            size: The number of bytes that answers and requests take at most.
            vary: The metadata on which answers depend too.
            clock: Gives the time in seconds.

        Raises:
            GuardError: A time or the size is not positive.
        """
        if size <= 0 or any(cached.seconds <= 0 for cached in methods.values()):
            raise GuardError("a cache needs a size and times above 0")
        self._methods = dict(methods)
        self._vary = frozenset(vary)
        # Which cached methods a write concerns.
        self._written: dict[str, list[str]] = {}
        for method, cached in methods.items():
            for writer in cached.invalidated_by:
                self._written.setdefault(writer, []).append(method)
        # An answer belongs to a generation, so to invalidate a method is to count on. What is left of the one before is
        # driven out in time.
        self._generations = dict.fromkeys(methods, 0)
        self._kept: TLRUCache[_Key, _Entry] = TLRUCache(size, self._expires, clock, _size)
        self._flights: dict[_Key, asyncio.Future[_Entry | None]] = {}
        self._caching = Wrapped(self._made)

    def _expires(self, key: _Key, entry: _Entry, now: float) -> float:
        return now + self._methods[key.method].seconds

    def invalidate(self, method: str) -> None:
        """Forgets the answers of a method: somebody else has changed what it reads."""
        self._generations[method] += 1

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Serves the call from the cache if it is one that is kept, and lets others pass."""
        method = handler_call_details.method
        call = entered(handler_call_details)
        if method in self._written:
            call.observe(Observation(self, 0.0))
        handler = await continuation(handler_call_details)
        if method not in self._methods or handler is None or arity_of(handler) != "unary_unary":
            return handler
        return self._caching.of(handler) if inspect.iscoroutinefunction(behaviour_of(handler)) else handler

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        """A call that writes is over."""
        for method in self._written[call.details.method]:
            self.invalidate(method)

    # Answers.

    def _made(self, handler: pygrpc.RpcMethodHandler) -> pygrpc.RpcMethodHandler:
        async def cached(payload: bytes, context: _Context) -> bytes:
            call = current_call()
            assert call is not None
            return await self._answer(call, handler, payload, context)

        # Bytes come and go: an answer that is kept need not be understood.
        return pygrpc.unary_unary_rpc_method_handler(cached)

    async def _answer(
        self, call: GuardedCall, handler: pygrpc.RpcMethodHandler, payload: bytes, context: _Context
    ) -> bytes:
        key, control = self._key_of(call, payload)
        if control:
            _tell(call, "bypass")
            return (await self._ask(key, handler, context, keep="no-store" not in control)).answer
        entry = self._kept.get(key)
        if entry is None and key in self._flights:
            # Somebody asks already. What that one's call fails with is not for others: they ask for themselves.
            entry = await asyncio.shield(self._flights[key])
            if entry is None:
                _tell(call, "miss")
                return (await self._ask(key, handler, context)).answer
        if entry is not None:
            _tell(call, "hit")
            return entry.answer
        _tell(call, "miss")
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            entry = await self._ask(key, handler, context)
        finally:
            del self._flights[key]
            flight.set_result(entry if entry is not None and entry.size else None)
        return entry.answer

    def _key_of(self, call: GuardedCall, payload: bytes) -> tuple[_Key, set[str]]:
        """Returns the key of a call, and what it says of the cache."""
        varying = []
        control: set[str] = set()
        for key, value in call.details.invocation_metadata:
            if key in self._vary:
                varying.append((key, value))
            elif key == _CONTROL_KEY and isinstance(value, str):
                # RFC 9111, section 5.2.1.
                control |= {part.strip().lower() for part in value.split(",")} & {"no-cache", "no-store"}
        method = call.details.method
        return _Key(method, self._generations[method], call.identity, tuple(varying), payload), control

    async def _ask(self, key: _Key, handler: pygrpc.RpcMethodHandler, context: _Context, keep: bool = True) -> _Entry:
        """Has a call served, and keeps the answer; the size of the entry is 0 if it is for this caller only."""
        request = await _converted(handler.request_deserializer, key.request, context, _NOT_READ)
        response = await behaviour_of(handler)(request, context)
        if context.code() not in (None, StatusCode.OK):
            # The status goes out, and nothing else.
            return _Entry(b"", 0)
        answer = await _converted(handler.response_serializer, response, context, _NOT_WRITTEN)
        if not keep or context.trailing_metadata() or context.details() or context.done():
            return _Entry(answer, 0)
        entry = _Entry(answer, len(answer) + len(key.request) + _ENTRY_SIZE)
        if entry.size <= self._kept.maxsize:
            self._kept[key] = entry
        return entry


async def _converted(convert: Callable[[Any], Any] | None, message: Any, context: _Context, failure: str) -> Any:
    """Turns bytes into a message or back; what fails then is what the server says for it."""
    if convert is None:
        return message
    try:
        return convert(message)
    except Exception:
        call = current_call()
        _log.exception("%s (%s)", failure, call and call.details.method)
        await context.abort(StatusCode.INTERNAL, failure)


def _tell(call: GuardedCall, status: str) -> None:
    call.details.add_initial_metadata(((STATUS_KEY, status),))


def _size(entry: _Entry) -> int:
    return entry.size
