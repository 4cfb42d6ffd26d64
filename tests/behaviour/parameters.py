"""The pytest hooks that run a test over pairs of sides (`peers`), or over each of our own (`side`).

All pairs of all sides over all transports would be 48 runs of each behaviour. Unless the environment variable
PYGRPC_BEHAVIOUR_PAIRS says otherwise, a behaviour runs over

- cleartext between our own sides, of either API at either end, and between each of them and grpcio's of the same API;
- cleartext between one side of pygrpc and one of grpcio with the other API;
- TLS between our own asyncio sides, or between our own synchronous ones;
- mutual TLS between the one or the other of those;
- TLS or mutual TLS between one side of pygrpc and one of grpcio with the same API.

The last four are chosen by the name of the test: they are the same in each run, and the tests take turns. With "own" in
that variable nothing runs against grpcio, and with "all" everything runs over everything.

The conftest files of the folders that need the hooks import them.
"""

from __future__ import annotations

import itertools
import os
import socket
import zlib
from collections.abc import Iterable, Iterator, Sequence

import pytest

from tests.behaviour.peers import SIDES, Peers, Side
from tests.behaviour.transports import MTLS, TCP, TLS, TRANSPORTS

_AIO, _SYNC, _GRPC_AIO, _GRPC_SYNC = SIDES

EVERYTHING = [
    Peers(client, server, transport) for transport, client, server in itertools.product(TRANSPORTS, SIDES, SIDES)
]


def _cleartext(sides: Iterable[tuple[Side, Side]]) -> list[Peers]:
    return [Peers(client, server, TCP) for client, server in sides]


OWN = _cleartext(itertools.product((_AIO, _SYNC), repeat=2))
ALWAYS = OWN + _cleartext([(_AIO, _GRPC_AIO), (_GRPC_AIO, _AIO), (_SYNC, _GRPC_SYNC), (_GRPC_SYNC, _SYNC)])
#: Of each row a behaviour runs over one.
BY_TURNS = [
    _cleartext([(_AIO, _GRPC_SYNC), (_GRPC_SYNC, _AIO), (_SYNC, _GRPC_AIO), (_GRPC_AIO, _SYNC)]),
    [Peers(side, side, TLS) for side in (_AIO, _SYNC)],
    [Peers(side, side, MTLS) for side in (_SYNC, _AIO)],
    [
        Peers(*pair, transport)
        for transport in (TLS, MTLS)
        for ours, theirs in ((_AIO, _GRPC_AIO), (_SYNC, _GRPC_SYNC))
        for pair in ((ours, theirs), (theirs, ours))
    ],
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "only(client=None, server=None, reason=...): the behaviour is asked only of the sides that are named by their "
        "implementation (pygrpc, grpcio), by their API (aio, sync) or by both (grpcio-sync); spaces stand between "
        "several names. The others depart from the specification or from their documentation there, or their API has "
        "no such thing",
    )
    # A thread of grpcio that watches a channel does not expect that the channel closes.
    noise = "(?s)Exception in thread .*_poll_connectivity.*Channel closed"
    config.addinivalue_line("filterwarnings", f"ignore:{noise}:pytest.PytestUnhandledThreadExceptionWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" in metafunc.fixturenames:
        own = [side for side in SIDES if side.implementation == "pygrpc"]
        metafunc.parametrize("side", own, ids=[side.name for side in own])
    if "peers" in metafunc.fixturenames:
        chosen = choose(metafunc.definition.name, list(metafunc.definition.iter_markers("only")))
        metafunc.parametrize("peers", chosen, ids=[name_of(peers) for peers in chosen])


def choose(test: str, marks: Sequence[pytest.Mark]) -> list[Peers]:
    """Returns what a test runs over."""

    def asked(some: Iterable[Peers]) -> list[Peers]:
        return [peers for peers in some if all(is_asked(mark, peers.client, peers.server) for mark in marks)]

    wanted = os.environ.get("PYGRPC_BEHAVIOUR_PAIRS")
    if wanted == "all":
        return asked(EVERYTHING)
    if wanted == "own":
        return asked(OWN)
    turn = zlib.crc32(test.encode())
    return asked(ALWAYS) + [row[turn % len(row)] for row in map(asked, BY_TURNS) if row]


def is_asked(mark: pytest.Mark, client: Side, server: Side) -> bool:
    """Tells whether a test with this mark runs between the two."""
    if mark.args or not mark.kwargs.keys() <= {"client", "server", "reason"} or not mark.kwargs.get("reason"):
        raise pytest.UsageError("an `only` mark names a client or a server and says why")
    return is_named(mark.kwargs.get("client"), client) and is_named(mark.kwargs.get("server"), server)


def is_named(words: str | None, side: Side) -> bool:
    """Tells whether a side is meant by words: an implementation, an API or a side, or several with spaces between."""
    return words is None or not {side.implementation, side.api, side.name}.isdisjoint(words.split())


def name_of(peers: Peers) -> str:
    """Returns the name of a pair in the ids of tests."""
    return f"{peers.client.name}-to-{peers.server.name}-{peers.transport.name}"


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of the IPv4 loopback that refuses connections until a server binds to it too (by SO_REUSEPORT)."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
