"""A subchannel with several connections, and one that others hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.service_config import InvalidServiceConfig
from pygrpc.core.subchannel_pool import SubchannelPool
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, READY, SETTINGS, FakeShell, streams
from tests.core.pair import RESPONSE, ClientEnd, RawPeer

OK_ANSWER = [*RESPONSE, (b"grpc-status", b"0")]
MAX_CONCURRENT_STREAMS = 3


def config(most: Any, policy: str = "pick_first") -> dict[str, Any]:
    return {"loadBalancingConfig": [{policy: {}}], "connectionScaling": {"maxConnectionsPerSubchannel": most}}


def shell_with(most: int = 3, policy: str = "pick_first", cap: int = 10) -> tuple[FakeShell, RawPeer]:
    shell = FakeShell(replace(SETTINGS, max_connections=cap), config=config(most, policy))
    (peer,) = shell.ready("a")
    peer.send(peer.settings({MAX_CONCURRENT_STREAMS: 2}))
    return shell, peer


def another(shell: FakeShell, streams: int = 2) -> RawPeer:
    """The server answers another attempt, and allows so many streams."""
    shell.limit = {MAX_CONCURRENT_STREAMS: streams}
    peer = shell.answer("a")
    shell.limit = {}
    return peer


def answer(shell: FakeShell, peer: RawPeer, stream: int) -> None:
    peer.receive()
    peer.now = shell.now
    peer.send(peer.headers(stream, OK_ANSWER, True))


def started(*calls: ClientEnd) -> list[bool]:
    return [bool(end.call.stream_id) for end in calls]


def test_the_limit_is_in_the_service_config() -> None:
    for wrong in (-1, "x", 1.5):
        with pytest.raises(InvalidServiceConfig, match=r"connectionScaling.maxConnectionsPerSubchannel must be"):
            FakeShell(config=config(wrong))


@pytest.mark.parametrize("policy", ["pick_first", "round_robin"])
def test_calls_that_wait_for_a_stream_lead_to_another_connection(policy: str) -> None:
    shell, first = shell_with(policy=policy)
    calls = [shell.call() for _ in range(5)]
    assert shell.attempted == ["a", "a"]
    assert started(*calls) == [True, True, False, False, False]
    second = another(shell)
    assert started(*calls) == [True, True, True, True, False]
    assert streams([first, second]) == [2, 2]
    # There is still one that waits.
    assert shell.attempted == ["a", "a", "a"]
    third = another(shell)
    assert streams([first, second, third]) == [2, 2, 1]
    assert shell.states == [CONNECTING, READY]
    assert sorted(map(id, shell.channel.all_calls())) == sorted(id(end.call) for end in calls)


def test_there_are_no_more_connections_than_allowed() -> None:
    shell, first = shell_with(most=2)
    calls = [shell.call() for _ in range(6)]
    second = another(shell)
    assert shell.attempts == {}
    assert started(*calls).count(True) == 4
    # The first stream that is free is for the first one that waits, on whichever connection.
    answer(shell, second, 1)
    assert started(*calls) == [True] * 5 + [False]
    answer(shell, first, 1)
    assert started(*calls) == [True] * 6
    assert streams([first, second]) == [3, 3]
    assert len(shell.channel.all_calls()) == 4


@pytest.mark.parametrize(("most", "cap"), [(0, 10), (1, 10), (9, 1)])
def test_without_leave_calls_wait(most: int, cap: int) -> None:
    shell, _ = shell_with(most=most, cap=cap)
    calls = [shell.call() for _ in range(3)]
    assert shell.attempts == {}
    assert started(*calls) == [True, True, False]
    assert calls[2].call.cancel()
    assert shell.channel.all_calls() == [end.call for end in calls[:2]]


def test_the_oldest_connection_that_has_room_gets_the_call() -> None:
    shell, first = shell_with()
    for _ in range(3):
        shell.call()
    second = another(shell)
    answer(shell, first, 1)
    shell.call()
    assert streams([first, second]) == [3, 1]
    shell.call()
    assert streams([first, second]) == [3, 2]


def test_an_attempt_that_fails_is_made_again_behind_the_delay_while_calls_wait() -> None:
    shell, first = shell_with()
    calls = [shell.call() for _ in range(3)]
    shell.fail("a")
    assert shell.channel.state is READY
    assert shell.attempts == {}
    shell.wait(0.99)
    assert shell.attempts == {}
    shell.wait(0.01)
    assert list(shell.attempts) == ["a"]
    shell.fail("a")
    answer(shell, first, 1)
    assert started(*calls) == [True] * 3
    # Nobody waits any more.
    shell.wait(10.0)
    assert shell.attempts == {}


def test_an_attempt_that_takes_too_long_leaves_the_connection_alone() -> None:
    shell, first = shell_with()
    for _ in range(3):
        shell.call()
    shell.wait(20.0)
    assert shell.attempted == ["a", "a", "a"]
    assert shell.channel.state is READY
    assert streams([first]) == [2]


def test_when_the_oldest_connection_goes_the_next_one_goes_on() -> None:
    shell, first = shell_with(most=2)
    calls = [shell.call() for _ in range(5)]
    second = another(shell)
    first.send(first.goaway(2**31 - 1))
    assert shell.channel.state is READY
    assert shell.channel.direct is second.core
    # One waits still, and one more connection may be made now.
    assert list(shell.attempts) == ["a"]
    third = another(shell)
    assert started(*calls) == [True] * 5
    assert streams([first, second, third]) == [2, 2, 1]
    assert not any(end.events.count("done") for end in calls)


def test_a_connection_that_breaks_takes_its_own_calls_only() -> None:
    shell, first = shell_with(most=2)
    calls = [shell.call() for _ in range(5)]
    second = another(shell)
    shell.lose(second)
    assert [end.code for end in calls] == [None, None, StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE, None]
    answer(shell, first, 1)
    assert started(calls[4]) == [True]


def test_when_the_last_connection_goes_calls_wait_for_the_attempt_that_goes_on() -> None:
    shell, first = shell_with()
    calls = [shell.call(wait_for_ready=True) for _ in range(3)]
    shell.lose(first)
    assert shell.states == [CONNECTING, READY, CONNECTING]
    assert shell.channel.waiting == [calls[2].call]
    another(shell)
    assert shell.channel.state is READY
    assert started(calls[2]) == [True]


@pytest.mark.parametrize("policy", ["pick_first", "round_robin"])
def test_when_the_last_connection_goes_within_a_delay_the_channel_has_failed(policy: str) -> None:
    shell, first = shell_with(policy=policy)
    calls = [shell.call() for _ in range(3)]
    shell.fail("a")
    shell.lose(first)
    assert shell.channel.state is FAILED
    assert calls[2].code is StatusCode.UNAVAILABLE
    shell.wait(1.0)
    another(shell)
    assert shell.channel.state is READY


def test_the_limit_may_change() -> None:
    shell, _ = shell_with(most=1)
    calls = [shell.call() for _ in range(4)]
    assert shell.attempts == {}
    shell.resolved("a", config=config(2))
    another(shell)
    assert started(*calls) == [True] * 4
    # No connection is closed because of a lower one.
    shell.resolved("a", config=config(1))
    assert shell.left == []
    shell.call()
    assert shell.attempts == {}


def test_closing_leaves_all_connections_and_the_attempt() -> None:
    shell, first = shell_with()
    for _ in range(5):
        shell.call()
    second = another(shell)
    assert list(shell.attempts) == ["a"]
    shell.channel.close(shell.now)
    assert shell.attempts == {}
    assert shell.left == [first.core, second.core]


def test_the_pool_forgets_those_that_are_shut_down() -> None:
    shell, _ = shell_with(policy="round_robin")
    pool = shell.channel._subchannels
    assert isinstance(pool, SubchannelPool)
    shell.resolved("a", "b", config=config(3, "round_robin"))
    assert [str(each) for each in pool] == ["ipv4:a:1", "ipv4:b:1"]
    shell.resolved("b", config=config(3, "round_robin"))
    assert [str(each) for each in pool] == ["ipv4:b:1"]


# Holding.


def test_who_is_held_shows_it_only_while_connected() -> None:
    shell = FakeShell(config={"loadBalancingConfig": [{"round_robin": {}}]})
    (peer,) = shell.ready("a")
    (subchannel,) = shell.connections.values()
    assert isinstance(subchannel, Subchannel)
    seen = [subchannel.state]
    subchannel.hold("one", CONNECTING, "")
    seen.append(subchannel.state)
    subchannel.hold("two", FAILED, "for two reasons")
    seen.append(subchannel.state)
    subchannel.release("one")
    seen.append(subchannel.state)
    subchannel.release("two")
    subchannel.release("two")
    seen.append(subchannel.state)
    assert seen == [READY, CONNECTING, FAILED, FAILED, READY]
    assert subchannel.last_error == "for two reasons"
    subchannel.hold("two", FAILED, "again")
    shell.lose(peer)
    assert subchannel.state is CONNECTING
    shell.answer("a")
    assert subchannel.state is FAILED
