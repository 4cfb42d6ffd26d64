"""The policies pick_first and round_robin, with an explicit clock."""

from __future__ import annotations

import pytest

from pygrpc.core.balancing import Balancer, InvalidConfig, find, register
from pygrpc.core.balancing.group import GroupBalancer
from pygrpc.core.balancing.pick_first import HEAD_START, PickFirst
from pygrpc.core.balancing.policy import Balancer as PolicyBase
from pygrpc.core.balancing.round_robin import RoundRobin
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.configuration import channel_settings
from pygrpc.options import parse_options
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, IDLE, READY, FakeShell, streams


def round_robin() -> FakeShell:
    return FakeShell(policy=RoundRobin)


# The registry.


def test_policies_are_found_by_name() -> None:
    assert find("pick_first") is PickFirst
    assert find("round_robin") is RoundRobin
    assert find("nonsense") is None
    assert Balancer is PolicyBase
    assert issubclass(RoundRobin, GroupBalancer)


def test_a_policy_without_a_name_is_refused() -> None:
    class Nameless(Balancer):
        pass

    with pytest.raises(ValueError, match="name is empty"):
        register(Nameless)


def test_the_config_of_pick_first_is_checked() -> None:
    assert PickFirst.parse_config({}) is False
    assert PickFirst.parse_config({"shuffleAddressList": True}) is True
    with pytest.raises(InvalidConfig, match="shuffleAddressList must be true or false"):
        PickFirst.parse_config({"shuffleAddressList": 1})


# pick_first.


def connect(shell: FakeShell, *names: str) -> None:
    shell.channel.exit_idle(shell.now)
    shell.resolved(*names)


def test_the_next_address_is_tried_when_one_fails() -> None:
    shell = FakeShell()
    connect(shell, "a", "b", "c")
    assert shell.attempted == ["a"]
    shell.fail("a")
    assert shell.attempted == ["a", "b"]
    peer = shell.answer("b")
    assert shell.channel.direct is peer.core
    assert shell.states == [CONNECTING, READY]


def test_the_next_address_gets_its_chance_when_one_is_slow() -> None:
    shell = FakeShell()
    connect(shell, "a", "b", "c")
    shell.wait(HEAD_START - 0.01)
    assert shell.attempted == ["a"]
    shell.wait(0.01)
    assert shell.attempted == ["a", "b"]
    shell.wait(HEAD_START)
    assert shell.attempted == ["a", "b", "c"]
    peer = shell.answer("b")
    assert shell.attempts == {}
    assert shell.channel.direct is peer.core


def test_the_head_start_is_an_option_of_the_channel() -> None:
    for milliseconds, seconds in ((500, 0.5), (1, 0.1), (60_000, 2.0)):
        options = parse_options([("grpc.happy_eyeballs_connection_attempt_delay_ms", milliseconds)])
        shell = FakeShell(channel_settings(options))
        shell.channel.exit_idle(shell.now)
        shell.resolved("a", "b")
        shell.wait(seconds - 0.01)
        assert shell.attempted == ["a"]
        shell.wait(0.02)
        assert shell.attempted == ["a", "b"]


def test_a_failure_starts_the_next_attempt_and_its_head_start_anew() -> None:
    shell = FakeShell()
    connect(shell, "a", "b", "c")
    shell.wait(0.2)
    shell.fail("a")
    assert shell.attempted == ["a", "b"]
    shell.wait(0.2)
    assert shell.attempted == ["a", "b"]
    shell.wait(0.05)
    assert shell.attempted == ["a", "b", "c"]


def test_the_families_take_turns() -> None:
    shell = FakeShell()
    connect(shell, "16", "26", "36", "a", "b", "26")
    shell.wait(10 * HEAD_START)
    assert shell.attempted == ["16", "a", "26", "b", "36"]


