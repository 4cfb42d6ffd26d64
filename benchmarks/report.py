"""Statistics over the rounds, and the tables that show them."""

import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from statistics import median
from typing import Any, NamedTuple

from benchmarks import h2load
from benchmarks.implementations import BASELINES
from benchmarks.runner import Cell, Sample
from benchmarks.scenarios import Scenario

LIBRARIES = ("grpcio", "grpclib", "h2", "hpack", "protobuf")
NOT_MEASURED = "-"

Results = Mapping[Cell, list[Sample] | str]


class Summary(NamedTuple):
    """The middle and the ends of the values of all the rounds."""

    median: float
    lowest: float
    highest: float


def summarize(values: Sequence[float]) -> Summary:
    """Return median, minimum and maximum."""
    return Summary(median(values), min(values), max(values))


def ratio(rates: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the median over the rounds of the rate divided by the baseline's rate in the same round.

    What slows a whole round down, another process on the machine for instance, cancels out.
    """
    return median(rate / base for rate, base in zip(rates, baseline, strict=True))


def _rates(samples: list[Sample] | str | None) -> list[float]:
    return [sample.rate for sample in samples] if isinstance(samples, list) else []


def _ratios(scenario: Scenario, samples: list[Sample], results: Results) -> dict[str, float]:
    by_name = {cell[1].name: _rates(found) for cell, found in results.items() if cell[0] == scenario}
    return {base: ratio(_rates(samples), by_name[base]) for base in BASELINES if by_name.get(base)}


def _medians(samples: Sequence[Sample]) -> dict[str, float | None]:
    def middle(values: list[float | None]) -> float | None:
        present = [value for value in values if value is not None]
        return median(present) if present else None

    return {
        "server_cpu": middle([sample.server_cpu for sample in samples]),
        "client_cpu": middle([sample.client_cpu for sample in samples]),
        "server_rss": middle([sample.server_rss for sample in samples]),
        "client_rss": middle([sample.client_rss for sample in samples]),
    }


def figures(results: Results) -> list[dict[str, Any]]:
    """Return every cell as a JSON object: rates, CPU seconds per operation, bytes of RSS; `failed` if it failed."""
    rows = []
    for (scenario, implementation), samples in results.items():
        row: dict[str, Any] = {"scenario": scenario.name, "implementation": implementation.name, "unit": scenario.unit}
        if isinstance(samples, str):
            row["failed"] = samples
        else:
            row |= summarize(_rates(samples))._asdict() | _medians(samples)
            row["ratios"] = _ratios(scenario, samples, results)
            row["samples"] = [vars(sample) for sample in samples]
        rows.append(row)
    return rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up as plain text too: the first to the left, the rest to the right.

    A row may be shorter than the header; its cells but the first then do not widen the columns.
    """
    full = [row for row in (header, *rows) if len(row) == len(header)]
    widths = [max(len(row[column]) for row in full) for column in range(len(header))]
    widths[0] = max(len(row[0]) for row in (header, *rows))

    def line(cells: Sequence[str]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=False))
        return "| " + " | ".join([cells[0].ljust(widths[0]), *padded]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def _show(value: float | None, form: Callable[[float], str]) -> str:
    return NOT_MEASURED if value is None else form(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


def _row(figure: Mapping[str, Any]) -> list[str]:
    if "failed" in figure:
        # A | would end the Markdown cell.
        reason = figure["failed"].replace("|", "/")
        return [figure["implementation"], f"failed: {reason}"]
    ratios = [_show(figure["ratios"].get(base), "{:.2f}".format) for base in BASELINES]
    costs = [_show(figure[cost], lambda value: f"{value * 1e6:,.1f}") for cost in ("server_cpu", "client_cpu")]
    sizes = [_show(figure[size], lambda value: f"{value / 2**20:,.0f}") for size in ("server_rss", "client_rss")]
    spread = f"{_number(figure['lowest'])} to {_number(figure['highest'])}"
    return [figure["implementation"], _number(figure["median"]), spread, *ratios, *costs, *sizes]


def text(results: Results) -> str:
    """Return the report's tables, one per scenario."""
    rows = figures(results)
    parts = []
    for scenario in dict.fromkeys(cell[0] for cell in results):
        header = ["implementation", scenario.unit, "min to max", *(f"x {base}" for base in BASELINES)]
        header += [f"server µs/{scenario.operation}", f"client µs/{scenario.operation}", "server MiB", "client MiB"]
        body = [_row(row) for row in rows if row["scenario"] == scenario.name]
        parts.append(f"### {scenario.title}\n\n{table(header, body)}\n")
    return "\n".join(parts)


def environment() -> dict[str, Any]:
    """Return what the figures depend on: the machine, Python, the versions of the libraries, the load at the start."""

    def version(library: str) -> str:
        try:
            return metadata.version(library)
        except metadata.PackageNotFoundError:
            return "not installed"

    versions = {library: version(library) for library in LIBRARIES}
    if h2load.installed():
        printed = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout
        versions["h2load"] = re.sub(r".*/", "", printed.strip())
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "engine": os.environ.get("PYGRPC_HTTP2_ENGINE", "default"),
        "versions": versions,
    }


def describe(environment: Mapping[str, Any]) -> str:
    """Return `environment()` as a sentence or two."""
    versions = ", ".join(f"{library} {version}" for library, version in environment["versions"].items())
    return (
        f"{environment['cores']} cores (load {environment['load']:.2f} at the start), {environment['system']}, "
        f"{environment['python']}, {versions}; HTTP/2 engine of pygrpc: {environment['engine']}."
    )
