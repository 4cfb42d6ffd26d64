"""The parameters of the behaviours."""

from __future__ import annotations

import collections
import importlib
from pathlib import Path

import pytest

from tests.behaviour.parameters import EVERYTHING, choose, is_asked
from tests.behaviour.peers import SIDES, Peers, Side

SYNC, GRPCIO = Side("pygrpc", "pygrpc", "sync"), Side("grpcio", "grpc")

#: How many functions of tests ask something of one side only, by what their marks name. A behaviour that is marked is
#: one that can break unseen at the other sides, so the numbers should go down.
MARKS = {
    "client=pygrpc": 10,
    "client=aio": 19,
    "client=pygrpc aio": 2,
    "server=pygrpc": 13,
    "server=aio": 11,
    "server=pygrpc aio": 1,
    "client=grpcio": 1,
    "server=grpcio": 1,
}


@pytest.mark.only(client="pygrpc-sync", server="grpcio-aio", reason="it is about this mark")
async def test_mark_picks_a_pair(peers: Peers) -> None:
    assert (peers.client.name, peers.server.name) == ("pygrpc-sync", "grpcio-aio")


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ({}, True),
        ({"client": "pygrpc"}, True),
        ({"client": "sync", "server": "aio"}, True),
        ({"client": "pygrpc-sync", "server": "grpcio-aio"}, True),
        ({"client": "aio pygrpc"}, True),
        ({"client": "grpcio"}, False),
        ({"server": "pygrpc"}, False),
        ({"client": "pygrpc", "server": "sync"}, False),
        ({"client": "grpcio-sync aio"}, False),
    ],
)
def test_mark_names_sides(names: dict[str, str], asked: bool) -> None:
    assert is_asked(pytest.mark.only(reason="because", **names).mark, SYNC, GRPCIO) is asked


@pytest.mark.parametrize("arguments", [{}, {"reason": ""}, {"reason": "because", "peer": "aio"}])
def test_mark_says_why(arguments: dict[str, str]) -> None:
    with pytest.raises(pytest.UsageError):
        is_asked(pytest.mark.only(**arguments).mark, SYNC, GRPCIO)


def test_marks_do_not_grow_silently() -> None:
    found = collections.Counter(
        f"{side}={mark.kwargs[side]}"
        for path in Path(__file__).parent.glob("test_*.py")
        if path != Path(__file__)
        for function in vars(importlib.import_module(f"tests.behaviour.{path.stem}")).values()
        for mark in getattr(function, "pytestmark", ())
        if mark.name == "only"
        for side in ("client", "server")
        if side in mark.kwargs
    )
    assert found == MARKS


def test_raw_peers_try_our_own_sides(side: Side) -> None:
    assert side.package == "pygrpc"


@pytest.fixture
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds if the environment says nothing."""
    monkeypatch.delenv("PYGRPC_BEHAVIOUR_PAIRS", raising=False)


@pytest.mark.usefixtures("no_wish")
def test_every_pair_of_pygrpc_is_tried_in_the_clear() -> None:
    chosen = [peers for number in range(200) for peers in choose(f"test{number}", [])]
    names = {(peers.client.name, peers.server.name) for peers in chosen if peers.transport.name == "tcp"}
    every = {(client.name, server.name) for client in SIDES for server in SIDES}
    assert every - names == {pair for pair in every if all(name.startswith("grpcio") for name in pair)}


@pytest.mark.usefixtures("no_wish")
@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_each_test_is_tried_over_every_transport(name: str) -> None:
    assert {peers.transport.name for peers in choose(name, [])} == {"tcp", "tls", "mtls"}


@pytest.mark.usefixtures("no_wish")
def test_tests_take_turns() -> None:
    secure = {peers for number in range(200) for peers in choose(f"test{number}", []) if peers.transport.name != "tcp"}
    ours = {peers for peers in secure if {side.package for side in peers.sides} == {"pygrpc"}}
    assert (len(ours), len(secure - ours)) == (4, 8)


def test_environment_asks_for_our_own_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYGRPC_BEHAVIOUR_PAIRS", "own")
    assert {side.implementation for peers in choose("any", []) for side in peers.sides} == {"pygrpc"}


def test_environment_asks_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYGRPC_BEHAVIOUR_PAIRS", "all")
    assert choose("any", []) == EVERYTHING
    assert len(EVERYTHING) == 48
