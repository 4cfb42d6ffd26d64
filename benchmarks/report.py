"""The tables and the JSON that show the figures."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from benchmarks import h2load
from benchmarks.figures import (
    TOLERANCE,
    Results,
    compare_cpu,
    find,
    holds,
    judged,
    kept,
    main_figure,
    medians,
    met,
    per_unit,
    ratios,
    values,
)
from benchmarks.runner import Result
from benchmarks.scenarios import BASELINES, CURVES, VARIANTS, Curve, Goal, Scenario
from pygrpc._version import PYGRPC_VERSION
from pygrpc.core.http2 import Http2Settings, create_engine

LIBRARIES = ("grpcio", "grpclib", "h2", "hpack", "protobuf")
NOT_MEASURED = "-"


def environment() -> dict[str, Any]:
    """Return what the figures depend on: the machine, Python, the versions of the libraries, the load, the time."""

    def version(library: str) -> str:
        try:
            return metadata.version(library)
        except metadata.PackageNotFoundError:
            return "not installed"

    versions = {"pygrpc": PYGRPC_VERSION} | {library: version(library) for library in LIBRARIES}
    if h2load.installed():
        printed = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout
        versions["h2load"] = re.sub(r".*/", "", printed.strip())
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "engine": type(create_engine(Mock(), Http2Settings(), client_side=True)).__name__,
        "versions": versions,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or "unknown"


def describe(environment: Mapping[str, Any], rounds: int, seconds: float) -> str:
    """Return `environment()` and the settings as a list."""
    versions = ", ".join(f"{library} {version}" for library, version in environment["versions"].items())
    return "\n".join(
        [
            f"- Date: {environment['date']}; load average at the start: {environment['load']:.2f}",
            f"- Machine: {environment['machine']}, {environment['cores']} cores, {environment['system']}",
            f"- Software: {environment['python']}, {versions}",
            f"- HTTP/2 engine of pygrpc: {environment['engine']}",
            f"- Medians of {rounds} rounds of {seconds:g} s; a ratio is formed within each round",
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose columns line up as plain text too: the first ones left, the rest right.

    A row may be shorter than the header; its last cell then does not widen a column.
    """
    widths = [0] * len(header)
    for row in (header, *rows):
        whole = row if len(row) == len(header) else row[:-1]
        for column, cell in enumerate(whole):
            widths[column] = max(widths[column], len(cell))

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (width + 2) if column < left else "-" * (width + 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(header), "|" + "|".join(rule) + "|", *map(line, rows)])


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"


Column = tuple[str, Callable[[Result], str]]


def _figure(header: str, key: str, scale: float = 1.0) -> Column:
    def show(result: Result) -> str:
        found = medians(result).get(key)
        return NOT_MEASURED if found is None else number(found * scale)

    return header, show


def _spread(key: str, scale: float = 1.0) -> Column:
    def show(result: Result) -> str:
        found = values(result, key)
        if not found:
            return NOT_MEASURED
        return f"{number(min(found) * scale)} to {number(max(found) * scale)}"

    return "min to max", show


def _columns(scenario: Scenario) -> list[Column]:
    """Return the figures of a scenario, its main one first."""
    cpu = [_figure(f"{side} CPU µs/{scenario.operation}", f"{side}_cpu", 1e6) for side in ("server", "client")]
    memory = [_figure(f"{side} MiB", f"{side}_peak", 1 / 2**20) for side in ("server", "client")]
    match scenario.work.call:
        case "latency":
            others = [_figure(f"{name} µs", name, 1e6) for name in ("p50", "p90", "p99.9")]
            offered = _figure("offered RPC/s", "offered")
            return [_figure("p99 µs", "p99", 1e6), _spread("p99", 1e6), *others, offered, *cpu]
        case "idle" | "hold":
            client = _figure("client KiB", "client_each", 1 / 1024)
            return [_figure("server KiB", "server_each", 1 / 1024), _spread("server_each", 1 / 1024), client]
        case _:
            return [_figure(scenario.unit, "rate"), _spread("rate"), *cpu, *memory]


def _why_not(result: Result) -> str:
    reason = f"failed: {result.failed}" if result.failed else f"left out: {result.left_out}"
    # A | would end the Markdown cell.
    return reason.replace("|", "/")


def scenario_table(results: Results, scenario: Scenario) -> str:
    """Return the table of one scenario."""
    cells = [cell for cell in results if cell[0] == scenario]
    present = {implementation.name for _, implementation in cells}
    bases = [base for base in BASELINES if base in present and base not in scenario.left_out]
    columns = _columns(scenario)
    rows = []
    for cell in cells:
        name, result = cell[1].name, results[cell]
        if not result.samples or result.failed:
            rows.append([name, _why_not(result)])
            continue
        shown = [show(result) for _, show in columns]
        found = ratios(results, scenario, name)
        compared = [number(found[base]) if base in found else NOT_MEASURED for base in bases]
        rows.append([name, *shown[:2], *compared, *shown[2:]])
    headers = [header for header, _ in columns]
    head = ["implementation", *headers[:2], *(f"x {base}" for base in bases), *headers[2:]]
    return table(head, rows)


_FIGURES = {
    "rate": "rate",
    "p99": "p99",
    "server_each": "server's memory",
    "client_each": "client's memory",
}


def _asked(goal: Goal) -> str:
    direction = "at most" if goal.lower else "at least"
    note = f" ({goal.note})" if goal.note else ""
    return f"{direction} {goal.ratio:g}{note}"


