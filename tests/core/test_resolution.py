"""When a target is looked up, with an explicit clock."""

from __future__ import annotations

from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.resolution import Resolution


class Bench:
    """A target that is looked up every 30 seconds at most, and behind failures after 1, 2, 4 and again 4 seconds."""

    def __init__(self) -> None:
        self.begun = 0
        self.answers = True
        policy = BackoffPolicy(initial=1.0, maximum=4.0, multiplier=2.0, jitter=0.0)
        self.it = Resolution(self.resolve, 30.0, Backoff(policy, lambda: 0.5))

    def resolve(self) -> bool:
        self.begun += 1
        return self.answers


def test_there_is_one_look_up_at_a_time() -> None:
    bench = Bench()
    assert not bench.it.under_way
    bench.it.begin(100.0)
    bench.it.begin(101.0)
    bench.it.request(101.0)
    assert (bench.begun, bench.it.under_way, bench.it.due) == (1, True, None)


def test_a_request_waits_for_the_end_of_the_pause() -> None:
    bench = Bench()
    bench.it.begin(100.0)
    bench.it.succeeded(101.0)
    assert (bench.it.under_way, bench.it.due) == (False, None)
    bench.it.request(110.0)
    bench.it.request(120.0)
    assert bench.it.due == 131.0
    bench.it.begin(131.0)
    assert (bench.begun, bench.it.due) == (2, None)
    bench.it.succeeded(132.0)
    bench.it.request(200.0)
    assert bench.it.due == 200.0


def test_failures_have_growing_delays_until_one_goes_well() -> None:
    bench = Bench()
    for delay in (1.0, 2.0, 4.0, 4.0):
        bench.it.begin(100.0)
        bench.it.failed(100.0)
        bench.it.request(100.0)
        assert bench.it.due == 100.0 + delay
    bench.it.succeeded(100.0)
    bench.it.failed(100.0)
    assert bench.it.due == 101.0


def test_a_delay_may_be_cut_short() -> None:
    bench = Bench()
    bench.it.reset_backoff(99.0)
    assert bench.it.due is None
    bench.it.begin(100.0)
    bench.it.failed(100.0)
    bench.it.reset_backoff(100.5)
    assert bench.it.due == 100.5


def test_a_hint_is_over_at_once_and_is_given_again_behind_the_pause() -> None:
    bench = Bench()
    bench.answers = False
    bench.it.begin(100.0)
    assert not bench.it.under_way
    bench.it.request(101.0)
    assert bench.it.due == 130.0


def test_what_is_stopped_is_not_awaited() -> None:
    bench = Bench()
    bench.it.begin(100.0)
    bench.it.stop()
    assert (bench.it.under_way, bench.it.due) == (False, None)
    bench.it.begin(101.0)
    assert bench.begun == 2
