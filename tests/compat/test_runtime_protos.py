"""Modules made of .proto files at run time."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import pygrpc

PROTO = """
syntax = "proto3";
package pygrpc.test.runtime.{name};
message Message {{ string text = 1; }}
service Echo {{ rpc Say(Message) returns (Message); }}
"""


@pytest.fixture
def proto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    pytest.importorskip("grpc_tools")
    name = f"runtime_{request.node.name}"
    (tmp_path / f"{name}.proto").write_text(PROTO.format(name=name), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    # grpcio-tools adds its own protos to the path.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(importlib.import_module("grpc_tools.protoc"), "_FINDERS_INSTALLED", False)
    return f"{name}.proto"


def test_protos(proto: str) -> None:
    assert pygrpc.protos(proto).Message(text="x").text == "x"


def test_services(proto: str) -> None:
    module = pygrpc.services(proto)
    assert module.grpc is pygrpc
    assert module.EchoStub(pygrpc.insecure_channel("localhost:1")).Say is not None


def test_both(proto: str) -> None:
    protos, services = pygrpc.protos_and_services(proto)
    assert protos.Message is services.runtime__test__both__pb2.Message


def test_the_package_of_services_is_callable_too(proto: str) -> None:
    package = importlib.import_module("pygrpc.services")
    assert pygrpc.services is package
    assert package(proto).grpc is pygrpc  # type: ignore[operator]


def test_a_file_that_is_not_there(proto: str) -> None:
    with pytest.raises(ImportError):
        pygrpc.protos("nowhere.proto")


@pytest.mark.parametrize("function", ["protos", "services", "protos_and_services"])
def test_without_the_compiler(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc_tools", None)
    monkeypatch.delitem(sys.modules, "grpc_tools.protoc", raising=False)
    with pytest.raises(NotImplementedError, match="Install the grpcio-tools package"):
        getattr(pygrpc, function)("x.proto")
