"""Methods by reflection, descriptor sets and .proto files, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

import pygrpc
from pygrpc.load.errors import LoadError
from pygrpc.load.methods import (
    Contract,
    contract_by_reflection,
    contract_of_protos,
    contract_of_set,
    find_method,
    refused,
)
from pygrpc.load.requests import described_by
from tests.load.servers import SERVICE, serving
from tests.protos.grpc.testing import test_pb2
from tests.source_tree import ROOT

SHOP = """
syntax = "proto3";
package shop;
import "google/protobuf/api.proto";
service Shop { rpc Buy(google.protobuf.Api) returns (stream google.protobuf.Api); }
"""


def by_reflection(target: str, timeout: float = 20.0) -> Contract:
    with pygrpc.insecure_channel(target) as channel:
        contract = contract_by_reflection(channel, target, timeout=timeout, metadata=(("x-key", "secret"),))
        # What the pool asks for later needs the channel.
        find_method(contract, f"{SERVICE}/UnaryCall")
        return contract


@pytest.mark.parametrize(("api", "reflection"), [("pygrpc", "v1"), ("pygrpc", "both"), ("grpc", "v1alpha")])
def test_reflection_of_either_version(api: str, reflection: str) -> None:
    with serving(api, reflection) as (target, _):
        contract = by_reflection(target)
    assert SERVICE in contract.services
    method = find_method(contract, f"{SERVICE}/UnaryCall")
    assert (method.input_type.full_name, method.server_streaming) == ("grpc.testing.SimpleRequest", False)


@pytest.mark.parametrize("api", ["pygrpc", "grpc"])
def test_a_server_without_reflection(api: str) -> None:
    with serving(api, "") as (target, _), pytest.raises(LoadError, match=r"has no server reflection: .*--proto"):
        by_reflection(target)


def test_a_server_that_is_not_there() -> None:
    with serving() as (target, _):
        pass
    with pytest.raises(LoadError, match=f"^{target} can't be reached: .*refused"):
        by_reflection(target)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (pygrpc.StatusCode.UNAVAILABLE, "here can't be reached: because"),
        (pygrpc.StatusCode.DEADLINE_EXCEEDED, "here did not answer in time"),
        (pygrpc.StatusCode.UNAUTHENTICATED, "reflection of here failed with UNAUTHENTICATED: because"),
    ],
)
def test_what_is_said_of_a_call_that_failed(code: pygrpc.StatusCode, said: str) -> None:
    class Error:
        def code(self) -> pygrpc.StatusCode:
            return code

        def details(self) -> str:
            return "because"

    assert str(refused("here", Error())) == said


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    (tmp_path / "my-shop.proto").write_text(SHOP, encoding="utf-8")
    return tmp_path


def test_proto_files(protos: Path) -> None:
    # A name that Python can't import is as good as any here.
    method = find_method(contract_of_protos(["my-shop.proto"], [protos]), "/shop.Shop/Buy")
    assert (method.client_streaming, method.server_streaming) == (False, True)
    assert method.input_type.fields_by_name["methods"].message_type.full_name == "google.protobuf.Method"


def test_proto_files_that_protoc_refuses(protos: Path) -> None:
    (protos / "bad.proto").write_text('syntax = "proto3"; message {', encoding="utf-8")
    with pytest.raises(LoadError, match=r"bad\.proto:1:\d+: Expected message name\.") as caught:
        contract_of_protos(["bad.proto"], [protos])
    assert "\n" not in str(caught.value)


def descriptor_set(path: Path, *files: FileDescriptorProto) -> Path:
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    return path


def test_a_descriptor_set_in_any_order(tmp_path: Path) -> None:
    files = described_by([test_pb2.DESCRIPTOR])
    for order in (files, files[::-1]):
        contract = contract_of_set(descriptor_set(tmp_path / "set", *order))
        assert sorted(contract.services) == [SERVICE, "grpc.testing.UnimplementedService"]
        assert find_method(contract, f"{SERVICE}.FullDuplexCall").client_streaming


def test_a_descriptor_set_without_the_files_of_protobuf(protos: Path, tmp_path: Path) -> None:
    pool = contract_of_protos(["my-shop.proto"], [protos]).pool
    (shop,) = [file for file in described_by([pool.FindFileByName("my-shop.proto")]) if file.name == "my-shop.proto"]
    # api.proto itself imports two more.
    contract = contract_of_set(descriptor_set(tmp_path / "set", shop))
    assert find_method(contract, "shop.Shop/Buy").input_type.full_name == "google.protobuf.Api"


def test_a_descriptor_set_without_an_import(tmp_path: Path) -> None:
    file = FileDescriptorProto()
    test_pb2.DESCRIPTOR.CopyToProto(file)
    file.dependency.append("no/such/file.proto")
    path = descriptor_set(tmp_path / "set", *described_by([test_pb2.DESCRIPTOR])[1:], file)
    with pytest.raises(LoadError, match=r"^grpc/testing/test\.proto imports no/such/file\.proto, which .*set lacks"):
        contract_of_set(path)


def test_a_file_that_is_no_descriptor_set(tmp_path: Path) -> None:
    path = tmp_path / "set"
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(LoadError, match=r"set is no descriptor set: make it with protoc"):
        contract_of_set(path)


CONTRACT = contract_of_protos(["grpc/testing/test.proto"], [ROOT / "protos"])


@pytest.mark.parametrize("name", ["{}/UnaryCall", "/{}/UnaryCall", "{}.UnaryCall"])
def test_a_method_may_be_written_in_three_ways(name: str) -> None:
    assert find_method(CONTRACT, name.format(SERVICE)).name == "UnaryCall"


@pytest.mark.parametrize("name", [f"{SERVICE}/UnaryCal", "grpc.testing.TestServce/UnaryCall", "TestService/UnaryCall"])
def test_the_nearest_method_is_suggested(name: str) -> None:
    with pytest.raises(LoadError, match=f"there is no method {name}: did you mean {SERVICE}/UnaryCall\\?"):
        find_method(CONTRACT, name)


@pytest.mark.parametrize("name", ["", "/", "x", "....", "?/?"])
def test_all_methods_are_named_where_none_is_near(name: str) -> None:
    with pytest.raises(LoadError, match=f"{SERVICE}/EmptyCall, {SERVICE}/FullDuplexCall"):
        find_method(CONTRACT, name)


def test_services_that_the_server_can_not_describe() -> None:
    with pytest.raises(LoadError, match=r"there is no method a\.B/C: there are none at all"):
        find_method(Contract(DescriptorPool(), ["a.B"]), "a.B/C")
