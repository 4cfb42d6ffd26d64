"""What is made of the samples: medians, spread, ratios within rounds, goals, and the points of curves."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks.runner import Cell, Result, Sample
from benchmarks.scenarios import BASELINES, CURVES, GOALS, VARIANTS, Goal, Scenario

Results = Mapping[Cell, Result]
# The ratios of a variant should not be worse than the plain ones by more than this part.
TOLERANCE = 0.2


class Summary(NamedTuple):
    """The middle and the ends of the values of all the rounds."""

    median: float
    lowest: float
    highest: float


def summarize(values: Sequence[float]) -> Summary:
    """Return median, minimum and maximum."""
    return Summary(median(values), min(values), max(values))


def ratio(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return the median over the rounds of the value divided by the baseline's value in the same round.

    What slows a whole round down, another process on the machine for instance, cancels out. None if the baseline was
    nothing in a round, which happens to memory that is too little to be seen.
    """
    if any(base <= 0 for base in baseline):
        return None
    return median(value / base for value, base in zip(values, baseline, strict=True))


def values(result: Result | None, key: str) -> list[float]:
    """Return a figure of all the rounds; nothing if it was not measured in each."""
    if result is None or result.failed or not all(key in sample for sample in result.samples):
        return []
    return [sample[key] for sample in result.samples]


def main_figure(scenario: Scenario) -> str:
    """Return the key of the figure that the scenario is about."""
    return {"latency": "p99", "idle": "server_each", "hold": "server_each"}.get(scenario.work.call, "rate")


def find(results: Results, scenario: str, implementation: str) -> Result | None:
    """Return what became of a cell, by name; None if it was not asked for."""
    named = (result for cell, result in results.items() if (cell[0].name, cell[1].name) == (scenario, implementation))
    return next(named, None)


def ratios(results: Results, scenario: Scenario, implementation: str) -> dict[str, float]:
    """Return the ratios of an implementation's main figure to those of the baselines."""
    key = main_figure(scenario)
    found = {base: compare(results, scenario.name, implementation, base, key) for base in BASELINES}
    return {base: value for base, value in found.items() if value is not None}


def compare(results: Results, scenario: str, who: str, against: str, key: str) -> float | None:
    """Return the ratio of a figure of two implementations; None if one of them has none."""
    ours, theirs = (values(find(results, scenario, name), key) for name in (who, against))
    return ratio(ours, theirs) if ours and theirs else None


def compare_cpu(results: Results, scenario: str, who: str, against: str) -> float | None:
    """Return how many times the CPU time of the first one the second one takes, client and server together.

    Other programs on the machine change it less than they change the rate.
    """
    pair = [find(results, scenario, name) for name in (against, who)]
    sides = [side for side in ("server_cpu", "client_cpu") if all(values(result, side) for result in pair)]
    if not sides:
        return None
    theirs, ours = (
        [sum(parts) for parts in zip(*(values(result, side) for side in sides), strict=True)] for result in pair
    )
    return ratio(theirs, ours)


def medians(result: Result) -> Sample:
    """Return the median of each figure that was measured in every round."""
    keys = result.samples[0] if result.samples else {}
    return {key: median(found) for key in keys if (found := values(result, key))}


def met(goal: Goal, measured: float) -> bool:
    """Return whether the ratio is what the goal asks for."""
    return measured <= goal.ratio if goal.lower else measured >= goal.ratio


def judged(results: Results) -> list[tuple[Goal, float | None]]:
    """Return the goals of the scenarios that were measured, and the ratios; None where one can't be formed."""
    measured = {scenario.name for scenario, _ in results}
    return [
        (goal, compare(results, goal.scenario, goal.who, goal.against, goal.key))
        for goal in GOALS
        if goal.scenario in measured
    ]


def kept(results: Results) -> list[tuple[Goal, float, dict[str, float | None]]]:
    """Return the ratios of the goals without and with each variant."""
    rows = []
    for goal, plain in judged(results):
        changed = {
            variant.name: compare(results, f"{goal.scenario}+{variant.name}", goal.who, goal.against, goal.key)
            for variant in VARIANTS
        }
        if plain is not None and not goal.note and any(value is not None for value in changed.values()):
            rows.append((goal, plain, changed))
    return rows


def holds(goal: Goal, plain: float, changed: float) -> bool:
    """Return whether a variant's ratio is not worse than the plain one by more than the tolerance."""
    return changed <= plain / (1 - TOLERANCE) if goal.lower else changed >= plain * (1 - TOLERANCE)


def per_unit(results: Results) -> list[dict[str, Any]]:
    """Return what a unit costs at each point of each curve, in seconds and bytes: median, lowest and highest.

    The memory is that of both processes: how much the highest resident set is above the one before the work began.
    """
    rows = []
    for curve in CURVES:
        for scenario, implementation in results:
            result = results[scenario, implementation]
            point = scenario.point
            if scenario.group != curve.name or point is None or not result.samples or result.failed:
                continue
            timed, held = curve.time_unit[1](point), curve.memory_unit[1](point)
            samples = result.samples
            cost = {
                "seconds": [sample["seconds_each"] / timed for sample in samples],
                "cpu": [(sample["server_cpu"] + sample["client_cpu"]) / timed for sample in samples],
                "bytes": [(sample["server_growth"] + sample["client_growth"]) / held for sample in samples],
            }
            row: dict[str, Any] = {"curve": curve.name, "implementation": implementation.name, "point": point}
            rows.append(row | {name: summarize(found)._asdict() for name, found in cost.items()})
    return rows
