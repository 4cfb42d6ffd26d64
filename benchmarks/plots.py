"""The plots of the figures, as SVG; matplotlib, which draws them, is in the `bench` extra."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Results, find, judged, medians, met, per_unit, summarize, values
from benchmarks.latency import PERCENTILES
from benchmarks.scenarios import CURVES, PLAIN, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "matplotlib is not installed, so there are no plots; the extra `bench` brings it"
_COLORS = {"pygrpc.aio": "#1f6feb", "grpc.aio": "#d97706", "grpclib": "#15803d", "raw asyncio": "#6b7280"}
_GOOD, _BAD = "#15803d", "#b91c1c"
# Text stays text, and the same figures give the same bytes, so that a new run changes what is new only.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pygrpc",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
}


def installed() -> bool:
    """Return whether plots can be drawn."""
    return find_spec("matplotlib") is not None


def write(results: Results, folder: Path) -> dict[str, str]:
    """Draw what was measured; return the names of the files: "goals", "latency", and those of the curves.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If the folder can't be written to.
    """
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with matplotlib.rc_context(_STYLE):
        drawn = {"goals": _goals(results), "latency": _latency(results)}
        costs = per_unit(results)
        for curve in CURVES:
            drawn[curve.name] = _curve(curve, [row for row in costs if row["curve"] == curve.name])
        for name, figure in drawn.items():
            if figure is not None:
                written[name] = f"{name}.svg"
                figure.savefig(folder / written[name], metadata={"Date": None})
                _strip(folder / written[name])
    return written


def _strip(path: Path) -> None:
    # matplotlib leaves spaces at the ends of lines.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _goals(results: Results) -> "Figure | None":
    """Draw the ratios of the goals as bars, each goal as a mark."""
    rows = [(goal, measured) for goal, measured in judged(results) if measured is not None and not goal.note]
    if not rows:
        return None
    figure = _figure(9, 1 + 0.27 * len(rows))
    axes = figure.subplots()
    labels = [f"{goal.scenario} ({goal.key}): {goal.who} / {goal.against}" for goal, _ in rows]
    places = range(len(rows))
    colors = [_GOOD if met(goal, measured) else _BAD for goal, measured in rows]
    # On a logarithmic axis a bar has no natural start: it begins at "no difference".
    axes.barh(places, [max(measured, 0.01) - 1 for _, measured in rows], left=1, color=colors, height=0.6)
    marks = [goal.ratio for goal, _ in rows]
    axes.scatter(marks, places, marker="|", s=120, color="black", zorder=3, label="goal")
    axes.set(xscale="log", xlabel="ratio in one run", yticks=places, yticklabels=labels)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right")
    return figure


def _latency(results: Results) -> "Figure | None":
    """Draw the percentiles of each implementation, with the spread over the rounds."""
    scenario = next(scenario for scenario in PLAIN if scenario.name == "latency")
    figure = _figure(7, 3.5)
    axes = figure.subplots()
    for name in scenario.implementations:
        result = find(results, "latency", name)
        if result is None or "p50" not in medians(result):
            continue
        known = [percent for percent in PERCENTILES if values(result, f"p{percent:g}")]
        summaries = [summarize([1e6 * value for value in values(result, f"p{percent:g}")]) for percent in known]
        _line(axes, name, [PERCENTILES.index(percent) for percent in known], [each._asdict() for each in summaries])
    if not axes.lines:
        return None
    ticks = range(len(PERCENTILES))
    axes.set(yscale="log", ylabel="µs from when the call was due", xticks=ticks)
    axes.set_xticklabels([f"p{percent:g}" for percent in PERCENTILES])
    axes.legend()
    return figure


def _curve(curve: Curve, rows: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Draw time and memory per unit, side by side."""
    if not rows:
        return None
    figure = _figure(10, 3.6)
    panels = figure.subplots(1, 2)
    kinds = (("seconds", 1e6, f"µs per {curve.time_unit[0]}"), ("bytes", 1 / 1024, f"KiB per {curve.memory_unit[0]}"))
    for axes, (key, scale, label) in zip(panels, kinds, strict=True):
        for name in dict.fromkeys(row["implementation"] for row in rows):
            mine = [row for row in rows if row["implementation"] == name]
            costs = [{end: value * scale for end, value in row[key].items()} for row in mine]
            _line(axes, name, [row["point"] for row in mine], costs)
        first = min(point for point in curve.points if point)
        axes.set_xscale("symlog", linthresh=first) if 0 in curve.points else axes.set_xscale("log")
        # What is too little to be seen is not drawn; a flat line should look flat, hence two decades at least.
        axes.set_yscale("log", nonpositive="mask")
        low, high = axes.get_ylim()
        axes.set(xlabel=curve.axis, ylabel=label, ylim=(min(low, high / 100), high * 1.2))
    panels[0].legend()
    figure.suptitle(f"{curve.title}: flat or falling is good")
    return figure


def _line(axes: "Axes", name: str, points: Sequence[float], costs: Sequence[Mapping[str, float]]) -> None:
    color = _COLORS.get(name)
    axes.plot(points, [cost["median"] for cost in costs], marker="o", markersize=3, label=name, color=color)
    ends = ([cost["lowest"] for cost in costs], [cost["highest"] for cost in costs])
    axes.fill_between(points, *ends, color=color, alpha=0.15, linewidth=0)
