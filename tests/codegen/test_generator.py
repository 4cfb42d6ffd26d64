"""Generation with the real compiler, in a project of the test's own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from pygrpc import codegen
from pygrpc.codegen import compiler
from pygrpc.codegen.generator import write_if_changed

USER = """
syntax = "proto3";
package codegen_test.user;
import "codegen_test/common/page-token.proto";
import "codegen_test/user/kind.proto";
import "google/protobuf/empty.proto";
import "google/rpc/status.proto";
import "codegen_test_top.proto";
message User {
  Kind kind = 1;
  codegen_test.common.PageToken token = 2;
  google.rpc.Status status = 3;
  codegen_test.Top top = 4;
}
service UserService { rpc Forget(User) returns (google.protobuf.Empty); }
"""
KIND = 'syntax = "proto3"; package codegen_test.user; enum Kind { KIND_UNSPECIFIED = 0; KIND_ADMIN = 1; }'
PAGE_TOKEN = 'syntax = "proto3"; package codegen_test.common; message PageToken { string text = 1; }'
TOP = 'syntax = "proto3"; package codegen_test; message Top { int32 number = 1; }'
PYPROJECT = '[tool.pygrpc.codegen]\nprotos = "protos"\nout = { "" = "app/protos", "probe/testing" = "checks/protos" }\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with protos that import each other across folders."""
    files = {
        "pyproject.toml": PYPROJECT,
        "protos/codegen_test/user/user.proto": USER,
        "protos/codegen_test/user/kind.proto": KIND,
        "protos/codegen_test/common/page-token.proto": PAGE_TOKEN,
        "protos/codegen_test_top.proto": TOP,
        "protos/probe/testing/probe.proto": 'syntax = "proto3"; package probe.testing; message Probe {}',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def plan(project: Path) -> codegen.Plan:
    return codegen.read_plan(project)


@pytest.fixture
def importable(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the test import from the project, and forgets what it imported."""
    monkeypatch.syspath_prepend(project)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("app", "checks"):
            del sys.modules[name]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py*") if path.is_file()}


def test_the_layout(plan: codegen.Plan, project: Path) -> None:
    written = codegen.generate(plan)
    assert [path.relative_to(project).as_posix() for path in written] == [
        "app/protos/__init__.py",
        "app/protos/codegen_test/__init__.py",
        "app/protos/codegen_test/common/__init__.py",
        "app/protos/codegen_test/common/page_token_pb2.py",
        "app/protos/codegen_test/common/page_token_pb2.pyi",
        "app/protos/codegen_test/user/__init__.py",
        "app/protos/codegen_test/user/kind_pb2.py",
        "app/protos/codegen_test/user/kind_pb2.pyi",
        "app/protos/codegen_test/user/user_pb2.py",
        "app/protos/codegen_test/user/user_pb2.pyi",
        "app/protos/codegen_test/user/user_pb2_grpc.py",
        "app/protos/codegen_test/user/user_pb2_grpc.pyi",
        "app/protos/codegen_test_top_pb2.py",
        "app/protos/codegen_test_top_pb2.pyi",
        "checks/protos/__init__.py",
        "checks/protos/probe/__init__.py",
        "checks/protos/probe/testing/__init__.py",
        "checks/protos/probe/testing/probe_pb2.py",
        "checks/protos/probe/testing/probe_pb2.pyi",
    ]


@pytest.mark.usefixtures("importable")
def test_the_modules_work_from_their_package(plan: codegen.Plan) -> None:
    codegen.generate(plan)
    messages = importlib.import_module("app.protos.codegen_test.user.user_pb2")
    stubs = importlib.import_module("app.protos.codegen_test.user.user_pb2_grpc")
    top = importlib.import_module("app.protos.codegen_test_top_pb2")
    user = messages.User(kind=1, token={"text": "next"}, status={"code": 5}, top=top.Top(number=3))
    assert messages.User.FromString(user.SerializeToString()) == user
    assert pickle.loads(pickle.dumps(user)) == user
    assert messages.User.__module__ == "app.protos.codegen_test.user.user_pb2"
    assert stubs.grpc is importlib.import_module("pygrpc")
    assert "codegen_test" not in sys.modules


def test_generation_is_deterministic_and_idempotent(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    first = tree(project)
    assert codegen.generate(plan) == []
    for path in project.rglob("*_pb2*"):
        path.unlink()
    codegen.generate(plan)
    assert tree(project) == first


def test_nothing_generated_names_a_folder_of_the_machine(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    for name, content in tree(project).items():
        assert str(project).encode() not in content, name


def test_check_is_silent_when_all_is_well(plan: codegen.Plan) -> None:
    codegen.generate(plan)
    assert codegen.check(plan) == []


def test_check_names_each_file_once_and_writes_nothing(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    edited = project / "app/protos/codegen_test/user/kind_pb2.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    gone = project / "app/protos/codegen_test/user/user_pb2_grpc.py"
    gone.unlink()
    (project / "app/protos/codegen_test/user/__init__.py").unlink()
    before = tree(project)
    assert codegen.check(plan) == [
        f"{project}/app/protos/codegen_test/user/__init__.py is missing.",
        f"{edited} is out of date.",
        f"{gone} is missing.",
    ]
    assert tree(project) == before


def test_check_sees_a_changed_proto(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    (project / "protos/codegen_test_top.proto").write_text(TOP.replace("number", "amount"), encoding="utf-8")
    assert codegen.check(plan) == [
        f"{project}/app/protos/codegen_test_top_pb2.py is out of date.",
        f"{project}/app/protos/codegen_test_top_pb2.pyi is out of date.",
    ]


def test_check_sees_what_is_left_of_a_proto_that_is_gone(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    (project / "protos/probe/testing/probe.proto").unlink()
    (project / "checks/protos/own_pb2.py").write_text("# Written by hand.\n", encoding="utf-8")
    hidden = project / "checks/protos/.venv/other_pb2.py"
    hidden.parent.mkdir()
    hidden.write_text("# Generated by pygrpc.codegen from other.proto. Do not edit.\n", encoding="utf-8")
    folder = f"{project}/checks/protos/probe/testing"
    assert codegen.check(plan) == [
        f"{folder}/probe_pb2.py is left over: no .proto file gives it, so delete it.",
        f"{folder}/probe_pb2.pyi is left over: no .proto file gives it, so delete it.",
    ]


def test_a_package_that_exists_keeps_its_text(plan: codegen.Plan, project: Path) -> None:
    init = project / "app/protos/__init__.py"
    init.parent.mkdir(parents=True)
    init.write_text("OWN = 1\n", encoding="utf-8")
    assert init not in codegen.generate(plan)
    assert init.read_text(encoding="utf-8") == "OWN = 1\n"
    assert codegen.check(plan) == []


def test_an_unchanged_file_is_not_written_again(plan: codegen.Plan, project: Path) -> None:
    codegen.generate(plan)
    module = project / "app/protos/codegen_test/user/kind_pb2.py"
    os.utime(module, (1, 1))
    codegen.generate(plan)
    assert module.stat().st_mtime == 1


def test_a_file_is_written_if_its_text_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.py"
    assert write_if_changed(path, "first\n")
    assert not write_if_changed(path, "first\n")
    assert write_if_changed(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()


def test_the_longest_prefix_decides(project: Path) -> None:
    everything = codegen.Target("", project / "a")
    testing = codegen.Target("grpc/testing", project / "b")
    plan = codegen.Plan(project, (everything, testing))
    assert plan.target_of("grpc/testing/test.proto") is testing
    assert plan.target_of("grpc/testing_more/test.proto") is everything
    assert plan.target_of("top.proto") is everything


def test_a_proto_without_a_target(project: Path) -> None:
    plan = codegen.Plan(project / "protos", (codegen.Target("probe", project / "out"),))
    with pytest.raises(codegen.CodegenError, match=r"^codegen_test/\S+\.proto lies below none of the prefixes"):
        codegen.generate(plan)


@pytest.mark.parametrize(("name", "part"), [("3d/a.proto", "3d"), ("v1/a b.proto", "a b_pb2")])
def test_a_path_that_python_cannot_import(plan: codegen.Plan, project: Path, name: str, part: str) -> None:
    path = project / "protos" / name
    path.parent.mkdir()
    path.write_text('syntax = "proto3";', encoding="utf-8")
    with pytest.raises(codegen.CodegenError, match=f"^{name} has '{part}' in its path, which is no Python name"):
        codegen.generate(plan)


def test_a_proto_that_does_not_compile(plan: codegen.Plan, project: Path) -> None:
    (project / "protos/codegen_test_top.proto").write_text("syntax = 'proto3'; message {}", encoding="utf-8")
    with pytest.raises(codegen.CodegenError, match=r"^protoc refused the protos: .*codegen_test_top\.proto:1:28:"):
        codegen.generate(plan)
    assert not (project / "app").exists()


def test_a_folder_without_protos(tmp_path: Path) -> None:
    with pytest.raises(codegen.CodegenError, match=r"^There are no \.proto files below "):
        codegen.generate(codegen.Plan(tmp_path, (codegen.Target("", tmp_path),)))


@pytest.mark.parametrize("missing", ["grpc_tools", "google.rpc"])
def test_an_extra_that_is_not_installed(plan: codegen.Plan, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    texts = {
        "grpc_tools": r"^grpcio-tools is not installed: run pip install 'pygrpc\[codegen\]'\.$",
        "google.rpc": r"google/rpc/status\.proto: File not found",
    }
    with pytest.raises(codegen.CodegenError, match=texts[missing]):
        codegen.generate(plan)


def test_a_file_with_a_pool_of_its_own(project: Path, importable: None) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT + 'own_pools = ["probe"]\n', encoding="utf-8")
    assert codegen.generate(codegen.read_plan(project))
    assert codegen.check(codegen.read_plan(project)) == []
    # Another file that defines the same name does not matter, whichever comes first.
    default = descriptor_pool.Default()
    default.Add(
        FileDescriptorProto(name="another.proto", package="probe.testing", message_type=[DescriptorProto(name="Probe")])
    )
    probe = importlib.import_module("checks.protos.probe.testing.probe_pb2").Probe
    assert probe.FromString(probe().SerializeToString()) == probe()
    assert default.FindMessageTypeByName("probe.testing.Probe").file.name == "another.proto"
    assert importlib.import_module("app.protos.codegen_test_top_pb2").DESCRIPTOR.pool is default


def test_a_file_with_a_pool_of_its_own_can_not_import(project: Path) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT + 'own_pools = ["codegen_test/user/"]\n', encoding="utf-8")
    with pytest.raises(codegen.CodegenError, match=r"^codegen_test/user/user\.proto imports .*: a file in own_pools"):
        codegen.generate(codegen.read_plan(project))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "does not exist: run in the project's folder"),
        ("[tool", "is not valid TOML"),
        ("", r"needs \[tool\.pygrpc\.codegen\]"),
        ("[tool.pygrpc]\ncodegen = 1", r"needs \[tool\.pygrpc\.codegen\]"),
        ('[tool.pygrpc.codegen]\nprotos = "protos"\nout = "out"', r"needs \[tool\.pygrpc\.codegen\]"),
        ('[tool.pygrpc.codegen]\nprotos = "protos"\nout = { a = 1 }', r"needs \[tool\.pygrpc\.codegen\]"),
    ],
)
def test_a_pyproject_that_cannot_be_used(tmp_path: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(codegen.CodegenError, match=rf"pyproject\.toml {complaint}"):
        codegen.read_plan(tmp_path)
