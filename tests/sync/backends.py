"""Several servers behind one target, of pygrpc and of grpcio: what balancing is tested with."""

from __future__ import annotations

import contextlib
import importlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from tests.sync.peers import BOUND

METHOD = "/balancing.Test/Call"
#: Which library each of the servers is of.
MIXED = ("pygrpc", "grpc")


class Backend:
    """One server, which counts its calls, fails them, holds them, and says how it is."""

    def __init__(self, library: str, options: Any = None) -> None:
        self.api = importlib.import_module(library)
        self.peers: list[str] = []
        self.arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.fails = False
        self.trailers: Any = None
        self.go = threading.Event()
        self.go.set()
        self._status = b"\x08\x01"
        self._changed = threading.Condition()
        self.watches = 0
        self._pool = futures.ThreadPoolExecutor(16)
        self.server = self.api.server(self._pool, options=options)
        handlers = {"Call": self.api.unary_unary_rpc_method_handler(self._call)}
        health = {"Watch": self.api.unary_stream_rpc_method_handler(self._watch)}
        self.server.add_generic_rpc_handlers(
            (
                self.api.method_handlers_generic_handler("balancing.Test", handlers),
                self.api.method_handlers_generic_handler("grpc.health.v1.Health", health),
            )
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    @property
    def calls(self) -> int:
        return len(self.peers)

    def _call(self, request: bytes, context: Any) -> bytes:
        self.peers.append(context.peer())
        self.arrivals.put(None)
        if self.trailers:
            context.set_trailing_metadata(self.trailers)
        if self.fails:
            context.abort(self.api.StatusCode.UNAVAILABLE, "told to fail")
        assert self.go.wait(BOUND)
        return request

    def _watch(self, request: bytes, context: Any) -> Iterator[bytes]:
        def over() -> None:
            with self._changed:
                self._changed.notify_all()

        context.add_callback(over)
        said = None
        self.watches += 1
        while context.is_active():
            with self._changed:
                if self._status == said and context.is_active():
                    self._changed.wait(BOUND)
                said = self._status
            if context.is_active():
                yield said

    def say(self, status: int) -> None:
        """How the server is, for those who watch: 1 serves, 2 doesn't."""
        with self._changed:
            self._status = b"\x08" + bytes([status])
            self._changed.notify_all()

    def stop(self) -> None:
        self.go.set()
        self.server.stop(None).wait(BOUND)
        self._pool.shutdown()


@contextlib.contextmanager
def backends(*libraries: str, options: Any = None) -> Iterator[tuple[str, list[Backend]]]:
    """Runs servers; yields a target with all of their addresses, and them."""
    with contextlib.ExitStack() as stack:
        servers = []
        for library in libraries or MIXED:
            servers.append(Backend(library, options))
            stack.callback(servers[-1].stop)
        yield "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in servers), servers


def service_config(policy: str, settings: dict[str, Any] | None = None, **more: Any) -> list[tuple[str, Any]]:
    """The options of a channel with a policy."""
    return [("grpc.service_config", json.dumps({"loadBalancingConfig": [{policy: settings or {}}], **more}))]


def until(so: Callable[[], bool], step: Callable[[], object]) -> None:
    """Takes steps, such as calls, until something is so."""
    end = time.monotonic() + BOUND
    while not so():
        assert time.monotonic() < end, "it did not come about"
        step()


class Run:
    """Tells when calls have gone well, and to certain servers only, several times in a row."""

    def __init__(self, servers: list[Backend], wanted: int) -> None:
        self._servers = servers
        self._wanted = wanted
        self.length = 0

    def count(self, went_well: bool, before: list[int]) -> None:
        went_there = all(server.calls == calls for server, calls in zip(self._servers, before, strict=True))
        self.length = self.length + 1 if went_well and went_there else 0

    def counts(self) -> list[int]:
        """The calls of the servers that should get none."""
        return [server.calls for server in self._servers]

    @property
    def over(self) -> bool:
        return self.length >= self._wanted
