"""The command line of `pygrpc serve`, without serving."""

from __future__ import annotations

from pathlib import Path

import pytest

from pygrpc.cli import COMMANDS
from pygrpc.services.serving import command
from pygrpc.services.serving.configuration import SETTINGS


def test_the_command_is_the_one_of_pygrpc() -> None:
    assert COMMANDS["serve"].load() is command.main


def test_the_configuration_can_be_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("grace = 1\nreflection = true\n")
    environment = {"GRPC_CONFIG": str(file), "DATABASE_URL": "postgresql://ann:pw@host/x"}
    assert command.main(["--print-config", "--port", "1", "--no-reflection"], environment) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(SETTINGS)
    for line in (
        "port = 1  # --port",
        "reflection = false  # --reflection",
        f"grace = 1.0  # grace in {file}",
        'database = "postgresql://ann:***@host/x"  # DATABASE_URL',
        'host = "127.0.0.1"  # default',
    ):
        assert line in printed


def test_the_file_of_the_option_comes_before_the_one_of_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("port = 2\n")
    assert command.main(["--print-config", "--config", str(file)], {"GRPC_CONFIG": "missing"}) == 0
    assert f"port = 2  # port in {file}\n" in capsys.readouterr().out


def test_a_setting_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--port", "x"], {}) == 2
    assert capsys.readouterr() == ("", "pygrpc serve: --port must be a whole number from 0 to 65535, not 'x'\n")


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["--por", "1"], ["serve"]])
def test_an_option_that_there_is_not(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(arguments, {})
    assert raised.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_help_tells_of_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["--help"], {})
    assert raised.value.code == 0
    words = capsys.readouterr().out.split()
    for each in SETTINGS:
        assert each.option in words or f"{each.option}," in words
        assert f"[{each.environment}]" in words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ("", "none"), ((), "none"), (True, "on"), (("a", "b"), "a,b"), (10.0, "10"), (0, "0"), ("x", "x")],
)
def test_defaults_in_the_help(value: object, text: str) -> None:
    assert command.plain(value) == text
