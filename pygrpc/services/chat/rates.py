"""How fast each user may send."""

from __future__ import annotations

from collections.abc import Callable


class Rates:
    """A token bucket for each user: it holds `burst` tokens and is filled with `rate` of them in a second."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], most: int = 10_000) -> None:
        """Makes full buckets for everybody.

        Args:
            rate: Tokens in a second.
            burst: The most tokens in a bucket.
            clock: Gives the time in seconds.
            most: So many buckets are kept at most; the oldest one goes first, and is full when it is needed again.
        """
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._most = most
        # When a bucket will be full again, by user.
        self._full_at: dict[str, float] = {}

    def take(self, user_id: str) -> float:
        """Takes a token out of a user's bucket if there is one.

        Returns:
            0.0 if there was one, else how long it is until there will be, in seconds.
        """
        now = self._clock()
        full_at = max(now, self._full_at.pop(user_id, now))
        wait = full_at - now - (self._burst - 1) / self._rate
        if wait <= 0:
            full_at += 1 / self._rate
        self._full_at[user_id] = full_at
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return max(0.0, wait)
