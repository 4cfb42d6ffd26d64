"""docs/serving.md has every setting as the code has it."""

from __future__ import annotations

import re

import pytest

from pygrpc.services.serving.command import plain
from pygrpc.services.serving.configuration import SETTINGS
from pygrpc.services.serving.services import SERVICES
from tests.services.program import ROOT

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def rows(header: str) -> list[str]:
    """Returns the rows of the table with this header."""
    lines = PAGE[PAGE.index(header) :].splitlines()[2:]
    return lines[: next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))]


def test_the_table_of_settings() -> None:
    expected = [
        f"| `{each.name}` | `{each.environment}` | {each.kind.name} | {default_of(each.default)} | {each.help} |"
        for each in SETTINGS
    ]
    assert rows("| setting | environment |") == expected, "\n".join(expected)


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(program, "docs/serving.md", "exec"), {})
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", capsys.readouterr().out)


def default_of(value: object) -> str:
    text = plain(value)
    return text if text in ("none", "on", "off") else f"`{text}`"


def test_the_table_of_services() -> None:
    expected = [
        f"| `{name}` | {', '.join(f'`{contract}`' for contract in service.contracts)} |"
        for name, service in SERVICES.items()
    ]
    assert rows("| service | contracts |") == expected, "\n".join(expected)
