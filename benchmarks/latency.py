"""Latency with an open loop: calls begin at given times, whether or not the earlier ones have ended.

A closed loop hides what a slow reply does: it waits, and doesn't make the calls that would have been slow too
(coordinated omission). Here the latency counts from the time at which a call was due, so a call that is made late has
waited for that long.
"""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# Of the peak.
LOAD = 0.5
# As many calls as p99.9 takes; a slow implementation gets more time for them, but not for ever.
ENOUGH = 1000
EXTENSION = 10


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


async def open_loop(once: Callable[[], Awaitable[int]], peak: float, seconds: float) -> dict[str, float]:
    """Make calls for a time, at an even pace of half the peak.

    Args:
        once: Makes one call.
        peak: Calls per second that a closed loop has reached.
        seconds: How long to go on; up to ten times as long if there are less than 1,000 calls in this time.

    Returns:
        `count`, `seconds`, the rate `offered`, and the percentiles in seconds.
    """
    offered = peak * LOAD
    total = max(round(offered * seconds), min(ENOUGH, round(offered * seconds * EXTENSION)), 1)
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    launched: asyncio.Queue[float] = asyncio.Queue()
    # A timer of the loop is late by up to a millisecond, the resolution of epoll, which is more than many a call takes.
    started = perf_counter() + 0.01

    ended = threading.Event()

    def pace() -> None:
        for index in range(total):
            due = started + index / offered
            if ended.wait(max(due - perf_counter(), 0.0)):
                return
            loop.call_soon_threadsafe(launched.put_nowait, due)

    async def call(due: float) -> None:
        await once()
        latencies.append(perf_counter() - due)

    thread = threading.Thread(target=pace)
    thread.start()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(total):
                group.create_task(call(await launched.get()))
    finally:
        ended.set()
        thread.join()
    return {"count": total, "seconds": perf_counter() - started, "offered": offered, **summary(latencies)}
