"""Deadlines of many calls on one timer."""

import heapq
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class HasDeadline(Protocol):
    """A call as far as its deadline is concerned."""

    @property
    def deadline(self) -> float | None:
        """The point in monotonic time, in seconds, when the call has to end."""

    @property
    def ended(self) -> bool:
        """Whether the deadline doesn't matter any more."""


class Appointment:
    """Something to be done at a time, until it is cancelled."""

    __slots__ = ("action", "deadline")

    def __init__(self, when: float, action: Callable[[], object]) -> None:
        """Makes an appointment.

        Args:
            when: Monotonic time in seconds.
            action: What is to be done.
        """
        self.deadline = when
        self.action: Callable[[], object] | None = action

    @property
    def ended(self) -> bool:
        """Whether it is cancelled."""
        return self.action is None

    def cancel(self) -> None:
        """Lets it be, and forgets what was to be done."""
        self.action = None


T = TypeVar("T", bound=HasDeadline)


class Deadlines(Generic[T]):
    """A heap of calls by deadline.

    A call that ends early stays in the heap, since to take it out costs more than to pass over it; when more than half
    of the entries are such, the heap is built anew. So the cost of a call stays constant, and memory follows the calls
    that are alive.
    """

    def __init__(self) -> None:
        """Makes an empty heap."""
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0
        self._compact_at = 64

    def add(self, call: T) -> None:
        """Watches a call that has a deadline."""
        if call.deadline is None:
            return
        self._count += 1
        heapq.heappush(self._heap, (call.deadline, self._count, call))
        if len(self._heap) > self._compact_at:
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapq.heapify(self._heap)
            self._compact_at = max(64, 2 * len(self._heap))

    def next(self) -> float | None:
        """The earliest deadline of a call that has not ended."""
        heap = self._heap
        while heap and heap[0][2].ended:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_expired(self, now: float) -> list[T]:
        """Takes out the calls whose deadline has passed, the earliest first."""
        expired: list[T] = []
        heap = self._heap
        while heap and (heap[0][2].ended or heap[0][0] <= now):
            call = heapq.heappop(heap)[2]
            if not call.ended:
                expired.append(call)
        return expired
