"""When calls begin, and from when their latency counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.load.schedule import TIMER_SLACK, Schedule, counted_from


def test_a_closed_loop_begins_calls_at_once_until_its_end() -> None:
    schedule = Schedule(10.0, duration=5.0)
    assert [schedule.take(now) for now in (10.0, 10.0, 14.9, 15.0, 20.0)] == [10.0, 10.0, 14.9, None, None]
    assert (schedule.taken, schedule.missed(20.0), schedule.span()) == (3, 0, 0.0)


def test_a_closed_loop_ends_after_its_calls() -> None:
    schedule = Schedule(0.0, calls=2)
    assert [schedule.take(now) for now in (1.0, 2.0, 3.0)] == [1.0, 2.0, None]


def test_an_open_loop_gives_each_call_its_time() -> None:
    schedule = Schedule(100.0, rate=4.0, duration=1.0)
    # Nobody asks while the server stalls: the calls that were due are still made, and known to be late.
    assert [schedule.take(now) for now in (100.0, 100.0, 100.9, 100.9)] == [100.0, 100.25, 100.5, 100.75]
    assert schedule.take(100.9) is None
    assert (schedule.missed(101.0), schedule.span()) == (0, 1.0)


def test_calls_that_nobody_took_in_time_are_missed() -> None:
    schedule = Schedule(0.0, rate=10.0, duration=2.0)
    assert schedule.take(0.0) == 0.0
    assert schedule.missed(0.55) == 5
    assert schedule.take(2.0) is None
    assert schedule.missed(7.0) == 19


def test_calls_beyond_the_number_of_calls_are_not_missed() -> None:
    schedule = Schedule(0.0, rate=10.0, calls=3)
    assert schedule.missed(100.0) == 3
    assert [schedule.take(100.0) for _ in range(4)] == [0.0, 0.1, 0.2, None]
    assert schedule.missed(100.0) == 0


@given(
    st.floats(0.5, 1000),
    st.integers(1, 5),
    st.floats(0.1, 5),
)
def test_processes_take_turns(rate: float, processes: int, duration: float) -> None:
    due = []
    for process in range(processes):
        offset = process / rate
        schedule = Schedule(50.0, rate=rate / processes, duration=duration, offset=offset)
        while (begin := schedule.take(50.0)) is not None:
            due.append(begin - 50.0)
        assert schedule.missed(1000.0) == 0
    assert sorted(due) == pytest.approx([number / rate for number in range(len(due))])
    assert len(due) == pytest.approx(rate * duration, abs=1)


@pytest.mark.parametrize(
    ("due", "free", "began", "counted"),
    [
        (5.0, 5.0, 5.0, 5.0),
        # The timer's own lateness is no latency of the server.
        (5.0, 4.0, 5.0 + TIMER_SLACK / 2, 5.0 + TIMER_SLACK / 2),
        # More than that is: the event loop was kept from it.
        (5.0, 4.0, 6.0, 5.0),
        # All others were still going on.
        (5.0, 7.0, 7.0, 5.0),
        # As soon as it may be, the wait for a place counts.
        (5.0, 5.0001, 5.0001, 5.0),
        # A timer that was early: a latency is never longer than the call.
        (5.0, 4.0, 4.9999, 4.9999),
    ],
)
def test_from_when_a_latency_counts(due: float, free: float, began: float, counted: float) -> None:
    assert counted_from(due, free, began) == counted
