from collections.abc import Iterator

import pytest

from tests.sync.peers import PAIRS


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The packages of client and server of one run."""
    yield request.param
