"""What the objects are that programs get, and what their methods take, beside those of grpcio."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import grpc
import grpc.aio
import pytest

import pygrpc
import pygrpc.aio
from tests.parity_objects import aio_objects, credentials, sync_objects

#: Where the signatures deviate, and why.
DEVIATIONS = {
    "subscribe": "its default is that of the documented interface, grpcio's own method says None",
    "add_done_callback": "grpcio's errors take a timeout too, which the interface of futures does not have",
    "start": "grpcio's future of readiness has it, and the interface does not",
    "result": "parameters are called as in the interface, and not that they are ignored",
    "exception": "the same",
    "traceback": "the same",
    "send_initial_metadata": "its parameter is called as in the documented interface",
    "set_trailing_metadata": "the same",
}

MAKERS = {
    "sync": sync_objects,
    "credentials": credentials,
    "aio": lambda root: asyncio.run(aio_objects(root)),
}


@functools.cache
def objects(api: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and theirs by what they are."""
    make = MAKERS[api]
    return make(pygrpc), make(grpc)


@pytest.fixture(params=MAKERS)
def pairs(request: pytest.FixtureRequest) -> list[tuple[str, Any, Any]]:
    ours, theirs = objects(request.param)
    assert ours.keys() == theirs.keys()
    return [(what, ours[what], theirs[what]) for what in theirs]


def interfaces(root: Any, found: Any) -> set[str]:
    """The names of public classes that an object is an instance of."""
    classes = {f"{prefix}{name}": getattr(owner, name) for prefix, owner in modules(root) for name in owner.__all__}
    return {
        name
        for name, cls in classes.items()
        # A protocol says nothing of instances.
        if inspect.isclass(cls) and not getattr(cls, "_is_protocol", False) and isinstance(found, cls)
    }


def modules(root: Any) -> list[tuple[str, Any]]:
    return [("", root), ("aio.", root.aio)]


def parameters(function: Any) -> Any:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(each.name, each.kind.name, repr(each.default)) for each in found]


def passes_on(found: Any) -> bool:
    """Whether a function takes whatever there is; an interceptor's channel and multi-callables sort it elsewhere."""
    return found is not None and {kind for _, kind, _ in found} == {"VAR_POSITIONAL", "VAR_KEYWORD"}


def test_objects_are_instances_of_all_that_those_of_grpcio_are(pairs: list[tuple[str, Any, Any]]) -> None:
    missing = {what: interfaces(grpc, theirs) - interfaces(pygrpc, ours) for what, ours, theirs in pairs}
    assert not {what: names for what, names in missing.items() if names}


def test_some_objects_are_instances_of_something(pairs: list[tuple[str, Any, Any]]) -> None:
    assert any(interfaces(pygrpc, ours) for _, ours, _ in pairs)


def test_objects_have_the_same_methods(pairs: list[tuple[str, Any, Any]]) -> None:
    different = []
    for what, ours, theirs in pairs:
        for name in dir(theirs):
            if name.startswith("_") or name in DEVIATIONS:
                continue
            if not hasattr(ours, name):
                different.append(f"{what} has no {name}")
                continue
            own, expected = parameters(getattr(ours, name)), parameters(getattr(theirs, name))
            if expected is not None and own != expected and not passes_on(own):
                different.append(f"{what}.{name}: {own} is not {expected}")
    assert not different, "\n".join(different)


def test_deviations_are_some() -> None:
    found = set()
    for api in MAKERS:
        ours, theirs = objects(api)
        for what, name in ((what, name) for what in theirs for name in DEVIATIONS if hasattr(theirs[what], name)):
            own = getattr(ours[what], name, None)
            if parameters(own) != parameters(getattr(theirs[what], name)):
                found.add(name)
    assert found == DEVIATIONS.keys(), "take the others from the table"
