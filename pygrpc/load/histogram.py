"""Latencies in logarithmic buckets: a percentile of any number of calls, in bounded memory and with a bounded error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

#: Buckets between a power of two and the next. The middle of one is off by half its width at most, relative to its
#: lower end.
_PARTS = 128
#: The largest relative error of a quantile.
RELATIVE_ERROR = 1 / (2 * _PARTS)
#: Seconds; what lies outside is counted at the ends, so that the number of buckets is bounded too.
_SHORTEST, _LONGEST = 1e-9, 1e6


class LatencyHistogram:
    """Counts latencies by their size.

    Attributes:
        count: How many were recorded.
        total: Their sum, in seconds.
        minimum: The shortest one, in seconds; infinity while there is none.
        maximum: The longest one, in seconds; 0 while there is none.
    """

    __slots__ = ("_buckets", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        """Makes one that is empty."""
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = 0.0

    def record(self, seconds: float) -> None:
        """Counts a latency."""
        seconds = min(max(seconds, _SHORTEST), _LONGEST)
        mantissa, exponent = math.frexp(seconds)
        # The mantissa is at least 0.5 and less than 1.
        self._buckets[exponent * _PARTS + int((mantissa - 0.5) * (2 * _PARTS))] += 1
        self.count += 1
        self.total += seconds
        self.minimum = min(self.minimum, seconds)
        self.maximum = max(self.maximum, seconds)

    def merge(self, other: LatencyHistogram) -> None:
        """Counts all that another histogram has counted."""
        self._buckets.update(other._buckets)
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    @property
    def mean(self) -> float:
        """The mean in seconds, 0 if nothing was recorded. It is exact."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Returns the latency that a share of all calls did not exceed (nearest rank).

        Args:
            share: From 0 to 1; 0.99 for the 99th percentile.

        Returns:
            Seconds, off by no more than ``RELATIVE_ERROR`` of the true value; 0 if nothing was recorded.
        """
        if not self.count:
            return 0.0
        # 99.9 percent of 1,000 are 999, and not the little more that comes out in floating point.
        rank = min(max(math.ceil(round(share * self.count, 6)), 1), self.count)
        if rank == self.count:
            return self.maximum
        for low, high, number in self.buckets():
            rank -= number
            if rank <= 0:
                return min(max((low + high) / 2, self.minimum), self.maximum)
        raise AssertionError("the buckets hold fewer latencies than were recorded")

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """Yields lower end, upper end (both in seconds) and count of each bucket that is not empty, in order."""
        for key in sorted(self._buckets):
            exponent, part = divmod(key, _PARTS)
            low, high = ((_PARTS + each) / (2 * _PARTS) for each in (part, part + 1))
            yield math.ldexp(low, exponent), math.ldexp(high, exponent), self._buckets[key]

    def rows(self, number: int) -> list[tuple[float, float, int]]:
        """Divides the range from the shortest to the longest latency into rows, each as many times the last one.

        Args:
            number: How many rows at most.

        Returns:
            Lower end, upper end (both in seconds) and count of each; empty if nothing was recorded.
        """
        if not self.count:
            return []
        ratio = self.maximum / self.minimum
        # A row that is narrower than the buckets would say what the buckets don't know.
        number = max(min(number, int(math.log(ratio) / math.log1p(4 * RELATIVE_ERROR))), 1)
        ends = [self.minimum * ratio ** (index / number) for index in range(number)] + [self.maximum]
        counts = [0] * number
        for low, high, count in self.buckets():
            middle = min(max((low + high) / 2, self.minimum), self.maximum)
            place = int(math.log(middle / self.minimum) / math.log(ratio) * number) if ratio > 1 else 0
            counts[min(place, number - 1)] += count
        return list(zip(ends, ends[1:], counts, strict=False))
