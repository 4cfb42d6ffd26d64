"""`python -m benchmarks`: measure, and print the report to stdout and the progress to stderr."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic

from benchmarks import certificates, plots, report
from benchmarks.figures import Results
from benchmarks.implementations import IMPLEMENTATIONS
from benchmarks.publish import PAGE, publish
from benchmarks.runner import Cell, run
from benchmarks.scenarios import SCENARIOS, Scenario

SHORT = (2, 0.4)
LONG = (3, 0.6)


def _names(scenario: Scenario, long: bool) -> Iterable[str]:
    return (*scenario.implementations, *(scenario.also_long if long else ()), *scenario.left_out)


def select(only: Sequence[str], long: bool) -> list[Cell]:
    """Return the cells to measure.

    Args:
        only: Patterns "SCENARIO/IMPLEMENTATION", "SCENARIO" or "IMPLEMENTATION"; a cell that matches one is taken. In
            place of a scenario may stand the name of a group: a variant or a curve.
        long: Whether to take what only the long form measures; one that a pattern names is taken anyway.

    Raises:
        ValueError: If a pattern names nothing that exists.
    """
    chosen: set[Cell] = set()
    for wanted in [set(pattern.split("/")) for pattern in only] or [set[str]()]:
        found = set()
        for scenario in SCENARIOS:
            named = bool({scenario.name, scenario.group} & wanted)
            if scenario.long_only and not (long or named):
                continue
            for name in _names(scenario, long or named):
                if wanted <= {scenario.name, scenario.group, name}:
                    found.add((scenario, IMPLEMENTATIONS[name]))
        if not found:
            raise ValueError(f"nothing is called {'/'.join(sorted(wanted))!r}")
        chosen |= found
    everything = [
        (scenario, IMPLEMENTATIONS[name]) for scenario in SCENARIOS for name in dict.fromkeys(_names(scenario, True))
    ]
    return [cell for cell in everything if cell in chosen]


def _arguments() -> argparse.Namespace:
    scenarios = dict.fromkeys(scenario.name for scenario in SCENARIOS if not scenario.group)
    groups = dict.fromkeys(scenario.group for scenario in SCENARIOS if scenario.group)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure pygrpc beside its peers.")
    parser.add_argument("--long", action="store_true", help="more and longer rounds, the variants and the curves")
    parser.add_argument("--rounds", type=int, help=f"default {SHORT[0]}, with --long {LONG[0]}")
    parser.add_argument("--seconds", type=float, help=f"per measurement, default {SHORT[1]}, with --long {LONG[1]}")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SCENARIO/IMPLEMENTATION",
        help=f"either may stand alone; may be repeated; scenarios: {', '.join(scenarios)}; "
        f"groups of scenarios: {', '.join(groups)}; implementations: {', '.join(IMPLEMENTATIONS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file too")
    parser.add_argument("--publish", type=Path, metavar="DIR", help=f"write results, plots and JSON to DIR/{PAGE} too")
    arguments = parser.parse_args()
    rounds, seconds = LONG if arguments.long else SHORT
    arguments.rounds = rounds if arguments.rounds is None else arguments.rounds
    arguments.seconds = seconds if arguments.seconds is None else arguments.seconds
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    try:
        arguments.cells = select(arguments.only, arguments.long)
    except ValueError as error:
        parser.error(str(error))
    if arguments.publish and not plots.installed():
        parser.error(plots.MISSING)
    if arguments.publish and not (arguments.publish / PAGE).is_file():
        parser.error(f"there is no {arguments.publish / PAGE} to write the results to")
    return arguments


def _measure(arguments: argparse.Namespace) -> Results:
    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with certificates.provided():
        return asyncio.run(run(arguments.cells, arguments.rounds, arguments.seconds, progress))


def main() -> int:
    """Measure and report; return 1 if a cell with pygrpc in it failed. That a peer failed is a result like others."""
    arguments = _arguments()
    environment = report.environment()
    header = report.describe(environment, arguments.rounds, arguments.seconds)
    print(f"{header}\n", flush=True)
    started = monotonic()
    results = _measure(arguments)
    took = f"The run took {monotonic() - started:,.0f} s. Load average at its end: {os.getloadavg()[0]:.2f}."
    print(f"{report.text(results)}\n{took}")
    settings = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    document = report.to_json({"environment": environment, "settings": settings, **report.document(results)})
    if arguments.json:
        arguments.json.write_text(f"{document}\n")
    if arguments.publish:
        publish(arguments.publish, results, f"{header}\n\n{took}", document)
    ours = [result for (_, implementation), result in results.items() if "pygrpc" in implementation.name]
    return int(any(result.failed for result in ours))


if __name__ == "__main__":
    sys.exit(main())
