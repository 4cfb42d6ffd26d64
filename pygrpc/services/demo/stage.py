"""What the demo shows, in order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TextIO

from pygrpc.services.demo.children import Child, DemoFailed
from pygrpc.services.demo.lines import Line, LineKind
from pygrpc.services.demo.tour import Tour

# The wire is shown with the message types that are registered by then.
from pygrpc.services.protos.user.v1 import user_pb2 as user_pb2
from pygrpc.wire import Conversation, Entry, Event, Printer, RecordingProxy, Style, pool_resolver

#: The demo takes ten seconds; this is for a machine that is busy with other things.
_PATIENCE = 120.0
_CALLS = ("create", "get", "batch", "list", "chat", "watch", "update", "delete")


class Stage:
    """Shows the demo on a stream."""

    def __init__(self, stream: TextIO) -> None:
        """Makes a stage.

        Args:
            stream: Where to write to.
        """
        self._stream = stream
        self._printer = Printer(stream)
        self._sections = 0
        self._events: list[Event] = []
        self._conversation = Conversation(pool_resolver())

    async def play(self) -> None:
        """Runs the whole demo.

        Raises:
            DemoFailed: Something went wrong; no process and no file is left behind.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                # The folder goes last, behind the processes that write to it.
                with tempfile.TemporaryDirectory(prefix="pygrpc-demo-") as folder:
                    await self._play(Path(folder))
        except TimeoutError:
            raise DemoFailed(f"the demo did not end within {_PATIENCE:g} seconds") from None

    async def _play(self, folder: Path) -> None:
        begin = asyncio.get_running_loop().time()
        arguments = [str(folder / "users.db")]
        async with Child("server", "pygrpc.services.demo.server", arguments, folder) as server:
            address = (await server.hear()).removeprefix("listening on ")
            host, _, port = address.rpartition(":")
            async with RecordingProxy(host, int(port), on_event=self._events.append, limit=0) as proxy:
                arguments = [address, proxy.address]
                async with Child("client", "pygrpc.services.demo.client", arguments, folder) as client:
                    self._introduce(server, client, address)
                    await self._show(server, client)
                    await self._end(client, "client")
            await self._end(server, "server")
        await Tour(folder, self._section, self._show_command).run()
        seconds = asyncio.get_running_loop().time() - begin
        self._printer.line()
        self._printer.line((f"Done in {seconds:.1f} seconds; all processes have ended.", Style.BOLD))

    async def _end(self, child: Child, name: str) -> None:
        code = await child.stop()
        if code != 0:
            raise DemoFailed(f"the {name} ended with exit code {code}")

    def _introduce(self, server: Child, client: Child, address: str) -> None:
        self._section("Two processes")
        self._text(f"The server (process {server.pid}) listens on {address} and keeps its users in an SQLite file.")
        self._text(f"The client (process {client.pid}) calls it. Both use pygrpc.aio.")
        self._text("Below, --> is what the client sends and <-- what it receives.")

    async def _show(self, server: Child, client: Child) -> None:
        self._section("Every RPC of the user service")
        for step in _CALLS:
            await self._step(client, step)
        self._section("Errors, with details that a program can read")
        await self._step(client, "errors")
        self._section("A deadline arrives at the server")
        await self._step(client, "deadline")
        await self._hear_of_cancellation(server)
        self._section("A cancellation arrives at the server")
        await self._step(client, "cancel")
        await self._hear_of_cancellation(server)
        self._section("The wire of a unary call: GetUser on a new connection")
        self._text("A proxy recorded what follows. Before each message go five bytes, its prefix: whether it is")
        self._text("compressed, and its length.")
        await self._step(client, "wire-unary")
        self._show_wire(self._take_entries())
        self._section("The wire of a streaming call: UserChat on the same connection")
        self._text("Only the frames of the call. Headers that were sent before take a byte or two now (HPACK).")
        await self._step(client, "wire-stream")
        entries = self._take_entries()
        self._show_wire([entry for entry in entries if entry.stream_id == _last_stream(entries)])

    async def _step(self, client: Child, step: str) -> None:
        await client.tell(step)
        while (line := Line.decode(await client.hear())).kind is not LineKind.END:
            if line.kind is LineKind.FAILED:
                raise DemoFailed(f"the step {step!r} of the client failed: {line.text}")
            self._show_line(line)

    def _show_line(self, line: Line) -> None:
        match line.kind:
            case LineKind.CALL:
                self._printer.line()
                self._printer.line(("  ", Style.PLAIN), (line.label, Style.BOLD), (f"  {line.text}", Style.DIM))
            case LineKind.REQUEST:
                self._printer.line(("    --> ", Style.CYAN), (line.text, Style.PLAIN))
            case LineKind.RESPONSE:
                self._printer.line(("    <-- ", Style.MAGENTA), (line.text, Style.PLAIN))
            case LineKind.STATUS:
                style = Style.GREEN if line.label == "OK" else Style.RED
                self._printer.line((f"    {line.label}", style), (f"  {line.text}", Style.PLAIN))
            case _:
                self._printer.line((f"        {line.text}", Style.DIM))

    def _show_command(self, line: str, typed: bool) -> None:
        if typed:
            self._printer.line()
            self._printer.line(("  $ ", Style.DIM), (line, Style.BOLD))
        else:
            self._printer.line(("    ", Style.PLAIN), (line, Style.PLAIN))

    async def _hear_of_cancellation(self, server: Child) -> None:
        self._printer.line()
        self._printer.line(("  What the server saw", Style.BOLD))
        for expected in ("begins", "is cancelled"):
            line = await server.hear()
            if expected not in line:
                raise DemoFailed(f"the server said {line!r} where it should say that a call {expected}")
            self._printer.line(("    server: ", Style.YELLOW), (line, Style.PLAIN))

    def _take_entries(self) -> list[Entry]:
        events = self._events[:]
        self._events.clear()
        return [entry for event in events for entry in self._conversation.observe(event)]

    def _show_wire(self, entries: list[Entry]) -> None:
        if not entries:
            raise DemoFailed("the proxy recorded nothing")
        self._printer.line()
        printer = Printer(self._stream, origin=entries[0].time)
        for entry in entries:
            printer.print(entry)

    def _section(self, title: str) -> None:
        self._sections += 1
        if self._sections > 1:
            self._printer.line()
        heading = f"{self._sections}. {title} "
        self._printer.line((heading + "=" * (self._printer.width - len(heading)), Style.BOLD))

    def _text(self, text: str) -> None:
        self._printer.line((text, Style.PLAIN))


def _last_stream(entries: list[Entry]) -> int | None:
    return max((entry.stream_id for entry in entries if entry.stream_id is not None), default=None)
