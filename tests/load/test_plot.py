"""The plot of the latencies."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from pygrpc.load import plot
from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.requests import Requests
from pygrpc.load.result import LoadResult, Outcome

PLAN = Plan("host:1", "a.B/C", Requests((b"",)))


def drawn(result: LoadResult, path: Path) -> str:
    plot.write(PLAN, result, path)
    return "".join(ElementTree.parse(path).getroot().itertext())


def test_the_plot_names_what_it_shows(tmp_path: Path) -> None:
    result = LoadResult(seconds=2.0)
    for number in range(1, 101):
        result.record(Outcome("OK"), number / 1000)
    text = drawn(result, tmp_path / "first.svg")
    assert "a.B/C: 100 calls, 50/s" in text and "latency in ms" in text
    assert all(name in text for name in ("p50", "p95", "p99", "p99.9"))
    drawn(result, tmp_path / "second.svg")
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


@pytest.mark.parametrize("latencies", [[], [0.5], [0.5, 0.5]])
def test_few_calls(tmp_path: Path, latencies: list[float]) -> None:
    result = LoadResult(seconds=2.0)
    for latency in latencies:
        result.record(Outcome("OK"), latency)
    assert f"{len(latencies)} calls" in drawn(result, tmp_path / "plot.svg")


def test_a_machine_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plot.check(path)
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(LoadError, match=r"a plot needs matplotlib: run pip install 'pygrpc\[load\]'"):
        plot.check(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"there is no folder .*none for the plot"):
        plot.check(tmp_path / "none" / "plot.svg")
    plot.check(Path("plot.svg"))
