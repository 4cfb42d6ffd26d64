"""Latencies in buckets: the error is bounded, nothing is lost, and order and division do not matter."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.load.histogram import RELATIVE_ERROR, LatencyHistogram

LATENCIES = st.floats(min_value=1e-8, max_value=1e5)
SHARES = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def histogram(values: list[float]) -> LatencyHistogram:
    made = LatencyHistogram()
    for value in values:
        made.record(value)
    return made


def exact(values: list[float], share: float) -> float:
    return sorted(values)[max(math.ceil(round(share * len(values), 6)), 1) - 1]


@given(st.lists(LATENCIES, min_size=1), st.sampled_from(SHARES) | st.floats(0, 1))
def test_a_quantile_is_near_the_exact_one(values: list[float], share: float) -> None:
    true = exact(values, share)
    assert abs(histogram(values).quantile(share) - true) <= true * RELATIVE_ERROR * (1 + 1e-9)


@given(st.lists(LATENCIES, min_size=1))
def test_count_mean_and_ends_are_exact(values: list[float]) -> None:
    made = histogram(values)
    assert (made.count, made.minimum, made.maximum) == (len(values), min(values), max(values))
    assert made.mean == pytest.approx(math.fsum(values) / len(values))
    assert made.quantile(1.0) == max(values)


@given(st.lists(LATENCIES), st.lists(LATENCIES))
def test_merging_is_recording_all_in_one(first: list[float], second: list[float]) -> None:
    made = histogram(first)
    made.merge(pickle.loads(pickle.dumps(histogram(second))))
    whole = histogram(first + second)
    assert list(made.buckets()) == list(whole.buckets())
    assert [made.quantile(share) for share in SHARES] == [whole.quantile(share) for share in SHARES]
    assert (made.count, made.minimum, made.maximum) == (whole.count, whole.minimum, whole.maximum)


@given(st.lists(LATENCIES, min_size=1))
def test_each_latency_lies_in_a_bucket(values: list[float]) -> None:
    left = sorted(values)
    for low, high, count in histogram(values).buckets():
        assert all(low <= value < high for value in left[:count])
        assert high / low <= 1 + 2 * RELATIVE_ERROR + 1e-9
        del left[:count]
    assert not left


@given(st.lists(LATENCIES, min_size=1), st.integers(1, 80))
def test_rows_divide_the_range_and_hold_all(values: list[float], number: int) -> None:
    rows = histogram(values).rows(number)
    assert 1 <= len(rows) <= number
    assert sum(count for _, _, count in rows) == len(values)
    assert rows[0][0] == pytest.approx(min(values)) and rows[-1][1] == max(values)
    assert all(before[1] == after[0] for before, after in pairwise(rows))


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-12, 1e9, math.inf])
def test_what_is_out_of_range_is_counted_at_its_end(value: float) -> None:
    made = histogram([value])
    assert made.count == 1
    assert 1e-9 <= made.quantile(0.5) <= 1e6


def test_an_empty_one_has_zeros() -> None:
    made = LatencyHistogram()
    assert (made.mean, made.quantile(0.5), list(made.buckets()), made.rows(5)) == (0.0, 0.0, [], [])


def test_the_number_of_buckets_is_bounded() -> None:
    made = histogram([10 ** (exponent / 1000) for exponent in range(-9000, 6000)])
    assert len(list(made.buckets())) < 7000
