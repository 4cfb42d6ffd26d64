from collections.abc import Iterator

import pytest

from tests.sync.peers import PAIRS
from tests.sync.programs import Server, serving


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The packages of client and server of one run."""
    yield request.param


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server in another process, whose handlers wait for the end of their calls."""
    with serving() as running:
        yield running
