"""What is measured: the scenarios, and how a client process drives each of them.

To add a scenario, add a row to `SCENARIOS`; only a new kind of call needs an entry in `_AWAITED` and `_BLOCKING` too.
"""

import asyncio
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

SERVICE = "benchmarks.Echo"
PAYLOAD = bytes(range(100))
DOWNLOAD_MESSAGES = 2000
BLOCK = bytes(64 * 1024)
UPLOAD_MESSAGES = 128


class Client(NamedTuple):
    """The three calls that an adapter offers; their results are awaitable if the adapter is asynchronous."""

    unary: Callable[[bytes], Any]
    download: Callable[[bytes], Any]
    upload: Callable[[Iterable[bytes]], Any]


@dataclass(frozen=True)
class Scenario:
    """One row group of the report.

    Attributes:
        name: What `--only` calls it.
        title: What the report calls it.
        call: The field of `Client` that is driven, or "h2load" for the server alone.
        lanes: How many calls are in flight on the one channel.
        operation: What the CPU time is divided by.
        unit: The unit of the rate.
        scale: The rate's units per operation.
    """

    name: str
    title: str
    call: str
    lanes: int = 1
    operation: str = "RPC"
    unit: str = "RPC/s"
    scale: float = 1.0


SCENARIOS = (
    Scenario("sequential", "Sequential unary, 100-byte echo", "unary"),
    Scenario("concurrent", "32-way concurrent unary on one channel, 100-byte echo", "unary", lanes=32),
    Scenario("download", "Server streaming of 100-byte messages", "download", operation="message", unit="messages/s"),
    Scenario(
        "upload",
        "Client streaming of 64 KiB messages",
        "upload",
        operation="message",
        unit="MB/s",
        scale=len(BLOCK) / 1e6,
    ),
    Scenario("h2load", "Server alone under h2load, 4 connections x 32 streams, 100-byte echo", "h2load"),
)


class WrongReply(Exception):
    """A call ended with OK, but what it brought is not what was asked for."""


def check(right: bool, what: str) -> None:
    """Raise `WrongReply` unless the reply was right."""
    if not right:
        raise WrongReply(what)


async def _await_unary(client: Client) -> int:
    check(await client.unary(PAYLOAD) == PAYLOAD, "the echo differs")
    return 1


async def _await_download(client: Client) -> int:
    messages: AsyncIterable[bytes] = client.download(b"%d" % DOWNLOAD_MESSAGES)
    count = 0
    async for message in messages:
        check(message == PAYLOAD, "a streamed message differs")
        count += 1
    check(count == DOWNLOAD_MESSAGES, f"{count} of {DOWNLOAD_MESSAGES} messages arrived")
    return count


async def _await_upload(client: Client) -> int:
    received = int(await client.upload(itertools.repeat(BLOCK, UPLOAD_MESSAGES)))
    check(received == len(BLOCK) * UPLOAD_MESSAGES, f"the server counted {received} bytes")
    return UPLOAD_MESSAGES


def _block_unary(client: Client) -> int:
    check(client.unary(PAYLOAD) == PAYLOAD, "the echo differs")
    return 1


def _block_download(client: Client) -> int:
    messages: Iterable[bytes] = client.download(b"%d" % DOWNLOAD_MESSAGES)
    count = 0
    for message in messages:
        check(message == PAYLOAD, "a streamed message differs")
        count += 1
    check(count == DOWNLOAD_MESSAGES, f"{count} of {DOWNLOAD_MESSAGES} messages arrived")
    return count


def _block_upload(client: Client) -> int:
    received = int(client.upload(itertools.repeat(BLOCK, UPLOAD_MESSAGES)))
    check(received == len(BLOCK) * UPLOAD_MESSAGES, f"the server counted {received} bytes")
    return UPLOAD_MESSAGES


_AWAITED: dict[str, Callable[[Client], Awaitable[int]]] = {
    "unary": _await_unary,
    "download": _await_download,
    "upload": _await_upload,
}
_BLOCKING: dict[str, Callable[[Client], int]] = {
    "unary": _block_unary,
    "download": _block_download,
    "upload": _block_upload,
}


async def drive_async(client: Client, scenario: Scenario, seconds: float) -> int:
    """Repeat the scenario's call in each lane for a time; return the number of operations."""
    until = perf_counter() + seconds
    call = _AWAITED[scenario.call]

    async def lane() -> int:
        done = 0
        while perf_counter() < until:
            done += await call(client)
        return done

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lane()) for _ in range(scenario.lanes)]
    return sum(task.result() for task in tasks)


def drive_blocking(client: Client, scenario: Scenario, seconds: float) -> int:
    """Do what `drive_async` does, with a thread for each lane."""
    until = perf_counter() + seconds
    call = _BLOCKING[scenario.call]

    def lane(_: int) -> int:
        done = 0
        while perf_counter() < until:
            done += call(client)
        return done

    if scenario.lanes == 1:
        return lane(0)
    with ThreadPoolExecutor(scenario.lanes) as pool:
        return sum(pool.map(lane, range(scenario.lanes)))
