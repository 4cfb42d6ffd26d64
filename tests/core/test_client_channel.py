"""A channel's decisions, with an explicit clock: resolving, idleness, calls that wait, goodbyes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pygrpc.core.balancing import RoundRobin
from pygrpc.core.client_channel import ClientChannel
from pygrpc.core.http2 import ErrorCode
from pygrpc.core.keepalive import KeepaliveSettings
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, IDLE, READY, SETTINGS, SHUTDOWN, FakeShell, streams
from tests.core.pair import RESPONSE, raw_server

OK_ANSWER = [*RESPONSE, (b"grpc-status", b"0")]


def test_an_idle_channel_does_nothing() -> None:
    shell = FakeShell()
    assert isinstance(shell.channel, ClientChannel)
    assert shell.channel.state is IDLE
    assert shell.look_ups == 0
    assert shell.wakeup is None


def test_the_first_call_makes_it_connect_and_goes_out_when_that_has_worked() -> None:
    shell = FakeShell()
    call = shell.call()
    assert (shell.channel.state, shell.look_ups) == (CONNECTING, 1)
    assert shell.channel.waiting == [call.call]
    shell.resolved("a")
    assert shell.attempted == ["a"]
    peer = shell.answer("a")
    assert shell.states == [CONNECTING, READY]
    assert streams([peer]) == [1]
    assert call.events == ["started"]


def test_calls_go_straight_to_the_connection_of_pick_first() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    assert shell.channel.direct is peer.core
    shell.call()
    shell.call()
    assert streams([peer]) == [2]


def test_a_call_that_can_t_connect_fails_and_one_that_waits_for_ready_does_not() -> None:
    shell = FakeShell()
    hasty, patient = shell.call(), shell.call(wait_for_ready=True)
    shell.resolved("a")
    shell.fail("a")
    assert hasty.code is StatusCode.UNAVAILABLE
    assert hasty.details == "failed to connect to all addresses; last error: a: refused"
    assert shell.channel.waiting == [patient.call]
    assert shell.call().code is StatusCode.UNAVAILABLE
    shell.wait(1.0)
    assert streams([shell.answer("a")]) == [1]
    assert patient.call.stream_id == 1
    assert shell.states == [CONNECTING, FAILED, READY]


def test_a_call_that_ends_while_it_waits_is_forgotten() -> None:
    shell = FakeShell()
    call = shell.call()
    call.call.cancel()
    assert shell.channel.waiting == []
    (peer,) = shell.ready("a")
    assert streams([peer]) == [0]


def test_a_name_that_is_not_resolved_fails_calls_and_is_looked_up_again_behind_growing_delays() -> None:
    shell = FakeShell()
    call = shell.call()
    shell.resolution_failed()
    assert (call.code, call.details) == (StatusCode.UNAVAILABLE, "no such name")
    for delay, look_ups in ((1.0, 2), (2.0, 3), (4.0, 4), (4.0, 5)):
        shell.wait(delay - 0.01)
        assert shell.look_ups == look_ups - 1
        shell.wait(0.01)
        assert shell.look_ups == look_ups
        shell.resolution_failed()
    shell.wait(4.0)
    (peer,) = shell.ready("a")
    assert shell.call().code is None
    assert streams([peer]) == [1]


def test_a_name_without_addresses_is_an_error() -> None:
    shell = FakeShell()
    call = shell.call()
    shell.resolved()
    assert call.code is StatusCode.UNAVAILABLE
    assert "no addresses" in call.details


def test_a_lost_connection_makes_the_channel_idle_and_the_next_call_connects_again() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.lose(peer)
    assert shell.channel.state is IDLE
    assert shell.channel.direct is None
    shell.wait(10.0)
    assert shell.attempted == ["a"]
    call = shell.call()
    assert shell.channel.state is CONNECTING
    assert streams([shell.answer("a")]) == [1]
    assert call.events == ["started"]


def test_a_name_is_not_looked_up_again_before_its_time() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.lose(peer)
    shell.wait(29.9)
    assert shell.look_ups == 1
    shell.wait(0.2)
    assert shell.look_ups == 2


def test_goaway_moves_the_calls_that_wait_for_a_stream_to_the_next_connection() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    peer.send(peer.settings({3: 1}))
    first, second = shell.call(), shell.call()
    assert second.call.stream_id == 0
    peer.send(peer.goaway(1))
    assert shell.channel.waiting == [second.call]
    other = shell.answer("a")
    assert streams([other]) == [1]
    peer.send(peer.headers(1, OK_ANSWER, True))
    assert first.call.status is not None
    assert second.code is None


def test_an_attempt_that_takes_too_long_is_given_up() -> None:
    shell = FakeShell()
    call = shell.call()
    shell.resolved("a")
    shell.wait(20.0)
    assert shell.attempts == {"a": shell.attempts["a"]}
    assert shell.attempted == ["a", "a"]
    assert "no answer within 20 seconds" in call.details


def test_without_calls_the_connections_are_let_go_and_with_them_they_are_not() -> None:
    shell = FakeShell(replace(SETTINGS, idle_timeout=60.0))
    (peer,) = shell.ready("a")
    call = shell.call()
    shell.wait(100.0)
    assert shell.channel.state is READY
    peer.now = shell.now
    peer.send(peer.headers(1, OK_ANSWER, True))
    assert call.code is StatusCode.UNIMPLEMENTED or call.call.status is not None
    shell.wait(59.0)
    assert shell.channel.state is READY
    shell.wait(61.0)
    assert shell.channel.state is IDLE
    assert shell.left == [peer.core]
    assert shell.wakeup is None
    shell.call()
    assert (shell.channel.state, shell.look_ups) == (CONNECTING, 2)


def test_a_channel_that_is_to_become_ready_goes_on_until_it_is() -> None:
    # Somebody waits for that, maybe for hours, and makes no call: channel_ready_future.
    shell = FakeShell(replace(SETTINGS, idle_timeout=60.0))
    shell.channel.exit_idle(shell.now)
    shell.resolved("a")
    for _ in range(50):
        shell.fail("a")
        shell.wait(4.0)
    assert shell.channel.state is FAILED
    shell.answer("a")
    assert shell.channel.state is READY
    shell.wait(130.0)
    assert shell.channel.state is IDLE


def test_a_channel_that_only_calls_have_woken_goes_idle_when_they_fail() -> None:
    shell = FakeShell(replace(SETTINGS, idle_timeout=60.0))
    shell.call()
    shell.resolved("a")
    shell.fail("a")
    shell.wait(130.0)
    assert shell.channel.state is IDLE
    assert shell.wakeup is None


def test_many_failures_leave_nothing_behind() -> None:
    shell = FakeShell(replace(SETTINGS, idle_timeout=None))
    shell.channel.exit_idle(shell.now)
    shell.resolved("a", "b")
    began = shell.now
    for _ in range(1000):
        shell.wait(shell.wakeup - shell.now if shell.wakeup is not None and not shell.attempts else 0.0)
        for name in list(shell.attempts):
            shell.fail(name)
        if shell.look_ups > 1:
            shell.look_ups = 1
            shell.resolved("a", "b")
    channel = shell.channel
    assert (len(channel._subchannels), channel._appointments.next(), len(channel._events)) == (2, None, 0)
    # Each address has its delay, of which the longest is 4 seconds: nothing is tried in a hurry.
    assert len(shell.attempted) <= 2 * ((shell.now - began) / 4.0 + 4)


def test_a_channel_without_an_idle_timeout_keeps_its_connection() -> None:
    shell = FakeShell(replace(SETTINGS, idle_timeout=None))
    shell.ready("a")
    shell.wait(100_000.0)
    assert shell.channel.state is READY


def test_a_closed_channel_leaves_its_connections_and_wants_nothing_more() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.channel.close(shell.now)
    assert shell.states[-1] is SHUTDOWN
    assert shell.left == [peer.core]
    shell.channel.exit_idle(shell.now)
    assert shell.look_ups == 1
    assert shell.wakeup is None


def test_closing_while_it_connects_abandons_the_attempt() -> None:
    shell = FakeShell()
    call = shell.call()
    shell.resolved("a")
    shell.channel.close(shell.now)
    assert shell.attempts == {}
    assert shell.channel.waiting == [call.call]
    shell.resolved("b")
    assert shell.attempted == ["a"]


def test_a_connection_that_comes_when_nobody_wants_it_is_left() -> None:
    shell = FakeShell()
    shell.channel.exit_idle(shell.now)
    shell.resolved("a", "b")
    shell.wait(0.25)
    late = shell.attempts["b"]
    shell.answer("a")
    assert shell.attempts == {}
    shell.attempts["b"] = late
    peer = shell.answer("b")
    assert shell.left == [peer.core]


def test_reset_backoff_makes_the_next_attempt_at_once() -> None:
    shell = FakeShell()
    shell.call()
    shell.resolved("a")
    shell.fail("a")
    shell.channel.reset_backoff(shell.now)
    shell.wait(0.0)
    assert shell.attempted == ["a", "a"]


def test_a_bad_target_fails_all_calls() -> None:
    shell = FakeShell()
    shell.channel.target_is_bad("the target '' has no host")
    for wait_for_ready in (False, True):
        call = shell.call(wait_for_ready)
        assert (call.code, call.details) == (StatusCode.UNAVAILABLE, "the target '' has no host")
    shell.channel.exit_idle(shell.now)
    assert shell.states == [FAILED]
    assert shell.look_ups == 0


# Keepalive.


def test_connections_begin_with_the_keepalive_time_of_the_channel() -> None:
    shell = FakeShell(replace(SETTINGS, keepalive=KeepaliveSettings(10.0, without_calls=True)))
    (peer,) = shell.ready("a")
    assert peer.core.wakeup == shell.now + 10.0


def test_too_many_pings_double_the_keepalive_time_of_the_connections_that_follow() -> None:
    # gRFC A8.
    shell = FakeShell(replace(SETTINGS, keepalive=KeepaliveSettings(10.0, without_calls=True)))
    for time in (10.0, 20.0, 40.0):
        (peer,) = shell.ready("a")
        assert peer.core.wakeup == shell.now + time
        peer.send(peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
        shell.lose(peer)
    # Not even idleness makes the channel forget.
    shell.wait(100_000.0)
    (peer,) = shell.ready("a")
    assert peer.core.wakeup == shell.now + 80.0


def test_too_many_pings_of_a_connection_that_was_drained_before() -> None:
    shell = FakeShell(replace(SETTINGS, keepalive=KeepaliveSettings(10.0)))
    (peer,) = shell.ready("a")
    peer.send(peer.goaway(2**31 - 1), peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
    shell.lose(peer)
    assert shell.channel.keepalive.time == 20.0


def test_an_old_connection_that_is_told_off_changes_nothing_any_more() -> None:
    shell = FakeShell(replace(SETTINGS, keepalive=KeepaliveSettings(10.0)), policy=RoundRobin)
    peers = shell.ready("a", "b")
    for peer in peers:
        peer.send(peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
        shell.lose(peer)
    assert shell.channel.keepalive.time == 20.0


@pytest.mark.parametrize("lost", [False, True])
def test_a_connection_that_leaves_before_it_is_reported_is_a_failed_attempt(lost: bool) -> None:
    shell = FakeShell()
    call = shell.call(wait_for_ready=True)
    shell.resolved("a")
    subchannel = shell.attempts.pop("a")
    peer, _, connection = raw_server()
    peer.send(peer.goaway(0))
    if lost:
        connection.lost("gone")
    shell.channel.connected(subchannel, connection, shell.now)
    assert shell.states == [CONNECTING, FAILED]
    assert (connection in shell.channel._connections) is not lost
    shell.wait(1.0)
    assert streams([shell.answer("a")]) == [1]
    assert call.events == ["started"]
