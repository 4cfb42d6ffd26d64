"""Metrics of calls, in the form of Prometheus and under the names that other servers of gRPC have for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from pygrpc import StatusCode
from pygrpc.services.guards.calls import GuardedCall, Observation
from pygrpc.services.guards.counting import ObservingInterceptor

#: Seconds; from a call that is answered out of memory to one that has met a timeout somewhere.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
# For calls of methods that the server does not have: their names come from clients, and are without number.
_UNKNOWN = ("unknown", "unknown", "unknown")
_MOST_METHODS = 1000
_TYPES = {
    "unary_unary": "unary",
    "stream_unary": "client_stream",
    "unary_stream": "server_stream",
    "stream_stream": "bidi_stream",
}
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics(ObservingInterceptor):
    """Counts calls and messages, and measures how long calls take.

    | metric | labels besides type, service and method |
    |---|---|
    | `grpc_server_started_total` | |
    | `grpc_server_handled_total` | `grpc_code` |
    | `grpc_server_in_flight` | |
    | `grpc_server_handling_seconds` | `le` (a histogram) |
    | `grpc_server_msg_received_total`, `grpc_server_msg_sent_total` | |

    A method has labels of its own when the server is known to have it: when it is in the list, or a call of it has
    passed all guards. Everything else is counted as `unknown`. Messages are counted at the end of their call.

    In several processes: set the environment variable PROMETHEUS_MULTIPROC_DIR to an empty folder before Python starts.
    Then each process tells of all of them.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        methods: Mapping[str, str] | None = None,
        buckets: Sequence[float] = BUCKETS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Makes the metrics.

        Args:
            registry: Gets them; one of their own if it is None.
            methods: The methods that the server has; `methods_of` finds them.
            buckets: The upper bounds of the histogram, in seconds.
            clock: Gives the time in seconds.
        """
        super().__init__(clock)
        self._registry = CollectorRegistry() if registry is None else registry
        given: Any = {"labelnames": _LABELS, "registry": self._registry}
        self._started = Counter("grpc_server_started_total", "Calls that have begun.", **given)
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls that are over.",
            labelnames=(*_LABELS, "grpc_code"),
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "grpc_server_in_flight", "Calls that have begun and are not over.", multiprocess_mode="livesum", **given
        )
        self._seconds = Histogram("grpc_server_handling_seconds", "How long calls take.", buckets=buckets, **given)
        self._received = Counter("grpc_server_msg_received_total", "Requests that were read.", **given)
        self._sent = Counter("grpc_server_msg_sent_total", "Responses that were written.", **given)
        self._unknown = self._labelled(*_UNKNOWN)
        self._methods: dict[str, _Method] = {}
        for method, arity in (methods or {}).items():
            self._add(method, arity)

    def text(self) -> bytes:
        """Returns the metrics in Prometheus' text format; those of all processes if there are several."""
        registry = self._registry
        if _MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def begun(self, call: GuardedCall, observation: Observation) -> None:
        """Counts the call as begun."""
        # Kept, because what is unknown now may be known when the call is over.
        method = observation.note = self._method_of(call)
        method.started.inc()
        method.in_flight.inc()

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        """Counts the call as over."""
        method: _Method = observation.note
        method.in_flight.dec()
        method.handled(call.details.code() or StatusCode.UNKNOWN).inc()
        method.seconds.observe(self.clock() - observation.began)
        if call.requests:
            method.received.inc(call.requests)
        if call.responses:
            method.sent.inc(call.responses)

    def _method_of(self, call: GuardedCall) -> _Method:
        method = self._methods.get(call.details.method)
        if method is not None:
            return method
        # A server may have a handler for whatever it is asked for.
        if not call.arity or len(self._methods) >= _MOST_METHODS:
            return self._unknown
        return self._add(call.details.method, call.arity)

    def _add(self, name: str, arity: str) -> _Method:
        service, _, method = name.lstrip("/").rpartition("/")
        added = self._methods[name] = self._labelled(_TYPES[arity], service, method)
        return added

    def _labelled(self, *labels: str) -> _Method:
        return _Method(
            self._started.labels(*labels),
            self._in_flight.labels(*labels),
            self._seconds.labels(*labels),
            self._received.labels(*labels),
            self._sent.labels(*labels),
            lambda code: self._handled.labels(*labels, code.name),
        )


class _Method:
    """The metrics of one method, found once."""

    def __init__(
        self,
        started: Counter,
        in_flight: Gauge,
        seconds: Histogram,
        received: Counter,
        sent: Counter,
        count_of: Callable[[StatusCode], Counter],
    ) -> None:
        self.started = started
        self.in_flight = in_flight
        self.seconds = seconds
        self.received = received
        self.sent = sent
        self._count_of = count_of
        self._handled: dict[StatusCode, Counter] = {}

    def handled(self, code: StatusCode) -> Counter:
        """Returns the count of calls that have ended with a code."""
        count = self._handled.get(code)
        if count is None:
            count = self._handled[code] = self._count_of(code)
        return count


def methods_of(*files: FileDescriptor) -> dict[str, str]:
    """Returns the methods of all services of files, and their arities.

    Args:
        *files: `DESCRIPTOR` of generated modules.
    """
    return {
        f"/{service.full_name}/{method.name}": _arity(method.client_streaming, method.server_streaming)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


def _arity(request_streaming: bool, response_streaming: bool) -> str:
    return f"{'stream' if request_streaming else 'unary'}_{'stream' if response_streaming else 'unary'}"
