"""The policy least_request, with draws that the test knows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.balancing import InvalidConfig, find
from pygrpc.core.balancing.least_request import LeastRequest
from pygrpc.core.balancing.policy import Pick
from tests.core.channels import FakeShell, streams
from tests.core.pair import RESPONSE

OK_ANSWER = [*RESPONSE, (b"grpc-status", b"0")]


def shell_with(*draws: float, choices: int = 2) -> FakeShell:
    """A channel whose random numbers are these, again and again."""
    config = {"loadBalancingConfig": [{"least_request": {"choiceCount": choices}}]}
    shell = FakeShell(config=config)
    numbers = list(draws)

    def random() -> float:
        numbers.append(numbers.pop(0))
        return numbers[-1]

    shell.channel.random = random
    return shell


def test_it_is_known_by_both_names() -> None:
    assert find("least_request") is LeastRequest
    experimental = find("least_request_experimental")
    assert experimental is not None
    assert issubclass(experimental, LeastRequest)


def test_the_configuration_is_checked() -> None:
    assert LeastRequest.parse_config({}) == 2
    assert LeastRequest.parse_config({"choice_count": 3}) == 3
    assert LeastRequest.parse_config({"choiceCount": 99}) == 10
    for wrong in (1, -1, 2.5, "many", True):
        with pytest.raises(InvalidConfig, match="choiceCount must be a whole number above 1"):
            LeastRequest.parse_config({"choiceCount": wrong})


def test_the_less_busy_one_of_two_gets_the_call() -> None:
    shell = shell_with(0.0, 0.9)
    a, b = shell.ready("a", "b")
    for _ in range(4):
        shell.call()
    assert streams([a, b]) == [2, 2]
    # Those of b end, so that it gets the next two.
    for stream in (1, 3):
        b.send(b.headers(stream, OK_ANSWER, True))
    shell.call()
    shell.call()
    assert streams([a, b]) == [2, 4]


def test_drawn_twice_is_chosen_however_busy() -> None:
    shell = shell_with(0.0)
    a, b = shell.ready("a", "b")
    for _ in range(3):
        shell.call()
    assert streams([a, b]) == [3, 0]


def test_counts_outlive_changes_of_the_picker() -> None:
    shell = shell_with(0.0, 0.5, 0.9, choices=3)
    a, b = shell.ready("a", "b")
    shell.call()
    shell.call()
    shell.resolved("a", "b", "c")
    c = shell.answer("c")
    shell.call()
    shell.call()
    assert streams([a, b, c]) == [2, 1, 1]


@pytest.mark.parametrize("end", ["cancel", "answer", "lose", "goaway"])
def test_calls_that_end_are_not_counted_any_more(end: str) -> None:
    shell = shell_with(0.5)
    (a,) = shell.ready("a")
    a.send(a.settings({3: 1}))
    calls = [shell.call(), shell.call()]
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    (count,) = policy._counts.values()
    assert count.active == 2
    if end == "cancel":
        for call in calls:
            call.call.cancel()
    elif end == "answer":
        a.send(a.headers(1, OK_ANSWER, True))
        a.receive()
        a.send(a.headers(3, OK_ANSWER, True))
    elif end == "goaway":
        a.send(a.goaway(0))
    else:
        shell.lose(a)
    assert count.active == 0


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20), st.integers(2, 4), st.data())
def test_the_choice_is_the_least_busy_of_those_drawn(draws: list[float], choices: int, data: Any) -> None:
    names = ["a", "b", "c"]
    shell = shell_with(*draws, choices=choices)
    shell.ready(*names)
    picker = shell.channel._picker
    drawn: list[float] = []
    plain = shell.channel.random
    picker._random = lambda: drawn.append(plain()) or drawn[-1]  # type: ignore[attr-defined,func-returns-value]
    busy: Counter[str] = Counter()
    open_picks: list[Pick] = []
    for _ in range(30):
        drawn.clear()
        if open_picks and data.draw(st.booleans()):
            over = open_picks.pop(0)
            assert over.on_done is not None
            over.on_done(None)  # type: ignore[arg-type]
            busy[over.subchannel.endpoint.address.host] -= 1
        pick: Any = picker.pick(None)  # type: ignore[arg-type]
        chosen = pick.subchannel.endpoint.address.host
        candidates = [names[int(number * 3)] for number in drawn]
        assert len(candidates) == choices
        assert chosen == min(candidates, key=lambda name: busy[name])
        busy[chosen] += 1
        open_picks.append(pick)
