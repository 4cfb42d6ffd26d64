"""Counting the messages of a call, for those who tell of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pygrpc
from pygrpc import aio
from pygrpc.services.guards.calls import GuardedCall, Observation, Wrapped, arity_of, current_call, entered, remade


class ObservingInterceptor(aio.ServerInterceptor):
    """A guard that lets each call pass, and is told of its end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begins without handlers.

        Args:
            clock: Gives the time in seconds, from which durations are counted.
        """
        self.clock = clock
        self._counted = Wrapped(_counted)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Lets the call pass, and sees to it that its messages are counted and its end is told."""
        call = entered(handler_call_details)
        observation = Observation(self, self.clock())
        call.observe(observation)
        # The messages of a call are counted once, by the first one that wants to know.
        counts, call.counted = not call.counted, True
        try:
            handler = await continuation(handler_call_details)
        except BaseException:
            self.begun(call, observation)
            raise
        if handler is not None and call.refusal is None:
            call.arity = arity_of(handler)
        self.begun(call, observation)
        return self._counted.of(handler) if counts and handler is not None else handler

    def begun(self, call: GuardedCall, observation: Observation) -> None:
        """The guards behind this one have seen the call. Called once, before `ended`."""

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        """The call is over."""
        raise NotImplementedError


# The functions that turn messages into bytes see each one of them, however a handler reads and writes.


def _counted(handler: pygrpc.RpcMethodHandler) -> pygrpc.RpcMethodHandler:
    return remade(
        handler,
        deserializer=_counting_requests(handler.request_deserializer),
        serializer=_counting_responses(handler.response_serializer),
    )


def _counting_requests(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def count(payload: bytes) -> Any:
        call = current_call()
        if call is not None:
            call.requests += 1
            call.request_bytes += len(payload)
        return payload if deserialize is None else deserialize(payload)

    return count


def _counting_responses(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    def count(response: Any) -> bytes:
        payload = _bytes_of(response) if serialize is None else serialize(response)
        call = current_call()
        if call is not None:
            call.responses += 1
            call.response_bytes += len(payload)
        return payload

    return count


def _bytes_of(response: Any) -> bytes:
    if not isinstance(response, bytes):
        raise TypeError(f"without a serializer a response must be bytes, not {type(response).__name__}")
    return response
