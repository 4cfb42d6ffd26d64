"""`python -m benchmarks`: measure, and print the report to stdout and the progress to stderr."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import h2load, report
from benchmarks.implementations import IMPLEMENTATIONS
from benchmarks.runner import Cell, run
from benchmarks.scenarios import SCENARIOS

SHORT = (5, 0.8)
LONG = (7, 3.0)


def select(only: Sequence[str], long: bool) -> list[Cell]:
    """Return the cells to measure.

    Args:
        only: Patterns "SCENARIO/IMPLEMENTATION", "SCENARIO" or "IMPLEMENTATION"; a cell that matches one is taken.
        long: Whether to take the implementations that only the long form measures, which naming one does too.

    Raises:
        ValueError: If a pattern names nothing that exists.
    """
    cells = [
        (scenario, implementation)
        for scenario in SCENARIOS
        for implementation in IMPLEMENTATIONS
        if not implementation.scenarios or scenario.name in implementation.scenarios
    ]
    chosen: set[Cell] = set()
    for wanted in [set(pattern.split("/")) for pattern in only] or [set[str]()]:
        found = [
            (scenario, implementation)
            for scenario, implementation in cells
            if wanted <= {scenario.name, implementation.name}
            and (long or not implementation.long_only or implementation.name in wanted)
        ]
        if not found:
            raise ValueError(f"nothing is called {'/'.join(wanted)!r}")
        chosen |= set(found)
    return [cell for cell in cells if cell in chosen]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure pygrpc beside its peers.")
    parser.add_argument("--long", action="store_true", help="more rounds, longer ones, and the mixed pairs")
    parser.add_argument("--rounds", type=int, help=f"default {SHORT[0]}, with --long {LONG[0]}")
    parser.add_argument("--seconds", type=float, help=f"per measurement, default {SHORT[1]}, with --long {LONG[1]}")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SCENARIO/IMPLEMENTATION",
        help="either may stand alone; may be repeated; scenarios: "
        + ", ".join(scenario.name for scenario in SCENARIOS)
        + "; implementations: "
        + ", ".join(implementation.name for implementation in IMPLEMENTATIONS),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file too")
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
    if not h2load.installed():
        arguments.cells = [cell for cell in arguments.cells if cell[0].call != "h2load"]
    return arguments


def main() -> int:
    """Measure and report; return 1 if a cell failed."""
    arguments = _arguments()
    environment = report.environment()
    print(report.describe(environment))
    print(f"Medians of {arguments.rounds} rounds of {arguments.seconds:g} s; ratios above 1 are faster.", flush=True)
    if not h2load.installed():
        print(h2load.MISSING)

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    results = asyncio.run(run(arguments.cells, arguments.rounds, arguments.seconds, progress))
    print(f"\n{report.text(results)}")
    if arguments.json:
        settings = {"rounds": arguments.rounds, "seconds": arguments.seconds}
        document = {"environment": environment, "settings": settings, "results": report.figures(results)}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(isinstance(samples, str) for samples in results.values()))


if __name__ == "__main__":
    sys.exit(main())
