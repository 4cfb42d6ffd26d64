"""The policy outlier_detection: who is ejected, when, for how long, and that calls go elsewhere meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.balancing import NOT_SENT, InvalidConfig, PickFirst, RoundRobin, find
from pygrpc.core.balancing.outlier_detection import (
    FailurePercentage,
    OutlierDetection,
    OutlierDetectionConfig,
    SuccessRate,
)
from tests.core.channels import FAILED, READY, FakeShell, streams
from tests.core.pair import RESPONSE, RawPeer

ROUND_ROBIN = [{"round_robin": {}}]
FAILURES = {"threshold": 50, "minimumHosts": 1, "requestVolume": 2}


def shell_with(random: float = 0.5, child: Any = None, **fields: Any) -> FakeShell:
    fields.setdefault("maxEjectionPercent", 100)
    if "failurePercentageEjection" not in fields and "successRateEjection" not in fields:
        fields["failurePercentageEjection"] = FAILURES
    fields["childPolicy"] = child or ROUND_ROBIN
    return FakeShell(random=random, config={"loadBalancingConfig": [{"outlier_detection": fields}]})


def answer(shell: FakeShell, peer: RawPeer, code: int) -> int:
    """Answers all calls that a server has, with one code."""
    peer.receive()
    open_streams = sorted(peer.core.calls)
    for stream in open_streams:
        peer.now = shell.now
        peer.send(peer.headers(stream, [*RESPONSE, (b"grpc-status", b"%d" % code)], True))
    return len(open_streams)


def traffic(shell: FakeShell, peers: Sequence[RawPeer], codes: Sequence[int], rounds: int = 4) -> list[int]:
    """Makes calls that these servers answer with these codes; returns how many each got."""
    for _ in range(rounds * len(peers)):
        shell.call()
    return [answer(shell, peer, code) for peer, code in zip(peers, codes, strict=True)]


# The configuration.


def test_the_configuration_is_read() -> None:
    assert OutlierDetection.parse_config({"childPolicy": ROUND_ROBIN}) == OutlierDetectionConfig((RoundRobin, None))
    config = {
        "interval": "1s",
        "base_ejection_time": "400s",
        "maxEjectionTime": "3s",
        "maxEjectionPercent": 50,
        "successRateEjection": {"stdevFactor": 1, "enforcementPercentage": 2, "minimumHosts": 3, "requestVolume": 4},
        "failurePercentageEjection": {"threshold": 1},
        "childPolicy": [{"unheard_of": {}}, {"pick_first": {}}],
    }
    assert OutlierDetection.parse_config(config) == OutlierDetectionConfig(
        (PickFirst, False), 1.0, 400.0, 400.0, 50, SuccessRate(1, 2, 3, 4), FailurePercentage(1)
    )
    assert OutlierDetection.parse_config({"childPolicy": ROUND_ROBIN, "interval": "0s"}).interval == 0.1
    experimental = find("outlier_detection_experimental")
    assert experimental is not None
    assert issubclass(experimental, OutlierDetection)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"childPolicy": None}, "childPolicy must be a list of policies, not nothing"),
        ({"childPolicy": [{"x": {}}]}, "childPolicy names no policy that is known: x"),
        ({"childPolicy": [{"pick_first": {"shuffleAddressList": 1}}]}, r"childPolicy\[0\].pick_first: shuffle"),
        ({"interval": 1}, "interval must be a time in seconds"),
        ({"baseEjectionTime": "-1s"}, "baseEjectionTime must be a time in seconds"),
        ({"maxEjectionPercent": 101}, "maxEjectionPercent must be a whole number from 0 to 100, not 101"),
        ({"successRateEjection": 1}, "successRateEjection must be an object"),
        ({"successRateEjection": {"enforcementPercentage": 101}}, "successRateEjection.enforcementPercentage must be"),
        ({"failurePercentageEjection": {"threshold": 101}}, "failurePercentageEjection.threshold must be a whole"),
        ({"failurePercentageEjection": {"minimumHosts": -1}}, "failurePercentageEjection.minimumHosts must be"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        OutlierDetection.parse_config({"childPolicy": ROUND_ROBIN, **fields})


# Ejection.


def test_who_fails_gets_no_calls_for_a_while_and_longer_the_next_time() -> None:
    shell = shell_with(interval="10s", baseEjectionTime="15s")
    peers = shell.ready("a", "b")
    assert traffic(shell, peers, [0, 14]) == [4, 4]
    shell.wait(9.9)
    assert traffic(shell, peers, [0, 14], 1) == [1, 1]
    shell.wait(0.1)
    assert shell.left == []
    assert traffic(shell, peers, [0, 14]) == [8, 0]
    # Fifteen seconds are over at the second look.
    shell.wait(10.0)
    assert traffic(shell, peers, [0, 14]) == [8, 0]
    shell.wait(10.0)
    assert traffic(shell, peers, [0, 14]) == [4, 4]
    # Now it is for twice as long.
    shell.wait(10.0)
    for _ in range(3):
        assert traffic(shell, peers, [0, 14], 1) == [2, 0]
        shell.wait(10.0)
    assert traffic(shell, peers, [0, 0]) == [4, 4]
    # Each interval that goes well makes the next ejection shorter again.
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    assert sorted(host.multiplier for host in policy._hosts.values()) == [0, 2]
    shell.wait(20.0)
    assert [host.multiplier for host in policy._hosts.values()] == [0, 0]


def test_an_ejection_has_a_longest_time() -> None:
    shell = shell_with(interval="10s", baseEjectionTime="10s", maxEjectionTime="20s")
    peers = shell.ready("a", "b")
    for _ in range(5):
        traffic(shell, peers, [0, 14])
        shell.wait(10.0)
        shell.wait(20.0)
    assert traffic(shell, peers, [0, 0]) == [4, 4]


def test_all_may_be_ejected_and_then_calls_fail() -> None:
    shell = shell_with()
    peers = shell.ready("a", "b")
    traffic(shell, peers, [14, 14])
    shell.wait(10.0)
    assert shell.channel.state is FAILED
    assert "too many calls failed there" in shell.call().details
    shell.wait(30.0)
    assert shell.channel.state is READY


@pytest.mark.parametrize(("percent", "ejected"), [(0, 0), (10, 1), (25, 1), (26, 2), (100, 4)])
def test_not_too_many_are_ejected(percent: int, ejected: int) -> None:
    shell = shell_with(maxEjectionPercent=percent)
    peers = shell.ready("a", "b", "c", "d")
    traffic(shell, peers, [14] * 4)
    shell.wait(10.0)
    before = streams(peers)
    for _ in range(12):
        shell.call()
    assert sum(after == earlier for after, earlier in zip(streams(peers), before, strict=True)) == ejected


def test_nobody_is_ejected_for_few_calls_or_among_few_or_by_chance() -> None:
    for fields, random in (
        ({**FAILURES, "requestVolume": 5}, 0.5),
        ({**FAILURES, "minimumHosts": 3}, 0.5),
        ({**FAILURES, "enforcementPercentage": 50}, 0.5),
        ({**FAILURES, "threshold": 100}, 0.5),
    ):
        shell = shell_with(random, failurePercentageEjection=fields)
        peers = shell.ready("a", "b")
        traffic(shell, peers, [0, 14])
        shell.wait(10.0)
        assert traffic(shell, peers, [0, 14]) == [4, 4], fields


def test_who_stands_out_among_many_is_ejected_by_its_success_rate() -> None:
    rule = {"stdevFactor": 1000, "minimumHosts": 5, "requestVolume": 4}
    shell = shell_with(successRateEjection=rule)
    names = ["a", "b", "c", "d", "e"]
    peers = shell.ready(*names)
    traffic(shell, peers, [0, 0, 14, 0, 0])
    shell.wait(10.0)
    assert traffic(shell, peers, [0] * 5)[2] == 0
    # Where all fail alike nobody stands out.
    shell = shell_with(successRateEjection=rule)
    peers = shell.ready(*names)
    traffic(shell, peers, [14] * 5)
    shell.wait(10.0)
    assert traffic(shell, peers, [0] * 5) == [4] * 5


def test_an_address_stays_ejected_when_its_connection_is_made_anew() -> None:
    shell = shell_with()
    peers = shell.ready("a", "b")
    traffic(shell, peers, [0, 14])
    shell.wait(10.0)
    shell.lose(peers[1])
    peers[1] = shell.answer("b")
    assert traffic(shell, peers, [0, 0]) == [8, 0]
    # It is forgotten, and known again as a new one.
    shell.resolved("a")
    shell.resolved("a", "b")
    peers[1] = shell.answer("b")
    assert traffic(shell, peers, [0, 0]) == [4, 4]


def test_without_algorithms_nothing_is_counted_and_nobody_stays_ejected() -> None:
    shell = shell_with()
    peers = shell.ready("a", "b")
    traffic(shell, peers, [0, 14])
    shell.wait(10.0)
    plain = {"loadBalancingConfig": [{"outlier_detection": {"childPolicy": ROUND_ROBIN}}]}
    shell.resolved("a", "b", config=plain)
    assert traffic(shell, peers, [0, 14]) == [4, 4]
    shell.wait(25.0)
    assert shell.wakeup is None or shell.wakeup > shell.now + 100
    # And back again: the counts begin anew.
    shell.resolved("a", "b")
    shell.wait(10.0)
    assert traffic(shell, peers, [0, 14]) == [4, 4]


def test_pick_first_is_left_alone() -> None:
    shell = shell_with(child=[{"pick_first": {}}])
    shell.channel.exit_idle(shell.now)
    shell.resolved("a")
    peer = shell.answer("a")
    traffic(shell, [peer], [14])
    shell.wait(10.0)
    assert shell.channel.state is READY


def test_the_policy_within_may_change_and_looks_at_its_calls_too() -> None:
    shell = shell_with(child=[{"least_request": {}}])
    peers = shell.ready("a", "b")
    shell.call()
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    inner = policy._child._current._balancer
    assert sum(count.active for count in inner._counts.values()) == 1
    for peer in peers:
        answer(shell, peer, 0)
    assert sum(count.active for count in inner._counts.values()) == 0
    shell.resolution_failed()
    shell.channel.exit_idle(shell.now)
    shell.channel.close(shell.now)
    assert not shell.channel._subchannels


def test_a_call_that_was_not_sent_counts_for_nothing() -> None:
    shell = shell_with()
    shell.ready("a")
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    (host,) = policy._hosts.values()
    host.over(None, NOT_SENT)
    assert (host.successes, host.failures) == (0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=6),
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(0, 4),
)
def test_the_ejected_are_exactly_those_of_the_rule(
    calls: list[tuple[int, int]], threshold: int, percent: int, minimum: int
) -> None:
    rule = {"threshold": threshold, "minimumHosts": minimum, "requestVolume": 5}
    shell = shell_with(maxEjectionPercent=percent, failurePercentageEjection=rule)
    shell.ready(*"abcdef"[: len(calls)])
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    hosts = list(policy._hosts.values())
    expected = []
    enough = [pair for pair in calls if sum(pair) >= 5]
    for host, (good, bad) in zip(hosts, calls, strict=True):
        host.successes, host.failures = good, bad
        stands_out = good + bad >= 5 and 100 * bad > threshold * (good + bad) and len(enough) >= minimum
        if stands_out and 100 * len(expected) < percent * len(calls):
            expected.append(host)
    shell.wait(10.0)
    assert [host for host in hosts if host.ejected_at is not None] == expected
