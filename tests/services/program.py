"""`pygrpc serve` in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pygrpc.services.serving.configuration import CONFIG_VARIABLE, SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent


def environment(**variables: str) -> dict[str, str]:
    """Returns this process's environment variables, but of those that are settings only the given ones."""
    ours = {CONFIG_VARIABLE, *(each.environment for each in SETTINGS)}
    return {name: value for name, value in os.environ.items() if name not in ours} | variables


async def start(*arguments: object, **variables: str) -> asyncio.subprocess.Process:
    """Starts the program with some environment variables."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pygrpc.cli",
        "serve",
        *map(str, arguments),
        cwd=ROOT,
        env=environment(**variables),
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
async def serving(database: object, *arguments: object, **variables: str) -> AsyncIterator[Program]:
    """Runs the program on a free port until it ends, or is killed at the end of the context.

    Args:
        database: Where the users and rooms are.
        *arguments: Further ones; the file service is run only if its folder is among them.
        **variables: Environment variables.
    """
    services = () if "--files" in arguments else ("--services", "user,chat")
    process = await start("--port", 0, "--database", database, *services, *arguments, **variables)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        if not line:
            raise AssertionError((await process.communicate())[1].decode())
        assert line.startswith("listening on ")
        yield Program(process, line.removeprefix("listening on ").strip())
    finally:
        if process.returncode is None:
            # With SIGKILL, workers notice by themselves that the one that watches over them has gone.
            process.kill()
        await process.communicate()


async def failing(*arguments: object, **variables: str) -> tuple[int, str, str]:
    """Runs the program to its end; returns the exit status, the output and the errors."""
    process = await start(*arguments, **variables)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def scraped(url: str) -> str:
    """Reads metrics as Prometheus does."""
    address, path = url.removeprefix("http://").split("/", 1)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    return answer
