"""A channel's way to a connection (connectivity-semantics-and-api.md, connection-backoff.md, wait-for-ready.md)."""

import pytest

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.client_call import ClientState
from pygrpc.core.connectivity import Connectivity
from pygrpc.status import StatusCode
from tests.core.pair import ClientEnd

IDLE, CONNECTING, READY, FAILURE, SHUTDOWN = (
    ChannelConnectivity.IDLE,
    ChannelConnectivity.CONNECTING,
    ChannelConnectivity.READY,
    ChannelConnectivity.TRANSIENT_FAILURE,
    ChannelConnectivity.SHUTDOWN,
)


class Bench:
    """A channel's connectivity, the states that it was in, and attempts with a clock."""

    def __init__(self) -> None:
        self.states: list[ChannelConnectivity] = []
        self.core = Connectivity(Backoff(BackoffPolicy(), lambda: 0.5), self.states.append)

    def admit(self, wait_for_ready: bool = False) -> ClientEnd:
        end = ClientEnd()
        self.core.admit(end.call, wait_for_ready)
        return end

    def fail(self, now: float) -> None:
        self.core.attempt_begins(now)
        self.core.attempt_failed("refused")


def test_an_idle_channel_does_nothing() -> None:
    bench = Bench()
    assert bench.core.state is IDLE
    assert bench.core.attempt_at() is None
    assert bench.states == []


def test_a_call_makes_it_connect() -> None:
    bench = Bench()
    end = bench.admit()
    assert bench.core.attempt_at() == 0.0
    bench.core.attempt_begins(5.0)
    assert bench.core.attempting
    assert bench.core.attempt_at() is None
    assert bench.core.connected() == [(end.call, False)]
    assert bench.states == [CONNECTING, READY]
    assert not bench.core.attempting
    assert bench.core.attempt_at() is None
    assert bench.core.waiting == []
    assert end.call.stop_waiting is None
    assert end.code is None


def test_somebody_who_wants_a_connection_makes_it_connect() -> None:
    bench = Bench()
    bench.core.want()
    assert bench.core.attempt_at() == 0.0
    bench.core.attempt_begins(0.0)
    bench.core.connected()
    bench.core.want()
    assert bench.core.attempt_at() is None


def test_a_failed_attempt_fails_who_does_not_wait_for_ready() -> None:
    bench = Bench()
    hasty, patient = bench.admit(), bench.admit(wait_for_ready=True)
    bench.fail(10.0)
    assert (hasty.code, hasty.details) == (StatusCode.UNAVAILABLE, "refused")
    assert patient.call.state is ClientState.IDLE
    assert bench.core.waiting == [patient.call]
    assert bench.states == [CONNECTING, FAILURE]
    # And from then on at once.
    assert bench.admit().code is StatusCode.UNAVAILABLE
    assert bench.admit(wait_for_ready=True).code is None


def test_attempts_go_on_with_growing_delays_from_their_beginnings() -> None:
    bench = Bench()
    bench.core.want()
    now, delays = 100.0, []
    for _ in range(4):
        bench.fail(now)
        due = bench.core.attempt_at()
        assert due is not None
        delays.append(due - now)
        now = due
    assert delays == pytest.approx([1.0, 1.6, 2.56, 4.096])


def test_success_begins_anew() -> None:
    bench = Bench()
    bench.core.want()
    bench.fail(0.0)
    bench.fail(1.0)
    bench.core.attempt_begins(3.0)
    bench.core.connected()
    bench.core.connection_left()
    bench.core.want()
    assert bench.core.attempt_at() == 0.0
    bench.fail(10.0)
    assert bench.core.attempt_at() == pytest.approx(11.0)


@pytest.mark.parametrize("waits", [True, False])
def test_transient_failure_is_left_for_connecting_only_if_somebody_waits(waits: bool) -> None:
    bench = Bench()
    bench.core.want()
    bench.fail(0.0)
    if waits:
        bench.admit(wait_for_ready=True)
    bench.core.attempt_begins(1.0)
    assert bench.core.state is (CONNECTING if waits else FAILURE)
    bench.core.connected()
    assert bench.core.state is READY


def test_a_connection_that_leaves_makes_it_idle() -> None:
    bench = Bench()
    bench.core.want()
    bench.core.attempt_begins(0.0)
    bench.core.connected()
    bench.core.connection_left()
    assert bench.states == [CONNECTING, READY, IDLE]
    assert bench.core.attempt_at() is None


def test_calls_that_never_left_wait_for_the_next_connection() -> None:
    bench = Bench()
    ends = [ClientEnd(), ClientEnd()]
    bench.core.requeue([end.call for end in ends])
    assert bench.core.attempt_at() == 0.0
    bench.fail(0.0)
    assert [end.code for end in ends] == [None, None]
    bench.core.attempt_begins(1.0)
    assert [call for call, _ in bench.core.connected()] == [end.call for end in ends]


def test_a_call_that_waits_can_be_cancelled() -> None:
    bench = Bench()
    end = bench.admit(wait_for_ready=True)
    assert end.call.cancel()
    assert bench.core.waiting == []
    assert end.code is StatusCode.CANCELLED


def test_a_channel_that_is_closed_stays_so() -> None:
    bench = Bench()
    end = bench.admit(wait_for_ready=True)
    bench.core.attempt_begins(0.0)
    bench.core.shut_down()
    assert bench.core.waiting == [end.call]
    assert bench.core.attempt_at() is None
    bench.core.attempt_failed("too late")
    bench.core.connection_left()
    bench.core.want()
    assert bench.core.attempt_at() is None
    bench.core.attempt_begins(1.0)
    bench.core.connected()
    assert bench.states == [CONNECTING, SHUTDOWN]
    assert bench.core.state is SHUTDOWN
