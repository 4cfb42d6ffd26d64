from __future__ import annotations

from pygrpc.services.chat.rates import Rates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    rates = Rates(rate=2.0, burst=3, clock=clock)
    assert [rates.take("ann") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rates.take("bob") == 0.0
    clock.now += 0.25
    assert rates.take("ann") == 0.25
    clock.now += 0.25
    assert [rates.take("ann"), rates.take("ann")] == [0.0, 0.5]
    clock.now += 60
    assert [rates.take("ann") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_the_number_of_buckets_is_limited() -> None:
    rates = Rates(rate=1.0, burst=1, clock=Clock(), most=2)
    assert [rates.take(user_id) for user_id in "abc"] == [0.0, 0.0, 0.0]
    assert rates.take("c") == 1.0
    # The bucket that was used last the longest ago is gone.
    assert rates.take("a") == 0.0
