"""Standing in for ``grpc``: after ``pygrpc.install()``, ``import grpc`` gives pygrpc to the whole process.

The finder below is asked for every import of ``grpc`` and of what is in it. What pygrpc has is imported from there; a
module of grpcio's inside, which pygrpc can't have, is not found, and the error says so.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from types import ModuleType
from typing import Any

from pygrpc._version import GRPC_API_VERSION

#: What each module of grpc is here. The last three are names that grpc gives to other distributions' packages.
_MODULES = {
    "grpc": "pygrpc",
    "grpc.aio": "pygrpc.aio",
    "grpc.experimental": "pygrpc.experimental",
    "grpc.experimental.aio": "pygrpc.aio",
    "grpc.experimental.eventloop": "pygrpc.experimental.eventloop",
    "grpc.experimental.gevent": "pygrpc.experimental.gevent",
    "grpc.experimental.session_cache": "pygrpc.experimental.session_cache",
    "grpc._cython": "pygrpc._cython",
    "grpc._cython.cygrpc": "pygrpc._cython.cygrpc",
    "grpc._utilities": "pygrpc._utilities",
    "grpc.health": "grpc_health",
    "grpc.reflection": "grpc_reflection",
    "grpc.tools": "grpc_tools",
}


def install() -> None:
    """Makes ``import grpc`` give pygrpc from now on; to be called before anything imports grpc.

    Generated code, and packages that use grpc by its public names, need no change. Calling it again does nothing.

    Raises:
        RuntimeError: grpcio's grpc has been imported already.
    """
    imported = sys.modules.get("grpc")
    if imported is not None and not _is_ours(imported):
        raise RuntimeError(
            f"pygrpc.install() came too late: grpc was imported before, from {getattr(imported, '__file__', None)}. "
            "Call it before anything that imports grpc, for example as the first statement of the program."
        )
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Undoes ``install``; modules that have imported grpc keep what they have."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
        for name in _grpc_modules():
            del sys.modules[name]


@contextlib.contextmanager
def substituted() -> Iterator[None]:
    """Does what ``install`` does, for a while, even if grpcio's grpc has been imported."""
    if _FINDER in sys.meta_path:
        yield
        return
    others = {name: sys.modules.pop(name) for name in _grpc_modules()}
    install()
    try:
        yield
    finally:
        uninstall()
        sys.modules.update(others)


def _grpc_modules() -> list[str]:
    return [name for name in sys.modules if name == "grpc" or name.startswith("grpc.")]


def _is_ours(module: ModuleType) -> bool:
    return module is sys.modules.get("pygrpc")


class _AliasLoader(importlib.abc.Loader):
    """Puts a module that has another name in the place of the one that is being imported."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # What is in sys.modules behind this counts, not the module that was made for it (the import system, 5.4).
        sys.modules[module.__name__] = importlib.import_module(self._target)


class _Distribution(importlib.metadata.Distribution):
    """What says to packages that look for it that grpcio is there, in a version that is new enough."""

    def read_text(self, filename: str) -> str | None:
        if filename in ("METADATA", "PKG-INFO"):
            return f"Metadata-Version: 2.1\nName: grpcio\nVersion: {GRPC_API_VERSION}\n"
        return None

    def locate_file(self, path: str | PathLike[str]) -> Any:
        raise FileNotFoundError(path)


class _Finder(importlib.metadata.DistributionFinder):
    """Finds grpc, and what is in it, in pygrpc."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in _MODULES:
            return importlib.machinery.ModuleSpec(fullname, _AliasLoader(_MODULES[fullname]))
        if fullname.startswith("grpc."):
            # Without this, Python would look for a file of that name in the folder of pygrpc.
            text = f"No module named {fullname!r}: pygrpc stands in for grpc, and has its public modules only"
            raise ModuleNotFoundError(text, name=fullname)
        return None

    def find_distributions(
        self,
        context: importlib.metadata.DistributionFinder.Context = importlib.metadata.DistributionFinder.Context(),  # noqa: B008
    ) -> Iterable[importlib.metadata.Distribution]:
        return [_Distribution()] if context.name == "grpcio" else []


_FINDER = _Finder()
