"""How the figures are shown."""

import json

import pytest

from benchmarks.report import (
    curve_table,
    describe,
    document,
    environment,
    goals_table,
    number,
    scenario_table,
    table,
    text,
    to_json,
    variants_table,
)
from benchmarks.runner import Result
from benchmarks.scenarios import CURVES
from tests.benchmarks.fakes import a_run, cell, scenario


def rows(shown: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in shown.splitlines() if line[:1] == "|"]


def test_a_table_lines_up() -> None:
    assert table(["a", "number"], [["long name", "1"], ["b", "12345678"], ["c"]]).splitlines() == [
        "| a         |   number |",
        "|-----------|---------:|",
        "| long name |        1 |",
        "| b         | 12345678 |",
        "| c         |",
    ]


def test_the_reason_in_a_short_row_does_not_widen_its_column() -> None:
    assert (
        table(["a", "b"], [["c", "failed: a long story"], ["d", "1"]]).splitlines()[0] == "| a |                    b |"
    )
    assert table(["a", "b", "c"], [["d", "failed: a long story"], ["e", "1", "2"]]).splitlines()[0] == "| a | b | c |"


def test_a_number_has_the_digits_that_mean_something() -> None:
    assert [number(value) for value in (1234567.8, 123.4, 12.34, 1.234)] == ["1,234,568", "123", "12.3", "1.23"]


def test_a_scenario_has_a_row_for_each_implementation() -> None:
    head, _, ours, peer, failed = rows(scenario_table(a_run(), scenario("concurrent")))
    assert head == [
        *("implementation", "RPC/s", "min to max", "x grpc.aio", "x grpclib"),
        *("server CPU µs/RPC", "client CPU µs/RPC", "server MiB", "client MiB"),
    ]
    assert ours == ["pygrpc.aio", "5,500", "5,000 to 6,000", "5.50", "-", "18.3", "18.3", "16.0", "16.0"]
    assert peer[:4] == ["grpc.aio", "1,000", "1,000 to 1,000", "1.00"]
    assert failed == ["grpclib", "failed: client: StatusCode.INTERNAL: a/b"]


def test_latency_and_memory_have_columns_of_their_own() -> None:
    head, _, ours, _ = rows(scenario_table(a_run(), scenario("latency")))
    assert head[:7] == ["implementation", "p99 µs", "min to max", "x grpc.aio", "p50 µs", "p90 µs", "p99.9 µs"]
    assert ours[:7] == ["pygrpc.aio", "2,000", "2,000 to 2,000", "2.00", "500", "1,000", "-"]
    head, _, ours, peer = rows(scenario_table(a_run(), scenario("hold")))
    assert head == ["implementation", "server KiB", "min to max", "x grpclib", "client KiB"]
    assert ours == ["pygrpc.aio", "2.00", "2.00 to 2.00", "0.50", "1.00"]
    assert peer[-1] == "0.00"


def test_what_was_left_out_says_why() -> None:
    assert rows(scenario_table(a_run(), scenario("h2load")))[2] == ["pygrpc.aio", "left out: h2load is not installed"]


def test_goals_stand_beside_what_was_measured() -> None:
    shown = {tuple(row[:4]): row[4:] for row in rows(goals_table(a_run()))[2:]}
    assert shown["concurrent", "pygrpc.aio", "grpc.aio", "rate"] == ["at least 5", "5.50", "met", "5.50"]
    assert shown["latency", "pygrpc.aio", "grpc.aio", "p99"] == ["at most 1", "2.00", "**not met**", "-"]
    assert shown["hold", "pygrpc.aio", "grpclib", "server's memory"] == ["at most 1", "0.50", "met", "-"]
    assert shown["hold", "pygrpc.aio", "grpclib", "client's memory"] == ["at most 1", "-", "not measured", "-"]


def test_a_variant_that_lost_more_than_a_fifth_is_marked() -> None:
    assert rows(variants_table(a_run()))[2] == [
        "concurrent",
        "pygrpc.aio",
        "grpc.aio",
        "rate",
        "5.50",
        "3.00 (worse)",
        "-",
    ]


def test_a_curve_has_a_row_for_each_point_and_says_what_failed() -> None:
    size = next(curve for curve in CURVES if curve.name == "size")
    shown = curve_table(a_run(), size)
    head, _, none, kib = rows(shown)
    assert head[1:] == ["pygrpc.aio µs/KiB", "grpc.aio µs/KiB", "pygrpc.aio KiB/KiB", "grpc.aio KiB/KiB"]
    assert none == ["0", "500", "1,000", "2,048", "2,048"]
    assert kib == ["1,024", "1,000", "-", "2,048", "-"]
    assert "- grpc.aio at 1,024: failed: server said nothing" in shown.splitlines()


def test_the_report_has_a_section_for_each_kind() -> None:
    sections = [line for line in text(a_run()).splitlines() if line.startswith("### ")]
    assert sections[0] == "### Goals"
    assert sections[1].startswith("### The same ratios")
    assert sections[-1] == "### Message size"
    assert [line.split(":")[0] for line in sections[2:-1]] == [
        *("### concurrent", "### h2load", "### latency", "### hold", "### concurrent+tls")
    ]


def test_plots_are_shown_where_there_are_any() -> None:
    shown = text(a_run(), {"goals": "plots/goals.svg", "size": "plots/size.svg"})
    assert [line for line in shown.splitlines() if line.startswith("!")] == [
        "![goals](plots/goals.svg)",
        "![size](plots/size.svg)",
    ]


def test_a_report_of_failures_alone_is_a_report() -> None:
    assert "failed: no" in text({cell("upload", "pygrpc.aio"): Result(failed="no")})


def test_everything_is_in_the_json() -> None:
    found = json.loads(to_json(document(a_run())))
    by_name = {(row["scenario"], row["implementation"]): row for row in found["results"]}
    ours = by_name["concurrent", "pygrpc.aio"]
    assert ours["medians"]["rate"] == 5500
    assert ours["rounds"]["rate"] == [5000, 6000]
    assert ours["ratios"] == {"grpc.aio": 5.5}
    assert by_name["concurrent", "grpclib"]["failed"] == "client: StatusCode.INTERNAL: a|b"
    assert by_name["h2load", "pygrpc.aio"]["left_out"] == "h2load is not installed"
    goal = next(goal for goal in found["goals"] if goal["scenario"] == "concurrent" and goal["ratio"] == 5)
    assert (goal["measured"], goal["met"]) == (5.5, True)
    assert {row["curve"] for row in found["curves"]} == {"size"}


@pytest.mark.parametrize(("variable", "engine"), [("h2", "H2Engine"), ("frame", "FrameEngine")])
def test_the_engine_is_the_one_that_connections_get(
    variable: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYGRPC_HTTP2_ENGINE", variable)
    assert environment()["engine"] == engine


def test_json_has_a_line_for_each_row_and_six_digits() -> None:
    shown = to_json({"settings": {"rounds": 2}, "rows": [{"rate": 1234567.89}, {"rates": [1 / 3]}], "none": []})
    assert shown.splitlines() == [
        *("{", ' "settings": {"rounds": 2},', ' "rows": [', '  {"rate": 1234570.0},', '  {"rates": [0.333333]}'),
        *(" ],", ' "none": []', "}"),
    ]


def test_the_header_names_what_the_figures_depend_on() -> None:
    shown = describe(environment(), 3, 0.5)
    for word in ("Date", "load average", "cores", "Python", "grpcio", "grpclib", "engine", "3 rounds of 0.5 s"):
        assert word in shown
