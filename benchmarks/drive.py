"""How a client process does its work: in three steps, so that the runner can look at both processes in between.

1. connect, and warm up with little;
2. open all the connections, and do everything for a part of the time;
3. measure.
"""

import asyncio
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from time import perf_counter

from benchmarks import latency
from benchmarks.adapters import Session
from benchmarks.work import Client, Work, check

Figures = dict[str, float]
Pause = Callable[[Figures], None]
# Connections are opened in batches, because a server's queue of new ones is finite (100 in asyncio).
BATCH = 50


def drive(connect: Callable[[], Session], work: Work, seconds: float, pause: Pause) -> None:
    """Do the work.

    Args:
        connect: Returns a context manager, to be entered once for each connection.
        work: What to do.
        seconds: How long to measure.
        pause: Called after each step, while everything is still open, with the number of operations, `count`; after the
            last one also with the `seconds` that they took, and what else the work brings.

    Raises:
        WrongReply: If a call brought something else than it should.
    """
    session = connect()
    if isinstance(session, AbstractAsyncContextManager):
        asyncio.run(_drive_async(session, connect, work, seconds, pause))
        return
    with session as client, ThreadPoolExecutor(work.lanes) as pool:
        for warm_up in (work.small(), work):
            pause({"count": _repeat_blocking(client, warm_up, warm_up_time(seconds), pool)})
        started = perf_counter()
        count = _repeat_blocking(client, work, seconds, pool)
        pause({"count": count, "seconds": perf_counter() - started})


def warm_up_time(seconds: float) -> float:
    """Return how many seconds each of the first two steps takes before a measurement of so many seconds."""
    return min(0.2, seconds / 4)


async def _drive_async(
    first: AbstractAsyncContextManager[Client], connect: Callable[[], Session], work: Work, seconds: float, pause: Pause
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(first)]
        small = work.small()
        pause({"count": await _repeat([_once(clients[0], small)] * small.lanes, warm_up_time(seconds))})
        for _ in range(1, work.connections):
            session = connect()
            assert isinstance(session, AbstractAsyncContextManager)
            clients.append(await stack.enter_async_context(session))
        if work.connections > 1:
            for batch in range(0, work.connections, BATCH):
                await asyncio.gather(*(_once(client, work)() for client in clients[batch : batch + BATCH]))
        # Each lane has a function of its own, and each connection the same number of lanes.
        lanes = [_once(client, work) for client in clients for _ in range(work.lanes)]
        match work.call:
            case "idle":
                pause({})
                pause({"count": work.connections, "seconds": 0.0})
            case "hold":
                pause({})
                kept = await _hold(clients, work)
                pause({"count": len(kept), "seconds": 0.0})
            case "latency":
                peak = await _rate(lanes, max(0.3, warm_up_time(seconds)))
                pause({})
                pause(await latency.open_loop(lanes[0], work.pace or peak * latency.LOAD, seconds))
            case _:
                pause({"count": await _repeat(lanes, warm_up_time(seconds))})
                started = perf_counter()
                count = await _repeat(lanes, seconds)
                pause({"count": count, "seconds": perf_counter() - started})


async def _hold(clients: Sequence[Client], work: Work) -> list[object]:
    kept: list[object] = []
    for client in clients:
        assert client.hold is not None
        for _ in range(work.lanes):
            stream, reply = await client.hold(work.payload)
            check(reply == work.payload, "the echo differs")
            kept.append(stream)
    return kept


async def _rate(lanes: Sequence[Callable[[], Awaitable[int]]], seconds: float) -> float:
    started = perf_counter()
    count = await _repeat(lanes, seconds)
    return count / (perf_counter() - started)


async def _repeat(lanes: Sequence[Callable[[], Awaitable[int]]], seconds: float) -> int:
    """Repeat each lane's call for a time; return the number of operations."""
    until = perf_counter() + seconds

    async def repeat(once: Callable[[], Awaitable[int]]) -> int:
        done = await once()
        while perf_counter() < until:
            done += await once()
        return done

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(repeat(once)) for once in lanes]
    return sum(task.result() for task in tasks)


def _repeat_blocking(client: Client, work: Work, seconds: float, pool: ThreadPoolExecutor) -> int:
    """Do what `_repeat` does, with a thread for each lane."""
    until = perf_counter() + seconds
    once = _once_blocking(client, work)

    def repeat(_: int) -> int:
        done = once()
        while perf_counter() < until:
            done += once()
        return done

    if work.lanes == 1:
        return repeat(0)
    return sum(pool.map(repeat, range(work.lanes)))


def _once(client: Client, work: Work) -> Callable[[], Awaitable[int]]:
    """Return a function that makes one call, checks what it brings, and returns the number of operations."""
    payload = work.payload

    async def unary() -> int:
        check(await client.unary(payload) == payload, "the echo differs")
        return 1

    async def download() -> int:
        messages: AsyncIterable[bytes] = client.download(b"%d" % work.messages)
        count = 0
        async for message in messages:
            check(message == payload, "a streamed message differs")
            count += 1
        check(count == work.messages, f"{count} of {work.messages} messages arrived")
        return count

    async def upload() -> int:
        received = int(await client.upload(itertools.repeat(payload, work.messages)))
        check(received == work.size * work.messages, f"the server counted {received} bytes")
        return work.messages

    return {"download": download, "upload": upload}.get(work.call, unary)


def _once_blocking(client: Client, work: Work) -> Callable[[], int]:
    payload = work.payload

    def unary() -> int:
        check(client.unary(payload) == payload, "the echo differs")
        return 1

    def download() -> int:
        messages: Iterable[bytes] = client.download(b"%d" % work.messages)
        count = 0
        for message in messages:
            check(message == payload, "a streamed message differs")
            count += 1
        check(count == work.messages, f"{count} of {work.messages} messages arrived")
        return count

    def upload() -> int:
        received = int(client.upload(itertools.repeat(payload, work.messages)))
        check(received == work.size * work.messages, f"the server counted {received} bytes")
        return work.messages

    return {"download": download, "upload": upload}.get(work.call, unary)
