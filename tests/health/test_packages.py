"""How the modules for health and reflection live with those of grpcio, and with who doesn't want them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.source_tree import ROOT

#: Each has a copy of the contracts of its own.
COPIES = [
    ["pygrpc.health.v1.health", "grpc_health.v1.health"],
    ["pygrpc.health.v1.health", "grpclib.health.service"],
    ["pygrpc.reflection.v1alpha.reflection", "grpc_reflection.v1alpha.reflection"],
    ["pygrpc.reflection", "grpclib.reflection.service"],
]


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("copies", COPIES, ids=" ".join)
def test_another_copy_in_the_same_process(copies: list[str], reverse: bool) -> None:
    run("\n".join(f"import {module}" for module in (reversed(copies) if reverse else copies)))


def test_pygrpc_alone_imports_none_of_it() -> None:
    run("""
import sys, pygrpc, pygrpc.aio
assert not [name for name in sys.modules if name.startswith(("pygrpc.health", "pygrpc.reflection"))]
""")
