"""What the guards of one call share, and what handlers can ask: who calls, and under which request id."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.errors import RequestError

_log = logging.getLogger(__name__)

#: Of google.rpc.ErrorInfo: who says no.
DOMAIN = "pygrpc.services.guards"

# How many handlers a guard remembers its wrapper for. Servers have one for each method, unless they make them as they
# go.
_HANDLERS_KEPT = 1024


class GuardError(Exception):
    """A guard cannot be made of what it was given; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a call.

    Attributes:
        name: Of the user or the program; unique.
        roles: What it may do; see `Access`.
        kind: How it has proved that: "token", "jwt" or "certificate".
    """

    name: str
    roles: frozenset[str] = frozenset()
    kind: str = "token"


class Details(Protocol):
    """What an asyncio server of pygrpc tells its interceptors of a call; docs/interceptors.md says more."""

    @property
    def method(self) -> str:
        """The full name, `/package.Service/Method`."""

    @property
    def invocation_metadata(self) -> Sequence[Any]:
        """What the client has sent."""

    def peer(self) -> str:
        """The address of the client."""

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What is known of the client by authentication."""

    def code(self) -> StatusCode | None:
        """What the call has ended with."""

    def add_initial_metadata(self, metadata: Any) -> bool:
        """Adds to the initial metadata."""


class Observation:
    """What an observer keeps of a call until it is over.

    Attributes:
        observer: Is told.
        began: By its clock.
        note: Whatever it likes.
    """

    __slots__ = ("began", "note", "observer")

    def __init__(self, observer: Observer, began: float) -> None:
        """Begins without a note."""
        self.observer = observer
        self.began = began
        self.note: Any = None


class Observer(Protocol):
    """Who is told that a call is over."""

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        """The call is over: `call.details.code()` says how."""


class GuardedCall:
    """What the guards know of one call.

    Attributes:
        details: Of the call.
        request_id: Empty without `RequestIds`.
        identity: Who calls, or None.
        arity: Of the method: "unary_stream"; empty if the server does not have it, or has not looked because the call
            is refused.
        refusal: Why a guard has refused the call, or None.
        counted: Whether somebody sees to it that messages are counted.
        requests: How many were read, and `request_bytes` in all.
        responses: How many were written, and `response_bytes` in all.
    """

    __slots__ = (
        "_observers",
        "_task",
        "arity",
        "counted",
        "details",
        "identity",
        "refusal",
        "request_bytes",
        "request_id",
        "requests",
        "response_bytes",
        "responses",
    )

    def __init__(self, details: Details, task: asyncio.Task[Any]) -> None:
        """Begins with nothing known.

        Args:
            details: Of the call.
            task: In which its interceptors and its handler run.
        """
        self.details = details
        self.request_id = ""
        self.identity: Identity | None = None
        self.arity = ""
        self.counted = False
        self.refusal: RequestError | None = None
        self.requests = self.request_bytes = self.responses = self.response_bytes = 0
        # Weak: the context variables of the task have this object.
        self._task = weakref.ref(task)
        self._observers: list[Observation] = []

    def observe(self, observation: Observation) -> None:
        """Tells the observer when the call is over, for whatever reason."""
        if not self._observers:
            task = self._task()
            assert task is not None
            # The task runs the interceptors, waits for the request and runs the handler, so it ends with the call even
            # if there never is a handler.
            task.add_done_callback(self._over)
        self._observers.append(observation)

    def _over(self, task: asyncio.Task[Any]) -> None:
        observers, self._observers = self._observers, []
        for observation in observers:
            try:
                observation.observer.ended(self, observation)
            except Exception:
                _log.exception("%r failed at the end of a call", observation.observer)


_CURRENT: ContextVar[GuardedCall | None] = ContextVar("pygrpc_guarded_call", default=None)


