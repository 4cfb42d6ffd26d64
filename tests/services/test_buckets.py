"""The arithmetic of token buckets."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pygrpc.services.buckets import SECOND, Buckets, Rate
from tests.services.guards.support import Clock

RATES = st.builds(Rate, st.floats(0.01, 1000), st.integers(1, 20))
#: Pauses in nanoseconds, and costs.
STEPS = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 25)), max_size=40)


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 3), 10, clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, SECOND // 2]
    clock.now = SECOND // 2 - 1
    assert buckets.take("a") == 1
    clock.now += 1
    assert [buckets.take("a"), buckets.take("a")] == [0, SECOND // 2]
    clock.now += 100 * SECOND
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, SECOND // 2]


def test_clients_have_buckets_of_their_own() -> None:
    buckets = Buckets(Rate(1, 1), 10, Clock())
    assert [buckets.take("a"), buckets.take("b"), buckets.take("a")] == [0, 0, SECOND]


def test_more_than_a_bucket_holds_takes_a_full_one() -> None:
    buckets = Buckets(Rate(1, 3), 10, Clock())
    assert [buckets.take("a", 100), buckets.take("a")] == [0, SECOND]


@given(RATES, STEPS)
def test_it_is_the_bucket_of_the_textbook(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """Tokens that drip into a bucket, in exact fractions."""
    clock = Clock()
    buckets = Buckets(rate, 10, clock)
    period = round(SECOND / rate.per_second)
    tokens, filled = Fraction(rate.burst), 0
    for pause, cost in steps:
        clock.now += pause
        tokens = min(Fraction(rate.burst), tokens + Fraction(clock.now - filled, period))
        filled = clock.now
        price = min(cost, rate.burst)
        wait = buckets.take("a", cost)
        if tokens >= price:
            tokens -= price
            assert wait == 0
        else:
            assert wait == (price - tokens) * period


@given(RATES, STEPS)
def test_the_wait_is_exact(rate: Rate, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    buckets = Buckets(rate, 10, clock)
    for pause, cost in steps:
        clock.now += pause
        wait = buckets.take("a", cost)
        if wait:
            clock.now += wait - 1
            assert buckets.take("a", cost) == 1
            clock.now += 1
            assert buckets.take("a", cost) == 0


@given(RATES, STEPS)
def test_never_more_than_the_burst_and_the_rate(rate: Rate, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    buckets = Buckets(rate, 10, clock)
    period = round(SECOND / rate.per_second)
    taken = 0
    for pause, cost in steps:
        clock.now += pause
        if buckets.take("a", cost) == 0:
            taken += min(cost, rate.burst)
    assert taken * period <= rate.burst * period + clock.now


def test_any_number_of_clients_takes_no_more_memory() -> None:
    clock = Clock()
    buckets = Buckets(Rate(1, 1), 100, clock)
    assert buckets.take("mine") == 0
    for number in range(5000):
        # Who is there all the time stays.
        assert buckets.take("mine") > 0
        assert buckets.take(str(number)) == 0
        assert len(buckets) <= 100
    assert buckets.take("0") == 0
    assert buckets.take("4999") > 0


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0), (2e9, 1)])
def test_rates_that_are_none(per_second: Any, burst: int) -> None:
    with pytest.raises(ValueError, match="a bucket needs"):
        Buckets(Rate(per_second, burst), 1, Clock())
