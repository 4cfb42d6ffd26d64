"""Commands run in this process against a server in another thread, or in processes of their own, also on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from pygrpc.cli.commands import main
from tests.services.clients.test_together import server

ROOT = Path(__file__).resolve().parents[4]
BOUND = 40.0
#: Makes the terminal that of the process, so that Ctrl-C reaches it as on a real one, and becomes the command. As a
#: program and not as a preexec_fn, which may hang where there are threads.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.output.splitlines()


class Run(Protocol):
    """Runs `pygrpc` in this process."""

    def __call__(self, *arguments: object) -> Ended: ...


def at_home(monkeypatch: pytest.MonkeyPatch, folder: Path, address: str) -> None:
    """Sets the environment of commands: the server, and a state of their own."""
    monkeypatch.setenv("PYGRPC_SERVER", address)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.delenv("PYGRPC_TOKEN", raising=False)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs commands against a server with all services."""

    def run(*arguments: object) -> Ended:
        try:
            status = main([*map(str, arguments)])
        except SystemExit as end:
            status = int(end.code or 0)
        output, errors = capsys.readouterr()
        return Ended(status, output, errors)

    folder = tmp_path / "server"
    folder.mkdir()
    with server(folder) as address:
        at_home(monkeypatch, tmp_path, address)
        yield run


def command(*arguments: object) -> list[str]:
    """Returns the command line of a process of its own."""
    return [sys.executable, "-m", "pygrpc.cli", *map(str, arguments)]


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.text = ""
        self._master = master
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            # Linux says so when the last process has closed the other side.
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.text += data.decode(errors="replace")
        self._news.set()

    async def sees(self, *texts: str) -> None:
        """Waits until these have been written."""
        await self.until(lambda text: all(each in text for each in texts))

    async def until(self, condition: Callable[[str], Any]) -> None:
        """Waits until what has been written is so."""
        async with asyncio.timeout(BOUND):
            while not condition(self.text):
                self._news.clear()
                await self._news.wait()

    def types(self, text: str) -> None:
        """Types something; "\\x03" is Ctrl-C, "\\x04" the end of the input."""
        os.write(self._master, text.encode())

    async def ends(self) -> int:
        """Waits for the end of the process; returns its exit status."""
        async with asyncio.timeout(BOUND):
            return await self.process.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


@contextlib.asynccontextmanager
async def terminal(*arguments: object) -> AsyncIterator[Terminal]:
    """Runs `pygrpc` on a terminal with 100 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-c",
            TAKE_TERMINAL,
            *command(*arguments),
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    shown = Terminal(process, master)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shown.close()


async def finished(*arguments: object, input: bytes = b"") -> Ended:
    """Runs `pygrpc` in a process with pipes to its end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command(*arguments), cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(BOUND):
        output, errors = await process.communicate(input)
    return Ended(process.returncode or 0, output.decode(), errors.decode())


def ids(lines: Sequence[str]) -> list[str]:
    """Returns the first words of lines."""
    return [line.split()[0] for line in lines]
