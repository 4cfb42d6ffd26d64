"""The pure parts of the benchmark harness: which cells are measured, what is made of the samples, how it is shown."""

import pytest

from benchmarks import h2load
from benchmarks.__main__ import select
from benchmarks.implementations import IMPLEMENTATIONS, Implementation
from benchmarks.report import figures, ratio, summarize, table, text
from benchmarks.runner import Cell, Sample
from benchmarks.scenarios import SCENARIOS, WrongReply

OURS, GRPCIO, GRPC_AIO, GRPCLIB = (
    Implementation(name, name, name) for name in ("pygrpc.aio", "grpcio", "grpc.aio", "grpclib")
)
UNARY, UNDER_LOAD = SCENARIOS[0], SCENARIOS[-1]


def sample(rate: float) -> Sample:
    return Sample(rate, server_cpu=100e-6, client_cpu=50e-6, server_rss=30 * 2**20, client_rss=20 * 2**20)


def names(cells: list[Cell]) -> set[tuple[str, str]]:
    return {(scenario.name, implementation.name) for scenario, implementation in cells}


def test_a_summary_is_median_minimum_and_maximum() -> None:
    assert summarize([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)
    assert summarize([4.0, 1.0]) == (2.5, 1.0, 4.0)


def test_a_ratio_is_formed_within_each_round() -> None:
    # The machine was ten times slower in the second round; the ratio of the medians would be 0.55 / 1.
    assert ratio([200.0, 20.0, 100.0], [100.0, 10.0, 50.0]) == 2.0


def test_ratios_are_formed_with_the_baselines_that_succeeded() -> None:
    ours, grpcio, _, grpclib = figures(
        {
            (UNARY, OURS): [sample(300.0), sample(200.0), sample(400.0)],
            (UNARY, GRPCIO): [sample(100.0), sample(100.0), sample(100.0)],
            (UNARY, GRPC_AIO): "server: OSError: no",
            (UNARY, GRPCLIB): [sample(200.0), sample(200.0), sample(200.0)],
        }
    )
    assert ours["ratios"] == {"grpcio": 3.0, "grpclib": 1.5}
    assert (ours["median"], ours["lowest"], ours["highest"]) == (300.0, 200.0, 400.0)
    assert [each["rate"] for each in ours["samples"]] == [300.0, 200.0, 400.0]
    assert grpcio["ratios"] == {"grpcio": 1.0, "grpclib": 0.5}
    assert grpclib["ratios"] == {"grpcio": 2.0, "grpclib": 1.0}


def test_a_failure_is_shown_in_its_cell_and_the_others_as_usual() -> None:
    shown = text({(UNARY, OURS): "client: StatusCode.INTERNAL: a|b", (UNARY, GRPCIO): [sample(1234.0)]})
    assert "| pygrpc.aio     | failed: client: StatusCode.INTERNAL: a/b |" in shown.splitlines()
    cells = [cell.strip() for cell in shown.splitlines()[-1].strip("|").split("|")]
    assert cells == ["grpcio", "1,234", "1,234 to 1,234", "1.00", "-", "-", "100.0", "50.0", "30", "20"]


def test_what_h2load_does_not_tell_is_left_open() -> None:
    alone = Sample(5000.0, server_cpu=1e-4, client_cpu=None, server_rss=2**20, client_rss=None)
    row = text({(UNDER_LOAD, GRPC_AIO): [alone]}).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["grpc.aio", "5,000", "5,000 to 5,000", "-", "1.00", "-", "100.0", "-", "1", "-"]


def test_a_table_lines_up() -> None:
    lines = table(["a", "number"], [["long name", "1"], ["b", "12345678"]]).splitlines()
    assert lines == [
        "| a         |   number |",
        "|-----------|---------:|",
        "| long name |        1 |",
        "| b         | 12345678 |",
    ]


def test_the_short_form_leaves_the_mixed_pairs_out() -> None:
    short, long = select([], long=False), select([], long=True)
    extra = {implementation for _, implementation in set(long) - set(short)}
    assert extra == {each for each in IMPLEMENTATIONS if each.long_only}
    assert {scenario for scenario, _ in short} == set(SCENARIOS)


def test_only_takes_a_scenario_an_implementation_or_both() -> None:
    assert names(select(["upload/grpclib"], long=False)) == {("upload", "grpclib")}
    assert {scenario for scenario, _ in names(select(["upload"], long=False))} == {"upload"}
    assert names(select(["grpclib"], long=False)) == {(scenario.name, "grpclib") for scenario in SCENARIOS}
    both = select(["upload/grpclib", "h2load/grpcio"], long=False)
    assert names(both) == {("upload", "grpclib"), ("h2load", "grpcio")}
    mixed = next(each.name for each in IMPLEMENTATIONS if each.long_only)
    assert names(select([f"sequential/{mixed}"], long=False)) == {("sequential", mixed)}
    with pytest.raises(ValueError, match="grpcoi"):
        select(["grpcoi"], long=False)


# The figures of a run of h2load 1.52.
H2LOAD = """\
finished in 191.20ms, 5230.21 req/s, 828.78KB/s
requests: 1000 total, 1000 started, 1000 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, {failed} 5xx
traffic: 154.74KB (158456) total, 14.37KB (14712) headers (space savings 91.29%), 102.54KB ({data}) data
"""


def test_h2load_is_believed_if_every_request_was_echoed() -> None:
    assert h2load.parse(H2LOAD.format(succeeded=1000, failed=0, data=105_000), 1000) == 5230.21


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("", "no figures"),
        (H2LOAD.format(succeeded=999, failed=1, data=105_000), "requests failed"),
        (H2LOAD.format(succeeded=999, failed=0, data=105_000), "999 of 1000"),
        (H2LOAD.format(succeeded=1000, failed=0, data=104_895), "104895 DATA bytes"),
    ],
)
def test_h2load_is_not_believed_otherwise(output: str, complaint: str) -> None:
    with pytest.raises(WrongReply, match=complaint):
        h2load.parse(output, 1000)
