"""Reflection: one list of behaviours over both versions, and servers and clients of both libraries and APIs."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc_reflection.v1alpha.proto_reflection_descriptor_database
import grpc_reflection.v1alpha.reflection
import grpc_reflection.v1alpha.reflection_pb2_grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

import pygrpc
import pygrpc.reflection.v1.proto_reflection_descriptor_database
import pygrpc.reflection.v1.reflection
import pygrpc.reflection.v1.reflection_pb2
import pygrpc.reflection.v1.reflection_pb2_grpc
import pygrpc.reflection.v1alpha.proto_reflection_descriptor_database
import pygrpc.reflection.v1alpha.reflection
import pygrpc.reflection.v1alpha.reflection_pb2
import pygrpc.reflection.v1alpha.reflection_pb2_grpc
from pygrpc.health.v1 import health
from pygrpc.reflection import _answers, enable_server_reflection, v1, v1alpha
from tests.health.serving import BOUND, CLIENTS, SERVERS, running
from tests.reflection.descriptions import FILES, pool

V1, V1ALPHA = "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"
VERSIONS: dict[str, Any] = {"v1": v1, "v1alpha": v1alpha}


class Link:
    """A server with reflection, and a client of one of its versions."""

    def __init__(self, channel: Any, version: str, client: str) -> None:
        self.channel = channel
        self.client = importlib.import_module(client)
        # For the newer version there is no package of grpcio.
        theirs = (
            grpc_reflection if (version, client) == ("v1alpha", "grpc") else SimpleNamespace(v1alpha=VERSIONS[version])
        )
        self.pb2 = theirs.v1alpha.reflection_pb2
        self.stub = theirs.v1alpha.reflection_pb2_grpc.ServerReflectionStub(channel)
        database = theirs.v1alpha.proto_reflection_descriptor_database
        self.database = database.ProtoReflectionDescriptorDatabase(channel)

    def ask_all(self, *requests: dict[str, Any]) -> list[Any]:
        """Asks several questions in one call."""
        asked = [self.pb2.ServerReflectionRequest(**request) for request in requests]
        responses = list(self.stub.ServerReflectionInfo(iter(asked), timeout=BOUND))
        assert [response.original_request for response in responses] == asked
        return responses

    def ask(self, **request: Any) -> Any:
        (response,) = self.ask_all(request)
        return response


def files_of(response: Any) -> list[str]:
    """The names of the files in a response; each has to be as it was made."""
    files = [FileDescriptorProto.FromString(each) for each in response.file_descriptor_response.file_descriptor_proto]
    assert all(file == FILES[file.name] for file in files)
    return [file.name for file in files]


@contextlib.contextmanager
def linked(api: str, version: str, client: str, register: Any = None) -> Iterator[Link]:
    if register is None:

        def register(server: Any) -> None:
            names = ["shop.Shop", "another.Service", "shop.Shop"]
            VERSIONS[version].reflection.enable_server_reflection(names, server, pool())

    with running(api, register) as server, importlib.import_module(client).insecure_channel(server.target) as channel:
        yield Link(channel, version, client)


@pytest.fixture(params=list(itertools.product(SERVERS, VERSIONS, CLIENTS)), ids="-".join)
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with linked(*request.param) as link:
        yield link


def test_the_services(link: Link) -> None:
    response = link.ask(list_services="whatever")
    assert [service.name for service in response.list_services_response.service] == ["another.Service", "shop.Shop"]


def test_files_come_with_all_that_they_import(link: Link) -> None:
    base, extensions, service = FILES
    responses = link.ask_all(*({"file_by_filename": name} for name in (base, extensions, service)))
    assert [files_of(response) for response in responses] == [
        [base],
        [extensions, base],
        [service, base, extensions],
    ]


def test_the_file_of_a_symbol(link: Link) -> None:
    symbols = {
        "shop/base.proto": ["shop.Base", "shop.Base.Inner", "shop.Base.Inner.text", "shop.Color", "shop.RED"],
        "shop/extensions.proto": ["shop.weight", "shop.Scope", "shop.Scope.height"],
        "shop/service.proto": ["shop.Shop", "shop.Shop.Buy"],
    }
    for name, defined in symbols.items():
        responses = link.ask_all(*({"file_containing_symbol": symbol} for symbol in defined))
        assert [files_of(response)[0] for response in responses] == [name] * len(defined)


def test_extensions(link: Link) -> None:
    request = link.pb2.ExtensionRequest(containing_type="shop.Base", extension_number=110)
    numbers, file, none = link.ask_all(
        {"all_extension_numbers_of_type": "shop.Base"},
        {"file_containing_extension": request},
        {"all_extension_numbers_of_type": "shop.Scope"},
    )
    assert numbers.all_extension_numbers_response.base_type_name == "shop.Base"
    assert list(numbers.all_extension_numbers_response.extension_number) == [110, 120]
    assert files_of(file) == ["shop/extensions.proto", "shop/base.proto"]
    assert none.HasField("all_extension_numbers_response")


def test_errors_are_messages_and_the_call_goes_on(link: Link) -> None:
    extension = link.pb2.ExtensionRequest
    *unknown, empty, good = link.ask_all(
        {"file_by_filename": "shop/nothing.proto"},
        {"file_by_filename": ""},
        {"file_containing_symbol": "shop.Nothing"},
        {"file_containing_symbol": "shop"},
        {"file_containing_symbol": "shop.Shop.Sell"},
        {"file_containing_extension": extension(containing_type="shop.Base", extension_number=-1)},
        {"file_containing_extension": extension(containing_type="shop.Nothing", extension_number=110)},
        {"all_extension_numbers_of_type": "shop.Shop"},
        {"host": "somewhere"},
        {"list_services": ""},
    )
    errors = [(each.error_response.error_code, each.error_response.error_message) for each in unknown]
    assert errors == [(5, "not found")] * len(unknown)
    assert (empty.error_response.error_code, empty.error_response.error_message) == (3, "invalid argument")
    assert good.HasField("list_services_response")


def test_a_pool_that_asks_a_server(link: Link) -> None:
    assert list(link.database.get_services()) == ["another.Service", "shop.Shop"]
    asking = DescriptorPool(link.database)
    method = asking.FindServiceByName("shop.Shop").methods_by_name["Buy"]
    assert (method.input_type.full_name, method.output_type.full_name) == ("shop.Base", "shop.Scope")
    assert asking.FindFileByName("shop/base.proto") is method.input_type.file
    assert sorted(link.database.FindAllExtensionNumbers("shop.Base")) == [110, 120]
    for find, name in ((asking.FindFileByName, "nothing.proto"), (asking.FindMessageTypeByName, "shop.Nothing")):
        with pytest.raises(KeyError):
            find(name)
    with pytest.raises(KeyError):
        link.database.FindAllExtensionNumbers("shop.Nothing")


@pytest.mark.parametrize("default", [None, descriptor_pool.Default()])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("api", ["pygrpc", "pygrpc.aio"])
def test_both_versions_by_one_call(api: str, version: str, default: DescriptorPool | None) -> None:
    def register(server: Any) -> None:
        enable_server_reflection([health.SERVICE_NAME], server, default)

    with linked(api, version, "pygrpc", register) as link:
        assert link.database.get_services() == [health.SERVICE_NAME, V1, V1ALPHA]
        # All generated modules that were imported are known, health and reflection among them.
        asking = DescriptorPool(link.database)
        for service in link.database.get_services():
            assert asking.FindServiceByName(service).full_name == service


@pytest.mark.parametrize(("offered", "asked"), [("v1", "v1alpha"), ("v1alpha", "v1")])
def test_one_version_alone(offered: str, asked: str) -> None:
    def register(server: Any) -> None:
        VERSIONS[offered].reflection.enable_server_reflection((), server)

    with linked("pygrpc", asked, "pygrpc", register) as link:
        with pytest.raises(pygrpc.RpcError) as caught:
            link.database.get_services()
        assert caught.value.code() is pygrpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([{"file_descriptor_response": {}}], "without a file"),
        ([{"error_response": {"error_code": 13, "error_message": "oh"}}], "with error 13: oh"),
        ([], "without an answer"),
    ],
)
def test_a_database_with_a_server_that_makes_no_sense(answers: list[Any], text: str) -> None:
    pb2 = v1.reflection_pb2
    database = v1.proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase
    with pygrpc.insecure_channel("127.0.0.1:1") as channel:
        client = database(channel)
    client._method = lambda requests: iter([pb2.ServerReflectionResponse(**answer) for answer in answers])
    with pytest.raises(RuntimeError, match=text):
        client.FindFileByName("a.proto")


def test_what_is_known_is_not_asked_for_again() -> None:
    with linked("pygrpc", "v1", "pygrpc") as link:
        file = link.database.FindFileByName("shop/service.proto")
        # Which protobuf's own database can't do.
        extension = link.database.FindFileContainingExtension("shop.Base", 110)
        assert extension.name == "shop/extensions.proto"
        with pytest.raises(KeyError):
            link.database.FindFileContainingExtension("shop.Base", 111)
        numbers = link.database.FindAllExtensionNumbers("shop.Base")
    # The channel is closed now.
    assert link.database.FindFileByName("shop/service.proto") is file
    assert link.database.FindFileContainingExtension("shop.Base", 110) is extension
    assert link.database.FindFileContainingSymbol("shop.Base").name == "shop/base.proto"
    assert link.database.FindAllExtensionNumbers("shop.Base") == numbers


NAMES = st.one_of(
    st.text(max_size=20), st.sampled_from(["shop.Base", "shop.weight", ".", "shop.", ".shop.Base", *FILES])
)


@given(
    version=st.sampled_from(sorted(VERSIONS)),
    name=NAMES,
    number=st.integers(-(2**31), 2**31 - 1),
    kind=st.integers(0, 4),
)
def test_each_request_has_an_answer(version: str, name: str, number: int, kind: int) -> None:
    pb2 = VERSIONS[version].reflection_pb2
    extension = pb2.ExtensionRequest(containing_type=name, extension_number=number)
    fields = ("file_by_filename", "file_containing_symbol", "all_extension_numbers_of_type", "list_services")
    chosen = {"file_containing_extension": extension} if kind == 4 else {fields[kind]: name}
    request = pb2.ServerReflectionRequest(**chosen)
    response = _answers.Answers(pb2, ["shop.Shop"], POOL).answer(request)
    assert response.original_request == request
    assert response.WhichOneof("message_response")


POOL = pool()


def test_the_names_are_those_of_grpcio_reflection() -> None:
    theirs = grpc_reflection.v1alpha.reflection
    assert v1alpha.reflection.SERVICE_NAME == theirs.SERVICE_NAME == V1ALPHA
    assert v1.reflection.SERVICE_NAME == V1
    for version in VERSIONS.values():
        assert set(theirs.__all__) == set(version.reflection.__all__)
        for name in ("reflection_pb2", "reflection_pb2_grpc"):
            other = getattr(grpc_reflection.v1alpha, name)
            defined = {
                each for each in dir(other) if each.endswith(("Request", "Response", "Servicer", "Stub", "server"))
            }
            assert defined <= set(dir(getattr(version, name)))
