"""The command ``pygrpc generate``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pygrpc.cli import COMMANDS
from pygrpc.cli.commands import main as pygrpc
from pygrpc.codegen import compiler
from pygrpc.codegen.command import main
from tests.source_tree import ROOT

CHAT = """
syntax = "proto3";
package command_chat.v1;
import "common/page.proto";
service Chat { rpc Say(common.Page) returns (common.Page); }
message Room { common.Page page = 1; }
"""
PAGE = 'syntax = "proto3"; package common; message Page {}'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with protos, which is the working directory."""
    for name, text in {"chat/v1/chat.proto": CHAT, "common/page.proto": PAGE}.items():
        path = tmp_path / "protos" / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MODULES = [
    "chat/v1/chat_pb2.py",
    "chat/v1/chat_pb2.pyi",
    "chat/v1/chat_pb2_grpc.py",
    "chat/v1/chat_pb2_grpc.pyi",
    "common/page_pb2.py",
    "common/page_pb2.pyi",
]
ALL = ["-I", "protos", "chat/v1/chat.proto", "common/page.proto", "--out", "app/protos"]


def test_modules_are_written_and_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ALL) == 0
    captured = capsys.readouterr()
    assert captured.out == "".join(f"wrote {Path('app/protos', name)}\n" for name in MODULES)
    assert captured.err == ""
    assert files_below(project / "app") == [f"protos/{name}" for name in MODULES]
    text = (project / "app/protos/chat/v1/chat_pb2_grpc.py").read_text(encoding="utf-8")
    assert "\nfrom common import page_pb2 as common_dot_page__pb2\n" in text
    assert "\nimport pygrpc as grpc\n" in text


def test_a_second_run_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ALL) == 0
    module = project / "app/protos/common/page_pb2.py"
    os.utime(module, (1, 1))
    capsys.readouterr()
    assert main(ALL) == 0
    assert capsys.readouterr().out == "All generated modules are up to date.\n"
    assert module.stat().st_mtime == 1


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["--relative-imports"], "from ...common import page_pb2 as common_dot_page__pb2"),
        (["--import-prefix", "app.protos"], "from app.protos.common import page_pb2 as common_dot_page__pb2"),
    ],
)
def test_modules_in_a_package(project: Path, option: list[str], line: str) -> None:
    (project / "app/protos/common").mkdir(parents=True)
    assert main([*ALL, *option]) == 0
    # Folders that were made are packages; those that were there may be kept free of files for a reason.
    made = ["chat/__init__.py", "chat/v1/__init__.py"]
    assert files_below(project / "app/protos") == sorted([*MODULES, *made])
    for name in ("chat_pb2.py", "chat_pb2_grpc.py", "chat_pb2_grpc.pyi"):
        text = (project / "app/protos/chat/v1" / name).read_text(encoding="utf-8")
        assert f"\n{line}\n" in text, name
    code = "import app.protos.chat.v1.chat_pb2_grpc as services; print(services.ChatStub.__module__)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT)}
    )
    assert (result.stdout, result.stderr) == ("app.protos.chat.v1.chat_pb2_grpc\n", "")


def test_a_package_that_is_made_as_a_whole(project: Path) -> None:
    assert main([*ALL, "--relative-imports"]) == 0
    made = ["__init__.py", "chat/__init__.py", "chat/v1/__init__.py", "common/__init__.py"]
    assert files_below(project / "app/protos") == sorted([*MODULES, *made])
    assert not (project / "app/__init__.py").exists()


def test_protos_that_are_not_named_stay_where_they_are_unless_they_are_local(project: Path) -> None:
    module = project / "app/chat/v1/chat_pb2_grpc.py"
    arguments = ["-I", "protos", "chat/v1/chat.proto", "--out", "app", "--relative-imports"]
    assert main(arguments) == 0
    assert "\nfrom common import page_pb2 as" in module.read_text(encoding="utf-8")
    assert main([*arguments, "--local", "common"]) == 0
    assert "\nfrom ...common import page_pb2 as" in module.read_text(encoding="utf-8")


