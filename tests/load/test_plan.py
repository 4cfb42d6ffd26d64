"""How the work of a test is divided among processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.load.plan import Plan, share
from pygrpc.load.requests import Requests


@given(st.integers(0, 1000), st.integers(1, 20))
def test_shares_are_even_and_whole(total: int, parts: int) -> None:
    shares = [share(total, index, parts) for index in range(parts)]
    assert sum(shares) == total and max(shares) - min(shares) <= 1


def test_the_parts_are_the_whole() -> None:
    plan = Plan("host:1", "a.B/C", Requests((b"",)), concurrency=11, connections=4, calls=100, rate=30.0)
    parts = plan.parts(3)
    assert [part.concurrency for part in parts] == [4, 4, 3]
    assert [part.connections for part in parts] == [2, 1, 1]
    assert [part.calls for part in parts] == [34, 33, 33]
    assert [part.offset for part in parts] == pytest.approx([0.0, 1 / 30, 2 / 30])
    assert [(part.process, part.processes, part.rate) for part in parts] == [(0, 3, 10.0), (1, 3, 10.0), (2, 3, 10.0)]


def test_a_closed_loop_without_bounds_has_no_offsets() -> None:
    parts = Plan("host:1", "a.B/C", Requests((b"",)), concurrency=2).parts(2)
    assert [(part.offset, part.calls, part.rate, part.connections) for part in parts] == [(0.0, None, None, 1)] * 2
