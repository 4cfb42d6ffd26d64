"""`python -m pygrpc.services` in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


async def start(*arguments: object) -> asyncio.subprocess.Process:
    """Starts the program."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pygrpc.services",
        *map(str, arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@dataclass(frozen=True)
class Program:
    """A server that accepts calls."""

    process: asyncio.subprocess.Process
    address: str

    async def finished(self) -> tuple[int, str, str]:
        """Waits for its end; returns the exit status, the rest of the output and the errors."""
        output, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def serving(database: Path, *arguments: object) -> AsyncIterator[Program]:
    """Runs the program on a free port until it ends, or is killed at the end of the context."""
    process = await start("--port", 0, "--database", database, *arguments)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        if not line:
            raise AssertionError((await process.communicate())[1].decode())
        assert line.startswith("listening on ")
        yield Program(process, line.removeprefix("listening on ").strip())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def failing(*arguments: object) -> tuple[int, str, str]:
    """Runs the program to its end; returns the exit status, the output and the errors."""
    process = await start(*arguments)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
