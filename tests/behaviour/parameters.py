"""The pytest hooks that run a test over every pair of sides (`peers`), or over each of our own (`side`).

The conftest files of the folders that need them import them.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.behaviour.peers import SIDES, TRANSPORTS, Peers


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "only(client=None, server=None, reason=...): the behaviour is asked only of the named side, because the other "
        "one departs from the specification or from its own documentation there",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" in metafunc.fixturenames:
        own = [side for side in SIDES if side.package == "pygrpc"]
        metafunc.parametrize("side", own, ids=[side.name for side in own])
    if "peers" not in metafunc.fixturenames:
        return
    pairs = [
        Peers(client, server, transport)
        for client, server, transport in itertools.product(SIDES, SIDES, TRANSPORTS)
        if all(is_asked(mark, client.name, server.name) for mark in metafunc.definition.iter_markers("only"))
    ]
    metafunc.parametrize("peers", pairs, ids=[name_of(pair) for pair in pairs])


def is_asked(mark: pytest.Mark, client: str, server: str) -> bool:
    """Tells whether a test with this mark runs between the two."""
    if mark.args or not mark.kwargs.keys() <= {"client", "server", "reason"} or not mark.kwargs.get("reason"):
        raise pytest.UsageError("an `only` mark names a client or a server and says why")
    return mark.kwargs.get("client") in (None, client) and mark.kwargs.get("server") in (None, server)


def name_of(peers: Peers) -> str:
    """Returns the name of a pair in the ids of tests."""
    name = f"{peers.client.name}-to-{peers.server.name}"
    return name if len(TRANSPORTS) == 1 else f"{name}-{peers.transport.name}"


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of the IPv4 loopback that refuses connections until a server binds to it too (by SO_REUSEPORT)."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
