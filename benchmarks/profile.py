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

from benchmarks import h2load
from benchmarks.implementations import IMPLEMENTATIONS, Implementation, connect, serve
from benchmarks.report import table
from benchmarks.runner import worker
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.worker import drive


def profile_server(profiler: cProfile.Profile, scenario: Scenario, who: Implementation, seconds: float) -> int:
    """Profile the server's main thread; return the number of operations."""
    count = 0

    async def load(port: int) -> int:
        if scenario.call == "h2load":
            requests = int(await h2load.load(port, h2load.WARM_UP_REQUESTS) * seconds)
            await h2load.load(port, requests)
            return h2load.WARM_UP_REQUESTS + requests
        arguments = (who.client, scenario.name, str(seconds))
        async with worker("client", *arguments, environment=who.environment) as client:
            await client.ask({"port": port})
            done = await client.ask("start", seconds)
            return int(done["warm_up"] + done["count"])

    def hold(port: int) -> None:
        nonlocal count
        count = asyncio.run(load(port))

    profiler.runcall(serve, who.server, hold)
    return count


def profile_client(profiler: cProfile.Profile, scenario: Scenario, who: Implementation, seconds: float) -> int:
    """Profile the client after its warm-up; return the number of operations."""

    async def main() -> int:
        async with worker("server", who.server, environment=who.environment) as server:
            session = connect(who.client, (await server.read())["port"])
            done = await asyncio.to_thread(drive, session, scenario, seconds, profiler.enable)
            return int(done["count"])

    try:
        return asyncio.run(main())
    finally:
        profiler.disable()


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
    names = [each.name for each in IMPLEMENTATIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.split("\n", 1)[0])
    parser.add_argument("scenario", choices=[each.name for each in SCENARIOS])
    parser.add_argument("--side", choices=["server", "client"], default="server")
    parser.add_argument("--implementation", choices=names, default=names[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--top", type=int, default=30, help="how many functions to show")
    parser.add_argument("--output", metavar="FILE", help="keep the profile, for pstats or a viewer")
    arguments = parser.parse_args()
    scenario = next(each for each in SCENARIOS if each.name == arguments.scenario)
    implementation = IMPLEMENTATIONS[names.index(arguments.implementation)]
    if scenario.call == "h2load" and (arguments.side == "client" or not h2load.installed()):
        parser.error("h2load needs --side server, and to be installed")
    profiler = cProfile.Profile()
    run = profile_server if arguments.side == "server" else profile_client
    count = run(profiler, scenario, implementation, arguments.seconds)
    print(f"{implementation.name}, {arguments.side}, {scenario.title}: {count} operations\n")
    print(top(profiler, count, arguments.top))
    if arguments.output:
        profiler.dump_stats(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
