"""When the calls of a load test begin."""

from __future__ import annotations

import math

#: Seconds by which a timer of an event loop may be late: the resolution of epoll, with a little of its own work.
TIMER_SLACK = 0.002


class Schedule:
    """Hands out the times at which calls begin.

    Without a rate the loop is closed: a call begins as soon as somebody is free to make it. With one it is open: each
    call has its time, whether or not the server has answered the earlier ones. Whoever is late for that time still
    counts from it; otherwise a server that stalls would stop the very calls that would have shown it.
    """

    def __init__(
        self,
        start: float,
        *,
        rate: float | None = None,
        duration: float | None = None,
        calls: int | None = None,
        offset: float = 0.0,
    ) -> None:
        """Begins at a time.

        Args:
            start: In seconds of the clock whose times are passed in later.
            rate: Calls per second; None for a closed loop.
            duration: Seconds after which no call begins; None for no end.
            calls: How many calls there are; None for any number.
            offset: Seconds by which the calls of an open loop are later, so that several processes take turns.
        """
        self.taken = 0
        self._start = start
        self._rate = rate
        self._end = math.inf if duration is None else start + duration
        self._calls = calls
        self._offset = offset

    def take(self, now: float) -> float | None:
        """Takes the next call.

        Returns:
            When it begins: now, or later, or, for one that is late, earlier. None if there are no more calls.
        """
        begin = now if self._rate is None else self._due(self.taken)
        if begin >= self._end or now >= self._end or self.taken == self._calls:
            return None
        self.taken += 1
        return begin

    def missed(self, now: float) -> int:
        """Counts the calls of an open loop that should have begun by now, or before its end, but were not taken."""
        if self._rate is None:
            return 0
        elapsed = min(now, self._end) - self._start - self._offset
        # A call that is due at the very end is none; rounding keeps floating point from making it one.
        due = max(math.ceil(round(elapsed * self._rate, 6)), 0)
        return max((due if self._calls is None else min(due, self._calls)) - self.taken, 0)

    def span(self) -> float:
        """Returns the seconds that the calls which were taken stand for in an open loop; 0 in a closed one."""
        return 0.0 if self._rate is None else self.taken / self._rate

    def _due(self, number: int) -> float:
        assert self._rate is not None
        return self._start + self._offset + number / self._rate


def counted_from(due: float, free: float, began: float) -> float:
    """Returns the time from which the latency of a call counts.

    Args:
        due: When the call should have begun.
        free: When somebody was free to make it.
        began: When it was made.

    Returns:
        The time at which it was due. Only if somebody waited for that time, and the timer was late by no more than its
        resolution, it is the time at which it was made: that wait is the tester's and no part of the latency.
    """
    if free <= due <= began <= due + TIMER_SLACK:
        return began
    return min(due, began)
