"""Run every measurement in processes of its own, round after round."""

import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import h2load
from benchmarks.implementations import Implementation
from benchmarks.scenarios import SCENARIOS, Scenario, WrongReply

ROOT = Path(__file__).resolve().parent.parent
# How long a process may take for its start, its warm-up or its end, beyond the measured time.
PATIENCE = 20.0

Cell = tuple[Scenario, Implementation]


@dataclass(frozen=True)
class Sample:
    """What one measurement gave.

    Attributes:
        rate: In the scenario's unit.
        server_cpu: CPU seconds of the server process per operation.
        client_cpu: The same for the client process; None under h2load.
        server_rss: Highest resident set of the server process, in bytes.
        client_rss: The same for the client process; None under h2load.
    """

    rate: float
    server_cpu: float
    client_cpu: float | None
    server_rss: float
    client_rss: float | None


class Failed(Exception):
    """A process failed; the text says which one and why."""


class Worker:
    """A process of `benchmarks.worker`, spoken to in lines of JSON."""

    def __init__(self, role: str, process: asyncio.subprocess.Process, stderr: Any) -> None:
        self._role = role
        self._process = process
        self._stderr = stderr

    async def read(self, seconds: float = 0.0) -> dict[str, Any]:
        """Return the next message; `seconds` is how long the process is known to be busy before it."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE + seconds)
        except TimeoutError:
            raise Failed(f"{self._role} said nothing for {PATIENCE + seconds:.0f} s") from None
        if not line:
            self._stderr.seek(0)
            complaint = self._stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Failed(f"{self._role} ended with {await self._process.wait()} {' '.join(complaint)}".strip())
        message: dict[str, Any] = json.loads(line)
        if "failed" in message:
            raise Failed(f"{self._role}: {message['failed']}")
        return message

    async def ask(self, question: object = None, seconds: float = 0.0) -> dict[str, Any]:
        """Send a line and return the answer to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self.read(seconds)

    async def end(self) -> None:
        """Close the process's stdin, upon which it should end; kill it if it doesn't."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def worker(role: str, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[Worker]:
    """Start a worker process and see to its end."""
    with tempfile.TemporaryFile() as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.worker", role, *arguments),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
        running = Worker(role, process, stderr)
        try:
            yield running
        finally:
            await running.end()


async def measure(scenario: Scenario, implementation: Implementation, seconds: float) -> Sample:
    """Take one sample.

    Raises:
        Failed: If a process failed or was silent for too long.
        WrongReply: If h2load was not answered as it should be.
    """
    environment = implementation.environment
    async with worker("server", implementation.server, environment=environment) as server:
        if scenario.call == "h2load":
            return await _measure_under_h2load(server, seconds)
        arguments = (implementation.client, scenario.name, str(seconds))
        async with worker("client", *arguments, environment=environment) as client:
            port = (await server.read())["port"]
            await client.ask({"port": port})
            before = await server.ask()
            done = await client.ask("start", seconds)
            after = await server.ask()
    return Sample(
        rate=done["count"] / done["seconds"] * scenario.scale,
        server_cpu=(after["cpu"] - before["cpu"]) / done["count"],
        client_cpu=done["cpu"] / done["count"],
        server_rss=after["rss"],
        client_rss=done["rss"],
    )


async def _measure_under_h2load(server: Worker, seconds: float) -> Sample:
    port = (await server.read())["port"]
    try:
        async with asyncio.timeout(PATIENCE * 2 + seconds):
            requests = int(await h2load.load(port, h2load.WARM_UP_REQUESTS) * seconds) + h2load.WARM_UP_REQUESTS
            before = await server.ask()
            rate = await h2load.load(port, requests)
            after = await server.ask()
    except TimeoutError:
        raise Failed("h2load did not finish") from None
    return Sample(rate, (after["cpu"] - before["cpu"]) / requests, None, after["rss"], None)


async def run(
    cells: Sequence[Cell], rounds: int, seconds: float, progress: Callable[[str], None]
) -> dict[Cell, list[Sample] | str]:
    """Measure each cell once per round; a cell that fails has the reason in place of samples and is not tried again.

    A round measures all the cells, those of one scenario close together, so that a slow spell of the machine falls on
    all of them. Their order differs from round to round, so that none has always the same one before it.
    """
    results: dict[Cell, list[Sample] | str] = {cell: [] for cell in cells}
    for number in range(rounds):
        for scenario, implementation in _shuffled(cells, number):
            samples = results[scenario, implementation]
            if isinstance(samples, str):
                continue
            progress(f"round {number + 1}/{rounds}: {scenario.name}, {implementation.name}")
            try:
                samples.append(await measure(scenario, implementation, seconds))
            except (Failed, WrongReply) as error:
                results[scenario, implementation] = str(error)
    return results


def _shuffled(cells: Sequence[Cell], seed: int) -> list[Cell]:
    order = random.Random(seed).sample(cells, len(cells))
    # The sort is stable: the scenarios keep their order, the implementations within one are shuffled.
    return sorted(order, key=lambda cell: SCENARIOS.index(cell[0]))
