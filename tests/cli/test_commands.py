"""The choice among the commands of ``pygrpc``."""

from __future__ import annotations

import pytest
from google.protobuf.runtime_version import VersionError

from pygrpc.cli import commands
from pygrpc.cli.commands import Command, MissingExtra


def test_a_command_whose_packages_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "serve", Command("serve", "no_such_package", "services"))
    assert commands.main(["serve"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        "pygrpc serve: it needs the package of no_such_package, which is not installed: "
        "pip install 'pygrpc[services]'\n"
    )


@pytest.mark.parametrize(("module", "extra"), [("no_such_package", ""), ("pygrpc.no_such_module", "services")])
def test_a_module_that_is_missing_for_another_reason_is_a_defect(module: str, extra: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        Command("help", module, extra).load()


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_can_be_loaded(name: str) -> None:
    try:
        assert callable(commands.COMMANDS[name].load())
    except MissingExtra:
        pytest.skip("its extra is not installed")


def test_a_protobuf_that_is_too_old(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str) -> None:
        raise VersionError("gencode 7.35.1 runtime 6.33.0")

    monkeypatch.setattr("importlib.import_module", refuse)
    assert commands.main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "pygrpc serve: the package protobuf is too old for it: pip install 'pygrpc[services]' brings a newer one\n"
    )
