"""The work of one measurement, as the runner gives it to both processes."""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

HOST = "127.0.0.1"
SERVICE = "benchmarks.Echo"
KIB = 1024
# The bytes of one of the metadata entries that stay the same from call to call.
_ENTRY = 64

CallOptions = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What the client does, and how the server and the client are set up for it.

    Attributes:
        call: "unary", "download" (server streaming) or "upload" (client streaming): repeated in each lane for a time;
            "latency": unary calls at given times, half as many as the peak allows, or at the `pace`;
            "idle": connections are opened, used once and then rest; "hold": streams are opened and then rest;
            "h2load": unary calls that h2load makes.
        lanes: How many calls are in flight on each connection.
        connections: How many connections the client opens.
        size: The bytes of a message.
        messages: The messages of one stream.
        tls: Whether the connections are encrypted.
        interceptors: Whether both sides have an interceptor that passes everything on.
        timeout: The seconds that each call has, if any.
        metadata: The bytes of metadata that each call carries.
        pace: The calls per second of "latency", if they don't follow from the peak.
    """

    call: str = "unary"
    lanes: int = 1
    connections: int = 1
    size: int = 100
    messages: int = 1
    tls: bool = False
    interceptors: bool = False
    timeout: float | None = None
    metadata: int = 0
    pace: float | None = None

    @property
    def payload(self) -> bytes:
        """The message."""
        return (bytes(range(256)) * (self.size // 256 + 1))[: self.size]

    def small(self) -> "Work":
        """Return this work cut down to what warms the code up, but leaves the memory that is measured untouched."""
        return replace(
            self,
            lanes=min(self.lanes, 32),
            connections=1,
            size=min(self.size, 64 * KIB),
            messages=min(self.messages, 2000),
        )

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Work":
        """Return the work that `to_json` wrote."""
        return Work(**json.loads(text))

    def call_options(self) -> Callable[[], CallOptions] | None:
        """Return what makes the `timeout` and `metadata` arguments of each call, or None if the calls have none.

        One entry, the identity of the request, differs from call to call, as it does in life: without it, all header
        blocks of a connection would be the same bytes.
        """
        if self.timeout is None and not self.metadata:
            return None
        options: CallOptions = {} if self.timeout is None else {"timeout": self.timeout}
        if not self.metadata:
            return lambda: options
        entries = [(f"x-entry-{index:04}", "v" * _ENTRY) for index in range(self.metadata // (_ENTRY + 12))]
        numbers = itertools.count()
        return lambda: options | {"metadata": (*entries, ("x-request-id", f"{next(numbers):012x}"))}


class Client(NamedTuple):
    """The calls that an adapter offers; their results are awaitable if the adapter is asynchronous.

    `hold` opens a stream in both directions, sends a message, waits for its echo and leaves the stream open; what it
    returns keeps the stream alive. A synchronous client has no `hold`, nor has raw TCP.
    """

    unary: Callable[[bytes], Any]
    download: Callable[[bytes], Any]
    upload: Callable[[Iterable[bytes]], Any]
    hold: Callable[[bytes], Any] | None = None


def frame(message: bytes) -> bytes:
    """Return the message with the prefix that it has in gRPC."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


class WrongReply(Exception):
    """A call ended with OK, but what it brought is not what was asked for."""


def check(right: bool, what: str) -> None:
    """Raise `WrongReply` unless the reply was right."""
    if not right:
        raise WrongReply(what)
