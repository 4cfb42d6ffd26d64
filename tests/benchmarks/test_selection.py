"""Which cells `python -m benchmarks` measures, and whether the tables of scenarios, goals and curves fit together."""

import pytest

from benchmarks.__main__ import select
from benchmarks.implementations import IMPLEMENTATIONS
from benchmarks.runner import Cell
from benchmarks.scenarios import CURVES, GOALS, PLAIN, SCENARIOS, VARIANTS
from benchmarks.work import Work


def names(cells: list[Cell]) -> set[tuple[str, str]]:
    return {(scenario.name, implementation.name) for scenario, implementation in cells}


def test_the_short_form_is_a_part_of_the_long_one() -> None:
    short, long = select([], long=False), select([], long=True)
    assert set(short) < set(long)
    assert {scenario for scenario, _ in short} == set(PLAIN)
    assert {scenario for scenario, _ in long} == set(SCENARIOS)


def test_every_goal_is_measured_in_the_short_form() -> None:
    short = names(select([], long=False))
    for goal in GOALS:
        assert {(goal.scenario, goal.who), (goal.scenario, goal.against)} <= short


def test_names_are_unique_and_implementations_exist() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert {*scenario.implementations, *scenario.also_long, *scenario.left_out} <= set(IMPLEMENTATIONS)
        assert not {*scenario.implementations, *scenario.also_long} & set(scenario.left_out)


def test_only_takes_a_scenario_an_implementation_or_both() -> None:
    assert names(select(["upload/grpclib"], long=False)) == {("upload", "grpclib")}
    assert {scenario for scenario, _ in names(select(["upload"], long=False))} == {"upload"}
    grpclib = names(select(["grpclib"], long=False))
    assert grpclib == {(scenario.name, "grpclib") for scenario in PLAIN}
    both = select(["upload/grpclib", "h2load/grpc.aio"], long=False)
    assert names(both) == {("upload", "grpclib"), ("h2load", "grpc.aio")}


def test_only_takes_what_is_named_even_if_it_is_of_the_long_form() -> None:
    tls = select(["tls"], long=False)
    assert tls
    assert all(scenario.work.tls for scenario, _ in tls)
    assert names(select(["sequential+tls/pygrpc"], long=False)) == {("sequential+tls", "pygrpc")}
    assert names(select(["h2load/grpcio"], long=False)) == {("h2load", "grpcio")}
    points = {scenario.point for scenario, _ in select(["size"], long=False)}
    assert points == set(next(curve for curve in CURVES if curve.name == "size").points)


def test_only_does_not_take_what_does_not_exist() -> None:
    with pytest.raises(ValueError, match="nothing is called 'grpcoi'"):
        select(["grpcoi"], long=False)
    with pytest.raises(ValueError, match="nothing is called"):
        select(["upload", "hold/grpcio"], long=True)


def test_what_a_scenario_leaves_out_has_a_row() -> None:
    assert ("h2load", "raw asyncio") in names(select([], long=False))
    assert ("concurrent+dressed", "raw sockets") in names(select([], long=True))


def test_a_variant_changes_the_work_and_nothing_else() -> None:
    assert [variant.change(Work("unary")) for variant in VARIANTS] == [
        Work("unary", tls=True),
        Work("unary", interceptors=True, timeout=30.0, metadata=256),
    ]
