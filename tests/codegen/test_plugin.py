"""The plugin: its parameters, and protoc running it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from pygrpc.codegen import ParameterError, Parameters, respond
from pygrpc.codegen.plugin import main, parse_parameters
from tests.source_tree import ROOT

PROTO = """
syntax = "proto3";
package plugin_test.v1;
import "plugin_test/other.proto";
import "google/protobuf/empty.proto";

// Detached from what follows.

// Keeps things.
service Keeper {
  // Keeps one.
  //   For ever.
  rpc Keep(plugin_test.Thing) returns (google.protobuf.Empty);
  rpc Watch(google.protobuf.Empty) returns (stream Seen);  // Shows what is kept.
  /* Keeps
   * many. */
  rpc KeepAll(stream plugin_test.Thing) returns (google.protobuf.Empty);
}
message Seen { optional int32 number = 1; }
"""
OTHER = 'edition = "2023"; package plugin_test; message Thing {}'
PLUGIN = "import sys\nfrom pygrpc.codegen.plugin import main\nsys.exit(main())\n"


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    folder = tmp_path / "protos" / "plugin_test"
    (folder / "v1").mkdir(parents=True)
    (folder / "v1" / "keeper.proto").write_text(PROTO, encoding="utf-8")
    (folder / "other.proto").write_text(OTHER, encoding="utf-8")
    return tmp_path / "protos"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A program like the one that is installed as protoc-gen-pygrpc."""
    script = tmp_path / "protoc-gen-pygrpc"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{PLUGIN}", encoding="utf-8")
    script.chmod(0o755)
    return script


