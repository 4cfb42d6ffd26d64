"""The latencies of a load test as an SVG; matplotlib, which draws it, is in the ``load`` extra."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.result import LoadResult

_ROWS = 60
_MARKS = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"))
# Text stays text, and the same figures give the same bytes.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "pygrpc", "font.family": "sans-serif", "font.size": 9}


def check(path: Path) -> None:
    """Checks that a plot can be drawn into a file, before a test that would end without one.

    Raises:
        LoadError: It can't.
    """
    if not path.absolute().parent.is_dir():
        raise LoadError(f"there is no folder {path.parent} for the plot")
    if find_spec("matplotlib") is None:
        raise LoadError("a plot needs matplotlib: run pip install 'pygrpc[load]'")


def write(plan: Plan, result: LoadResult, path: Path) -> None:
    """Draws how many calls took how long.

    Raises:
        OSError: The file can't be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    latencies = result.latencies()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        for low, high, count in latencies.rows(_ROWS):
            axes.bar(low * 1000, count, width=(high - low) * 1000, align="edge", color="#1f6feb", linewidth=0)
        if latencies.count:
            axes.set_xscale("log")
            for share, name in _MARKS:
                at = latencies.quantile(share) * 1000
                axes.axvline(at, color="#d97706", linewidth=1)
                axes.annotate(f"{name}\n{at:.3g} ms", (at, 1), xycoords=("data", "axes fraction"), va="top", fontsize=7)
        axes.set_title(f"{plan.method}: {result.calls:,} calls, {result.rate:,.0f}/s")
        axes.set_xlabel("latency in ms")
        axes.set_ylabel("calls")
        figure.savefig(path, format="svg", metadata={"Date": None})
