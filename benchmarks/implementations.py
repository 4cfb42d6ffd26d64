"""Who is measured: the table of implementations. To add one, add a row."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.adapters import Hold, Session
from benchmarks.work import Work


@dataclass(frozen=True)
class Implementation:
    """One row of the tables of the report.

    Attributes:
        name: What the report and `--only` call it.
        server: The side that `serve` knows.
        client: The side that `connect` knows.
    """

    name: str
    server: str
    client: str

    def missing(self) -> str | None:
        """Return the package that it needs and that is not installed, if there is one."""
        packages = (_SIDES[side].package for side in (self.server, self.client))
        return next(
            (package for package in packages if package and find_spec(_MODULES.get(package, package)) is None), None
        )


@dataclass(frozen=True)
class _Side:
    """Where the functions of a server or client are: `module.server(*arguments, hold, work)`."""

    module: str
    package: str = ""
    prefix: str = ""
    arguments: tuple[str, ...] = ()

    def function(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(f"benchmarks.adapters.{self.module}"), self.prefix + name)
        return found


_MODULES = {"grpcio": "grpc"}
_SIDES = {
    "pygrpc.aio": _Side("grpc_api", "pygrpc", "aio_", ("pygrpc",)),
    "grpc.aio": _Side("grpc_api", "grpcio", "aio_", ("grpc",)),
    "pygrpc": _Side("grpc_api", "pygrpc", "blocking_", ("pygrpc",)),
    "grpcio": _Side("grpc_api", "grpcio", "blocking_", ("grpc",)),
    "grpclib": _Side("grpclib_api", "grpclib"),
    "raw asyncio": _Side("raw_asyncio"),
    "raw sockets": _Side("raw_sockets"),
}

IMPLEMENTATIONS = {
    each.name: each
    for each in (
        *(Implementation(side, side, side) for side in _SIDES),
        # Client and server of different libraries: pygrpc has to be no slower with a peer that it finds in the field.
        Implementation("pygrpc.aio client, grpc.aio server", "grpc.aio", "pygrpc.aio"),
        Implementation("grpc.aio client, pygrpc.aio server", "pygrpc.aio", "grpc.aio"),
        Implementation("pygrpc client, grpcio server", "grpcio", "pygrpc"),
        Implementation("grpcio client, pygrpc server", "pygrpc", "grpcio"),
    )
}


def serve(side: str, hold: Hold, work: Work) -> None:
    """Serve the echo service until `hold` returns."""
    found = _SIDES[side]
    found.function("server")(*found.arguments, hold, work)


def connect(side: str, port: int, work: Work) -> Session:
    """Return the client's context manager, not yet entered."""
    found = _SIDES[side]
    session: Session = found.function("client")(*found.arguments, port, work)
    return session
