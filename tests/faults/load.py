"""Steady load from many callers, and what became of each call."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.servers import PATIENCE, method

#: Many attempts with short delays, so that a call outlives the time until a channel has noticed.
RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.02s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def options(policy: str = "pick_first", retry: bool = False) -> list[tuple[str, Any]]:
    """The options of a channel with a load balancing policy, and perhaps a retry policy for all methods."""
    config: dict[str, Any] = {"loadBalancingConfig": [{policy: {}}]}
    if retry:
        config["methodConfig"] = [{"name": [{}], "retryPolicy": RETRY}]
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        # Channels of grpcio share connections otherwise, also with those of other tests.
        ("grpc.use_local_subchannel_pool", 1),
    ]


@dataclass
class Outcome:
    """What became of the calls so far.

    Attributes:
        answers: How many calls each server has answered.
        failures: How many calls have ended with each code and text.
    """

    answers: collections.Counter[bytes] = field(default_factory=collections.Counter)
    failures: collections.Counter[tuple[Any, str | None]] = field(default_factory=collections.Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    def answered(self, name: bytes) -> None:
        with self.changed:
            self.answers[name] += 1
            self.changed.notify_all()

    def failed(self, error: Any) -> None:
        with self.changed:
            self.failures[error.code(), error.details()] += 1
            self.changed.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        """Waits until something about the outcome is so."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), f"the load did not get there: {self}"

    def wait_for_answers(self, count: int, name: bytes | None = None) -> None:
        """Waits until further calls have been answered, by anybody or by one server."""
        before = self.count(name)
        self.wait(lambda: self.count(name) >= before + count)

    def count(self, name: bytes | None = None) -> int:
        """The calls that were answered."""
        return self.answers.total() if name is None else self.answers[name]

    @property
    def codes(self) -> set[str]:
        """The names of the codes of calls that failed."""
        return {code.name for code, _ in self.failures}

    def __str__(self) -> str:
        seconds = (self.ended or time.monotonic()) - self.started
        total = self.answers.total()
        return (
            f"{total} calls answered in {seconds:.1f} s, {total / seconds:.0f}/s, by {len(self.answers)} processes;"
            f" failed: {self.failures.total()} {dict(self.failures)}"
        )


@contextlib.contextmanager
def load(api: Any, channel: Any, callers: int = 8, **arguments: Any) -> Iterator[Outcome]:
    """Makes calls from threads until the end; yields what becomes of them."""
    outcome = Outcome()
    over = threading.Event()
    call = method(channel, "uu")

    def work() -> None:
        while not over.is_set():
            try:
                outcome.answered(call(b"", timeout=PATIENCE, **arguments))
            except api.RpcError as error:
                outcome.failed(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield outcome
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        outcome.ended = time.monotonic()
        print(outcome)
    assert not any(thread.is_alive() for thread in threads), "a call hangs"


@contextlib.contextmanager
def loaded(api: Any, target: str, settings: list[tuple[str, Any]], **arguments: Any) -> Iterator[Outcome]:
    """Makes calls on a channel of its own."""
    with api.insecure_channel(target, options=settings) as channel, load(api, channel, **arguments) as outcome:
        yield outcome


@contextlib.asynccontextmanager
async def aio_load(api: Any, channel: Any, callers: int = 64, **arguments: Any) -> AsyncIterator[Outcome]:
    """Makes calls from coroutines until the end; yields what becomes of them, for a thread to wait for."""
    outcome = Outcome()
    over = False
    call = method(channel, "uu")

    async def work() -> None:
        while not over:
            try:
                outcome.answered(await call(b"", timeout=PATIENCE, **arguments))
            except api.AioRpcError as error:
                outcome.failed(error)

    tasks = [asyncio.create_task(work()) for _ in range(callers)]
    try:
        yield outcome
    finally:
        over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
        outcome.ended = time.monotonic()
        print(outcome)


@contextlib.asynccontextmanager
async def aio_loaded(
    api: Any, target: str, settings: list[tuple[str, Any]], **arguments: Any
) -> AsyncIterator[Outcome]:
    """Makes calls on a channel of its own."""
    async with (
        api.insecure_channel(target, options=settings) as channel,
        aio_load(api, channel, **arguments) as outcome,
    ):
        yield outcome