def test_the_default_folders_are_the_working_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "protos")
    assert main(["common/page.proto"]) == 0
    assert (project / "protos/common/page_pb2.py").exists()


def test_files_may_be_named_by_their_paths_on_disk(project: Path) -> None:
    protos = project / "protos"
    by_path = [str(protos / "chat/v1/chat.proto"), str(protos / "common/page.proto")]
    assert main(["--proto-path", str(protos), *by_path, "--out", "by_path"]) == 0
    assert main(["--proto-path", "protos", "common/page.proto", "chat/v1/chat.proto", "--out", "by_name"]) == 0
    assert files_below(project / "by_path") == MODULES
    for name in MODULES:
        text = (project / "by_path" / name).read_bytes()
        assert text == (project / "by_name" / name).read_bytes()
        assert str(project).encode() not in text


def test_for_grpcio(project: Path) -> None:
    assert main([*ALL, "--grpc-module", "grpc"]) == 0
    assert "\nimport grpc\n" in (project / "app/protos/chat/v1/chat_pb2_grpc.py").read_text(encoding="utf-8")
    assert "\nimport grpc as _grpc\n" in (project / "app/protos/chat/v1/chat_pb2_grpc.pyi").read_text(encoding="utf-8")


def test_what_protoc_complains_about_is_shown_as_it_is(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "protos/common/page.proto").write_text('syntax = "proto3"; message {}\nmessage M { int33 x = 1; }')
    assert main(ALL) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "protos/common/page.proto:1:28: Expected message name."
    assert "pygrpc generate" not in captured.err
    assert not (project / "app").exists()


def test_a_proto_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing.proto"]) == 1
    assert capsys.readouterr().err == "Could not make proto path relative: missing.proto: No such file or directory\n"


def test_warnings_of_protoc_are_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "protos/unused.proto"
    path.write_text('syntax = "proto3"; import "common/page.proto";', encoding="utf-8")
    assert main(["-I", "protos", "unused.proto", "--out", "app"]) == 0
    assert "warning: Import common/page.proto is unused." in capsys.readouterr().err


def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert main(ALL) == 1
    captured = capsys.readouterr()
    assert captured.err == "pygrpc generate: grpcio-tools is not installed: run pip install 'pygrpc[codegen]'.\n"
    assert captured.out == ""


def test_an_output_folder_that_is_a_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "app").write_text("", encoding="utf-8")
    assert main(ALL) == 1
    error = capsys.readouterr().err
    assert error.startswith("pygrpc generate: ")
    assert error.count("\n") == 1
    assert "app" in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: PROTO"),
        (
            [*ALL, "--relative-imports", "--import-prefix", "app"],
            "relative_imports and import_prefix exclude each other",
        ),
        ([*ALL, "--import-prefix", "app/protos"], "import_prefix is a package, such as app.protos"),
        ([*ALL, "--grpc-module", "grpclib"], "invalid choice: 'grpclib'"),
        ([*ALL, "--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert error.startswith("usage: pygrpc generate ")
    assert complaint in error


def test_the_program_finds_the_command(project: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pygrpc.cli", "generate", *ALL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert files_below(project / "app/protos") == MODULES


def test_the_program_passes_on_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert pygrpc(["generate", "missing.proto"]) == 1
    assert "missing.proto" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        pygrpc(["generate", "--help"])
    assert capsys.readouterr().out.startswith("usage: pygrpc generate ")


@pytest.mark.parametrize("arguments", [[], ["frobnicate"]])
def test_an_unknown_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        pygrpc(arguments)
    assert capsys.readouterr().err.startswith("usage: pygrpc ")


def test_help_names_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        pygrpc(["--help"])
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in text
        assert command.help in text
        assert callable(command.load())


def test_a_command_is_not_imported_before_it_runs() -> None:
    code = "import sys, pygrpc.cli.__main__; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    modules = [command.module for command in COMMANDS.values()]
    result = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
