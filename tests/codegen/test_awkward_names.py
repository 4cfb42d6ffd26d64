"""Whatever protos call their things, the generated modules can be imported and used.

The protos in data/awkward go through protoc. Random names go through the writers only, with messages that are no more
than names.
"""

from __future__ import annotations

import ast
import collections
import keyword
import string
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from pygrpc.codegen import Parameters, generate_files
from pygrpc.codegen.module_writer import write_module
from pygrpc.codegen.plugin import service_modules
from pygrpc.codegen.services import message_types, read_services
from pygrpc.codegen.stub_writer import write_stub
from tests.source_tree import ROOT

AWKWARD = Path(__file__).parent / "data" / "awkward"
PROTOS = sorted(path.relative_to(AWKWARD).as_posix() for path in AWKWARD.rglob("*.proto"))

STYLES = {
    "absolute": ("", Parameters()),
    "relative": ("app.protos", Parameters(relative_imports=True)),
    "prefix": ("app.protos", Parameters(import_prefix="app.protos")),
}

#: Imports all modules that it finds, in a process of its own: absolute names would end up in that of the tests.
IMPORT_ALL = """
import importlib, pathlib, pickle, sys

package = sys.argv[1]
folder = pathlib.Path(*package.split("."))
found = 0

class Recorder:
    def __init__(self):
        self.paths = []
    def __getattr__(self, arity):
        return lambda path, **serializers: (self.paths.append(path), path)[1]
    def add_generic_rpc_handlers(self, handlers):
        pass
    def add_registered_method_handlers(self, service, handlers):
        self.paths += [f"/{service}/{method}" for method in handlers]

def import_below(path):
    name = ".".join(path.relative_to(folder).with_suffix("").parts)
    return importlib.import_module(f"{package}.{name}" if package else name)

for path in sorted(folder.rglob("*_pb2*.py")):
    module = import_below(path)
    if path.name.endswith("_pb2.py"):
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            message = getattr(module, descriptor.name)()
            if package:
                assert pickle.loads(pickle.dumps(message)) == message
        continue
    messages = import_below(path.with_name(path.name.replace("_grpc", "")))
    for service in messages.DESCRIPTOR.services_by_name.values():
        paths = [f"/{service.full_name}/{method.name}" for method in service.methods]
        channel = Recorder()
        stub = getattr(module, f"{service.name}Stub")(channel)
        assert channel.paths == paths, (channel.paths, paths)
        assert sorted(vars(stub).values()) == sorted(paths), (vars(stub), paths)
        server = Recorder()
        servicer = getattr(module, f"{service.name}Servicer")()
        getattr(module, f"add_{service.name}Servicer_to_server")(servicer, server)
        assert server.paths == paths, (server.paths, paths)
        found += len(paths)
print(found)
"""


@pytest.mark.parametrize("style", STYLES)
def test_awkward_protos_give_modules_that_work(tmp_path: Path, style: str) -> None:
    package, parameters = STYLES[style]
    generate_files(PROTOS, [AWKWARD], tmp_path.joinpath(*package.split(".")), parameters)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{IMPORT_ALL}", package],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (result.stderr, result.stdout) == ("", "24\n")
    for path in tmp_path.rglob("*.pyi"):
        ast.parse(path.read_text(encoding="utf-8"))


def test_the_type_stubs_of_awkward_protos_keep_their_types(tmp_path: Path) -> None:
    generate_files(PROTOS, [AWKWARD], tmp_path, Parameters())
    for path in tmp_path.rglob("*_pb2.pyi"):
        assert "__getattr__" not in path.read_text(encoding="utf-8"), path


#: What the generated text calls its own things, Python's keywords, builtins, and names of a kind of their own.
RISKY = [
    *("grpc", "importlib", "getattr", "staticmethod", "NotImplementedError", "str", "bool", "float", "tuple", "self"),
    *("_grpc", "_aio", "_t", "_tx", "_abc", "_Stub", "_Channel", "_Request", "_Response", "_Context", "_Requests"),
    *("_UnaryUnary", "_Call", "_StreamCall", "any__pb2", "A", "AStub", "AAsync", "AAsyncStub", "AServicer"),
    *("request", "context", "channel", "server", "servicer", "handler", "_", "__", "__init__", "__a", "_a", "a_"),
    *keyword.kwlist,
    *keyword.softkwlist,
]
NAMES = st.one_of(
    st.sampled_from(RISKY),
    st.builds(str.__add__, st.sampled_from(RISKY), st.sampled_from(["_", "Stub", "Servicer", "AsyncStub"])),
    st.text(string.ascii_letters + "_", min_size=1, max_size=3),
)


