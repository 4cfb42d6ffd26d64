"""Latency with an open loop: calls begin at given times, whether or not the earlier ones have ended.

A closed loop hides what a slow reply does: it waits, and doesn't make the calls that would have been slow too
(coordinated omission). Here the latency counts from the time at which a call was due, so a call that is made late has
waited for that long.
"""

import asyncio
import contextlib
import math
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter, sleep
from typing import BinaryIO

from benchmarks.work import check

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# Of the peak that a closed loop reaches.
LOAD = 0.5
# As many calls as p99.9 takes; a slow implementation gets more time for them, but not for ever.
ENOUGH = 1000
EXTENSION = 10
# How the pacing process says when it started.
START = struct.Struct("d")


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of the values do not exceed (nearest rank)."""
    return ordered[max(math.ceil(_part(ordered, percent)) - 1, 0)]


def _part(ordered: Sequence[float], percent: float) -> float:
    # 99.9 percent of 1,000 are 999, and not the little more that comes out in floating point.
    return round(len(ordered) * percent / 100, 6)


def summary(latencies: Sequence[float]) -> dict[str, float]:
    """Return the percentiles, and those only which enough values stand behind: p99.9 takes a thousand."""
    ordered = sorted(latencies)
    return {
        f"p{percent:g}": percentile(ordered, percent) for percent in PERCENTILES if _part(ordered, 100 - percent) >= 1
    }


async def open_loop(once: Callable[[], Awaitable[int]], offered: float, seconds: float) -> dict[str, float]:
    """Make calls for a time, at an even pace.

    Args:
        once: Makes one call.
        offered: Calls per second.
        seconds: How long to go on; up to ten times as long if there are less than 1,000 calls in this time.

    Returns:
        `count`, `seconds`, the rate `offered`, and the percentiles in seconds.
    """
    total = max(round(offered * seconds), min(ENOUGH, round(offered * seconds * EXTENSION)), 1)
    latencies: list[float] = []

    async def call(due: float) -> None:
        await once()
        latencies.append(perf_counter() - due)

    pacer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.latency", str(offered), str(total), stdout=asyncio.subprocess.PIPE
    )
    assert pacer.stdout is not None
    try:
        (started,) = START.unpack(await pacer.stdout.readexactly(START.size))
        launched = 0
        async with asyncio.TaskGroup() as group:
            while due := len(await pacer.stdout.read(total)):
                for index in range(launched, launched + due):
                    group.create_task(call(started + index / offered))
                launched += due
    finally:
        if pacer.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                pacer.kill()
        await pacer.wait()
    check(launched == total, f"{launched} of {total} calls became due")
    return {"count": total, "seconds": perf_counter() - started, "offered": offered, **summary(latencies)}


def pace(offered: float, total: int, output: BinaryIO) -> None:
    """Write the time of the start, and then a byte for each call when it is due.

    This has a process of its own: a timer of the event loop is late by up to a millisecond, the resolution of epoll,
    which is more than many a call takes; and a thread beside the loop has to wait for its lock, up to 5 ms
    each time. The clock is the same in all processes of the machine.
    """
    started = perf_counter() + 0.01
    output.write(START.pack(started))
    launched = 0
    while launched < total:
        sleep(max(started + launched / offered - perf_counter(), 0.0))
        due = min(int((perf_counter() - started) * offered) + 1, total) - launched
        output.write(b"." * max(due, 0))
        launched += max(due, 0)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError), open(1, "wb", buffering=0) as stdout:
        pace(float(sys.argv[1]), int(sys.argv[2]), stdout)
