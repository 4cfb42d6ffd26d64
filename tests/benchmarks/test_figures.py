"""What is made of the samples."""

import pytest

from benchmarks.figures import (
    compare,
    compare_cpu,
    holds,
    judged,
    kept,
    medians,
    met,
    per_unit,
    ratio,
    ratios,
    summarize,
    values,
)
from benchmarks.runner import Result
from benchmarks.scenarios import Goal
from tests.benchmarks.fakes import a_run, cell, curve, held, latencies, rates, scenario


def test_a_summary_is_median_minimum_and_maximum() -> None:
    assert summarize([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)
    assert summarize([4.0, 1.0]) == (2.5, 1.0, 4.0)


def test_a_ratio_is_formed_within_each_round() -> None:
    # The machine was ten times slower in the second round; the ratio of the medians would be 100 / 10.
    assert ratio([200.0, 20.0, 100.0], [100.0, 10.0, 10.0]) == 2.0


def test_there_is_no_ratio_to_nothing() -> None:
    assert ratio([4096.0, 4096.0], [1024.0, 0.0]) is None


def test_a_figure_counts_if_every_round_has_it() -> None:
    assert values(rates(1, 2), "rate") == [1, 2]
    assert values(Result([{"p99": 1.0}, {}]), "p99") == []
    assert values(Result([{"rate": 1.0}], failed="in the second round"), "rate") == []
    assert values(None, "rate") == []
    assert medians(Result([{"rate": 1.0, "p99": 3.0}, {"rate": 2.0}])) == {"rate": 1.5}


def test_ratios_are_formed_with_the_baselines_that_succeeded() -> None:
    results = a_run()
    assert ratios(results, scenario("concurrent"), "pygrpc.aio") == {"grpc.aio": 5.5}
    assert ratios(results, scenario("concurrent"), "grpc.aio") == {"grpc.aio": 1.0}
    assert ratios(results, scenario("latency"), "pygrpc.aio") == {"grpc.aio": 2.0}
    assert ratios(results, scenario("hold"), "pygrpc.aio") == {"grpclib": 0.5}
    assert compare(results, "hold", "pygrpc.aio", "grpclib", "client_each") is None
    assert compare(results, "sequential", "pygrpc.aio", "grpc.aio", "rate") is None


def test_cpu_is_that_of_client_and_server_where_both_are_known() -> None:
    results = a_run()
    assert compare_cpu(results, "concurrent", "pygrpc.aio", "grpc.aio") == pytest.approx(5.5)
    assert compare_cpu(results, "concurrent", "pygrpc.aio", "grpclib") is None
    servers = {cell("h2load", who): Result([{"server_cpu": cpu}]) for who, cpu in (("pygrpc.aio", 1), ("grpclib", 3))}
    assert compare_cpu(servers, "h2load", "pygrpc.aio", "grpclib") == 3


@pytest.mark.parametrize(("lower", "good", "bad"), [(False, 2.0, 1.9), (True, 2.0, 2.1)])
def test_a_goal_is_met_at_its_ratio(lower: bool, good: float, bad: float) -> None:
    goal = Goal("sequential", "pygrpc.aio", "grpc.aio", 2.0, lower=lower)
    assert met(goal, good)
    assert not met(goal, bad)


@pytest.mark.parametrize(("lower", "good", "bad"), [(False, 8.0, 7.9), (True, 12.5, 12.6)])
def test_a_ratio_holds_within_a_fifth(lower: bool, good: float, bad: float) -> None:
    goal = Goal("sequential", "pygrpc.aio", "grpc.aio", 2.0, lower=lower)
    assert holds(goal, 10.0, good)
    assert not holds(goal, 10.0, bad)


def test_the_goals_of_what_was_measured_are_judged() -> None:
    measured = {(goal.scenario, goal.who, goal.against, goal.key): found for goal, found in judged(a_run())}
    assert measured["concurrent", "pygrpc.aio", "grpc.aio", "rate"] == 5.5
    assert measured["latency", "pygrpc.aio", "grpc.aio", "p99"] == 2.0
    assert measured["hold", "pygrpc.aio", "grpclib", "server_each"] == 0.5
    assert measured["h2load", "pygrpc.aio", "grpclib", "rate"] is None
    assert not any(scenario == "sequential" for scenario, *_ in measured)


def test_variants_are_compared_with_the_plain_scenarios() -> None:
    ((goal, plain, changed),) = kept(a_run())
    assert (goal.scenario, goal.who, goal.against) == ("concurrent", "pygrpc.aio", "grpc.aio")
    assert (plain, changed) == (5.5, {"tls": 3.0, "dressed": None})


def test_a_curve_is_what_a_unit_costs() -> None:
    # At 16 KiB, a call takes 1 ms, and both processes grow by 1 MiB.
    rows = per_unit(curve("size", "pygrpc.aio", [2000, 1000, 1000]))
    assert [row["point"] for row in rows] == [0, 1024, 16384]
    seconds = [row["seconds"]["median"] for row in rows]
    assert seconds == pytest.approx([0.0005, 0.001, 0.001 / 16])
    assert [row["bytes"]["median"] for row in rows] == [2**21, 2**21, 2**17]
    assert rows[2]["cpu"]["median"] == pytest.approx(0.0002 / 16)


def test_a_curve_leaves_out_what_failed() -> None:
    points = {(row["implementation"], row["point"]) for row in per_unit(a_run())}
    assert points == {("pygrpc.aio", 0), ("pygrpc.aio", 1024), ("grpc.aio", 0)}


def test_memory_and_latency_have_no_rate() -> None:
    results = {cell("hold", "pygrpc.aio"): held(1, 1), cell("latency", "pygrpc.aio"): latencies(1)}
    assert ratios(results, scenario("hold"), "pygrpc.aio") == {}
