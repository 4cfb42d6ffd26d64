"""Run every measurement in processes of its own, round after round."""

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import certificates, h2load
from benchmarks.implementations import Implementation
from benchmarks.scenarios import Scenario
from benchmarks.work import WrongReply
from benchmarks.worker import file_limit, reason

ROOT = Path(__file__).resolve().parent.parent
# How long a process may take for a step, beyond the time that it is given for it.
PATIENCE = 30.0
# Files that a process has open beside its connections.
OTHER_FILES = 100

Cell = tuple[Scenario, Implementation]
# The figures of one measurement; docs/benchmarks.md names them.
Sample = dict[str, float]


@dataclass
class Result:
    """What became of a cell: its samples, or why there are none."""

    samples: list[Sample] = field(default_factory=list)
    failed: str | None = None
    left_out: str | None = None


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
async def worker(role: str, *arguments: str) -> AsyncIterator[Worker]:
    """Start a worker process and see to its end."""
    with tempfile.TemporaryFile() as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.worker", role, *arguments),
            cwd=ROOT,
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
    work = scenario.work.to_json()
    async with worker("server", implementation.server, work) as server:
        if scenario.work.call == "h2load":
            return await _measure_under_h2load(server, scenario, seconds)
        arguments = (implementation.client, work, str(seconds))
        async with worker("client", *arguments) as client:
            port = (await server.read())["port"]
            clients = [await client.ask({"port": port}, seconds)]
            servers = [await server.ask()]
            for _ in range(2):
                clients.append(await client.ask("go on", seconds))
                servers.append(await server.ask())
    return _sample(scenario, servers, clients)


def _sample(scenario: Scenario, servers: Sequence[Sample], clients: Sequence[Sample]) -> Sample:
    """Make one sample of what was seen after each of the three steps of the work, on both sides."""
    *_, done = clients
    count = done["count"]
    sample = {name: value for name, value in done.items() if name not in ("count", "seconds", "cpu", "rss", "peak")}
    if done["seconds"]:
        sample |= {"rate": count / done["seconds"] * scenario.scale, "seconds_each": done["seconds"] / count}
    # The streams are opened in the last step, the connections in the one before.
    start = {"idle": 0, "hold": 1}.get(scenario.work.call)
    for side, seen in (("server", servers), ("client", clients)):
        sample |= {
            f"{side}_cpu": (seen[2]["cpu"] - seen[1]["cpu"]) / count,
            f"{side}_peak": seen[2]["peak"],
            f"{side}_growth": max(seen[2]["peak"] - seen[0]["rss"], 0),
        }
        if start is not None:
            sample[f"{side}_each"] = (seen[2]["rss"] - seen[start]["rss"]) / count
    return sample


async def _measure_under_h2load(server: Worker, scenario: Scenario, seconds: float) -> Sample:
    port, work = (await server.read())["port"], scenario.work
    try:
        async with asyncio.timeout(PATIENCE * 2 + seconds):
            requests = int(await h2load.load(port, h2load.WARM_UP_REQUESTS, work) * seconds) + h2load.WARM_UP_REQUESTS
            before = await server.ask()
            rate = await h2load.load(port, requests, work)
            after = await server.ask()
    except TimeoutError:
        raise Failed("h2load did not finish") from None
    return {"rate": rate, "server_cpu": (after["cpu"] - before["cpu"]) / requests, "server_peak": after["peak"]}


Measure = Callable[[Scenario, Implementation, float], Awaitable[Sample]]


async def run(
    cells: Sequence[Cell], rounds: int, seconds: float, progress: Callable[[str], None], measure: Measure = measure
) -> dict[Cell, Result]:
    """Measure each cell once per round; a cell that fails is not tried again.

    A round measures all the cells, those of one scenario close together, so that a slow spell of the machine falls on
    all of them. Their order differs from round to round, so that none has always the same one before it.
    """
    results = {cell: Result(left_out=reason_to_leave_out(*cell)) for cell in cells}
    for number in range(rounds):
        for place, (scenario, implementation) in enumerate(_shuffled(cells, number), 1):
            result = results[scenario, implementation]
            if result.left_out or result.failed:
                continue
            progress(f"round {number + 1}/{rounds}, {place}/{len(cells)}: {scenario.name}, {implementation.name}")
            try:
                result.samples.append(await measure(scenario, implementation, seconds))
            except Exception as error:
                # Whatever it was: a quarter of an hour of measurements is not to be lost with one of them.
                result.failed = str(error) if isinstance(error, (Failed, WrongReply)) else reason(error)
                progress(f"failed: {result.failed}")
    return results


def reason_to_leave_out(scenario: Scenario, implementation: Implementation) -> str | None:
    """Return why the cell can't be measured on this machine, if it can't."""
    if implementation.name in scenario.left_out:
        return scenario.left_out[implementation.name]
    if missing := implementation.missing():
        return f"{missing} is not installed"
    if scenario.work.tls and not certificates.installed():
        return "trustme, which makes the certificates, is not installed"
    if scenario.work.call == "h2load" and not h2load.installed():
        return h2load.MISSING
    needed = scenario.work.connections + OTHER_FILES
    if needed > file_limit():
        return f"it needs {needed:,} open files, and this user may have {file_limit():,} (ulimit -Hn)"
    return None


def _shuffled(cells: Sequence[Cell], seed: int) -> list[Cell]:
    order = random.Random(seed).sample(cells, len(cells))
    # The sort is stable: the scenarios keep their order, the implementations within one are shuffled.
    scenarios = list(dict.fromkeys(scenario for scenario, _ in cells))
    return sorted(order, key=lambda cell: scenarios.index(cell[0]))
