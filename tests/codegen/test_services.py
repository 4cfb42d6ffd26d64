"""What is read of a .proto file: names, types and comments."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from pygrpc.codegen.services import MessageType, ServiceFile, message_types, read_services


def file_with(*services: str, methods: tuple[str, ...] = ("Get",), package: str = "p.v1") -> FileDescriptorProto:
    file = FileDescriptorProto(name="p/v1/some-file.proto", package=package)
    file.message_type.add(name="Outer").nested_type.add(name="Inner").nested_type.add(name="None")
    scope = f".{package}" if package else ""
    for name in services:
        service = file.service.add(name=name)
        for method in methods:
            service.method.add(name=method, input_type=f"{scope}.Outer", output_type=f"{scope}.Outer.Inner")
    return file


def read(file: FileDescriptorProto) -> ServiceFile:
    return read_services(file, message_types([file]))


def test_messages_are_found_by_their_full_names() -> None:
    module = "p.v1.some_file_pb2"
    assert message_types([file_with()]) == {
        ".p.v1.Outer": MessageType(module, ("Outer",)),
        ".p.v1.Outer.Inner": MessageType(module, ("Outer", "Inner")),
        ".p.v1.Outer.Inner.None": MessageType(module, ("Outer", "Inner", "None")),
    }
    assert set(message_types([file_with(package="")])) == {".Outer", ".Outer.Inner", ".Outer.Inner.None"}


def test_a_service() -> None:
    file = read(file_with("Users"))
    assert (file.module, file.package, file.message_modules) == ("p.v1.some_file_pb2", "p.v1", ("p.v1.some_file_pb2",))
    (service,) = file.services
    assert (service.full_name, service.simple, service.async_stub) == ("p.v1.Users", "Users", "UsersAsyncStub")
    (method,) = file.methods
    assert (method.request.path, method.response.path) == (("Outer",), ("Outer", "Inner"))


def test_a_service_without_a_package() -> None:
    (service,) = read(file_with("Users", package="")).services
    assert service.full_name == "Users"


def test_the_four_arities() -> None:
    file = file_with("Users", methods=("a", "b", "c", "d"))
    for number, method in enumerate(file.service[0].method):
        method.client_streaming, method.server_streaming = bool(number & 2), bool(number & 1)
    assert [method.arity for method in read(file).methods] == [
        "unary_unary",
        "unary_stream",
        "stream_unary",
        "stream_stream",
    ]


def test_keywords_get_an_underscore_where_python_needs_another_name() -> None:
    file = read(file_with("None", methods=("None", "Import", "import", "async", "match")))
    assert [method.name for method in file.methods] == ["None", "Import", "import", "async", "match"]
    assert [method.attribute for method in file.methods] == ["None_", "Import", "import_", "async_", "match"]
    (service,) = file.services
    assert (service.name, service.full_name) == ("None", "p.v1.None")
    assert (service.simple, service.async_stub) == ("None_", "NoneAsyncStub")


def test_the_names_that_everybody_uses_are_kept() -> None:
    file = read(file_with("A", "AStub", "AServicer", "AAsync", "grpc", "getattr"))
    assert {service.name: service.simple for service in file.services} == {
        "A": "A",
        "AStub": "AStub_",
        "AServicer": "AServicer_",
        "AAsync": "AAsync",
        "grpc": "grpc_",
        "getattr": "getattr_",
    }
    assert [service.async_stub for service in file.services][:2] == ["AAsyncStub_", "AStubAsyncStub"]


def test_comments() -> None:
    file = file_with("Users", "Groups", methods=("Get", "Set"))

    def comment(path: list[int], leading: str = "", trailing: str = "") -> None:
        file.source_code_info.location.add(path=path, leading_comments=leading, trailing_comments=trailing)

    comment([6, 0], leading=" Users.\n\n   - indented  \r\n")
    comment([6, 0, 2, 0], leading=" Gets.\n", trailing=" Not this.\n")
    comment([6, 1, 2, 1], trailing=" Sets.\n")
    comment([6, 1, 1], leading=" The name of the service.\n")
    users, groups = read(file).services
    assert users.comment == "Users.\n\n  - indented"
    assert [method.comment for method in users.methods] == ["Gets.", ""]
    assert groups.comment == ""
    assert [method.comment for method in groups.methods] == ["", "Sets."]
