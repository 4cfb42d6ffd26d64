"""Who is measured: the table of implementations.

To add one, add a row. An engine or an option that the environment chooses needs no adapter of its own:
`Implementation("pygrpc.aio frame", "pygrpc.aio", "pygrpc.aio", environment={"PYGRPC_HTTP2_ENGINE": "frame"})`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from benchmarks.adapters import Hold, Session, grpc_api, raw_tcp

BASELINES = ("grpcio", "grpc.aio", "grpclib")
_UNARY = ("sequential", "concurrent")


@dataclass(frozen=True)
class Implementation:
    """One row of each table of the report.

    Attributes:
        name: What the report and `--only` call it.
        server: The side that `serve` knows.
        client: The side that `connect` knows.
        environment: Variables that both processes get on top of the inherited ones.
        scenarios: The scenarios that it takes part in; all if empty.
        long_only: Whether only the long form measures it.
    """

    name: str
    server: str
    client: str
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    scenarios: tuple[str, ...] = ()
    long_only: bool = False


IMPLEMENTATIONS = (
    Implementation("pygrpc.aio", "pygrpc.aio", "pygrpc.aio"),
    Implementation("pygrpc", "pygrpc", "pygrpc"),
    Implementation("grpcio", "grpcio", "grpcio"),
    Implementation("grpc.aio", "grpc.aio", "grpc.aio"),
    Implementation("grpclib", "grpclib", "grpclib"),
    Implementation("raw TCP", "raw TCP", "raw TCP", scenarios=(*_UNARY, "upload")),
    # Client and server of different libraries, to see which side the time goes to.
    Implementation(
        "pygrpc.aio on h2", "pygrpc.aio", "pygrpc.aio", environment={"PYGRPC_HTTP2_ENGINE": "h2"}, long_only=True
    ),
    Implementation("pygrpc.aio client + grpc.aio server", "grpc.aio", "pygrpc.aio", scenarios=_UNARY, long_only=True),
    Implementation("grpc.aio client + pygrpc.aio server", "pygrpc.aio", "grpc.aio", scenarios=_UNARY, long_only=True),
)


def serve(side: str, hold: Hold) -> None:
    """Serve the echo service until `hold` returns."""
    match side:
        case "pygrpc.aio":
            grpc_api.aio_server("pygrpc", hold)
        case "grpc.aio":
            grpc_api.aio_server("grpc", hold)
        case "pygrpc":
            grpc_api.blocking_server("pygrpc", hold)
        case "grpcio":
            grpc_api.blocking_server("grpc", hold)
        case "grpclib":
            import_module("benchmarks.adapters.grpclib_api").server(hold)
        case "raw TCP":
            raw_tcp.server(hold)
        case _:
            raise ValueError(f"no server called {side!r}")


def connect(side: str, port: int) -> Session:
    """Return the client's context manager, not yet entered."""
    match side:
        case "pygrpc.aio":
            return grpc_api.aio_client("pygrpc", port)
        case "grpc.aio":
            return grpc_api.aio_client("grpc", port)
        case "pygrpc":
            return grpc_api.blocking_client("pygrpc", port)
        case "grpcio":
            return grpc_api.blocking_client("grpc", port)
        case "grpclib":
            session: Session = import_module("benchmarks.adapters.grpclib_api").client(port)
            return session
        case "raw TCP":
            return raw_tcp.client(port)
        case _:
            raise ValueError(f"no client called {side!r}")
