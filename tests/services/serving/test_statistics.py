"""What a server has done, in a line."""

from __future__ import annotations

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pygrpc.services.serving.statistics import Statistics


class Counted:
    """Metrics of the names that the server has."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handled = Counter("grpc_server_handled_total", "x", ["grpc_code"], registry=self.registry)
        self.seconds = Histogram("grpc_server_handling_seconds", "x", registry=self.registry)
        self.in_flight = Gauge("grpc_server_in_flight", "x", registry=self.registry)


def test_a_line_says_what_has_happened_since_the_last() -> None:
    counted, times = Counted(), iter((0.0, 60.0, 90.0))
    statistics = Statistics(counted.registry, lambda: next(times))
    for code, seconds in (("OK", 0.1), ("OK", 0.3), ("NOT_FOUND", 0.2)):
        counted.handled.labels(code).inc()
        counted.seconds.observe(seconds)
    counted.in_flight.set(4)
    assert statistics.line() == (
        "In 60 seconds 3 calls have ended, 1 of them not with OK, after 200.0 ms on average; 4 go on."
    )
    assert statistics.line() == (
        "In 30 seconds 0 calls have ended, 0 of them not with OK, after 0.0 ms on average; 4 go on."
    )


async def test_lines_are_logged_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging_ = asyncio.create_task(Statistics(Counted().registry).log(0.001))
    while len(caplog.messages) < 2:
        await asyncio.sleep(0)
    logging_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await logging_
    await Statistics(Counted().registry).log(0)