def protoc(protos: Path, plugin: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--pygrpc_out={out}"]
    command += [f"--plugin=protoc-gen-pygrpc={plugin}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def imports_of(module: Path) -> list[str]:
    lines = module.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(("import ", "from "))]


@pytest.mark.skipif(os.name != "posix", reason="the plugin is a script with a first line that names the interpreter")
@pytest.mark.parametrize(
    ("options", "imports"),
    [
        (
            [],
            [
                "import pygrpc as grpc",
                "from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2",
                "from plugin_test import other_pb2 as plugin__test_dot_other__pb2",
                "from plugin_test.v1 import keeper_pb2 as plugin__test_dot_v1_dot_keeper__pb2",
            ],
        ),
        (
            ["--pygrpc_opt=relative_imports", "--pygrpc_opt=grpc_module=grpc"],
            [
                "import grpc",
                "from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2",
                "from plugin_test import other_pb2 as plugin__test_dot_other__pb2",
                "from . import keeper_pb2 as plugin__test_dot_v1_dot_keeper__pb2",
            ],
        ),
        (
            ["--pygrpc_opt=relative_imports,local=plugin_test"],
            [
                "import pygrpc as grpc",
                "from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2",
                "from .. import other_pb2 as plugin__test_dot_other__pb2",
                "from . import keeper_pb2 as plugin__test_dot_v1_dot_keeper__pb2",
            ],
        ),
        (
            ["--pygrpc_opt=import_prefix=app.protos", "plugin_test/other.proto"],
            [
                "import pygrpc as grpc",
                "from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2",
                "from app.protos.plugin_test import other_pb2 as plugin__test_dot_other__pb2",
                "from app.protos.plugin_test.v1 import keeper_pb2 as plugin__test_dot_v1_dot_keeper__pb2",
            ],
        ),
    ],
    ids=["defaults", "relative", "local", "prefix"],
)
def test_protoc_runs_it(protos: Path, plugin: Path, tmp_path: Path, options: list[str], imports: list[str]) -> None:
    result = protoc(protos, plugin, tmp_path / "out", *options, "plugin_test/v1/keeper.proto")
    assert (result.returncode, result.stderr) == (0, "")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["plugin_test/v1/keeper_pb2_grpc.py", "plugin_test/v1/keeper_pb2_grpc.pyi"]
    assert imports_of(tmp_path / "out" / written[0]) == imports


@pytest.mark.skipif(os.name != "posix", reason="the plugin is a script with a first line that names the interpreter")
def test_protoc_shows_what_is_wrong_with_a_parameter(protos: Path, plugin: Path, tmp_path: Path) -> None:
    result = protoc(protos, plugin, tmp_path / "out", "--pygrpc_opt=relative", "plugin_test/v1/keeper.proto")
    assert result.returncode == 1
    assert result.stderr.startswith("--pygrpc_out: 'relative' is no parameter of protoc-gen-pygrpc; there are ")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Parameters()),
        ("relative_imports", Parameters(relative_imports=True)),
        ("import_prefix=app.protos,grpc_module=grpc", Parameters(import_prefix="app.protos", grpc_module="grpc")),
        (" relative_imports , local=a/b,local=c", Parameters(relative_imports=True, local=("a/b", "c"))),
        ("import_prefix=", Parameters()),
    ],
)
def test_parameters(text: str, expected: Parameters) -> None:
    assert parse_parameters(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("relative", "'relative' is no parameter of protoc-gen-pygrpc; there are relative_imports, "),
        ("relative_imports=1", "'relative_imports=1' is no parameter"),
        ("grpc_module", "'grpc_module' is no parameter"),
        ("local=", "'local=' is no parameter"),
        ("grpc_module=grpclib", "grpc_module is pygrpc or grpc, not 'grpclib'."),
        ("import_prefix=..app", "import_prefix is a package, such as app.protos; '..app' is none."),
        ("import_prefix=app.in", "import_prefix is a package, such as app.protos; 'app.in' is none."),
        ("import_prefix=app/protos", "import_prefix is a package, such as app.protos; 'app/protos' is none."),
        ("relative_imports,import_prefix=app", "relative_imports and import_prefix exclude each other."),
    ],
)
def test_parameters_that_make_no_sense(text: str, complaint: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_parameters(text)
    assert str(caught.value).startswith(complaint)
    assert respond(CodeGeneratorRequest(parameter=text)) == CodeGeneratorResponse(
        error=str(caught.value),
        supported_features=respond(CodeGeneratorRequest()).supported_features,
        minimum_edition=respond(CodeGeneratorRequest()).minimum_edition,
        maximum_edition=respond(CodeGeneratorRequest()).maximum_edition,
    )


def test_the_folders_of_local_are_whole_folders() -> None:
    style = Parameters(relative_imports=True, local=("a/b/",)).style(["c.proto"], ["a/b/x.proto", "a/bc/y.proto"])
    assert style.own == {"c_pb2", "a.b.x_pb2"}


def request_for(*files: FileDescriptorProto) -> CodeGeneratorRequest:
    return CodeGeneratorRequest(proto_file=files, file_to_generate=[file.name for file in files])


def service_file(name: str, service: str) -> FileDescriptorProto:
    package = f"of_{name.removesuffix('.proto')}"
    file = FileDescriptorProto(name=name, package=package)
    file.message_type.add(name="M")
    file.service.add(name=service).method.add(name="Get", input_type=f".{package}.M", output_type=f".{package}.M")
    return file


def test_a_file_without_a_service_gets_no_module() -> None:
    assert not respond(request_for(FileDescriptorProto(name="a.proto"))).file


def test_the_output_does_not_depend_on_the_order_of_the_files() -> None:
    files = [service_file(f"{name}.proto", "S") for name in ("b", "a", "c")]
    response = respond(request_for(*files))
    assert [file.name for file in response.file] == [
        f"{name}_pb2_grpc.{suffix}" for name in ("a", "b", "c") for suffix in ("py", "pyi")
    ]
    assert respond(request_for(*reversed(files))) == response


def test_nothing_in_the_output_tells_when_or_with_what_it_was_made() -> None:
    request = request_for(service_file("a.proto", "S"))
    request.compiler_version.major = 77
    response = respond(request)
    assert all("77" not in file.content and sys.version.split()[0] not in file.content for file in response.file)
    request.ClearField("compiler_version")
    assert respond(request) == response


@pytest.mark.parametrize("data", [b"not a request", b"\xff\xff"])
def test_input_that_is_no_request(data: bytes) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PLUGIN], input=data, capture_output=True, timeout=60, check=False, cwd=ROOT
    )
    assert result.returncode == 1
    assert result.stdout == b""
    assert result.stderr == b"protoc-gen-pygrpc: standard input holds no CodeGeneratorRequest of protoc.\n"


def test_somebody_who_runs_it_by_hand_is_told_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main() == 1
    assert capsys.readouterr().err == "protoc-gen-pygrpc is a plugin that protoc runs for --pygrpc_out=DIR.\n"
