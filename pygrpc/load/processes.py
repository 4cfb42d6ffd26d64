"""Runs a load test in one process or in several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process

from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.result import LoadResult, merged
from pygrpc.load.worker import packed, unpacked, work

_PROGRAM = "from pygrpc.load.worker import main; main()"


async def run(plan: Plan, processes: int = 1, stop: asyncio.Event | None = None) -> LoadResult:
    """Runs a load test.

    Args:
        plan: What to do, all processes together.
        processes: How many processes make the calls; with 1 it is this one.
        stop: Ends the test when it is set; what there is by then is returned.

    Raises:
        LoadError: The server can't be reached, or there are fewer calls at the same time than processes.
    """
    stop = asyncio.Event() if stop is None else stop
    if processes == 1:
        return await work(plan, stop)
    if plan.concurrency < processes:
        raise LoadError(f"{processes} processes can't share {plan.concurrency} calls in flight: raise --concurrency")
    workers: list[_Worker] = []
    try:
        for part in plan.parts(processes):
            workers.append(await _Worker.start(part))
        await asyncio.gather(*(worker.answer() for worker in workers))
        for worker in workers:
            worker.begin()
        stopping = asyncio.ensure_future(_stop_all(workers, stop))
        try:
            return merged(await asyncio.gather(*(worker.answer() for worker in workers)))
        finally:
            stopping.cancel()
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


async def _stop_all(workers: list[_Worker], stop: asyncio.Event) -> None:
    await stop.wait()
    for worker in workers:
        worker.stop()


def _environment() -> dict[str, str]:
    """Returns the variables of a worker, which imports from where this process does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


class _Worker:
    """A process that does a part of a test."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, plan: Plan) -> _Worker:
        """Starts the process, which connects at once."""
        # A session of its own keeps the terminal's Ctrl-C from it: this process is asked to stop, and asks the others.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, stdin=PIPE, stdout=PIPE, start_new_session=True, env=_environment()
        )
        assert process.stdin is not None
        process.stdin.write(packed(plan))
        return cls(process)

    async def answer(self) -> LoadResult:
        """Waits for the next thing that the process says.

        Raises:
            LoadError: The process could not do its part.
        """
        assert self._process.stdout is not None
        try:
            said = await unpacked(self._process.stdout)
        except asyncio.IncompleteReadError:
            status = await self._process.wait()
            raise LoadError(f"a process of the load test ended with status {status} before it had a result") from None
        if isinstance(said, LoadError):
            raise said
        return said if isinstance(said, LoadResult) else LoadResult()

    def begin(self) -> None:
        """Lets the process make its calls."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def stop(self) -> None:
        """Asks the process to stop."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def end(self) -> None:
        """Stops the process, and waits until it has ended."""
        self.stop()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        await self._process.wait()
