"""The command line of pygrpc.codegen."""

from __future__ import annotations

from pathlib import Path

import pytest

from pygrpc.codegen.__main__ import main

PROTO = 'syntax = "proto3"; package command_test; message Empty {}'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "protos").mkdir()
    (tmp_path / "protos/command_test.proto").write_text(PROTO, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pygrpc.codegen]\nprotos = "protos"\nout = { "" = "gen" }\n', encoding="utf-8"
    )
    return tmp_path


def test_generate_then_check(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(project)]
    assert main(root) == 0
    module = project / "gen/command_test_pb2.py"
    assert f"wrote {module}\n" in capsys.readouterr().out
    assert module.exists()
    for arguments in (root, [*root, "--check"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == "All generated modules are up to date.\n"


def test_check_fails_with_a_sentence_for_each_stale_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(project), "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"{project}/gen/{name} is missing." for name in (
        "__init__.py", "command_test_pb2.py", "command_test_pb2.pyi")]  # fmt: skip
    assert lines[3].startswith("Run python -m pygrpc.codegen")
    assert not (project / "gen").exists()


def test_folders_can_be_given_in_place_of_a_pyproject(project: Path) -> None:
    (project / "pyproject.toml").unlink()
    assert main(["--protos", str(project / "protos"), "--out", str(project / "app" / "gen")]) == 0
    assert (project / "app/gen/command_test_pb2.py").exists()


def test_an_error_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pygrpc.codegen: ")
    assert captured.err.count("\n") == 1


def test_protos_without_out_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--protos", "x"])
    assert "--protos and --out go together" in capsys.readouterr().err
