"""Results that were never measured, for what is made of them."""

from collections.abc import Sequence

from benchmarks.figures import Results
from benchmarks.implementations import IMPLEMENTATIONS
from benchmarks.runner import Cell, Result, Sample
from benchmarks.scenarios import SCENARIOS, Scenario


def scenario(name: str) -> Scenario:
    return next(each for each in SCENARIOS if each.name == name)


def cell(name: str, implementation: str) -> Cell:
    return scenario(name), IMPLEMENTATIONS[implementation]


def sample(rate: float = 1000.0) -> Sample:
    """A measurement with round figures, whose cost falls with the rate."""
    sides: Sample = {}
    for side in ("server", "client"):
        sides |= {f"{side}_cpu": 0.1 / rate, f"{side}_peak": 2.0**24, f"{side}_growth": 2.0**20}
    return {"rate": rate, "seconds_each": 1 / rate} | sides


def rates(*values: float) -> Result:
    return Result([sample(value) for value in values])


def held(server: float, client: float) -> Result:
    return Result([{"server_each": server, "client_each": client}] * 2)


def latencies(p99: float) -> Result:
    return Result([{"p50": p99 / 4, "p90": p99 / 2, "p99": p99, "offered": 100.0} | sample(100.0)] * 2)


def a_run() -> Results:
    """Something of everything: scenarios, a variant, a curve, a failure, one that was left out."""
    return {
        cell("concurrent", "pygrpc.aio"): rates(5000, 6000),
        cell("concurrent", "grpc.aio"): rates(1000, 1000),
        cell("concurrent", "grpclib"): Result(failed="client: StatusCode.INTERNAL: a|b"),
        cell("h2load", "pygrpc.aio"): Result(left_out="h2load is not installed"),
        cell("latency", "pygrpc.aio"): latencies(0.002),
        cell("latency", "grpc.aio"): latencies(0.001),
        cell("hold", "pygrpc.aio"): held(2048, 1024),
        cell("hold", "grpclib"): held(4096, 0),
        cell("concurrent+tls", "pygrpc.aio"): rates(3000, 3000),
        cell("concurrent+tls", "grpc.aio"): rates(1000, 1000),
        **curve("size", "pygrpc.aio", [2000, 1000]),
        **curve("size", "grpc.aio", [1000]),
        cell("size=1024", "grpc.aio"): Result(failed="server said nothing"),
    }


def curve(name: str, implementation: str, speeds: Sequence[float]) -> dict[Cell, Result]:
    points = [each for each in SCENARIOS if each.group == name]
    return {(each, IMPLEMENTATIONS[implementation]): rates(speed) for each, speed in zip(points, speeds, strict=False)}
