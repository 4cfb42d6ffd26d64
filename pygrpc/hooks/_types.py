"""What hooks are told, and what they are."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pygrpc

_LOGGER = logging.getLogger("pygrpc")

Pair = tuple[str, str | bytes]


@dataclass(slots=True)
class CallInfo:
    """A call that begins.

    On a client, ``metadata`` and ``timeout`` may be changed; the call is made with what is there then.

    Attributes:
        is_client: Whether this is the client's end of the call.
        method: The full name, ``/package.Service/Method``.
        request_streaming: Whether there is any number of requests, or exactly one.
        response_streaming: Whether there is any number of responses, or exactly one.
        metadata: The custom metadata that the client sends.
        timeout: Seconds until the deadline, or None.
        peer: The client's address on a server; None on a client.
    """

    is_client: bool
    method: str
    request_streaming: bool
    response_streaming: bool
    metadata: list[Pair] = field(default_factory=list)
    timeout: float | None = None
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended.

    Attributes:
        code: The status code.
        details: The status message.
        trailing_metadata: The metadata that goes with the status.
        error: On a server, what the handler raised, or None.
    """

    code: pygrpc.StatusCode
    details: str
    trailing_metadata: tuple[Pair, ...] = ()
    error: BaseException | None = None


class CallHooks:
    """What is told of one call; a base whose methods do nothing."""

    def on_request(self, request: Any) -> Any:
        """A request is sent, or has come; returns it, or what to take in its place."""
        return request

    def on_response(self, response: Any) -> Any:
        """A response is sent, or has come; returns it, or what to take in its place."""
        return response

    def on_end(self, end: CallEnd) -> None:
        """The call is over; called once, behind everything else. What it raises is logged."""


#: Told that a call begins; returns who is to be told of the rest, or None for nobody. What it raises ends the call.
Begin = Callable[[CallInfo], CallHooks | None]

#: The arities: what the methods and factories of grpc are called by, and what streams.
ARITIES = {
    "unary_unary": (False, False),
    "unary_stream": (False, True),
    "stream_unary": (True, False),
    "stream_stream": (True, True),
}


def tell_end(hooks: CallHooks, end: CallEnd) -> None:
    """Tells hooks that their call is over."""
    try:
        hooks.on_end(end)
    except Exception:
        _LOGGER.exception("on_end of %r raised", hooks)


def pairs(metadata: Iterable[Any] | None) -> list[Pair]:
    """Metadata as a list of plain pairs."""
    return [(key, value) for key, value in metadata or ()]


def text(value: str | bytes | None) -> str:
    """A status message as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def server_end(context: Any, error: BaseException | None, over: bool, message: str) -> CallEnd:
    """How a call ended, as its handler's end shows it.

    Args:
        context: The servicer context.
        error: What the handler raised, or None.
        over: Whether the call was over before its handler was.
        message: The details that the library sends for such an error.
    """
    code, details = context.code(), text(context.details())
    if over and code is None:
        # Nobody has set a status, so it was the client, or the clock.
        expired = context.time_remaining() == 0
        code = pygrpc.StatusCode.DEADLINE_EXCEEDED if expired else pygrpc.StatusCode.CANCELLED
    elif code is None and error is not None:
        code, details = pygrpc.StatusCode.UNKNOWN, message
    trailing = tuple(pairs(context.trailing_metadata()))
    return CallEnd(code or pygrpc.StatusCode.OK, details, trailing, error)
