"""How the modules for health and reflection live with those of grpcio, and with who doesn't want them."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

HEALTH = ("pygrpc.health.v1", "grpc_health.v1")
REFLECTION = ("pygrpc.reflection.v1alpha", "grpc_reflection.v1alpha")


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(HEALTH)))
def test_both_packages_in_one_process(first: str, second: str) -> None:
    run(f"""
from {first} import health, health_pb2, health_pb2_grpc
from {second} import health as other_health, health_pb2 as other_pb2, health_pb2_grpc as other_pb2_grpc
assert health_pb2.DESCRIPTOR is other_pb2.DESCRIPTOR
assert health_pb2.HealthCheckResponse is other_pb2.HealthCheckResponse
assert health.SERVICE_NAME == other_health.SERVICE_NAME
""")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(REFLECTION)))
def test_both_reflections_in_one_process(first: str, second: str) -> None:
    run(f"""
from {first} import reflection, reflection_pb2, reflection_pb2_grpc
from {second} import reflection as other, reflection_pb2 as other_pb2, reflection_pb2_grpc as other_pb2_grpc
assert reflection_pb2.DESCRIPTOR is other_pb2.DESCRIPTOR
assert reflection_pb2.ServerReflectionRequest is other_pb2.ServerReflectionRequest
assert reflection.SERVICE_NAME == other.SERVICE_NAME
""")


def test_pygrpc_alone_imports_none_of_it() -> None:
    run("""
import sys, pygrpc, pygrpc.aio
assert not [name for name in sys.modules if name.startswith(("pygrpc.health", "pygrpc.reflection"))]
""")
