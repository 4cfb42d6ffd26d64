"""Keepalive and ages over any course of calls: who is there is never given up, who is gone is, and both in time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.connection_ages import AgeSettings
from pygrpc.core.keepalive import KeepaliveSettings, PingLimits
from pygrpc.core.server_connection import Upkeep
from tests.core.pair import ClientEnd, Pair, ServerEnd

#: Seconds, as binary fractions so that sums are exact, and what a user does then.
SECONDS = st.integers(1, 320).map(lambda number: number / 16)
STEPS = st.lists(st.tuples(SECONDS, st.sampled_from(["call", "message", "response", "finish", "nothing"])), max_size=30)
TIMES = st.integers(16, 160).map(lambda number: number / 16)


class Course:
    """A pair of connections with a clock that stops whenever one of them wants to be woken."""

    def __init__(self, keepalive: KeepaliveSettings, upkeep: Upkeep) -> None:
        self.pair = Pair(keepalive=keepalive, upkeep=upkeep)
        self.cut = False
        self.calls: list[tuple[ClientEnd, ServerEnd]] = []
        #: When the client was first told to leave, and when the last call ended.
        self.told_at = math.inf
        self.ended_at = -math.inf
        self.began_at = 0.0

    def deliver(self) -> None:
        if not self.cut:
            self.pair.exchange()
        if self.pair.client.draining and self.told_at == math.inf:
            self.told_at = self.pair.now

    def wait(self, seconds: float) -> None:
        pair, until = self.pair, self.pair.now + seconds
        for _ in range(1000):
            wakeups = [core.wakeup for core in (pair.client, pair.server) if core.wakeup is not None]
            if not wakeups or min(wakeups) > until:
                pair.now = until
                return
            pair.now = max(pair.now, min(wakeups))
            for core in (pair.client, pair.server):
                if core.wakeup is not None and core.wakeup <= pair.now:
                    core.handle_timeout(pair.now)
            self.deliver()
        raise AssertionError("time does not pass")

    def do(self, what: str) -> None:
        pair = self.pair
        if what == "call" and not pair.client.draining:
            pair.client.now = pair.now
            self.calls.append(pair.open(b"x", end=False))
        elif not self.calls:
            what = "nothing"
        else:
            client, server = self.calls[-1]
            if what == "message":
                client.send(b"y", end=False)
            elif what == "response":
                server.send(b"z")
            elif what == "finish":
                self.calls.pop()
                server.finish()
        self.deliver()
        if what == "finish" and not self.calls:
            self.ended_at = pair.now

    def run(self, steps: Sequence[tuple[float, str]]) -> None:
        for seconds, what in steps:
            self.wait(seconds)
            self.do(what)


@given(TIMES, TIMES, TIMES, st.booleans(), st.integers(0, 3), STEPS)
def test_who_is_there_is_never_given_up_and_who_is_gone_is(
    time: float, timeout: float, server_time: float, without_calls: bool, pings: int, steps: list[tuple[float, str]]
) -> None:
    keepalive = KeepaliveSettings(time, timeout, without_calls, pings)
    # The server expects what the client does, and not a sixteenth of a second more.
    upkeep = Upkeep(
        KeepaliveSettings(server_time, timeout, True, 0, 0.0), PingLimits(time, 1, without_calls=without_calls)
    )
    course = Course(keepalive, upkeep)
    course.run(steps)
    pair = course.pair
    assert pair.client.failure is None and pair.server.failure is None
    course.do("call")
    course.do("message")
    course.cut = True
    cut_at = pair.now
    # A PING may have been sent just before, so that the next one has to wait; and nobody asks twice.
    course.wait(max(time, 1.0) + timeout)
    assert pair.client.failure is not None and pair.client.abandoned
    assert course.calls[-1][0].details == "keepalive watchdog timeout"
    course.wait(max(0.0, cut_at + server_time + timeout - pair.now))
    assert pair.server.failure is not None and pair.server.abandoned


@given(TIMES, STEPS)
def test_a_connection_is_told_to_leave_between_one_and_two_idle_times(
    idle: float, steps: list[tuple[float, str]]
) -> None:
    course = Course(KeepaliveSettings(), Upkeep(ages=AgeSettings(idle=idle)))
    for seconds, what in steps:
        busy = bool(course.calls)
        began_at = max(course.ended_at, 0.0)
        course.wait(seconds)
        if course.told_at < math.inf:
            assert not busy
            assert began_at + idle <= course.told_at <= began_at + 2 * idle
            return
        assert busy or course.pair.now <= began_at + 2 * idle
        course.do(what)


@given(TIMES, TIMES, STEPS)
def test_an_old_connection_is_told_so_in_time_and_its_calls_end(
    age: float, grace: float, steps: list[tuple[float, str]]
) -> None:
    course = Course(KeepaliveSettings(), Upkeep(ages=AgeSettings(age=age, grace=grace)))
    course.run(steps)
    course.wait(max(0.0, age - course.pair.now))
    assert course.told_at == age
    course.wait(max(0.0, age + grace - course.pair.now))
    course.deliver()
    assert course.pair.server.closing and course.pair.client.closing
    assert all(client.code is not None for client, _ in course.calls)
