"""Calls in virtual time: how many at a time, when, and what is measured of a server that stalls."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from pygrpc.load.result import LoadResult, Outcome
from pygrpc.load.runner import MakeCall, Runner
from tests.load import virtual_time


class Server:
    """Takes a time for each call, and one long time from a moment on during which no call ends."""

    def __init__(self, seconds: float, stall: tuple[float, float] = (0.0, 0.0), code: str = "OK") -> None:
        self.seconds = seconds
        self.stall = stall
        self.code = code
        self.begun: list[tuple[float, int, int]] = []
        self.now = self.most = 0

    async def __call__(self, number: int, client: int) -> Outcome:
        loop = asyncio.get_running_loop()
        self.begun.append((loop.time(), number, client))
        self.now += 1
        self.most = max(self.most, self.now)
        begin, end = (self.begun[0][0] + each for each in self.stall)
        stalled = end - loop.time() if begin <= loop.time() < end else 0.0
        await asyncio.sleep(stalled + self.seconds)
        self.now -= 1
        return Outcome(self.code, "", 1, 1)


def measured(make_call: MakeCall, concurrency: int = 1, pause: float = 0.0, **schedule: Any) -> LoadResult:
    async def run() -> LoadResult:
        return await Runner(make_call, concurrency, count(), pause).run(asyncio.Event(), **schedule)

    return virtual_time.run(run())


def test_a_closed_loop_keeps_so_many_calls_going_on() -> None:
    server = Server(0.1)
    result = measured(server, concurrency=7, duration=9.95)
    assert (result.calls, server.most) == (700, 7)
    assert result.seconds == pytest.approx(10.0)
    assert result.latencies().quantile(0.99) == pytest.approx(0.1, rel=0.01)
    assert sorted(number for _, number, _ in server.begun) == list(range(700))
    assert {client for _, _, client in server.begun} == set(range(7))


def test_a_number_of_calls() -> None:
    server = Server(0.1)
    result = measured(server, concurrency=4, calls=10)
    assert (result.calls, len(server.begun)) == (10, 10)


def test_clients_pause_between_their_calls() -> None:
    result = measured(Server(0.03), concurrency=2, pause=0.01, duration=1.99)
    assert result.calls == 100


def test_an_open_loop_begins_calls_at_their_times() -> None:
    server = Server(0.001)
    result = measured(server, concurrency=3, rate=50.0, duration=2.0)
    times = [begun - server.begun[0][0] for begun, _, _ in server.begun]
    assert times == pytest.approx([number / 50 for number in range(100)])
    assert (result.calls, result.late, result.missed, result.held) == (100, 0, 0, True)
    assert (result.seconds, result.rate) == (2.0, 50.0)


def test_a_stall_shows_in_the_latencies_of_all_calls_that_were_due() -> None:
    stall = (0.5, 1.5)
    open_loop = measured(Server(0.001, stall), rate=100.0, duration=4.0)
    # A hundred calls were due during the second of the stall, and the later one was due, the shorter was its wait.
    assert open_loop.calls == 400
    assert open_loop.latencies().quantile(0.5) == pytest.approx(0.001, rel=0.01)
    assert open_loop.latencies().quantile(0.90) == pytest.approx(0.65, abs=0.1)
    assert open_loop.latencies().quantile(0.99) == pytest.approx(0.96, abs=0.05)
    assert open_loop.late >= 99 and open_loop.latest == pytest.approx(0.99, abs=0.02)
    # It caught up afterwards.
    assert open_loop.held
    # A closed loop makes one call during the stall, and sees nothing in its percentiles.
    closed_loop = measured(Server(0.001, stall), duration=4.0)
    assert closed_loop.latencies().quantile(0.999) == pytest.approx(0.001, rel=0.01)


def test_a_rate_beyond_what_the_server_can_do_is_not_held() -> None:
    server = Server(0.1)
    result = measured(server, concurrency=2, rate=40.0, duration=10.0)
    assert result.calls == pytest.approx(200, abs=2)
    assert result.missed == 400 - result.calls
    assert not result.held
    assert result.latest == pytest.approx(5.0, abs=0.2)


def test_calls_of_an_open_loop_that_is_behind_at_its_last_call() -> None:
    result = measured(Server(0.1), rate=20.0, calls=20)
    assert (result.calls, result.missed, result.held) == (20, 0, False)
    assert result.behind == pytest.approx(0.95, abs=0.01)


def test_a_stop_leaves_calls_unfinished() -> None:
    async def run() -> LoadResult:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(2.5, stop.set)
        return await Runner(Server(1.0), 3, count()).run(stop)

    result = virtual_time.run(run())
    assert (result.calls, result.unfinished, result.interrupted) == (6, 3, True)
    assert result.seconds == pytest.approx(2.5)


def test_a_stop_before_the_first_call() -> None:
    async def run() -> LoadResult:
        stop = asyncio.Event()
        stop.set()
        return await Runner(Server(1.0), 2, count()).run(stop, duration=1.0)

    assert virtual_time.run(run()).interrupted


def test_calls_that_fail_at_once_do_not_keep_the_loop_from_a_stop() -> None:
    async def refused(number: int, client: int) -> Outcome:
        if number == 1000:
            stop.set()
        return Outcome("UNAVAILABLE", "refused")

    async def run() -> LoadResult:
        return await Runner(refused, 1, count()).run(stop)

    stop = asyncio.Event()
    result = virtual_time.run(run())
    assert result.interrupted and 1000 <= result.calls <= 1010


def test_an_error_of_the_tester_ends_all_clients() -> None:
    async def broken(number: int, client: int) -> Outcome:
        if client == 1:
            raise ValueError("no such request")
        await asyncio.sleep(1000)
        return Outcome("OK")

    with pytest.raises(ValueError, match="no such request"):
        measured(broken, concurrency=3, calls=10)
