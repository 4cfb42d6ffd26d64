"""The two processes of a measurement; the runner starts them and talks to them in lines of JSON.

    python -m benchmarks.worker server SIDE                      prints its port, then its usage for each line it reads
    python -m benchmarks.worker client SIDE SCENARIO SECONDS     reads the port, warms up, reads a line, measures

What goes wrong is printed as {"failed": reason}.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any

from benchmarks.adapters import Session
from benchmarks.implementations import connect, serve
from benchmarks.scenarios import SCENARIOS, Scenario, drive_async, drive_blocking

# ru_maxrss is in kibibytes, except on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def usage() -> dict[str, float]:
    """Return the CPU seconds, user and system, of this process and its highest resident set in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss * _RSS_UNIT}


def warm_up_time(seconds: float) -> float:
    """Return how many seconds to run before a measurement of so many seconds."""
    return min(0.3, seconds / 2)


def drive(session: Session, scenario: Scenario, seconds: float, wait_for_start: Callable[[], None]) -> dict[str, float]:
    """Warm up, wait, measure; return the operations of both, and the wall seconds, CPU seconds and peak RSS."""
    if isinstance(session, AbstractAsyncContextManager):
        return asyncio.run(_drive_async(session, scenario, seconds, wait_for_start))
    with session as client:
        warm_up = drive_blocking(client, scenario, warm_up_time(seconds))
        wait_for_start()
        started, cpu = perf_counter(), usage()["cpu"]
        count = drive_blocking(client, scenario, seconds)
        return _result(warm_up, count, started, cpu)


async def _drive_async(
    session: AbstractAsyncContextManager[Any],
    scenario: Scenario,
    seconds: float,
    wait_for_start: Callable[[], None],
) -> dict[str, float]:
    async with session as client:
        warm_up = await drive_async(client, scenario, warm_up_time(seconds))
        wait_for_start()
        started, cpu = perf_counter(), usage()["cpu"]
        count = await drive_async(client, scenario, seconds)
        return _result(warm_up, count, started, cpu)


def _result(warm_up: int, count: int, started: float, cpu: float) -> dict[str, float]:
    seconds, now = perf_counter() - started, usage()
    return {"warm_up": warm_up, "count": count, "seconds": seconds, "cpu": now["cpu"] - cpu, "rss": now["rss"]}


def _say(message: object) -> None:
    print(json.dumps(message), flush=True)


def _hold(port: int) -> None:
    _say({"port": port})
    for _ in sys.stdin:
        _say(usage())


def _wait_for_start() -> None:
    _say({"ready": True})
    sys.stdin.readline()


def _reason(error: BaseException) -> str:
    """Return one line; an ExceptionGroup is named by what happened first, a failed RPC by its status."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):
        return f"{code()}: {details()}"
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def main(role: str, side: str, *arguments: str) -> int:
    """Play one role to its end; return the exit status."""
    try:
        if role == "server":
            serve(side, _hold)
        else:
            scenario = next(each for each in SCENARIOS if each.name == arguments[0])
            port = json.loads(sys.stdin.readline())["port"]
            _say(drive(connect(side, port), scenario, float(arguments[1]), _wait_for_start))
    except Exception as error:
        _say({"failed": _reason(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
