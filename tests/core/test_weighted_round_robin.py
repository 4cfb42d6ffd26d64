"""The policy weighted_round_robin: weights, their times, and how exactly calls follow them."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.balancing import InvalidConfig, LoadReport
from pygrpc.core.balancing.weighted_round_robin import (
    EdfScheduler,
    Weight,
    WeightedRoundRobin,
    WeightedRoundRobinConfig,
    full_weights,
)
from tests.core.channels import FakeShell, streams
from tests.core.pair import RESPONSE, RawPeer

CONFIG = WeightedRoundRobinConfig()


def test_the_configuration_is_read() -> None:
    assert WeightedRoundRobin.parse_config({}) == CONFIG
    config = {
        "blackoutPeriod": "1s",
        "weight_expiration_period": "2s",
        "weightUpdatePeriod": "0.01s",
        "errorUtilizationPenalty": 0,
        "metricNamesForComputingUtilization": ["mem_utilization"],
        "oobReportingPeriod": "1s",
        "enableOobLoadReport": False,
    }
    assert WeightedRoundRobin.parse_config(config) == WeightedRoundRobinConfig(1, 2, 0.1, 0, ("mem_utilization",))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"enableOobLoadReport": True}, "enableOobLoadReport must be false: reports that come apart from calls"),
        ({"blackoutPeriod": 1}, "blackoutPeriod must be a time in seconds"),
        ({"weightExpirationPeriod": "-1s"}, "weightExpirationPeriod must be a time in seconds"),
        ({"weightUpdatePeriod": "x"}, "weightUpdatePeriod must be a time in seconds"),
        ({"errorUtilizationPenalty": -1}, "errorUtilizationPenalty must be a number, zero or above, not -1"),
        ({"metricNamesForComputingUtilization": [1]}, "metricNamesForComputingUtilization must be a list of names"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        WeightedRoundRobin.parse_config(config)


# Weights.


def weight_of(report: LoadReport, **config: Any) -> float:
    weight = Weight()
    settings = WeightedRoundRobinConfig(blackout_period=0, **config)
    weight.report(report, settings, 1.0)
    return weight.value(settings, 1.0)


def test_a_weight_is_calls_by_utilization() -> None:
    assert weight_of(LoadReport(cpu_utilization=0.5, rps_fractional=100)) == 200
    assert weight_of(LoadReport(cpu_utilization=0.5, application_utilization=0.25, rps_fractional=100)) == 400
    # A tenth of the calls are errors, which adds a tenth to the utilization, or twice as much.
    assert weight_of(LoadReport(cpu_utilization=0.4, rps_fractional=100, eps=10)) == 200
    report = LoadReport(cpu_utilization=0.3, rps_fractional=100, eps=10)
    assert weight_of(report, error_utilization_penalty=2.0) == 200
    report = LoadReport(cpu_utilization=0.9, mem_utilization=0.5, named_metrics={"q": 0.25}, rps_fractional=100)
    assert weight_of(report, metric_names=("mem_utilization", "named_metrics.q")) == 200
    assert weight_of(LoadReport(cpu_utilization=0.5, rps_fractional=100), metric_names=("utilization.x",)) == 200


def test_a_report_that_says_nothing_changes_nothing() -> None:
    assert weight_of(LoadReport(cpu_utilization=0.5)) == 0
    assert weight_of(LoadReport(rps_fractional=5)) == 0
    assert weight_of(LoadReport(cpu_utilization=1e-300, rps_fractional=1e300)) == 0


def test_weights_count_behind_the_blackout_and_until_they_expire() -> None:
    weight, report = Weight(), LoadReport(cpu_utilization=0.5, rps_fractional=100)
    assert weight.value(CONFIG, 0.0) == 0
    weight.report(report, CONFIG, 100.0)
    assert weight.value(CONFIG, 109.9) == 0
    assert weight.value(CONFIG, 110.0) == 200
    assert weight.value(CONFIG, 279.9) == 200
    assert weight.value(CONFIG, 280.0) == 0
    # The blackout begins again, and so it does with a new connection.
    weight.report(report, CONFIG, 300.0)
    assert weight.value(CONFIG, 309.0) == 0
    assert weight.value(CONFIG, 310.0) == 200
    weight.connected()
    assert weight.value(CONFIG, 311.0) == 0
    weight.report(report, CONFIG, 312.0)
    assert weight.value(CONFIG, 322.0) == 200


def test_who_has_no_weight_gets_the_average_and_one_weight_alone_is_none() -> None:
    assert full_weights([2.0, 0.0, 4.0]) == [2.0, 3.0, 4.0]
    assert full_weights([2.0, 0.0]) is None
    assert full_weights([]) is None


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_calls_follow_the_weights_exactly(weights: list[int], start: float) -> None:
    scheduler = EdfScheduler([float(weight) for weight in weights], lambda: start)
    total = sum(weights)
    counts: Counter[int] = Counter()
    for rounds in range(1, 4):
        for _ in range(total):
            counts[scheduler.next()] += 1
        for index, weight in enumerate(weights):
            # Earliest deadline first never strays further than by one call from the share, at whatever beginning.
            assert abs(counts[index] - rounds * weight) <= 1 + len(weights) / 2


@given(st.lists(st.floats(1e-200, 1e200), min_size=2, max_size=5))
def test_no_weights_are_too_far_apart(weights: list[float]) -> None:
    scheduler = EdfScheduler(weights, lambda: 0.5)
    heaviest = max(weights)
    chosen = Counter(scheduler.next() for _ in range(100))
    best = [index for index, weight in enumerate(weights) if weight == heaviest]
    assert max(chosen.values()) <= 100
    assert all(chosen[index] >= max(chosen.values()) - 1 for index in best)


# The policy.


def answer(shell: FakeShell, peer: RawPeer, report: LoadReport | None) -> None:
    """Answers all calls of a server."""
    peer.receive()
    for stream in sorted(peer.core.calls):
        fields = [*RESPONSE, (b"grpc-status", b"0")]
        if report is not None:
            key, value = report.metadata()
            fields.append((key.encode(), base64.b64encode(value)))
        peer.now = shell.now
        peer.send(peer.headers(stream, fields, True))


def shell_with(**config: Any) -> FakeShell:
    return FakeShell(config={"loadBalancingConfig": [{"weighted_round_robin": config}]})


def counts(shell: FakeShell, peers: list[RawPeer], calls: int) -> list[int]:
    before = streams(peers)
    for _ in range(calls):
        shell.call()
    return [after - earlier for after, earlier in zip(streams(peers), before, strict=True)]


def test_calls_go_in_turn_until_there_are_weights_and_follow_them_then() -> None:
    shell = shell_with(blackoutPeriod="2s")
    peers = shell.ready("a", "b", "c")
    assert counts(shell, peers, 6) == [2, 2, 2]
    for peer, utilization in zip(peers, (0.1, 0.2, 0.4), strict=True):
        answer(shell, peer, LoadReport(cpu_utilization=utilization, rps_fractional=100))
    # Not yet: the blackout.
    shell.wait(1.0)
    assert counts(shell, peers, 6) == [2, 2, 2]
    shell.wait(1.0)
    assert counts(shell, peers, 14) == [8, 4, 2]
    # The weights expire.
    shell.wait(180.0)
    assert counts(shell, peers, 6) == [2, 2, 2]


def test_a_report_is_dated_by_its_connection() -> None:
    shell = shell_with(blackoutPeriod="10s", weightUpdatePeriod="100s")
    peers = shell.ready("a", "b")
    shell.call()
    shell.call()
    shell.now += 50.0
    for peer in peers:
        answer(shell, peer, LoadReport(cpu_utilization=0.1, rps_fractional=100))
    policy: Any = shell.channel._balancer._current._balancer  # type: ignore[union-attr]
    weights = [policy._weight(each) for each in shell.connections.values()]
    assert [weight._since for weight in weights] == [shell.now] * 2


def test_servers_without_reports_are_called_in_turn() -> None:
    shell = shell_with(blackoutPeriod="0s")
    peers = shell.ready("a", "b")
    shell.call()
    shell.call()
    answer(shell, peers[0], LoadReport(cpu_utilization=0.1, rps_fractional=100))
    answer(shell, peers[1], None)
    shell.wait(5.0)
    assert counts(shell, peers, 4) == [2, 2]


def test_the_timer_runs_only_while_there_is_somebody_to_choose() -> None:
    shell = shell_with()
    (peer,) = shell.ready("a")
    assert shell.wakeup == shell.now + 1.0
    shell.wait(5.0)
    shell.lose(peer)
    # What is left is the attempt to connect, and the next look at the name.
    assert shell.wakeup is not None
    assert shell.wakeup > shell.now + 1.0
    shell.channel.close(shell.now)
    assert shell.wakeup is None
