"""`python -m benchmarks.services`: how the services do under load: large files, a full room, many watchers.

A server process with SQLite and a local folder, and a client process: this one. Every figure is of one run.
"""

import argparse
import asyncio
import hashlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pygrpc
from benchmarks import report
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc

PAGE = "services.md"
MIB = 1 << 20
PIECE = bytes(range(256)) * (MIB // 1024)
FILE_SIZE = 1024 * MIB
MEMBERS, MEMBER_CONNECTIONS, MESSAGES = 500, 5, 100
WATCHERS, WATCHER_CONNECTIONS, CHANGES = 100, 2, 200
#: Seconds in which an event reaches everybody, unless something is wrong.
PATIENCE = 60.0
#: Every client of its own connection, although all have the same address.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass
class Server:
    """The process of the services."""

    address: str
    pid: int


@dataclass
class Row:
    """One line of the table: what was done, and its figures in words."""

    what: str
    figure: str
    memory: str


def resident(pid: int | str, what: str = "VmRSS") -> int:
    """Return memory of a process in bytes: VmRSS now, VmHWM at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no {what}")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    """Run the services, in a process of their own with a database and files in `folder`."""
    places = ["--port", "0", "--database", folder / "services.db", "--files", folder / "files"]
    command = [sys.executable, "-m", "pygrpc.cli", "serve", *map(str, places), "--log-level", "warning"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), f"the server said {line!r}"
        yield Server(line.removeprefix("listening on ").strip(), process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def files(server: Server) -> list[Row]:
    """Send a file of 1 GiB to the server and read it back."""
    rows = []
    async with pygrpc.aio.insecure_channel(server.address) as channel:
        stub: Any = file_pb2_grpc.FileServiceStub(channel)

        def requests(file_id: str, pieces: int) -> Iterator[file_pb2.UploadFileRequest]:
            yield file_pb2.UploadFileRequest(header=file_pb2.UploadFileHeader(filename="a.bin", file_id=file_id))
            piece = file_pb2.UploadFileRequest(chunk=file_pb2.FileChunk(data=PIECE))
            for _ in range(pieces):
                yield piece

        async def up() -> None:
            sent = (await stub.UploadFile(requests("large", FILE_SIZE // len(PIECE)))).file
            assert sent.size == FILE_SIZE
            checksums.append(sent.checksum)

        async def down() -> None:
            digest = hashlib.sha256()
            async for message in stub.DownloadFile(file_pb2.DownloadFileRequest(file_id="large", chunk_size=MIB)):
                digest.update(message.chunk.data)
            checksums.append(digest.hexdigest())

        checksums: list[str] = []
        # A small transfer first loads what is loaded once.
        await stub.UploadFile(requests("small", 1))
        for what, transfer in (("upload of 1 GiB", up), ("download of 1 GiB", down)):
            seconds, memory = await growth(server, transfer)
            rows.append(Row(what, f"{FILE_SIZE / MIB / seconds:,.0f} MiB/s", memory))
        assert checksums[0] == checksums[1]
    return rows


async def room(server: Server) -> list[Row]:
    """Fill a room, and take the time from the sending of a message to its arrival at the last member."""
    async with connections(server, MEMBER_CONNECTIONS) as channels:
        stubs = [chat_pb2_grpc.ChatServiceStub(channel) for channel in channels]
        await stubs[0].CreateRoom(chat_pb2.CreateRoomRequest(name="full", created_by="u0", room_id="full"))

        async def follow(number: int, heard: Callable[[], None]) -> None:
            request = chat_pb2.JoinRoomRequest(room_id="full", user_id=f"u{number}", history_size=0)
            call = stubs[number % len(stubs)].JoinRoom(request)
            await call.initial_metadata()
            heard()
            async for response in call:
                if response.message.type == chat_pb2.MESSAGE_TYPE_USER:
                    heard()

        async def say(number: int) -> None:
            await stubs[0].SendMessage(chat_pb2.SendMessageRequest(room_id="full", user_id="u0", content=str(number)))

        what = f"a room of {MEMBERS} members: from sending a message to its arrival at the last one"
        return [await fan_out(server, what, MEMBERS, MESSAGES, follow, say)]


async def watchers(server: Server) -> list[Row]:
    """Watch one user many times, and take the time from a change to its arrival at the last watcher."""
    async with connections(server, WATCHER_CONNECTIONS) as channels:
        stubs = [user_pb2_grpc.UserServiceStub(channel) for channel in channels]
        user = (await stubs[0].CreateUser(user_pb2.CreateUserRequest(name="Ada", email="ada@example.com"))).user

        async def follow(number: int, heard: Callable[[], None]) -> None:
            async for _ in stubs[number % len(stubs)].WatchUser(user_pb2.WatchUserRequest(id=user.id)):
                heard()

        async def change(number: int) -> None:
            request = user_pb2.UpdateUserRequest(id=user.id, name=f"Ada {number}")
            request.update_mask.paths.append("name")
            await stubs[0].UpdateUser(request)

        what = f"{WATCHERS} watchers of a user: from a change to its arrival at the last one"
        return [await fan_out(server, what, WATCHERS, CHANGES, follow, change)]


async def fan_out(
    server: Server,
    what: str,
    readers: int,
    events: int,
    follow: Callable[[int, Callable[[], None]], Awaitable[None]],
    cause: Callable[[int], Awaitable[None]],
) -> Row:
    """Let readers follow something, cause events one after the other, and wait for each to have reached all."""
    left, everybody = readers, asyncio.Event()

    def heard() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            everybody.set()

    before = resident(server.pid)
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(follow(number, heard)) for number in range(readers)]
    await reached(everybody, tasks)
    times = []
    for number in range(events):
        left = readers
        everybody.clear()
        begin = perf_counter()
        await cause(number)
        await reached(everybody, tasks)
        times.append(perf_counter() - begin)
    grown = resident(server.pid) - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    middle, worst = statistics.median(times), statistics.quantiles(times, n=100)[98]
    rate = readers * events / sum(times)
    figure = f"median {middle * 1000:.1f} ms, p99 {worst * 1000:.1f} ms; {rate:,.0f} messages/s"
    return Row(what, figure, f"server {grown / MIB:.1f} MiB ({grown / readers / 1024:.0f} KiB each)")


async def reached(everybody: asyncio.Event, readers: list[asyncio.Future[None]]) -> None:
    """Wait until an event has reached all readers; raises what one of them raised instead."""
    waiting = asyncio.ensure_future(everybody.wait())
    done, _ = await asyncio.wait([waiting, *readers], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done - {waiting}:
        task.result()
    assert done == {waiting}, "not everybody has been reached"


@asynccontextmanager
async def connections(server: Server, number: int) -> AsyncIterator[list[pygrpc.aio.Channel]]:
    """Open channels that do not share a connection."""
    channels = [pygrpc.aio.insecure_channel(server.address, OWN_CONNECTION) for _ in range(number)]
    try:
        yield channels
    finally:
        for channel in channels:
            await channel.close()


async def growth(server: Server, work: Callable[[], Awaitable[None]]) -> tuple[float, str]:
    """Return how long work takes, and in words how much the highest resident sets are above what was there before."""
    processes: dict[str, int | str] = {"server": server.pid, "client": "self"}
    before = {name: resident(pid) for name, pid in processes.items()}
    for pid in processes.values():
        # The highest resident set counts from now on (proc_pid_clear_refs(5)).
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    begin = perf_counter()
    await work()
    seconds = perf_counter() - begin
    grown = {name: max(0, resident(pid, "VmHWM") - before[name]) for name, pid in processes.items()}
    return seconds, ", ".join(f"{name} {size / MIB:.1f} MiB" for name, size in grown.items())


def page(rows: list[Row]) -> str:
    """Return the page of the documentation."""
    about = report.environment()
    versions = f"pygrpc {about['versions']['pygrpc']}, {about['python']}"
    header = ("what was done", "figure", "memory, more than before")
    return "\n".join(
        [
            "# The services under load",
            "",
            "Written by `python -m benchmarks.services --publish docs`: change it there. One server process with",
            "SQLite and a local folder, one client process, pygrpc.aio at both ends, one run. The time of a fan-out",
            "ends when the client process has read it from all its streams, so that both processes are in it.",
            "",
            f"- Date: {about['date']}; load average at the start: {about['load']:.2f}",
            f"- Machine: {about['machine']}, {about['cores']} cores, {about['system']}; {versions}",
            "",
            report.table(header, [(row.what, row.figure, row.memory) for row in rows]),
            "",
        ]
    )


async def measure() -> list[Row]:
    """Do everything once."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="pygrpc-services-") as folder:
        async with serving(Path(folder)) as server:
            for scenario in (files, room, watchers):
                rows += await scenario(server)
    return rows


def main() -> int:
    """Measure, and print the page or write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.services", description="Measure the services.")
    parser.add_argument("--publish", type=Path, metavar="DIR", help=f"write the page to DIR/benchmarks/{PAGE} too")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        print("the memory of a process is read from /proc, which only Linux has", file=sys.stderr)
        return 1
    text = page(asyncio.run(measure()))
    print(text)
    if arguments.publish:
        (arguments.publish / "benchmarks" / PAGE).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
