"""Connection backoff (doc/connection-backoff.md)."""

import pytest

from pygrpc.core.backoff import Backoff, BackoffPolicy


def delays(policy: BackoffPolicy, count: int, random: float = 0.5) -> list[float]:
    backoff = Backoff(policy, lambda: random)
    return [backoff.next_delay() for _ in range(count)]


def test_the_figures_of_the_document() -> None:
    policy = BackoffPolicy()
    assert (policy.initial, policy.maximum, policy.multiplier, policy.jitter) == (1.0, 120.0, 1.6, 0.2)


def test_each_delay_is_larger_by_the_multiplier() -> None:
    assert delays(BackoffPolicy(), 4) == pytest.approx([1.0, 1.6, 2.56, 4.096])


def test_delays_stop_at_the_maximum() -> None:
    assert delays(BackoffPolicy(maximum=2.0), 4) == pytest.approx([1.0, 1.6, 2.0, 2.0])
    assert delays(BackoffPolicy(initial=5.0, maximum=2.0), 2) == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(("random", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_goes_both_ways(random: float, factor: float) -> None:
    assert delays(BackoffPolicy(), 2, random) == pytest.approx([factor, 1.6 * factor])


def test_jitter_does_not_add_up() -> None:
    numbers = iter([1.0, 0.5])
    backoff = Backoff(BackoffPolicy(), lambda: next(numbers))
    assert [backoff.next_delay(), backoff.next_delay()] == pytest.approx([1.2, 1.6])


def test_reset_begins_again() -> None:
    backoff = Backoff(BackoffPolicy(), lambda: 0.5)
    backoff.next_delay()
    backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == pytest.approx(1.0)
