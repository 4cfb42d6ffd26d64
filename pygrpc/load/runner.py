"""Makes the calls of a schedule, so many at a time, and counts what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from pygrpc.load.result import LoadResult, Outcome
from pygrpc.load.schedule import Schedule, counted_from

#: Makes a call, of a number and by a client (both from 0), and returns what came of it.
MakeCall = Callable[[int, int], Awaitable[Outcome]]


class Runner:
    """Makes calls by a number of clients, of which each makes one call at a time.

    The time is that of the running event loop.
    """

    def __init__(self, make_call: MakeCall, concurrency: int, numbers: Iterator[int], pause: float = 0.0) -> None:
        """Makes no call yet.

        Args:
            make_call: Makes a call.
            concurrency: How many clients there are.
            numbers: The numbers of the calls.
            pause: Seconds that a client waits between its calls.
        """
        self._make_call = make_call
        self._concurrency = concurrency
        self._numbers = numbers
        self._pause = pause

    async def run(
        self,
        stop: asyncio.Event,
        *,
        rate: float | None = None,
        duration: float | None = None,
        calls: int | None = None,
        offset: float = 0.0,
    ) -> LoadResult:
        """Makes the calls of a schedule, and waits for those that have begun.

        Args:
            stop: Ends the run when it is set: calls that are going on are cancelled.
            rate: See ``Schedule``.
            duration: See ``Schedule``.
            calls: See ``Schedule``.
            offset: See ``Schedule``.

        Returns:
            What came of the calls.
        """
        result = LoadResult()
        loop = asyncio.get_running_loop()
        start = loop.time()
        schedule = Schedule(start, rate=rate, duration=duration, calls=calls, offset=offset)
        clients = [
            asyncio.ensure_future(self._client(index, schedule, result, rate is not None))
            for index in range(self._concurrency)
        ]
        stopping = asyncio.ensure_future(stop.wait())
        everyone = asyncio.gather(*clients)
        try:
            await asyncio.wait((everyone, stopping), return_when=asyncio.FIRST_COMPLETED)
            result.interrupted = not everyone.done()
        finally:
            stopping.cancel()
            for client in clients:
                client.cancel()
            await asyncio.wait(clients)
        with contextlib.suppress(asyncio.CancelledError):
            await everyone
        end = loop.time()
        result.missed = schedule.missed(end)
        result.seconds = end - start if result.interrupted else max(end - start, schedule.span())
        return result

    async def _client(self, index: int, schedule: Schedule, result: LoadResult, paced: bool) -> None:
        clock = asyncio.get_running_loop().time
        while (due := schedule.take(free := clock())) is not None:
            if due > free:
                await asyncio.sleep(due - free)
            began = clock()
            if paced:
                result.began_late(max(free - due, 0.0))
            result.unfinished += 1
            outcome = await self._make_call(next(self._numbers), index)
            result.unfinished -= 1
            result.record(outcome, clock() - counted_from(due, free, began))
            # A call that fails without waiting for anything must not keep the loop from everything else.
            if self._pause or outcome.code != "OK":
                await asyncio.sleep(self._pause)
