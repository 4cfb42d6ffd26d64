"""The page of the documentation that a run writes."""

from pathlib import Path

import pytest

from benchmarks.publish import MARKER, PAGE, publish
from tests.benchmarks.fakes import a_run

DOCS = Path(__file__).parents[2] / "docs"


def test_results_replace_those_of_the_run_before(tmp_path: Path) -> None:
    page = tmp_path / PAGE
    page.write_text(f"What it means.\n\n{MARKER}\n\nold figures\n")
    for _ in range(2):
        publish(tmp_path, a_run(), "- Date: today", '{"figures": 1}')
    shown = page.read_text()
    assert shown.startswith(f"What it means.\n\n{MARKER}\n\n## Results\n\n- Date: today\n")
    assert shown.count("### Goals") == 1
    assert "old figures" not in shown
    assert "![size](benchmarks/size.svg)" in shown
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} == {
        *("goals.svg", "latency.svg", "size.svg", "figures.json")
    }
    assert (tmp_path / "benchmarks/figures.json").read_text() == '{"figures": 1}\n'


def test_a_page_without_the_line_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("Somebody's page.\n")
    with pytest.raises(ValueError, match="has no line"):
        publish(tmp_path, a_run(), "", "{}")
    assert [path.name for path in tmp_path.iterdir()] == [PAGE]


def test_the_page_of_this_project_has_the_line() -> None:
    assert (DOCS / PAGE).read_text().count(MARKER) == 1
