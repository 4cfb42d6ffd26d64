"""How large a stream of new users may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from google.protobuf.message import Message

from pygrpc.services.users import errors
from pygrpc.services.users.validation import Limits

M = TypeVar("M", bound=Message)


async def within(requests: AsyncIterator[M], limits: Limits) -> AsyncIterator[M]:
    """Yields the requests of a batch.

    Raises:
        RequestError: They are too many, or too large together: RESOURCE_EXHAUSTED.
    """
    number = size = 0
    async for request in requests:
        number += 1
        size += request.ByteSize()
        if number > limits.batch_size:
            raise errors.too_large(f"a batch may have up to {limits.batch_size} users")
        if size > limits.batch_bytes:
            raise errors.too_large(f"a batch may have up to {limits.batch_bytes} bytes")
        yield request
