"""Names, signatures and abstract methods of grpc, grpc.aio and grpc.experimental, beside those of grpcio."""

from __future__ import annotations

import enum
import importlib
import inspect
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import pytest

MODULES = ["", ".aio", ".experimental", ".experimental.session_cache", ".experimental.gevent", ".experimental.aio"]

#: Where pygrpc deviates, as "module:name", and why.
DEVIATIONS = {
    ":__version__": "generated code compares it with the version of its compiler, so it is above any that exists",
    ".aio:InterceptedUnaryUnaryCall.__init__": "has compression behind the rest, which grpcio hides in the metadata",
    ".experimental.aio:InterceptedUnaryUnaryCall.__init__": "the same class",
    ".experimental.session_cache:SSLSessionCache.__init__": "takes the capacity: there is no object of C++ to wrap",
}

#: Reachable names of grpc that are neither in an ``__all__`` nor classes or functions of its own.
REACHABLE = {
    "": ["__version__", "aio", "experimental"],
    ".aio": ["ChannelArgumentType"],
    ".experimental": ["CustomPrivateKeySign", "PrivateKeySignCancel", "PrivateKeySignOnComplete"],
    ".experimental.aio": ["EOF"],
}

Parameter = tuple[str, str, Any]


def both(module: str) -> tuple[Any, Any]:
    return importlib.import_module(f"pygrpc{module}"), importlib.import_module(f"grpc{module}")


def exported(module: str) -> list[str]:
    """Every name of a module that is public: what it says, and what it has of grpcio's own."""
    _, theirs = both(module)
    own = (
        name
        for name, value in vars(theirs).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).partition(".")[0] == "grpc"
    )
    return sorted({*getattr(theirs, "__all__", ()), *own, *REACHABLE.get(module, ())})


def cases() -> Iterator[tuple[str, str]]:
    for module in MODULES:
        for name in exported(module):
            yield module, name


def parameters(function: Any) -> list[Parameter] | None:
    """Names, kinds and defaults; annotations aside."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return [
        (each.name, each.kind.name, repr(each.default) if isinstance(each.default, enum.Enum) else each.default)
        for each in signature.parameters.values()
    ]


def methods(cls: type) -> dict[str, Any]:
    """The public methods of a class, those from outside of the two libraries aside."""
    found = {}
    for owner in reversed(cls.__mro__):
        if owner.__module__.partition(".")[0] in ("grpc", "pygrpc"):
            for name, value in vars(owner).items():
                function = getattr(value, "__func__", value)
                if (not name.startswith("_") or name == "__init__") and inspect.isfunction(function):
                    found[name] = function
    return found


def differences(module: str, name: str, ours: Any, theirs: Any) -> Iterator[str]:
    if inspect.isclass(theirs):
        if not inspect.isclass(ours):
            yield f"{name} is no class"
        elif issubclass(theirs, enum.Enum):
            if {key: each.value for key, each in ours.__members__.items()} != {
                key: each.value for key, each in theirs.__members__.items()
            }:
                yield f"{name} has other members"
        else:
            yield from class_differences(module, name, ours, theirs)
    elif inspect.isroutine(theirs) and parameters(theirs) != parameters(ours):
        yield f"{name}: {parameters(ours)} is not {parameters(theirs)}"


def class_differences(module: str, name: str, ours: type, theirs: type) -> Iterator[str]:
    if issubclass(theirs, BaseException) != issubclass(ours, BaseException):
        yield f"{name}: one is an exception, the other is not"
    if getattr(ours, "__abstractmethods__", frozenset()) != getattr(theirs, "__abstractmethods__", frozenset()):
        yield f"{name} has other abstract methods"
    own, expected = methods(ours), methods(theirs)
    for method, function in expected.items():
        if f"{module}:{name}.{method}" in DEVIATIONS:
            continue
        if method not in own:
            yield f"{name} has no {method}"
        elif parameters(own[method]) != parameters(function):
            yield f"{name}.{method}: {parameters(own[method])} is not {parameters(function)}"
        elif inspect.iscoroutinefunction(own[method]) != inspect.iscoroutinefunction(function):
            yield f"{name}.{method}: one is a coroutine function, the other is not"


@pytest.mark.parametrize("module", ["", ".aio", ".experimental"])
def test_the_same_names_are_exported(module: str) -> None:
    ours, theirs = both(module)
    assert sorted(ours.__all__) == sorted(theirs.__all__)
    assert len(set(ours.__all__)) == len(ours.__all__)


def test_grpc_has_64_names() -> None:
    assert len(importlib.import_module("pygrpc").__all__) == 64


@pytest.mark.parametrize(("module", "name"), list(cases()))
def test_a_name_is_the_same(module: str, name: str) -> None:
    ours, theirs = both(module)
    assert hasattr(ours, name)
    found = (
        []
        if f"{module}:{name}" in DEVIATIONS
        else list(differences(module, name, getattr(ours, name), getattr(theirs, name)))
    )
    assert not found, "\n".join(found)


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_a_deviation_is_one(deviation: str) -> None:
    module, _, path = deviation.partition(":")
    name, _, member = path.partition(".")
    ours, theirs = (getattr(each, name) for each in both(module))
    if member:
        ours, theirs = getattr(ours, member), getattr(theirs, member)
    same = parameters(ours) == parameters(theirs) if callable(theirs) else ours == theirs
    assert not same, "take it from the table"


def test_aio_classes_are_related_as_in_grpcio() -> None:
    for module in ("pygrpc", "grpc"):
        root = importlib.import_module(module)
        aio = importlib.import_module(f"{module}.aio")
        assert issubclass(aio.AioRpcError, root.RpcError)
        assert issubclass(aio.ClientCallDetails, root.ClientCallDetails)
        assert issubclass(aio.AbortError, aio.BaseError)
        assert issubclass(aio.UsageError, aio.BaseError)
        assert issubclass(aio.InternalError, aio.BaseError)
        assert aio.ClientCallDetails._fields == ("method", "timeout", "metadata", "credentials", "wait_for_ready")
        assert issubclass(aio.InterceptedUnaryUnaryCall, aio.UnaryUnaryCall)
        assert issubclass(root.ServicerContext, root.RpcContext)
        assert issubclass(root.Call, root.RpcContext)


@pytest.mark.parametrize("package", ["pygrpc", "grpc"])
def test_wrappers_of_calls_may_be_generic(package: str) -> None:
    """google-api-core mixes classes in this way, which works with one order of bases only."""
    aio = importlib.import_module(f"{package}.aio")
    parameter = TypeVar("parameter")

    class Wrapped(aio.Call):
        pass

    class Mixin(Generic[parameter], Wrapped):
        pass

    for kind in ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream"):
        base = getattr(aio, f"{kind}Call")
        assert issubclass(type("Both", (Mixin, base), {}), aio.Call)
        assert base[int, str] is not None
