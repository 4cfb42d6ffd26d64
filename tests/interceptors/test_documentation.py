"""The examples of docs/interceptors.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "interceptors.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
TIMELINE = {
    "client": ["begins /demo.Counter/Count", "request b'go'", "response b'one'", "response b'two'", "ends OK"],
    "server": ["begins /demo.Counter/Count", "request b'go'", "response b'one'", "response b'two'", "ends OK"],
}


@pytest.mark.parametrize("number", range(3))
def test_an_example_runs(number: int) -> None:
    assert len(EXAMPLES) == 3
    # In a process of its own, as its reader would run it.
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    if number == 0:
        for side, lines in TIMELINE.items():
            printed = [line.removeprefix(f"{side} ") for line in run.stdout.splitlines() if line.startswith(side)]
            assert [line.partition(" {")[0].strip() for line in printed] == lines
            assert "'counted': '2'" in printed[-1]
