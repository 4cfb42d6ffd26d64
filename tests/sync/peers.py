"""Servers and channels of pygrpc and of grpcio, which has the same API: most tests run over all pairs of them."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any

#: Seconds after which a wait has failed. Far above what any of them needs.
BOUND = 20.0

SERVICE = "sync.Peer"
ARITIES = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}

NAMES = ("pygrpc", "grpc")
#: All pairs of client and server with pygrpc at one end at least.
PAIRS = [("pygrpc", "pygrpc"), ("pygrpc", "grpc"), ("grpc", "pygrpc")]


def wait(event: threading.Event) -> None:
    """Waits for an event of a test."""
    assert event.wait(BOUND), "the event did not come"


@dataclass
class Link:
    """A running server and a channel to it."""

    client: Any
    server_api: Any
    server: Any
    channel: Any
    port: int

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def method(self, arity: str, name: str | None = None, **serializers: Any) -> Any:
        """The multi-callable of a method, which is named as its arity unless told otherwise."""
        return getattr(self.channel, ARITIES[arity])(f"/{SERVICE}/{name or arity}", **serializers)

    def open_channel(self, **settings: Any) -> Any:
        """One more channel to the server, which the caller closes."""
        return self.client.insecure_channel(self.target, **settings)


def handlers(api: Any, behaviours: dict[str, Callable[..., Any]], **serializers: Any) -> Any:
    """A generic handler; a name is an arity, or an arity and more behind an underscore."""
    made = {
        name: getattr(api, f"{ARITIES[name[:2]]}_rpc_method_handler")(behaviour, **serializers)
        for name, behaviour in behaviours.items()
    }
    return api.method_handlers_generic_handler(SERVICE, made)


@contextlib.contextmanager
def serve(
    pair: tuple[str, str] = ("pygrpc", "pygrpc"),
    *,
    workers: int = 8,
    extra: Sequence[Any] = (),
    server: dict[str, Any] | None = None,
    channel: dict[str, Any] | None = None,
    serializers: dict[str, Any] | None = None,
    **behaviours: Callable[..., Any],
) -> Iterator[Link]:
    """Runs a server with the given behaviours and a channel to it.

    Args:
        pair: The packages of client and server.
        workers: Threads for handlers.
        extra: Ready generic handlers, which come before the behaviours.
        server: Arguments of ``server``.
        channel: Arguments of ``insecure_channel``.
        serializers: For the method handlers.
        behaviours: The functions by arity (uu, us, su, ss); ``uu_other`` is one more of that arity.
    """
    client, api = (importlib.import_module(name) for name in pair)
    made = [*extra, handlers(api, behaviours, **(serializers or {}))]
    with futures.ThreadPoolExecutor(workers) as pool:
        running = api.server(pool, handlers=made, **(server or {}))
        port = running.add_insecure_port("127.0.0.1:0")
        running.start()
        try:
            with client.insecure_channel(f"127.0.0.1:{port}", **(channel or {})) as opened:
                yield Link(client, api, running, opened, port)
        finally:
            running.stop(None).wait(BOUND)


class Gate:
    """A handler that waits until it is let go; ``entered`` is set when it runs, ``ended`` when the call is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.ended = threading.Event()
        self.context: Any = None

    def __call__(self, request: Any, context: Any) -> bytes:
        self.context = context
        context.add_callback(self.ended.set)
        self.entered.set()
        wait(self.leave)
        return b"through"


def echo(request: bytes, context: Any) -> bytes:
    return request


def repeat(request: bytes, context: Any) -> Iterator[bytes]:
    for _ in range(3):
        yield request


def join(requests: Iterator[bytes], context: Any) -> bytes:
    return b",".join(requests)


def echo_each(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield from requests


ECHO: dict[str, Callable[..., Any]] = {"uu": echo, "us": repeat, "su": join, "ss": echo_each}
