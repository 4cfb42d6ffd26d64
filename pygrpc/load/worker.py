"""One process of a load test, which may be one that another process directs.

The latter reads a plan from its standard input, answers that it is connected, and begins when it is told to. The end of
its input stops it, so that it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import struct
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from pygrpc.load import calls
from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.result import LoadResult
from pygrpc.load.runner import Runner

_LENGTH = struct.Struct(">I")


async def work(plan: Plan, stop: asyncio.Event, begin: Callable[[], Awaitable[object]] | None = None) -> LoadResult:
    """Runs a plan in this process.

    Args:
        plan: What to do.
        stop: Ends the test when it is set.
        begin: Is awaited when all is connected, before the first call.

    Raises:
        LoadError: The server can't be reached.
    """
    channels = await calls.connect(plan)
    try:
        if begin is not None:
            await begin()
        runner = Runner(calls.Calls(plan, channels), plan.concurrency, count(), plan.pause)
        if plan.warmup:
            # Its calls are finished before the others begin, and their numbers are not used again.
            warm = await runner.run(stop, rate=plan.rate, duration=plan.warmup, offset=plan.offset)
            if warm.interrupted:
                return LoadResult(interrupted=True)
        return await runner.run(stop, rate=plan.rate, duration=plan.duration, calls=plan.calls, offset=plan.offset)
    finally:
        await calls.close(channels)


def packed(value: Any) -> bytes:
    """Returns a value as it goes between the processes of a test."""
    data = pickle.dumps(value)
    return _LENGTH.pack(len(data)) + data


async def unpacked(reader: asyncio.StreamReader) -> Any:
    """Reads a value that another process of this test has packed.

    Raises:
        asyncio.IncompleteReadError: The other process has ended.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def main() -> None:
    """Runs in a process that another one directs, by standard input and output."""
    asyncio.run(_serve())


async def _serve() -> None:
    """Runs the plan that comes by standard input."""
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    stop = asyncio.Event()
    watching: list[asyncio.Future[None]] = []

    async def begin() -> None:
        _answer(None)
        await reader.readexactly(1)
        watching.append(asyncio.ensure_future(_until_end(reader, stop)))

    try:
        _answer(await work(await unpacked(reader), stop, begin))
    except LoadError as error:
        _answer(error)
    except asyncio.IncompleteReadError:
        # Whoever directs this process has ended, or stops it before it has begun.
        _answer(LoadResult(interrupted=True))
    finally:
        for task in watching:
            task.cancel()
        pipe.close()


def _answer(value: LoadResult | LoadError | None) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(packed(value))
        sys.stdout.buffer.flush()


async def _until_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await reader.read()
    stop.set()
