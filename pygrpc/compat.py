"""Standing in for ``grpc``: after ``pygrpc.install()``, ``import grpc`` gives pygrpc to the whole process.

The finder below is asked for every import of ``grpc`` and of what is in it. What pygrpc has is imported from there; a
module of grpcio's inside, which pygrpc can't have, is not found, and the error says so.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from types import ModuleType
from typing import Any

from pygrpc._version import GRPC_API_VERSION

#: What each module of grpc is here; several mean a module with the names of all of them. grpcio's private modules are
#: there for those of their names that programs are known to use; docs/compat.md lists them. The last three belong to
#: other distributions.
_MODULES: dict[str, str | tuple[str, ...]] = {
    "grpc": "pygrpc",
    "grpc.aio": "pygrpc.aio",
    "grpc.experimental": "pygrpc.experimental",
    "grpc.experimental.aio": "pygrpc.aio",
    "grpc.experimental.eventloop": "pygrpc.experimental.eventloop",
    "grpc.experimental.gevent": "pygrpc.experimental.gevent",
    "grpc.experimental.session_cache": "pygrpc.experimental.session_cache",
    "grpc._auth": "pygrpc._private.auth",
    "grpc._channel": "pygrpc._private.channel",
    "grpc._common": "pygrpc._private.common",
    "grpc._compression": "pygrpc._private.compression",
    "grpc._cython": "pygrpc._cython",
    "grpc._cython.cygrpc": "pygrpc._cython.cygrpc",
    "grpc._grpcio_metadata": "pygrpc._grpcio_metadata",
    "grpc._interceptor": "pygrpc._private.interceptor",
    "grpc._plugin_wrapping": "pygrpc._private.auth",
    "grpc._runtime_protos": "pygrpc._runtime_protos",
    "grpc._server": "pygrpc._private.server",
    "grpc._simple_stubs": ("pygrpc.experimental.simple_stubs", "pygrpc.experimental.channel_cache"),
    "grpc._typing": "pygrpc._typing",
    "grpc._utilities": "pygrpc._utilities",
    "grpc.aio._base_call": "pygrpc.aio.base_call",
    "grpc.aio._base_channel": "pygrpc.aio.base",
    "grpc.aio._base_server": "pygrpc.aio.base",
    "grpc.aio._call": "pygrpc.aio.call",
    "grpc.aio._channel": ("pygrpc.aio", "pygrpc.aio.channel"),
    "grpc.aio._interceptor": ("pygrpc.aio.stand_ins", "pygrpc.aio.intercepted_call", "pygrpc.aio.interceptor"),
    "grpc.aio._metadata": "pygrpc.metadata",
    "grpc.aio._server": ("pygrpc.aio", "pygrpc.aio.server"),
    "grpc.aio._typing": "pygrpc.aio._typing",
    "grpc.framework": "pygrpc._framework",
    "grpc.framework.common": "pygrpc._framework.common",
    "grpc.framework.common.cardinality": "pygrpc._framework.common.cardinality",
    "grpc.framework.common.style": "pygrpc._framework.common.style",
    "grpc.framework.foundation": "pygrpc._framework.foundation",
    "grpc.framework.foundation.callable_util": "pygrpc._framework.foundation.callable_util",
    "grpc.framework.foundation.future": "pygrpc._framework.foundation.future",
    "grpc.framework.foundation.logging_pool": "pygrpc._framework.foundation.logging_pool",
    "grpc.framework.interfaces": "pygrpc._framework.interfaces",
    "grpc.framework.interfaces.face": "pygrpc._framework.interfaces.face",
    "grpc.framework.interfaces.face.face": "pygrpc._framework.interfaces.face.face",
    "grpc.framework.interfaces.face.utilities": "pygrpc._framework.interfaces.face.utilities",
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
        # What a program sets up for the logger of grpc counts for the one of pygrpc.
        logger = logging.getLogger("grpc")
        logger.addHandler(_NULL_HANDLER)
        logging.getLogger("pygrpc").parent = logger


def uninstall() -> None:
    """Undoes ``install``; modules that have imported grpc keep what they have."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
        logging.getLogger("grpc").removeHandler(_NULL_HANDLER)
        logging.getLogger("pygrpc").parent = logging.getLogger("grpc").parent
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


def load(name: str) -> ModuleType:
    """Imports what a module of grpc is here, without a need for ``install``.

    Args:
        name: The full name of the module in grpc.

    Raises:
        KeyError: There is no such module here.
    """
    targets = _MODULES[name]
    if isinstance(targets, str):
        return importlib.import_module(targets)
    if name not in _merged:
        module = _merged[name] = ModuleType(name)
        for target in targets:
            names = vars(importlib.import_module(target))
            vars(module).update({key: value for key, value in names.items() if not key.startswith("__")})
    return _merged[name]


_merged: dict[str, ModuleType] = {}


def _grpc_modules() -> list[str]:
    return [name for name in sys.modules if name == "grpc" or name.startswith("grpc.")]


def _is_ours(module: ModuleType) -> bool:
    return module is sys.modules.get("pygrpc")


class _AliasLoader(importlib.abc.Loader):
    """Puts a module that has another name in the place of the one that is being imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # What is in sys.modules behind this counts, not the module that was made for it (the import system, 5.4).
        sys.modules[module.__name__] = load(self._name)


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
        # ``from grpc.aio import _call`` asks for pygrpc.aio._call, because that is what grpc.aio is.
        private = fullname.startswith("pygrpc.") and fullname.rpartition(".")[2].startswith("_")
        name = fullname.removeprefix("py") if private else fullname
        if _MODULES.get(name, fullname) != fullname:
            return importlib.machinery.ModuleSpec(fullname, _AliasLoader(name))
        if fullname.startswith("grpc."):
            # Without this, Python would look for a file of that name in the folder of pygrpc.
            text = f"No module named {fullname!r}: pygrpc stands in for grpc, and has none"
            raise ModuleNotFoundError(f"{text}; docs/compat.md lists what it has", name=fullname)
        return None

    def find_distributions(
        self,
        context: importlib.metadata.DistributionFinder.Context = importlib.metadata.DistributionFinder.Context(),  # noqa: B008
    ) -> Iterable[importlib.metadata.Distribution]:
        return [_Distribution()] if context.name == "grpcio" else []


_FINDER = _Finder()
_NULL_HANDLER = logging.NullHandler()
