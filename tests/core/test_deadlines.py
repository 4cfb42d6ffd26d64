"""Many deadlines on one timer."""

from dataclasses import dataclass

from pygrpc.core.deadlines import Deadlines


@dataclass(eq=False)
class Call:
    deadline: float | None
    ended: bool = False


def watching(*deadlines: float | None) -> tuple[Deadlines[Call], list[Call]]:
    watched: Deadlines[Call] = Deadlines()
    calls = [Call(deadline) for deadline in deadlines]
    for call in calls:
        watched.add(call)
    return watched, calls


def test_nothing_is_next_when_nothing_is_watched() -> None:
    watched, _ = watching()
    assert watched.next() is None
    assert watched.pop_expired(1e9) == []


def test_a_call_without_a_deadline_is_not_watched() -> None:
    watched, _ = watching(None)
    assert watched.next() is None


def test_the_earliest_is_next() -> None:
    watched, _ = watching(3.0, 1.0, 2.0)
    assert watched.next() == 1.0


def test_what_has_expired_comes_in_order_and_once() -> None:
    watched, (third, first, second) = watching(3.0, 1.0, 2.0)
    assert watched.pop_expired(0.5) == []
    assert watched.pop_expired(2.0) == [first, second]
    assert watched.pop_expired(2.0) == []
    assert watched.next() == 3.0
    assert watched.pop_expired(9.0) == [third]


def test_equal_deadlines_come_in_the_order_of_the_calls() -> None:
    watched, calls = watching(1.0, 1.0, 1.0)
    assert watched.pop_expired(1.0) == calls


def test_a_call_that_has_ended_is_passed_over() -> None:
    watched, (first, second, third) = watching(1.0, 2.0, 3.0)
    first.ended = True
    assert watched.next() == 2.0
    third.ended = True
    assert watched.pop_expired(9.0) == [second]
    assert watched.next() is None


def test_memory_follows_the_calls_that_are_alive() -> None:
    watched, alive = watching(*(1e6 + number for number in range(10)))
    for number in range(10_000):
        call = Call(float(number))
        watched.add(call)
        call.ended = True
    assert len(watched._heap) < 200
    assert watched.pop_expired(2e6) == alive


def test_many_live_calls_are_all_kept() -> None:
    watched, calls = watching(*(float(number % 7) for number in range(1000)))
    assert sorted(map(id, watched.pop_expired(10.0))) == sorted(map(id, calls))
