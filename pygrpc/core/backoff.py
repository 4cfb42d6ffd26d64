"""How long to wait before the next attempt to connect (doc/connection-backoff.md in the grpc repository)."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The figures of exponential backoff.

    Attributes:
        initial: The first delay, in seconds.
        maximum: The longest delay before jitter, in seconds.
        multiplier: What each delay is multiplied by to give the next.
        jitter: The share of a delay by which it is varied at random, both ways.
    """

    initial: float = 1.0
    maximum: float = 120.0
    multiplier: float = 1.6
    jitter: float = 0.2


class Backoff:
    """The delays of one target."""

    def __init__(self, policy: BackoffPolicy, random: Callable[[], float]) -> None:
        """Starts at the first delay.

        Args:
            policy: The figures.
            random: Returns numbers from 0 to 1.
        """
        self._policy = policy
        self._random = random
        self._current = min(policy.initial, policy.maximum)

    def next_delay(self) -> float:
        """The delay in seconds after one more failed attempt, counted from the start of that attempt."""
        policy, delay = self._policy, self._current
        self._current = min(delay * policy.multiplier, policy.maximum)
        return delay * (1 + policy.jitter * (2 * self._random() - 1))

    def reset(self) -> None:
        """Begins again at the first delay: the peer's SETTINGS arrived."""
        self._current = min(self._policy.initial, self._policy.maximum)
