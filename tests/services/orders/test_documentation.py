"""The program of docs/services.md."""

from __future__ import annotations

import re

import pytest

from tests.services.program import ROOT

PAGE = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")


def test_the_program_about_orders_runs(capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE[PAGE.index("## Orders") :]
    program = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    exec(compile(program, "docs/services.md", "exec"), {})
    assert capsys.readouterr().out == "ann ORDER_STATUS_PENDING 0\nbob ORDER_STATUS_FILLED 1\n"
