"""A fan-out by its URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pygrpc.services.fanout.local import Fanout, LocalFanout


@asynccontextmanager
async def open_fanout(url: str = "") -> AsyncIterator[Fanout]:
    """Opens a fan-out, and closes it at the end of the context.

    Args:
        url: Of a Redis server: `redis://host:port`, `rediss://...` or `unix:///path`; empty for hints within this
            process only.

    Raises:
        StoreError: It cannot be used; the text says why.
    """
    fanout: Fanout = LocalFanout()
    if url:
        # Here, so that nobody needs the library who does not use Redis.
        from pygrpc.services.fanout.redis import RedisFanout

        fanout = RedisFanout(url)
    await fanout.open()
    try:
        yield fanout
    finally:
        await fanout.close()
