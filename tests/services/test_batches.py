"""How many users a stream may bring."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pygrpc import StatusCode
from pygrpc.services.errors import RequestError
from pygrpc.services.protos.user.v1.user_pb2 import CreateUserRequest
from pygrpc.services.users.batches import within
from pygrpc.services.users.validation import Limits


async def stream(*names: str) -> AsyncIterator[CreateUserRequest]:
    for name in names:
        yield CreateUserRequest(name=name)


async def test_a_batch_within_the_limits() -> None:
    # Two bytes of a name's own and two before it.
    batch = within(stream("aa", "bb", "cc"), Limits(batch_size=3, batch_bytes=12))
    assert [request.name async for request in batch] == ["aa", "bb", "cc"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(batch_size=2), "a batch may have up to 2 users"),
        (Limits(batch_bytes=11), "a batch may have up to 11 bytes"),
    ],
)
async def test_a_batch_beyond_them(limits: Limits, said: str) -> None:
    seen = []
    with pytest.raises(RequestError, match=said) as raised:
        async for request in within(stream("aa", "bb", "cc"), limits):
            seen.append(request.name)
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert seen == ["aa", "bb"]
