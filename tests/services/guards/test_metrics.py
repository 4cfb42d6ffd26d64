"""Metrics of calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from pygrpc import aio
from pygrpc.services.guards import Authentication, Identity, StaticTokens
from pygrpc.services.guards.metrics import Metrics, methods_of
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.guards.support import KINDS, SERVICE, Clock, guarded, path, until

TYPES = {"unary_unary": "unary", "unary_stream": "server_stream", "stream_unary": "client_stream"}
REFUSING = Authentication([StaticTokens({"token-of-ann-0123456": Identity("ann")})])


def values(text: bytes, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric that are not 0, by the values of its labels in the order of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and sample.value
    }


def labels(kind: str) -> tuple[str, ...]:
    return kind, SERVICE, TYPES.get(kind, "bidi_stream")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call(client_aio: ModuleType, kind: str) -> None:
    clock = Clock(5)
    metrics = Metrics(clock=clock)
    async with guarded(client_aio, metrics) as server:
        call = server.start(kind, b"wait")
        await server.methods.begun.wait()
        assert values(metrics.text(), "grpc_server_started_total") == {labels(kind): 1}
        assert values(metrics.text(), "grpc_server_in_flight") == {labels(kind): 1}
        assert values(metrics.text(), "grpc_server_handled_total") == {}
        clock.now = 5.3
        server.methods.go_on.set()
        assert [each async for each in call] if kind.endswith("stream") else await call
        await until(lambda: values(metrics.text(), "grpc_server_in_flight") == {})
    text = metrics.text()
    assert values(text, "grpc_server_handled_total") == {("OK", *labels(kind)): 1}
    assert values(text, "grpc_server_handling_seconds_sum")[labels(kind)] == pytest.approx(0.3)
    buckets = values(text, "grpc_server_handling_seconds_bucket")
    assert {key[-1] for key in buckets} == {"0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"}
    received, sent = (2 if kind.startswith("stream") else 1), (2 if kind.endswith("stream") else 1)
    assert values(text, "grpc_server_msg_received_total") == {labels(kind): received}
    assert values(text, "grpc_server_msg_sent_total") == {labels(kind): sent}


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_that_end_early_are_not_in_flight_any_more(client_aio: ModuleType, kind: str) -> None:
    metrics = Metrics()
    async with guarded(client_aio, metrics) as server:
        call = server.start(kind, b"wait")
        await server.methods.begun.wait()
        call.cancel()
        await server.failure(kind, b"abort")
        await server.failure(kind, b"fail")
        await until(lambda: values(metrics.text(), "grpc_server_in_flight") == {})
        codes = {key[0]: count for key, count in values(metrics.text(), "grpc_server_handled_total").items()}
    assert codes == {"CANCELLED": 1, "NOT_FOUND": 1, "UNKNOWN": 1}


async def test_unknown_methods_share_their_labels() -> None:
    metrics = Metrics()
    async with guarded(aio, metrics) as server:
        for number in range(20):
            await server.failure("unary_unary", method=f"/a.B/C{number}")
        await until(lambda: values(metrics.text(), "grpc_server_in_flight") == {})
    expected = {("UNIMPLEMENTED", "unknown", "unknown", "unknown"): 20}
    assert values(metrics.text(), "grpc_server_handled_total") == expected


async def test_refused_calls_make_no_labels_of_their_own() -> None:
    metrics = Metrics(methods={path("unary_unary"): "unary_unary"})
    async with guarded(aio, metrics, REFUSING) as server:
        await server.failure("unary_unary")
        await server.failure("unary_unary", method="/a.B/C")
        await until(lambda: len(values(metrics.text(), "grpc_server_handled_total")) == 2)
    assert values(metrics.text(), "grpc_server_started_total") == {
        labels("unary_unary"): 1,
        ("unknown", "unknown", "unknown"): 1,
    }


async def test_a_server_that_has_every_method_makes_a_bounded_number_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Everything:
        def service(self, details: Any) -> Any:
            return made

    async with guarded(aio) as server:
        made = server.methods.handlers().service(_Details(path("unary_unary")))
    monkeypatch.setattr("pygrpc.services.guards.metrics._MOST_METHODS", 3)
    metrics = Metrics(methods={"/a.B/C": "unary_unary"})
    async with guarded(aio, metrics, handlers=[Everything()]) as server:
        for number in range(10):
            await server.call("unary_unary", method=f"/c.D/M{number}")
        await until(lambda: values(metrics.text(), "grpc_server_in_flight") == {})
    assert values(metrics.text(), "grpc_server_started_total") == {
        ("M0", "c.D", "unary"): 1,
        ("M1", "c.D", "unary"): 1,
        ("unknown", "unknown", "unknown"): 8,
    }


class _Details:
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


def test_two_servers_of_a_process_have_metrics_of_their_own() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    Metrics()
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)


def test_the_methods_of_a_contract() -> None:
    methods = methods_of(user_pb2.DESCRIPTOR)
    assert methods["/user.v1.UserService/GetUser"] == "unary_unary"
    assert methods["/user.v1.UserService/ListUsers"] == "unary_stream"
    assert set(methods.values()) == set(KINDS)


PROGRAM = """
import asyncio, sys
from pygrpc import aio
from pygrpc.services.guards import Metrics
from tests.services.guards.support import guarded, until

async def main():
    metrics = Metrics()
    async with guarded(aio, metrics) as server:
        for _ in range(int(sys.argv[1])):
            await server.call("unary_unary")
        await until(lambda: b"in_flight{" in metrics.text())
        sys.stdout.write(metrics.text().decode())

asyncio.run(main())
"""


def test_several_processes_tell_of_all_of_them(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    texts = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(calls)],
            env=environment,
            cwd=root,
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for calls in (2, 3)
    ]
    started = [values(text, "grpc_server_started_total")[labels("unary_unary")] for text in texts]
    assert started == [2, 5]
