"""The import rules of docs/architecture.md, checked on the source of every module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import source_tree

IO_MODULES = {
    "asyncio",
    "concurrent",
    "select",
    "selectors",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
}
CLOCKS = {"time", "sched", "datetime"}
HTTP2_LIBRARIES = {"h2", "hpack", "hyperframe"}
PEERS = {"grpc", "grpc_status", "grpclib", "grpc_tools"}
ON_TOP = ("services", "health", "reflection", "web", "cli", "codegen", "load")

#: What is built on top of the library may import only what a user may.
PUBLIC = {"pygrpc", "pygrpc.aio", "pygrpc.experimental", "pygrpc.wire"}

#: The standard services are for servers of any kind, and ours are such.
STANDARD_SERVICES = ("pygrpc.health", "pygrpc.reflection")

#: Modules beside the packages that join the layers for the user, so that they may import any of them.
FRONT = {
    "pygrpc",
    "pygrpc.experimental",
    "pygrpc._utilities",
    "pygrpc._runtime_protos",
    "pygrpc.balancing",
    "pygrpc.compat",
    "pygrpc.workers",
}

#: Modules beside the packages with what both shells need of sockets and TLS: neither shell imports the other.
SHARED_BY_SHELLS = {"pygrpc._naming", "pygrpc._sockets", "pygrpc._tls", "pygrpc._tls_contexts"}


def broken_rules(module: str, imported: Iterable[str]) -> list[str]:
    """Returns a sentence for each import that the module may not have."""
    area = module.split(".")[1] if module.count(".") else ""
    problems = []
    for name in sorted(imported):
        top = name.partition(".")[0]
        if top in PEERS:
            problems.append(f"{module} imports {name}: grpcio and grpclib are peers of tests and benchmarks only.")
        if top in HTTP2_LIBRARIES and not is_in(module, "pygrpc.core.http2"):
            problems.append(f"{module} imports {name}: only pygrpc.core.http2 sees the HTTP/2 libraries.")
        if area == "core":
            problems += core_rules(module, name)
        if area in ("aio", "sync"):
            problems += shell_rules(module, name, other="sync" if area == "aio" else "aio")
        if area in ON_TOP:
            problems += top_rules(module, name, area)
        if is_vocabulary(module) and module not in SHARED_BY_SHELLS:
            problems += vocabulary_rules(module, name)
    return problems


def core_rules(module: str, name: str) -> list[str]:
    problems = []
    if name.partition(".")[0] in IO_MODULES | CLOCKS:
        problems.append(f"{module} imports {name}: the core does no I/O and is told the time.")
    allowed = is_in(name, "pygrpc.core") or (is_vocabulary(name) and name not in SHARED_BY_SHELLS)
    if is_in(name, "pygrpc") and not allowed:
        problems.append(f"{module} imports {name}: the core imports the core and the shared vocabulary only.")
    return problems


def shell_rules(module: str, name: str, other: str) -> list[str]:
    own = module.split(".")[1]
    allowed = is_in(name, f"pygrpc.{own}") or is_in(name, "pygrpc.core") or is_vocabulary(name)
    if is_in(name, f"pygrpc.{other}"):
        return [f"{module} imports {name}: the two shells do not import each other."]
    if is_in(name, "pygrpc") and not allowed:
        return [f"{module} imports {name}: a shell imports itself, the core and the shared vocabulary only."]
    return []


def top_rules(module: str, name: str, area: str) -> list[str]:
    if not is_in(name, "pygrpc") or name in PUBLIC or is_in(name, f"pygrpc.{area}"):
        return []
    if area in ("services", "load") and any(is_in(name, each) for each in STANDARD_SERVICES):
        return []
    if area == "load" and name == "pygrpc.codegen":
        return []
    return [f"{module} imports {name}: what is built on top of the library uses its public API only."]


def vocabulary_rules(module: str, name: str) -> list[str]:
    if name.partition(".")[0] in IO_MODULES:
        return [f"{module} imports {name}: the shared vocabulary does no I/O."]
    if is_in(name, "pygrpc") and not is_vocabulary(name):
        return [f"{module} imports {name}: the shared vocabulary imports no other part of pygrpc."]
    return []


def is_vocabulary(name: str) -> bool:
    """Tells whether a module is shared vocabulary: it lies beside the packages, such as pygrpc.status."""
    path = source_tree.ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return name.count(".") == 1 and name.startswith("pygrpc.") and name not in FRONT and path.is_file()


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize(("module", "path"), source_tree.modules("pygrpc").items())
def test_a_module_keeps_the_import_rules(module: str, path: Path) -> None:
    assert not broken_rules(module, source_tree.imports(path))


@pytest.mark.parametrize(
    ("module", "imported", "rule"),
    [
        ("pygrpc.core.call", "time", "is told the time"),
        ("pygrpc.core.http2.engine", "asyncio.events", "does no I/O"),
        ("pygrpc.core.call", "pygrpc.aio", "the shared vocabulary only"),
        ("pygrpc.core.call", "pygrpc", "the shared vocabulary only"),
        ("pygrpc.core.call", "pygrpc._sockets", "the shared vocabulary only"),
        ("pygrpc.core.call", "h2.connection", "only pygrpc.core.http2"),
        ("pygrpc.aio.channel", "hpack", "only pygrpc.core.http2"),
        ("pygrpc.aio.channel", "pygrpc.sync.channel", "do not import each other"),
        ("pygrpc.sync.channel", "pygrpc.aio", "do not import each other"),
        ("pygrpc.aio.channel", "pygrpc.services", "a shell imports itself"),
        ("pygrpc.services.user", "pygrpc.core.status", "public API only"),
        ("pygrpc.services.user", "pygrpc.aio.channel", "public API only"),
        ("pygrpc.cli", "pygrpc.services", "public API only"),
        ("pygrpc.load.methods", "pygrpc.codegen.compiler", "public API only"),
        ("pygrpc.cli", "pygrpc.health.v1.health", "public API only"),
        ("pygrpc.health", "pygrpc.reflection", "public API only"),
        ("pygrpc.status", "socket", "does no I/O"),
        ("pygrpc.status", "pygrpc.core", "no other part"),
        ("pygrpc.wire.proxy", "grpc.aio", "peers of tests"),
    ],
)
def test_a_broken_rule_is_found(module: str, imported: str, rule: str) -> None:
    (problem,) = broken_rules(module, {imported})
    assert problem.startswith(f"{module} imports {imported}: ")
    assert rule in problem


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("pygrpc.core.http2.engine", "h2.connection"),
        ("pygrpc.core.call", "pygrpc.status"),
        ("pygrpc.aio.channel", "pygrpc.core.http2"),
        ("pygrpc.aio.channel", "asyncio"),
        ("pygrpc.services.user", "pygrpc.aio"),
        ("pygrpc.services.user", "pygrpc.services.protos.user.v1.user_pb2"),
        ("pygrpc.services.serving.server", "pygrpc.health.v1.health"),
        ("pygrpc", "pygrpc.aio"),
    ],
)
def test_what_the_rules_allow_is_no_problem(module: str, imported: str) -> None:
    assert broken_rules(module, {imported}) == []


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "pygrpc" / "core"
    package.mkdir(parents=True)
    (tmp_path / "pygrpc" / "status.py").touch()
    (package / "__init__.py").touch()
    source = package / "call.py"
    source.write_text(
        "import a.b as c, d\n"
        "from e import f\n"
        "from .framing import g\n"
        "from . import h\n"
        "from .. import status\n"
        "from pygrpc import core\n"
        "def lazy():\n    import time\n",
        encoding="utf-8",
    )
    assert source_tree.imports(source, tmp_path) == {
        "a.b", "d", "e", "pygrpc.core.framing", "pygrpc.core", "pygrpc.status", "time",
    }  # fmt: skip
