"""The quick start of README.md does what it says."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pygrpc.codegen.__main__ import main as codegen
from tests.source_tree import ROOT


@pytest.fixture
def quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Writes the files of the quick start, runs the command between them, and gives the output that it promises."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (command,) = re.findall(r"^ {4}python -m pygrpc\.codegen (.*)$", text, re.MULTILINE)
    (output,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert codegen(command.split()) == 0
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield output
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("app", "server", "client"):
            del sys.modules[name]


async def test_the_quick_start(quick_start: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = await importlib.import_module("server").start("unix:greet.sock")
    capsys.readouterr()
    await importlib.import_module("client").main("unix:greet.sock")
    assert capsys.readouterr().out == quick_start
    await server.stop(None)
