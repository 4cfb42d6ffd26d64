"""A load tester for gRPC servers; ``pygrpc load`` is its command, and docs/load.md tells of it."""

from pygrpc.load.errors import LoadError
from pygrpc.load.histogram import LatencyHistogram
from pygrpc.load.plan import Plan, Tls
from pygrpc.load.processes import run
from pygrpc.load.requests import Requests, read_requests
from pygrpc.load.result import CodeResult, LoadResult

__all__ = [
    "CodeResult",
    "LatencyHistogram",
    "LoadError",
    "LoadResult",
    "Plan",
    "Requests",
    "Tls",
    "read_requests",
    "run",
]
