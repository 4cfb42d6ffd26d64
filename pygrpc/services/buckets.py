"""Token buckets, in whole nanoseconds: what is said about the future is exact."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

SECOND = 1_000_000_000


class Rate(NamedTuple):
    """How much somebody may do.

    Attributes:
        per_second: Tokens that come into a bucket in a second; more than 0, and at most a thousand millions.
        burst: Tokens that a bucket holds, at least 1.
    """

    per_second: float
    burst: int


class Buckets:
    """A bucket for each key; one that was never used is full.

    So many are kept at most. One that nobody has used for the longest time goes first, and is full when it is needed
    again: who makes up many keys gains as many bursts, and takes no more memory.
    """

    def __init__(self, rate: Rate, most: int, clock: Callable[[], int]) -> None:
        """Makes full buckets for everybody.

        Args:
            rate: Of each bucket.
            most: The number of buckets.
            clock: Gives the time in nanoseconds.

        Raises:
            ValueError: There is no such bucket.
        """
        if not 0 < rate.per_second <= SECOND or rate.burst < 1:
            raise ValueError(f"a bucket needs more than 0 tokens in a second and a burst of 1 or more, not {rate}")
        self._period = round(SECOND / rate.per_second)
        self._capacity = rate.burst * self._period
        self._burst = rate.burst
        self._most = most
        self._clock = clock
        # When a bucket will be full again, by key, the one that was used last at the end.
        self._full_at: dict[str, int] = {}
        # Handlers that are plain functions run in threads.
        self._lock = threading.Lock()

    def take(self, key: str, cost: int = 1) -> int:
        """Takes tokens out of a bucket if there are enough.

        Args:
            key: Of the bucket.
            cost: The number of tokens; what is more than a bucket holds takes a full one.

        Returns:
            0 if there were enough, else in how many nanoseconds there will be if nobody takes any until then.
        """
        price = min(cost, self._burst) * self._period
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.pop(key, now))
            wait = max(0, full_at + price - now - self._capacity)
            self._full_at[key] = full_at if wait else full_at + price
            if len(self._full_at) > self._most:
                del self._full_at[next(iter(self._full_at))]
        return wait

    def __len__(self) -> int:
        """The number of buckets that are kept."""
        return len(self._full_at)
