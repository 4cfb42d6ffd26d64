"""Who watches the state of a channel."""

import asyncio

from pygrpc.connectivity import ChannelConnectivity


class Watchers:
    """Those who wait for another state of a channel.

    They are kept apart from it, so that a channel is no part of a cycle and is collected as soon as nobody uses it.
    """

    def __init__(self) -> None:
        """Begins with nobody."""
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Waits for the next change."""
        waiter = loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def tell(self, state: ChannelConnectivity) -> None:
        """The state has changed."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
