"""What a server has done, in a line of the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry

_log = logging.getLogger(__name__)


class _Figures(NamedTuple):
    calls: float
    failed: float
    seconds: float
    running: float


class Statistics:
    """Sums the metrics of this process up, from one line to the next."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins now.

        Args:
            registry: Has the metrics of `pygrpc.services.guards.Metrics`.
            clock: Gives the time in seconds.
        """
        self._registry = registry
        self._clock = clock
        self._before = self._figures()
        self._time = clock()

    def line(self) -> str:
        """Returns what has happened since the last line."""
        now, figures = self._clock(), self._figures()
        elapsed = now - self._time
        calls = figures.calls - self._before.calls
        failed = figures.failed - self._before.failed
        mean = (figures.seconds - self._before.seconds) / calls * 1000 if calls else 0.0
        self._before, self._time = figures, now
        return (
            f"In {elapsed:.0f} seconds {calls:.0f} calls have ended, {failed:.0f} of them not with OK, "
            f"after {mean:.1f} ms on average; {figures.running:.0f} go on."
        )

    async def log(self, interval: float) -> None:
        """Logs a line again and again, until it is cancelled.

        Args:
            interval: Seconds between two lines; 0 for none.
        """
        while interval:
            await asyncio.sleep(interval)
            _log.info("%s", self.line())

    def _figures(self) -> _Figures:
        calls = failed = seconds = running = 0.0
        for sample in (sample for metric in self._registry.collect() for sample in metric.samples):
            match sample.name:
                case "grpc_server_handled_total":
                    calls += sample.value
                    failed += sample.value if sample.labels["grpc_code"] != "OK" else 0
                case "grpc_server_handling_seconds_sum":
                    seconds += sample.value
                case "grpc_server_in_flight":
                    running += sample.value
        return _Figures(calls, failed, seconds, running)