@st.composite
def files(draw: st.DrawFn) -> FileDescriptorProto:
    """A file with nested messages, and services whose methods take and give any of them."""
    file = FileDescriptorProto(name="any.proto", package=draw(st.sampled_from(["", "p", "p.q"])))
    scope = f".{file.package}" if file.package else ""
    types = []
    for outer in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        message = file.message_type.add(name=outer)
        types.append(f"{scope}.{outer}")
        for inner in draw(st.lists(NAMES, max_size=2, unique=True)):
            message.nested_type.add(name=inner)
            types.append(f"{scope}.{outer}.{inner}")
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        service = file.service.add(name=name)
        for method in draw(st.lists(NAMES, max_size=5, unique=True)):
            service.method.add(
                name=method,
                input_type=draw(st.sampled_from(types)),
                output_type=draw(st.sampled_from(types)),
                client_streaming=draw(st.booleans()),
                server_streaming=draw(st.booleans()),
            )
    return file


class Recorder:
    """A channel and a server that keep what a module asks of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, Any]] = []

    def __getattr__(self, arity: str) -> Any:
        def make(path: str, request_serializer: Any, response_deserializer: Any, _registered_method: bool) -> str:
            assert _registered_method
            self.asked.append((arity, path, request_serializer, response_deserializer))
            return path

        return make

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        pass

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers = (service, handlers)


def fake_message(message: DescriptorProto, full_name: str) -> type:
    """Makes what can be told from other messages, and has the two functions that modules use."""
    names: dict[str, Any] = {"SerializeToString": f"serialize {full_name}", "FromString": f"parse {full_name}"}
    made = type(message.name, (), names)
    for nested in message.nested_type:
        setattr(made, nested.name, fake_message(nested, f"{full_name}.{nested.name}"))
    return made


def fake_module(file: FileDescriptorProto) -> types.ModuleType:
    module = types.ModuleType("any_pb2")
    scope = f".{file.package}" if file.package else ""
    for message in file.message_type:
        setattr(module, message.name, fake_message(message, f"{scope}.{message.name}"))
    return module


@given(files())
@settings(max_examples=200)
def test_any_names_give_a_module_that_works(file: FileDescriptorProto) -> None:
    services = read_services(file, message_types([file]))
    scope: dict[str, Any] = {"__name__": "any_pb2_grpc"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "any_pb2", fake_module(file))
        exec(write_module(services, Parameters().style(["any.proto"], ()), "pygrpc"), scope)
    for service, described in zip(services.services, file.service, strict=True):
        expected = [
            (
                method.arity,
                f"/{service.full_name}/{method.name}",
                f"serialize {given.input_type}",
                f"parse {given.output_type}",
            )
            for method, given in zip(service.methods, described.method, strict=True)
        ]
        channel, server = Recorder(), Recorder()
        stub = scope[f"{service.name}Stub"](channel)
        assert channel.asked == expected
        scope[f"add_{service.name}Servicer_to_server"](scope[f"{service.name}Servicer"](), server)
        if service.methods:
            assert server.handlers[0] == service.full_name
            assert list(server.handlers[1]) == [method.name for method in service.methods]
        for method in service.methods:
            assert getattr(stub, method.attribute) == f"/{service.full_name}/{method.name}"
            assert callable(getattr(scope[service.simple], method.attribute))
        assert scope[service.async_stub] is scope[f"{service.name}Stub"]


@given(files())
@settings(max_examples=200)
def test_any_names_give_a_type_stub_whose_names_do_not_collide(file: FileDescriptorProto) -> None:
    services = read_services(file, message_types([file]))
    tree = ast.parse(write_stub(services, Parameters().style(["any.proto"], ()), "pygrpc"))
    assert repeated(defined_in(tree)) == []
    for scope in tree.body:
        if isinstance(scope, ast.ClassDef):
            own = [name for name in defined_in(scope) if name != "__get__"]
            assert repeated(own) == []
            used = {
                node.id for node in ast.walk(scope) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
            # Within a class, type checkers take its own names first.
            assert not used & set(own)


def defined_in(scope: ast.Module | ast.ClassDef) -> list[str]:
    names: list[str] = []
    for node in scope.body:
        match node:
            case ast.Import() | ast.ImportFrom():
                names += [alias.asname or alias.name for alias in node.names]
            case ast.ClassDef() | ast.FunctionDef():
                names.append(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
    return names


def repeated(names: list[str]) -> list[str]:
    return [name for name, count in collections.Counter(names).items() if count > 1]


def test_services_of_the_same_name_in_two_packages() -> None:
    files = []
    for package in ("first", "second"):
        file = FileDescriptorProto(name=f"{package}/same.proto", package=package)
        file.message_type.add(name="M")
        file.service.add(name="Same").method.add(name="Get", input_type=".first.M", output_type=f".{package}.M")
        files.append(file)
    texts = service_modules(files, [file.name for file in files], Parameters().style((), ()), "pygrpc")
    second = texts["second/same_pb2_grpc.py"]
    assert "'/second.Same/Get'" in second
    assert "request_serializer=first_dot_same__pb2.M.SerializeToString" in second
    assert "response_deserializer=second_dot_same__pb2.M.FromString" in second
