"""The processes that the demo starts, and their end."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE = 30.0


class DemoFailed(Exception):
    """The demo can't go on; the text is one sentence that says why."""


class Child:
    """A Python process that is spoken to by lines; an async context manager that leaves nothing behind."""

    def __init__(
        self, name: str, module: str, arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Describes the process without starting it.

        Args:
            name: What to call it in messages.
            module: What to run.
            arguments: The arguments of the module.
            folder: Where its standard error goes, as a file.
            environment: Variables besides those of this process.
        """
        self._name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._errors = folder / f"{name}.err"
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        """Starts the process."""
        with self._errors.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=errors, env=self._environment
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process: its standard input is closed, and if that doesn't help it is killed."""
        if kind is not None:
            self._kill()
        await self.stop()

    @property
    def _running(self) -> Process:
        assert self._process is not None, "the child was not started"
        return self._process

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running.pid

    async def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        stream = self._running.stdin
        assert stream is not None
        try:
            stream.write(line.encode() + b"\n")
            await stream.drain()
        except ConnectionError:
            raise await self._failure() from None

    async def hear(self) -> str:
        """Reads a line from its standard output.

        Raises:
            DemoFailed: It ended, or said nothing for half a minute.
        """
        stream = self._running.stdout
        assert stream is not None
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await stream.readline()
        except TimeoutError:
            raise DemoFailed(f"the {self._name} said nothing for {_PATIENCE:g} seconds") from None
        if not line:
            raise await self._failure()
        return line.decode().rstrip("\n")

    async def finish(self, given: str = "") -> str:
        """Gives the process its standard input, and waits for its end.

        Returns:
            What it has written to standard output and then to standard error.

        Raises:
            DemoFailed: It did not end within half a minute.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                output, _ = await self._running.communicate(given.encode())
        except TimeoutError:
            raise DemoFailed(f"the {self._name} did not end within {_PATIENCE:g} seconds") from None
        return output.decode() + self._errors.read_text(errors="replace")

    def terminate(self) -> None:
        """Asks the process to end."""
        self._running.terminate()

    @property
    def status(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._running.returncode

    async def stop(self) -> int:
        """Lets the process end and returns its exit code."""
        process = self._running
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.communicate()
        except TimeoutError:
            self._kill()
            await process.communicate()
        assert process.returncode is not None
        return process.returncode

    def _kill(self) -> None:
        if self._running.returncode is None:
            self._running.kill()

    async def _failure(self) -> DemoFailed:
        code = await self.stop()
        lines = self._errors.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it did not say why")
        return DemoFailed(f"the {self._name} ended with exit code {code}: {last}")
