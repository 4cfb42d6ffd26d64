"""What came of a load test, of one process or of several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pygrpc.load.histogram import LatencyHistogram
from pygrpc.load.schedule import TIMER_SLACK

#: The part of the asked rate by which a test may be behind at its end and still count as having held it.
_TOLERANCE = 0.01
#: Characters of an example message that are kept; the server chooses how long it is.
_EXAMPLE_LENGTH = 300


class Outcome(NamedTuple):
    """What came of one call.

    Attributes:
        code: Name of its status code.
        message: What its status says.
        sent: Messages that were sent.
        received: Messages that were received.
        bytes_sent: Size of the serialized messages that were sent.
        bytes_received: Size of the serialized messages that were received.
    """

    code: str
    message: str = ""
    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(slots=True)
class CodeResult:
    """The calls that ended with one status code.

    Attributes:
        example: The message of the first of them that had one.
        latencies: How long they took.
    """

    example: str = ""
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass(slots=True)
class LoadResult:
    """What a load test measured.

    Attributes:
        codes: What came of the calls, by the name of the status code.
        seconds: How long it took.
        sent: Messages that were sent.
        received: Messages that were received.
        bytes_sent: Size of the serialized messages that were sent.
        bytes_received: Size of the serialized messages that were received.
        unfinished: Calls that were still going on when the test was interrupted.
        interrupted: Whether it was interrupted.
        late: Calls of an open loop that began after their time because all others were still going on.
        latest: By how much the latest of them was late, in seconds.
        behind: By how much the last call that began was late, in seconds.
        missed: Calls of an open loop that never began.
    """

    codes: dict[str, CodeResult] = field(default_factory=dict)
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    unfinished: int = 0
    interrupted: bool = False
    late: int = 0
    latest: float = 0.0
    behind: float = 0.0
    missed: int = 0

    def record(self, outcome: Outcome, latency: float) -> None:
        """Counts a call that ended, with its latency in seconds."""
        result = self.codes.get(outcome.code)
        if result is None:
            result = self.codes[outcome.code] = CodeResult()
        if not result.example:
            result.example = outcome.message[:_EXAMPLE_LENGTH]
        result.latencies.record(latency)
        self.sent += outcome.sent
        self.received += outcome.received
        self.bytes_sent += outcome.bytes_sent
        self.bytes_received += outcome.bytes_received

    def began_late(self, seconds: float) -> None:
        """Counts a call of an open loop that began so many seconds late; what a timer may be late counts as in time."""
        self.behind = seconds
        if seconds > TIMER_SLACK:
            self.late += 1
            self.latest = max(self.latest, seconds)

    @property
    def calls(self) -> int:
        """How many calls ended."""
        return sum(result.latencies.count for result in self.codes.values())

    @property
    def rate(self) -> float:
        """How many calls ended per second."""
        return self.calls / self.seconds if self.seconds else 0.0

    @property
    def held(self) -> bool:
        """Whether an open loop held its rate: all calls began, and the last one not noticeably late."""
        return not self.missed and self.behind <= _TOLERANCE * self.seconds

    def latencies(self) -> LatencyHistogram:
        """Returns the latencies of all calls, whatever came of them."""
        together = LatencyHistogram()
        for result in self.codes.values():
            together.merge(result.latencies)
        return together


def merged(results: Iterable[LoadResult]) -> LoadResult:
    """Returns the results of processes that worked at the same time as one."""
    together = LoadResult()
    for result in results:
        for code, each in result.codes.items():
            mine = together.codes.setdefault(code, CodeResult())
            mine.example = mine.example or each.example
            mine.latencies.merge(each.latencies)
        together.seconds = max(together.seconds, result.seconds)
        together.sent += result.sent
        together.received += result.received
        together.bytes_sent += result.bytes_sent
        together.bytes_received += result.bytes_received
        together.unfinished += result.unfinished
        together.interrupted |= result.interrupted
        together.late += result.late
        together.latest = max(together.latest, result.latest)
        together.behind = max(together.behind, result.behind)
        together.missed += result.missed
    return together
