"""The parameters of the behaviours."""

from __future__ import annotations

import pytest

from tests.behaviour.parameters import is_asked
from tests.behaviour.peers import Peers, Side


@pytest.mark.only(client="pygrpc", server="grpcio", reason="it is about this mark")
async def test_mark_picks_a_pair(peers: Peers) -> None:
    assert (peers.client.name, peers.server.name) == ("pygrpc", "grpcio")


@pytest.mark.parametrize(
    ("names", "asked"),
    [({}, True), ({"client": "a"}, True), ({"server": "b"}, True), ({"client": "b"}, False), ({"server": "a"}, False)],
)
def test_mark_names_sides(names: dict[str, str], asked: bool) -> None:
    assert is_asked(pytest.mark.only(reason="because", **names).mark, "a", "b") is asked


@pytest.mark.parametrize("arguments", [{}, {"reason": ""}, {"reason": "because", "peer": "a"}])
def test_mark_says_why(arguments: dict[str, str]) -> None:
    with pytest.raises(pytest.UsageError):
        is_asked(pytest.mark.only(**arguments).mark, "a", "b")


def test_raw_peers_try_our_own_sides(side: Side) -> None:
    assert side.package == "pygrpc"
