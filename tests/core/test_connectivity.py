"""A channel's states and the calls that wait for it, with an explicit clock."""

from __future__ import annotations

from pygrpc import ChannelConnectivity, StatusCode
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall
from pygrpc.core.connectivity import Connectivity
from pygrpc.core.metadata import Header

IDLE, CONNECTING, READY, FAILED, SHUTDOWN = ChannelConnectivity


class Listener:
    def on_started(self) -> None: ...

    def on_initial_metadata(self) -> None: ...

    def on_message(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_done(self) -> None: ...


def no_headers(timeout: float | None) -> list[Header]:
    return []


def call() -> ClientCall:
    return ClientCall(Listener(), no_headers, response_streaming=False, deadline=None, limits=MessageLimits(-1, -1))


def make() -> tuple[Connectivity, list[ChannelConnectivity]]:
    seen: list[ChannelConnectivity] = []
    # Delays of 1, 2, 4 and again 4 seconds.
    policy = BackoffPolicy(initial=1.0, maximum=4.0, multiplier=2.0, jitter=0.0)
    return Connectivity(Backoff(policy, lambda: 0.5), seen.append), seen


def test_an_idle_channel_does_not_connect_by_itself() -> None:
    connectivity, seen = make()
    assert connectivity.state is IDLE
    assert connectivity.attempt_at() is None
    assert not connectivity.attempting
    connectivity.want()
    assert connectivity.attempt_at() == 0.0
    connectivity.attempt_begins(10.0)
    assert connectivity.attempting
    assert connectivity.attempt_at() is None
    assert connectivity.connected() == []
    assert connectivity.attempt_at() is None
    assert seen == [CONNECTING, READY]


def test_a_call_makes_the_channel_connect() -> None:
    connectivity, _ = make()
    first, second = call(), call()
    connectivity.admit(first, False)
    connectivity.admit(second, True)
    assert connectivity.waiting == [first, second]
    assert connectivity.attempt_at() == 0.0
    connectivity.attempt_begins(0.0)
    assert connectivity.connected() == [(first, False), (second, True)]
    assert connectivity.waiting == []
    assert first.stop_waiting is None


def test_a_call_that_ends_waits_no_more() -> None:
    connectivity, _ = make()
    first = call()
    connectivity.admit(first, True)
    first.cancel()
    assert connectivity.waiting == []


def test_a_failed_attempt_fails_calls_that_do_not_wait_for_ready() -> None:
    connectivity, seen = make()
    hasty, patient = call(), call()
    connectivity.admit(hasty, False)
    connectivity.admit(patient, True)
    connectivity.attempt_begins(0.0)
    connectivity.attempt_failed("refused")
    assert hasty.status is not None
    assert (hasty.status.code, hasty.status.details) == (StatusCode.UNAVAILABLE, "refused")
    assert connectivity.waiting == [patient]
    late = call()
    connectivity.admit(late, False)
    assert late.ended
    assert connectivity.last_error == "refused"
    assert seen == [CONNECTING, FAILED]


def test_attempts_go_on_with_growing_delays() -> None:
    connectivity, seen = make()
    connectivity.want()
    now = 100.0
    for delay in (1.0, 2.0, 4.0, 4.0):
        connectivity.attempt_begins(now)
        connectivity.attempt_failed("refused")
        assert connectivity.attempt_at() == now + delay
        now += delay
    # Nobody waits for ready, so the state does not flicker.
    assert seen == [CONNECTING, FAILED]
    connectivity.admit(call(), True)
    connectivity.attempt_begins(now)
    assert seen[-1] is CONNECTING
    connectivity.connected()
    connectivity.connection_left()
    connectivity.want()
    assert connectivity.attempt_at() == 0.0
    connectivity.attempt_begins(now)
    connectivity.attempt_failed("refused")
    assert connectivity.attempt_at() == now + 1.0


def test_a_connection_that_leaves_makes_the_channel_idle() -> None:
    connectivity, seen = make()
    connectivity.want()
    connectivity.attempt_begins(0.0)
    connectivity.connected()
    connectivity.connection_left()
    assert connectivity.attempt_at() is None
    unsent = call()
    connectivity.admit(unsent, True)
    assert connectivity.waiting == [unsent]
    assert connectivity.attempt_at() == 0.0
    connectivity.attempt_begins(1.0)
    connectivity.attempt_failed("refused")
    assert not unsent.ended
    assert seen == [CONNECTING, READY, IDLE, CONNECTING, FAILED]


def test_a_closed_channel_stays_closed() -> None:
    connectivity, seen = make()
    connectivity.want()
    connectivity.attempt_begins(0.0)
    connectivity.shut_down()
    connectivity.attempt_failed("too late")
    connectivity.connection_left()
    connectivity.want()
    assert connectivity.attempt_at() is None
    assert seen == [CONNECTING, SHUTDOWN]


def test_only_an_idle_channel_can_be_made_to_connect() -> None:
    connectivity, _ = make()
    connectivity.want()
    connectivity.attempt_begins(0.0)
    connectivity.connected()
    connectivity.want()
    connectivity.connection_left()
    assert connectivity.attempt_at() is None