def entered(details: Any) -> GuardedCall:
    """Returns what is known of the call that an interceptor is told of; the first guard of a call makes it.

    Raises:
        GuardError: The details are not those of pygrpc's asyncio server.
    """
    call = _CURRENT.get()
    if call is not None and call.details is details:
        return call
    task = asyncio.current_task()
    # The variable may be that of another call, which has made this one through a channel in the same process.
    if call is None or call._task() is not task:
        if task is None or not hasattr(details, "add_initial_metadata"):
            raise GuardError(
                "the guards need the call details of an asyncio server of pygrpc, which an interceptor before them "
                "has to pass on as they are, or changed by _replace()"
            )
        call = GuardedCall(details, task)
        _CURRENT.set(call)
    return call


def current_call() -> GuardedCall | None:
    """Returns the call that is being served here, or None outside of one and without guards."""
    return _CURRENT.get()


def current_identity() -> Identity | None:
    """Returns who makes the call that is being served; None if it is not known, or nobody asked."""
    call = _CURRENT.get()
    return None if call is None else call.identity


def current_request_id() -> str:
    """Returns the id of the request that is being served; empty outside of one."""
    call = _CURRENT.get()
    return "" if call is None else call.request_id


def identified(context: Any) -> str:
    """Returns the name of who makes the call, empty if it is not known: `identify` of the file service."""
    identity = current_identity()
    return "" if identity is None else identity.name


# Refusals.


async def _refuse(requests: Any, context: aio.ServicerContext[Any, Any]) -> None:
    call = _CURRENT.get()
    assert call is not None and call.refusal is not None
    await context.abort(*call.refusal.as_abort())


# Streams in both directions, whatever the method has: so it begins, and ends, without any request.
_REFUSING = pygrpc.stream_stream_rpc_method_handler(_refuse)


def refused(call: GuardedCall, error: RequestError) -> pygrpc.RpcMethodHandler:
    """Returns a handler that ends the call with an error, without waiting for a request."""
    call.refusal = error
    return _REFUSING


# Wrappers.


class Wrapped:
    """The handlers that a guard has made of others, each one once.

    What is made for each call anew would be looked at anew by the server, which wants to know whether it is a coroutine
    function, and remembers that.
    """

    def __init__(self, wrap: Callable[[pygrpc.RpcMethodHandler], pygrpc.RpcMethodHandler]) -> None:
        """Makes handlers by a function."""
        self._wrap = wrap
        self._made: dict[int, tuple[pygrpc.RpcMethodHandler, pygrpc.RpcMethodHandler]] = {}

    def of(self, handler: pygrpc.RpcMethodHandler) -> pygrpc.RpcMethodHandler:
        """Returns the handler that was made of another."""
        made = self._made.get(id(handler))
        if made is None:
            if len(self._made) >= _HANDLERS_KEPT:
                self._made.clear()
            # With the original, whose id is its own as long as it is kept.
            made = self._made[id(handler)] = (handler, self._wrap(handler))
        return made[1]


_ARITIES = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def remade(
    handler: pygrpc.RpcMethodHandler,
    behaviour: Callable[..., Any] | None = None,
    deserializer: Callable[[bytes], Any] | None = None,
    serializer: Callable[[Any], bytes] | None = None,
) -> pygrpc.RpcMethodHandler:
    """Returns a handler with parts of another, and some of its own.

    Args:
        handler: The other one.
        behaviour: What serves the method, if not the other's.
        deserializer: Of requests, if not the other's.
        serializer: Of responses, if not the other's.
    """
    made: pygrpc.RpcMethodHandler = getattr(pygrpc, f"{arity_of(handler)}_rpc_method_handler")(
        behaviour or behaviour_of(handler),
        deserializer or handler.request_deserializer,
        serializer or handler.response_serializer,
    )
    return made


def arity_of(handler: pygrpc.RpcMethodHandler) -> str:
    """Returns what the arity of a handler is called: "unary_stream"."""
    return _ARITIES[bool(handler.request_streaming), bool(handler.response_streaming)]


def behaviour_of(handler: pygrpc.RpcMethodHandler) -> Callable[..., Any]:
    """Returns the function that serves a method."""
    behaviour: Callable[..., Any] = getattr(handler, arity_of(handler))
    return behaviour
