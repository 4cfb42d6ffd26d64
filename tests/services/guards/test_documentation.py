"""The examples of docs/guards.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_examples_run() -> None:
    page = (ROOT / "docs" / "guards.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", examples[0]], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("metrics at http://127.0.0.1:")
