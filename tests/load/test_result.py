"""What a test counts, and how the counts of processes become one."""

from __future__ import annotations

from pygrpc.load.result import LoadResult, Outcome, merged
from pygrpc.load.schedule import TIMER_SLACK


def result(*outcomes: tuple[Outcome, float], seconds: float = 2.0) -> LoadResult:
    made = LoadResult(seconds=seconds)
    for outcome, latency in outcomes:
        made.record(outcome, latency)
    return made


def test_calls_are_counted_by_code_with_the_first_message() -> None:
    made = result(
        (Outcome("OK", "", 1, 2, 10, 20), 0.1),
        (Outcome("NOT_FOUND", "", 1, 0, 10, 0), 0.2),
        (Outcome("NOT_FOUND", "no user 7", 1, 0, 10, 0), 0.3),
        (Outcome("NOT_FOUND", "no user 8", 1, 0, 10, 0), 0.3),
    )
    assert {code: (each.latencies.count, each.example) for code, each in made.codes.items()} == {
        "OK": (1, ""),
        "NOT_FOUND": (3, "no user 7"),
    }
    assert (made.calls, made.rate) == (4, 2.0)
    assert (made.sent, made.received, made.bytes_sent, made.bytes_received) == (4, 2, 40, 20)
    assert made.latencies().maximum == 0.3


def test_an_example_is_cut() -> None:
    made = result((Outcome("UNKNOWN", "x" * 10_000), 0.1))
    assert len(made.codes["UNKNOWN"].example) == 300


def test_an_open_loop_that_fell_behind_did_not_hold_its_rate() -> None:
    made = LoadResult(seconds=10.0)
    made.began_late(TIMER_SLACK / 2)
    assert (made.late, made.held) == (0, True)
    made.began_late(3.0)
    assert (made.late, made.latest, made.held) == (1, 3.0, False)
    # It caught up: later calls began in time.
    made.began_late(0.0)
    assert (made.late, made.latest, made.held) == (1, 3.0, True)
    made.missed = 1
    assert not made.held


def test_processes_are_merged() -> None:
    first = result((Outcome("OK", "", 1, 1, 5, 6), 0.1), seconds=2.0)
    second = result((Outcome("OK", "", 1, 1, 5, 6), 0.4), (Outcome("ABORTED", "again", 1, 0, 5, 0), 0.2), seconds=4.0)
    second.began_late(0.5)
    second.missed, second.unfinished, second.interrupted = 2, 3, True
    both = merged([first, second])
    assert (both.calls, both.seconds, both.rate) == (3, 4.0, 0.75)
    assert (both.sent, both.received, both.bytes_sent, both.bytes_received) == (3, 2, 15, 12)
    assert (both.late, both.latest, both.behind, both.missed, both.unfinished) == (1, 0.5, 0.5, 2, 3)
    assert both.interrupted and both.codes["ABORTED"].example == "again"
    assert both.codes["OK"].latencies.maximum == 0.4


def test_nothing_is_no_rate() -> None:
    assert merged([]).rate == 0.0
