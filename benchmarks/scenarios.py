"""What is measured: the scenarios, the goals and the curves. To add one, add a row."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks.work import KIB, Work

OURS, OURS_SYNC = "pygrpc.aio", "pygrpc"
RAW = ("raw asyncio", "raw sockets")
# What the ratios of the tables are formed with; "raw" is the one of the two that calls in the same way.
BASELINES = ("grpcio", "grpc.aio", "grpclib", *RAW)
_AIO = (OURS, "grpc.aio", "grpclib")
_SYNC = (OURS_SYNC, "grpcio")
_MIXED = (
    "pygrpc.aio client, grpc.aio server",
    "grpc.aio client, pygrpc.aio server",
    "pygrpc client, grpcio server",
    "grpcio client, pygrpc server",
)
_NO_STREAMS = "it has no streams"
_NO_METADATA = "it has no calls that could carry any"


@dataclass(frozen=True)
class Scenario:
    """One table of the report, or one point of a curve.

    Attributes:
        name: What `--only` calls it.
        title: What the report calls it.
        work: What is done.
        implementations: The names of those who do it.
        group: What `--only` calls it together with others of its kind: a variant, or a curve.
        long_only: Whether only the long form measures it.
        also_long: The implementations that only the long form measures.
        left_out: Who can't take part, and why not; by name.
        point: The point of the curve, if it is one.
        unit: What the rate counts.
        operation: What the CPU time is divided by.
        scale: The rate's units per operation.
    """

    name: str
    title: str
    work: Work
    implementations: tuple[str, ...]
    group: str = ""
    long_only: bool = False
    also_long: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict, hash=False)
    point: int | None = None
    unit: str = "RPC/s"
    operation: str = "RPC"
    scale: float = 1.0


PLAIN = (
    Scenario(
        "sequential",
        "Sequential unary, 100-byte echo",
        Work("unary"),
        (*_AIO, RAW[0], *_SYNC, RAW[1], *_MIXED),
    ),
    Scenario(
        "concurrent",
        "32 unary calls at once on one channel, 100-byte echo",
        Work("unary", lanes=32),
        (*_AIO, RAW[0], *_SYNC, RAW[1], *_MIXED),
    ),
    Scenario(
        "h2load",
        "Server alone under h2load, 4 connections x 32 streams, 100-byte echo",
        Work("h2load", lanes=32, connections=4),
        _AIO,
        also_long=_SYNC,
        left_out={RAW[0]: "it speaks no HTTP/2"},
    ),
    Scenario(
        "download",
        "Server streaming of 100-byte messages, 2,000 per RPC",
        Work("download", messages=2000),
        (*_AIO, RAW[0]),
        also_long=(*_SYNC, RAW[1]),
        operation="message",
        unit="messages/s",
    ),
    Scenario(
        "upload",
        "Client streaming of 64 KiB messages, 128 per RPC",
        Work("upload", size=64 * KIB, messages=128),
        (*_AIO, RAW[0]),
        also_long=(*_SYNC, RAW[1]),
        operation="message",
        unit="MB/s",
        scale=64 * KIB / 1e6,
    ),
    Scenario(
        "latency",
        "Latency at half of the peak load, open loop, 100-byte echo",
        Work("latency", lanes=32),
        (*_AIO, RAW[0]),
    ),
    Scenario(
        "paced",
        "Latency at 1,000 calls per second, open loop, 100-byte echo",
        Work("latency", lanes=32, pace=1000.0),
        (*_AIO, RAW[0]),
    ),
    Scenario(
        "idle",
        "Memory per idle connection, of 500 that have made a call",
        Work("idle", connections=500),
        (*_AIO, RAW[0]),
        operation="connection",
    ),
    Scenario(
        "hold",
        "Memory per open stream, of 1,000 on 10 connections that wait for a message",
        Work("hold", lanes=100, connections=10),
        _AIO,
        left_out={RAW[0]: _NO_STREAMS},
        operation="stream",
    ),
)


@dataclass(frozen=True)
class Variant:
    """Something that users add to what the plain scenarios do; the ratios should hold within a fifth.

    Attributes:
        name: What is appended to the scenario's name.
        title: What is appended to the scenario's title.
        change: Returns the work with the addition.
        scenarios: The names of the scenarios that have it.
        left_out: Who can't take part, and why not; by name.
    """

    name: str
    title: str
    change: Callable[[Work], Work]
    scenarios: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)


_CALLS = ("sequential", "concurrent", "h2load", "download", "upload", "latency")
VARIANTS = (
    Variant("tls", "TLS", lambda work: replace(work, tls=True), (*_CALLS, "idle")),
    Variant(
        "dressed",
        "an interceptor on both sides, a deadline and 256 bytes of metadata",
        lambda work: replace(work, interceptors=True, timeout=30.0, metadata=256),
        _CALLS,
        left_out=dict.fromkeys(RAW, _NO_METADATA),
    ),
)


def _varied(scenario: Scenario, variant: Variant) -> Scenario:
    return replace(
        scenario,
        name=f"{scenario.name}+{variant.name}",
        title=f"{scenario.title}, with {variant.title}",
        work=variant.change(scenario.work),
        implementations=tuple(name for name in scenario.implementations if name not in variant.left_out),
        also_long=(),
        left_out=scenario.left_out
        | {name: why for name, why in variant.left_out.items() if name in scenario.implementations},
        group=variant.name,
        long_only=True,
    )


@dataclass(frozen=True)
class Goal:
    """What a ratio within one run should be.

    Attributes:
        scenario: The scenario's name.
        who: The implementation that is judged.
        against: The one that it is compared with.
        ratio: The ratio of their figures that is wanted.
        key: The figure.
        lower: Whether a lower ratio is better.
        note: What kind of goal it is, if it isn't one to be met.
    """

    scenario: str
    who: str
    against: str
    ratio: float
    key: str = "rate"
    lower: bool = False
    note: str = ""


GOALS = (
    Goal("h2load", OURS, "grpc.aio", 10),
    Goal("h2load", OURS, "grpc.aio", 20, note="moonshot"),
    Goal("h2load", OURS, "grpclib", 10),
    Goal("concurrent", OURS, "grpc.aio", 5),
    Goal("sequential", OURS, "grpc.aio", 2.5),
    Goal("sequential", OURS_SYNC, "grpcio", 2.5),
    Goal("concurrent", OURS_SYNC, "grpcio", 2),
    Goal("download", OURS, "grpclib", 3),
    Goal("upload", OURS, "grpc.aio", 1.5),
    Goal("upload", OURS, RAW[0], 0.5),
    *(
        Goal(scenario, pair, "grpc.aio" if "aio" in pair else "grpcio", 1)
        for scenario in ("sequential", "concurrent")
        for pair in _MIXED
    ),
    *(
        Goal(scenario, OURS, peer, 1, "p99", lower=True)
        for scenario in ("latency", "paced")
        for peer in ("grpc.aio", "grpclib")
    ),
    *(
        Goal(scenario, OURS, peer, 1, key, lower=True)
        for scenario in ("idle", "hold")
        for peer in ("grpc.aio", "grpclib")
        for key in ("server_each", "client_each")
    ),
)


@dataclass(frozen=True)
class Curve:
    """How the cost of a unit develops as the work grows; flat or falling is good.

    Attributes:
        name: What `--only` calls it.
        title: What the report calls it.
        axis: What grows.
        points: Its values.
        work: Returns the work of a point.
        operation: What the driver counts.
        time_unit: What the time is divided by, and how many of them an operation has at a point.
        memory_unit: What the growth of the memory is divided by, and how many of them there are at a point.
    """

    name: str
    title: str
    axis: str
    points: tuple[int, ...]
    work: Callable[[int], Work]
    operation: str = "RPC"
    time_unit: tuple[str, Callable[[int], float]] = ("RPC", lambda point: 1)
    memory_unit: tuple[str, Callable[[int], float]] = ("unit", lambda point: point)

    def scenario(self, point: int) -> Scenario:
        """Return the scenario of a point."""
        name = f"{self.name}={point}"
        title = f"{self.title}, {point:,}"
        return Scenario(
            name, title, self.work(point), _AIO, group=self.name, long_only=True, point=point, operation=self.operation
        )


def _kib(size: int) -> float:
    """Return how many KiB a size counts as: what is smaller than one costs what one costs."""
    return max(size / KIB, 1)


CURVES = (
    Curve(
        "calls",
        "Calls at once",
        "unary calls at once on one connection",
        (1, 10, 100, 1000, 10_000),
        lambda point: Work("unary", lanes=point),
        memory_unit=("call at once", lambda point: point),
    ),
    Curve(
        "connections",
        "Connections",
        "connections, each with one unary call at a time",
        (1, 10, 100, 1000, 2000),
        lambda point: Work("unary", connections=point),
        memory_unit=("connection", lambda point: point),
    ),
    Curve(
        "size",
        "Message size",
        "bytes of the message that is echoed",
        (0, KIB, 16 * KIB, 256 * KIB, 1024 * KIB, 4096 * KIB, 16_384 * KIB, 65_536 * KIB),
        lambda point: Work("unary", size=point),
        time_unit=("KiB", _kib),
        memory_unit=("KiB", _kib),
    ),
    Curve(
        "length",
        "Stream length",
        "messages of 100 bytes in a server stream",
        (1, 10, 100, 1000, 10_000, 100_000),
        lambda point: Work("download", messages=point),
        operation="message",
        time_unit=("message", lambda point: 1),
        memory_unit=("message", lambda point: point),
    ),
    Curve(
        "metadata",
        "Metadata size",
        "bytes of metadata that a unary call carries",
        (0, 256, KIB, 4 * KIB, 16 * KIB, 48 * KIB),
        lambda point: Work("unary", metadata=point),
        time_unit=("KiB", _kib),
        memory_unit=("KiB", _kib),
    ),
)

SCENARIOS = (
    *PLAIN,
    *(_varied(scenario, variant) for variant in VARIANTS for scenario in PLAIN if scenario.name in variant.scenarios),
    *(curve.scenario(point) for curve in CURVES for point in curve.points),
)
