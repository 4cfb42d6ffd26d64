"""The part of the demo that a user could type: `pygrpc serve`, and the commands of the services against it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from pygrpc.services.demo.children import Child, DemoFailed

_FILE_SIZE = 3 << 20


class Tour:
    """Runs the services as `pygrpc serve` does, and shows commands and what they print."""

    def __init__(self, folder: Path, section: Callable[[str], None], show: Callable[[str, bool], None]) -> None:
        """Makes a tour.

        Args:
            folder: Where databases and files are left; somebody else removes it.
            section: Shows a heading.
            show: Shows a line; the second argument says whether it is a command.
        """
        self._folder = folder
        self._section = section
        self._show = show
        self._environment = {"PYGRPC_SERVER": ""}

    async def run(self) -> None:
        """Shows everything.

        Raises:
            DemoFailed: A command has not done what it should.
        """
        self._section("All services in one process, as users run them")
        serve = self._pygrpc("serve", "--port", "0", *self._places(), "--log-level", "warning")
        async with serve as server:
            ready = await server.hear()
            self._tell(ready)
            self._environment["PYGRPC_SERVER"] = ready.removeprefix("listening on ")
            await self._users()
            await self._chat()
            await self._files()
            await self._orders()
            await self._load()
            server.terminate()
            if (code := await server.stop()) != 0:
                raise DemoFailed(f"pygrpc serve ended with exit code {code}")

    def _places(self) -> tuple[str, ...]:
        return "--database", str(self._folder / "services.db"), "--files", str(self._folder / "files")

    async def _users(self) -> None:
        await self._run("users", "create", "Ada Lovelace", "ada@example.com", "--role", "admin")
        await self._run("users", "create", "Grace", "nobody", status=1)
        await self._run("users", "list")

    async def _chat(self) -> None:
        self._section("A room, and two who talk in it")
        await self._run("chat", "create", "Engines", "--id", "engines", "--user", "ada")
        join = ("chat", "join", "engines", "--user")
        async with self._pygrpc(*join, "grace", "--name", "Grace") as grace:
            # She is there.
            self._tell(await grace.hear())
            await self._run(*join, "ada", "--name", "Ada", given="Good morning, Grace!\n")
            self._tell("What the terminal of Grace shows meanwhile:")
            for _ in range(3):
                self._tell(await grace.hear())
            await grace.stop()

    async def _files(self) -> None:
        self._section("A file goes up and comes back")
        original, copy = self._folder / "notes.bin", self._folder / "copy.bin"
        original.write_bytes(os.urandom(_FILE_SIZE))
        await self._run("files", "upload", str(original), "--id", "notes", "--user", "ada")
        await self._run("files", "download", "notes", "--output", str(copy), "--user", "ada")
        if copy.read_bytes() != original.read_bytes():
            raise DemoFailed("the file came back as another one")
        await self._run("files", "download", "notes", "--user", "grace", status=1)

    async def _orders(self) -> None:
        self._section("Orders, matched by price and time")
        await self._run("orders", "create", "WIDGET:10:9.50", "--side", "sell", "--user", "ada")
        await self._run("orders", "match", "--user", "grace", given="buy WIDGET 4 9.75\n")
        await self._run("orders", "book", "WIDGET")

    async def _load(self) -> None:
        self._section("The load tester, which asks the server for its methods by reflection")
        target = self._environment["PYGRPC_SERVER"]
        await self._run("load", target, "grpc.health.v1.Health/Check", "-c", "8", "--duration", "1s")

    def _pygrpc(self, *arguments: str) -> Child:
        """Shows a command, and returns the process that will run it."""
        self._show("pygrpc " + self._short(shlex.join(arguments)), True)
        name = f"pygrpc {arguments[0]}"
        return Child(name, "pygrpc.cli", list(arguments), self._folder, self._environment)

    async def _run(self, *arguments: str, given: str = "", status: int = 0) -> None:
        """Runs a command to its end and shows what it prints."""
        command = self._pygrpc(*arguments)
        for line in given.splitlines():
            self._tell(f"{line}    (typed)")
        async with command:
            output = await command.finish(given)
        for line in output.splitlines():
            self._tell(line)
        if (code := command.status) != status:
            raise DemoFailed(f"pygrpc {' '.join(arguments[:2])} ended with exit code {code}")

    def _tell(self, line: str) -> None:
        self._show(self._short(line), False)

    def _short(self, text: str) -> str:
        """Leaves out where the temporary files are."""
        return text.replace(f"{self._folder}{os.sep}", "")
