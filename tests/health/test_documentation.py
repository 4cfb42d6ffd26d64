"""The examples of docs/health.md print what the page says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

PAGE = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(3))
def test_an_example_prints_what_stands_behind_it(number: int) -> None:
    assert len(EXAMPLES) == 3
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    promised = re.findall(r"print\(.*\)  # (.*)$", EXAMPLES[number], re.MULTILINE)
    assert [line for line in run.stdout.splitlines() if line] == promised