def test_shuffled_addresses_are_tried_in_another_order() -> None:
    shell = FakeShell(random=0.0, config={"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]})
    connect(shell, "a", "b", "c")
    shell.wait(10 * HEAD_START)
    assert shell.attempted == ["b", "c", "a"]


def test_when_all_have_failed_each_is_tried_again_behind_its_own_delay() -> None:
    shell = FakeShell()
    connect(shell, "a", "b")
    shell.wait(0.1)
    shell.fail("a")
    shell.fail("b")
    assert shell.channel.state is FAILED
    assert shell.call().details == "failed to connect to all addresses; last error: b: refused"
    shell.wait(0.9)
    assert shell.attempted == ["a", "b", "a"]
    shell.wait(0.1)
    assert shell.attempted == ["a", "b", "a", "b"]
    # It stays so, whatever fails, until one works.
    shell.fail("a")
    shell.fail("b")
    assert shell.states == [CONNECTING, FAILED]
    shell.wait(2.0)
    shell.answer("b")
    assert shell.states == [CONNECTING, FAILED, READY]


def test_when_all_have_failed_the_name_is_looked_up_again() -> None:
    shell = FakeShell()
    connect(shell, "a")
    shell.fail("a")
    shell.wait(30.0)
    assert shell.look_ups == 2
    shell.resolved("b")
    assert "b" in shell.attempted


def test_a_failed_look_up_keeps_the_connection() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.resolution_failed()
    assert shell.channel.state is READY
    assert shell.channel.direct is peer.core


def test_new_addresses_that_still_have_the_one_in_use_change_nothing() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.resolved("b", "a")
    assert shell.channel.direct is peer.core
    assert shell.attempted == ["a"]
    shell.lose(peer)
    shell.call()
    assert shell.attempted == ["a", "b"]


def test_a_connection_to_an_address_that_is_gone_is_left() -> None:
    shell = FakeShell()
    (peer,) = shell.ready("a")
    shell.resolved("b")
    assert shell.left == [peer.core]
    assert shell.attempted == ["a", "b"]
    assert shell.channel.state is CONNECTING


def test_a_connection_that_is_lost_at_once_does_not_end_in_a_loop() -> None:
    shell = FakeShell()
    for _ in range(5):
        (peer,) = shell.ready("a")
        shell.lose(peer)
    assert shell.channel.state is IDLE
    assert shell.attempted == ["a"] * 5


def test_a_subchannel_is_named_by_its_address() -> None:
    shell = FakeShell()
    connect(shell, "a")
    assert isinstance(shell.attempts["a"], Subchannel)
    assert str(shell.attempts["a"]) == "ipv4:a:1"


# round_robin.


def test_calls_go_to_all_that_are_ready_in_turn() -> None:
    shell = round_robin()
    peers = shell.ready("a", "b", "c")
    for _ in range(7):
        shell.call()
    assert sorted(streams(peers)) == [2, 2, 3]
    assert shell.channel.direct is None


def test_calls_don_t_wait_for_those_that_are_not_ready() -> None:
    shell = round_robin()
    connect(shell, "a", "b")
    assert shell.attempted == ["a", "b"]
    shell.fail("a")
    assert shell.channel.state is CONNECTING
    peer = shell.answer("b")
    assert shell.channel.state is READY
    shell.call()
    shell.call()
    assert streams([peer]) == [2]


def test_one_that_is_lost_is_connected_again_at_once() -> None:
    shell = round_robin()
    a, b = shell.ready("a", "b")
    shell.lose(a)
    assert shell.channel.state is READY
    assert shell.attempted == ["a", "b", "a"]
    shell.call()
    shell.call()
    assert streams([b]) == [2]


def test_all_failed_is_a_failure_until_one_works() -> None:
    shell = round_robin()
    connect(shell, "a", "b")
    shell.fail("a")
    shell.fail("b")
    assert shell.states == [CONNECTING, FAILED]
    assert shell.call().code is StatusCode.UNAVAILABLE
    shell.wait(1.0)
    assert shell.attempted == ["a", "b", "a", "b"]
    assert shell.states == [CONNECTING, FAILED]
    shell.answer("a")
    assert shell.states == [CONNECTING, FAILED, READY]


def test_addresses_come_and_go() -> None:
    shell = round_robin()
    a, b = shell.ready("a", "b")
    shell.resolved("b", "c", "c")
    assert shell.left == [a.core]
    assert shell.attempted == ["a", "b", "c"]
    c = shell.answer("c")
    for _ in range(4):
        shell.call()
    assert streams([a, b, c]) == [0, 2, 2]


def test_without_addresses_calls_fail() -> None:
    shell = round_robin()
    call = shell.call()
    shell.resolution_failed("nobody knows it")
    assert call.details == "nobody knows it"
