"""`python -m benchmarks.profile SCENARIO`: where one side spends its time in a scenario.

That side runs in this process under cProfile, the other one in a process of its own. cProfile makes every call of a
Python function dearer than it is, so trust the order and the counts more than the times.
"""

import argparse
import asyncio
import cProfile
import pstats
import sys
from pathlib import Path

from benchmarks import certificates, h2load
from benchmarks.drive import Figures, drive
from benchmarks.implementations import IMPLEMENTATIONS, Implementation, connect, serve
from benchmarks.report import table
from benchmarks.runner import worker
from benchmarks.scenarios import OURS, SCENARIOS, Scenario


def profile_server(profiler: cProfile.Profile, scenario: Scenario, who: Implementation, seconds: float) -> int:
    """Profile the server's main thread; return the number of operations."""
    count = 0

    async def load(port: int) -> int:
        work = scenario.work
        if work.call == "h2load":
            requests = int(await h2load.load(port, h2load.WARM_UP_REQUESTS, work) * seconds)
            await h2load.load(port, requests, work)
            return h2load.WARM_UP_REQUESTS + requests
        async with worker("client", who.client, work.to_json(), str(seconds)) as client:
            steps = [await client.ask({"port": port}, seconds)]
            steps += [await client.ask("go on", seconds) for _ in range(2)]
            return int(sum(step["count"] for step in steps))

    def hold(port: int) -> None:
        nonlocal count
        count = asyncio.run(load(port))

    profiler.runcall(serve, who.server, hold, scenario.work)
    return count


def profile_client(profiler: cProfile.Profile, scenario: Scenario, who: Implementation, seconds: float) -> int:
    """Profile the client after its warm-up; return the number of operations."""

    counts: list[float] = []

    def pause(figures: Figures) -> None:
        counts.append(figures["count"])
        if len(counts) == 2:
            profiler.enable()
        elif len(counts) == 3:
            profiler.disable()

    async def main() -> None:
        async with worker("server", who.server, scenario.work.to_json()) as server:
            port = (await server.read())["port"]
            await asyncio.to_thread(
                drive, lambda: connect(who.client, port, scenario.work), scenario.work, seconds, pause
            )

    asyncio.run(main())
    return int(counts[-1])


def top(profiler: cProfile.Profile, count: int, limit: int) -> str:
    """Return the functions with the most time of their own; the row of the poll is the time spent waiting."""
    rows = []
    functions: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in functions.values())
    for (file, line, name), (_, calls, own, below, _) in sorted(functions.items(), key=lambda item: -item[1][2])[
        :limit
    ]:
        place = name if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"
        rows.append([place, f"{own / total:.1%}", f"{own / count * 1e6:.2f}", f"{below / count * 1e6:.2f}"])
        rows[-1].append(f"{calls / count:.2f}")
    return table(["function", "own", "own µs/op", "with callees µs/op", "calls/op"], rows)


def main() -> int:
    """Profile and print."""
    scenarios = {each.name: each for each in SCENARIOS if each.work.call not in ("idle", "hold", "latency")}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.split("\n", 1)[0])
    parser.add_argument("scenario", choices=scenarios, metavar="SCENARIO", help=", ".join(scenarios))
    parser.add_argument("--side", choices=["server", "client"], default="server")
    parser.add_argument("--implementation", choices=IMPLEMENTATIONS, default=OURS)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--top", type=int, default=30, help="how many functions to show")
    parser.add_argument("--output", metavar="FILE", help="keep the profile, for pstats or a viewer")
    arguments = parser.parse_args()
    scenario, implementation = scenarios[arguments.scenario], IMPLEMENTATIONS[arguments.implementation]
    if scenario.work.call == "h2load" and (arguments.side == "client" or not h2load.installed()):
        parser.error("h2load needs --side server, and to be installed")
    profiler = cProfile.Profile()
    run = profile_server if arguments.side == "server" else profile_client
    with certificates.provided():
        count = run(profiler, scenario, implementation, arguments.seconds)
    print(f"{implementation.name}, {arguments.side}, {scenario.title}: {count} operations\n")
    print(top(profiler, count, arguments.top))
    if arguments.output:
        profiler.dump_stats(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
