"""The examples of docs/clients.md run."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.services.clients.commands.support import Run, run
from tests.source_tree import ROOT

__all__ = ["run"]

TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
[COMMANDS] = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int) -> None:
    example = EXAMPLES[number].replace("127.0.0.1:50051", os.environ["PYGRPC_SERVER"])
    names: dict[str, Any] = {}
    if "await " in example:
        example = f"async def main():\n{textwrap.indent(example, '    ')}"
        exec(example, names)
        asyncio.run(names["main"]())
    else:
        exec(example, names)


def test_the_commands_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.csv").write_text("name,email\nBob,bob@example.com\n")
    (tmp_path / "orders.jsonl").write_text("")
    (tmp_path / "report.pdf").write_bytes(b"report")
    (tmp_path / "copies").mkdir()
    lines = [line for line in COMMANDS.splitlines() if line]
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "pygrpc"
        read, write = os.pipe()
        os.write(write, b"buy apple 2 1.00\n")
        os.close(write)
        monkeypatch.setattr("pygrpc.services.clients.commands.standard_input.INPUT", read)
        ended = run(*arguments)
        os.close(read)
        # There is no user with the id that stands in the example.
        assert ended.status == (1 if "watch" in arguments else 0), ended
    assert (tmp_path / "copies" / "report.pdf").read_bytes() == b"report"
