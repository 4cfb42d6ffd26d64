"""The plots: what is drawn, and that it is drawn the same each time."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks import plots
from tests.benchmarks.fakes import a_run


def words(path: Path) -> set[str]:
    return {"".join(element.itertext()).strip() for element in ElementTree.parse(path).iter() if "text" in element.tag}


def test_plots_are_drawn_of_what_was_measured(tmp_path: Path) -> None:
    written = plots.write(a_run(), tmp_path / "new")
    assert written == {"goals": "goals.svg", "latency": "latency.svg", "size": "size.svg"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(written.values())
    assert {"pygrpc.aio", "grpc.aio", "µs per KiB", "KiB per KiB"} <= words(tmp_path / "new/size.svg")
    assert {"p50", "p99.9", "pygrpc.aio"} <= words(tmp_path / "new/latency.svg")
    assert "concurrent (rate): pygrpc.aio / grpc.aio" in words(tmp_path / "new/goals.svg")


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        plots.write(a_run(), tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert plots.write({}, tmp_path) == {}
