"""Deadlines that pass from a call to the calls that its handler makes.

While a handler runs, in its thread or task and in those that it starts, the calls that it makes end no later than its
own call does: nobody waits for their results any more. What goes on after the call has ended is not bound by it.

A call with ``timeout=math.inf`` has no deadline at all, not even the handler's.
"""

import contextvars
import math
from typing import Protocol


class _ServedCall(Protocol):
    """A call that is being served, in either API."""

    def time_remaining(self) -> float | None:
        """Seconds until its deadline, or None."""

    def deadline_binds(self) -> bool:
        """Whether the call still goes on, and has a deadline."""


_served: contextvars.ContextVar[_ServedCall | None] = contextvars.ContextVar("pygrpc_served_call", default=None)


def serve(call: _ServedCall) -> None:
    """Says that the current context serves a call from now on."""
    _served.set(call)


def effective_timeout(timeout: float | None) -> float | None:
    """The timeout of a call that is about to start.

    Args:
        timeout: What the user gave, in seconds; None for nothing, ``math.inf`` for explicitly no deadline.

    Returns:
        The seconds until the call's deadline, or None for no deadline.

    Raises:
        TypeError: The timeout is no number.
    """
    if timeout is not None:
        try:
            finite = -math.inf < timeout < math.inf
        except TypeError:
            raise TypeError(f"a timeout must be a number of seconds, or None, not {timeout!r}") from None
        if timeout == math.inf:
            return None
        if not finite:
            # NaN: as in grpcio the time is up. It must not get among the deadlines, where it would spoil their order.
            return 0.0
    served = _served.get()
    if served is None or not served.deadline_binds():
        return timeout
    remaining = served.time_remaining()
    if remaining is None:
        return timeout
    return remaining if timeout is None else min(timeout, remaining)