def goals_table(results: Results) -> str:
    """Return the goals beside the measured ratios."""
    rows = []
    for goal, measured in judged(results):
        verdict = "not measured" if measured is None else "met" if met(goal, measured) else "**not met**"
        shown = NOT_MEASURED if measured is None else number(measured)
        cpu = compare_cpu(results, goal.scenario, goal.who, goal.against) if goal.key == "rate" else None
        saved = NOT_MEASURED if cpu is None else number(cpu)
        rows.append([goal.scenario, goal.who, goal.against, _FIGURES[goal.key], _asked(goal), shown, verdict, saved])
    head = ["scenario", "who", "against", "ratio of", "goal", "measured", "", "CPU saved"]
    return table(head, rows, left=4) if rows else ""


def variants_table(results: Results) -> str:
    """Return how the ratios of the goals change with each variant."""
    rows = []
    for goal, plain, changed in kept(results):
        row = [goal.scenario, goal.who, goal.against, _FIGURES[goal.key], number(plain)]
        for value in changed.values():
            verdict = "" if value is None or holds(goal, plain, value) else " (worse)"
            row.append(NOT_MEASURED if value is None else number(value) + verdict)
        rows.append(row)
    head = ["scenario", "who", "against", "ratio of", "plain", *(f"+{variant.name}" for variant in VARIANTS)]
    return table(head, rows, left=4) if rows else ""


def curve_table(results: Results, curve: Curve) -> str:
    """Return what a unit costs at each point: the time, and the growth of the memory of both processes."""
    costs = {(row["point"], row["implementation"]): row for row in per_unit(results) if row["curve"] == curve.name}
    measured = {implementation.name: None for scenario, implementation in results if scenario.group == curve.name}
    points = dict.fromkeys(scenario.point for scenario, _ in results if scenario.group == curve.name)
    rows, remarks = [], []
    for point in points:
        assert point is not None
        row = [f"{point:,}"]
        for key, scale in (("seconds", 1e6), ("bytes", 1 / 1024)):
            found = [costs.get((point, name)) for name in measured]
            row += [NOT_MEASURED if cost is None else number(cost[key]["median"] * scale) for cost in found]
        rows.append(row)
        for name in measured:
            result = find(results, f"{curve.name}={point}", name)
            if result is not None and (result.failed or result.left_out):
                remarks.append(f"- {name} at {point:,}: {_why_not(result)}")
    head = [curve.axis, *(f"{name} µs/{curve.time_unit[0]}" for name in measured)]
    head += [f"{name} KiB/{curve.memory_unit[0]}" for name in measured]
    return "\n".join([table(head, rows), *(["", *remarks] if remarks else [])])


def text(results: Results, plots: Mapping[str, str] | None = None) -> str:
    """Return the report: goals, variants, the table of each scenario, curves.

    Args:
        results: What was measured.
        plots: Where the plots are that the report should show: "goals", "latency", and the names of curves.
    """

    def plot(name: str) -> str:
        return f"![{name}]({plots[name]})\n\n" if plots and name in plots else ""

    parts = []
    if shown := goals_table(results):
        parts.append(f"### Goals\n\n{plot('goals')}{shown}\n")
    if shown := variants_table(results):
        meaning = "; ".join(f"+{variant.name}: {variant.title}" for variant in VARIANTS)
        limit = f"A ratio that is worse than the plain one by more than {TOLERANCE:.0%} is marked."
        parts.append(f"### The same ratios with what users add\n\n{meaning}. {limit}\n\n{shown}\n")
    for scenario in dict.fromkeys(cell[0] for cell in results if cell[0].point is None):
        shown = plot("latency") if scenario.name == "latency" else ""
        parts.append(f"### {scenario.name}: {scenario.title}\n\n{shown}{scenario_table(results, scenario)}\n")
    for curve in CURVES:
        if any(scenario.group == curve.name for scenario, _ in results):
            parts.append(f"### {curve.title}\n\n{plot(curve.name)}{curve_table(results, curve)}\n")
    return "\n".join(parts)


def document(results: Results) -> dict[str, Any]:
    """Return everything as a JSON object: rates, seconds, bytes; every figure of every round."""
    rows = []
    for (scenario, implementation), result in results.items():
        row: dict[str, Any] = {"scenario": scenario.name, "implementation": implementation.name, "unit": scenario.unit}
        if result.failed or result.left_out:
            row |= {"failed": result.failed} if result.failed else {"left_out": result.left_out}
        else:
            row |= {"medians": medians(result), "rounds": {key: values(result, key) for key in medians(result)}}
            row |= {"ratios": ratios(results, scenario, implementation.name), "ratios_of": main_figure(scenario)}
        rows.append(row)
    goals = [
        vars(goal) | {"measured": measured, "met": None if measured is None else met(goal, measured)}
        for goal, measured in judged(results)
    ]
    return {"results": rows, "goals": goals, "curves": per_unit(results)}


def to_json(document: Mapping[str, Any]) -> str:
    """Return the text of the JSON object, with a line for each part, or each row of a part; six digits are enough."""

    def line(value: Any) -> str:
        return json.dumps(_rounded(value), ensure_ascii=False)

    parts = []
    for name, part in document.items():
        rows = ",\n  ".join(map(line, part)) if isinstance(part, list) else ""
        parts.append(f" {line(name)}: [\n  {rows}\n ]" if rows else f" {line(name)}: {line(part)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
        case _:
            return value
