"""The server program: start, stop, and what keeps it from starting."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from pygrpc.services import __main__ as command
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.server import Options, StartError, run
from tests.services.program import failing, serving
from tests.services.support import create

LOG_LEVEL = ("--log-level", "warning")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_calls_finish(
    client_aio: ModuleType, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "users.db"
    async with serving(path, "--grace", 30) as program, client_aio.insecure_channel(program.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        user = await create(stub)
        chat, watch, batch = (
            stub.UserChat(),
            stub.WatchUser(user_pb2.WatchUserRequest(id=user.id)),
            stub.BatchCreateUsers(),
        )
        assert (await chat.read()).user_id == "system"
        assert (await watch.read()).user == user
        await batch.write(user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"))
        program.process.send_signal(number)
        # These two end at the signal, so that it has arrived when the batch goes on.
        for call in (chat, watch):
            with pytest.raises(client_aio.AioRpcError) as raised:
                await call.read()
            assert (raised.value.code().name, raised.value.details()) == ("UNAVAILABLE", "the server is shutting down")
        await batch.write(user_pb2.CreateUserRequest(name="Cid", email="cid@example.com"))
        await batch.done_writing()
        assert (await batch).success_count == 2
        status, output, errors = await program.finished()
    assert (status, output) == (0, "")
    assert "Traceback" not in errors
    assert [line.partition(": ")[2] for line in errors.splitlines()] == [
        f"Serving on {program.address} with the user database {path}.",
        "Stopping; running calls have 30 seconds.",
        "Stopped.",
    ]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM users ORDER BY created_at").fetchall() == [
            ("Ann",),
            ("Bob",),
            ("Cid",),
        ]


async def test_calls_that_go_on_after_the_grace_are_ended(client_aio: ModuleType, tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "users.db", "--grace", 0, *LOG_LEVEL) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        stub = user_pb2_grpc.UserServiceStub(channel)
        user = await create(stub)
        batch = stub.BatchCreateUsers()
        await batch.write(user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"))
        watch = stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))
        await watch.read()
        program.process.send_signal(signal.SIGTERM)
        assert await program.finished() == (0, "", "")
        assert (await batch.code()).name in ("UNAVAILABLE", "CANCELLED")


async def test_a_server_on_ipv6(client_aio: ModuleType, tmp_path: Path) -> None:
    async with serving(tmp_path / "users.db", "--host", "::1") as program:
        assert program.address.startswith("[::1]:")
        async with client_aio.insecure_channel(program.address) as channel:
            await create(user_pb2_grpc.UserServiceStub(channel))


async def test_users_in_memory_are_gone_with_the_server(client_aio: ModuleType) -> None:
    for _ in range(2):
        async with serving(Path(":memory:")) as program, client_aio.insecure_channel(program.address) as channel:
            await create(user_pb2_grpc.UserServiceStub(channel))


async def test_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, output, errors = await failing("--port", port, "--database", tmp_path / "users.db", *LOG_LEVEL)
    assert (status, output) == (1, "")
    [sentence] = errors.splitlines()
    assert sentence.startswith(f"pygrpc.services: Failed to bind to address 127.0.0.1:{port}: ")


async def test_a_port_that_another_server_has(tmp_path: Path) -> None:
    async with serving(tmp_path / "users.db") as program:
        port = program.address.rpartition(":")[2]
        status, output, errors = await failing("--port", port, "--database", tmp_path / "other.db", *LOG_LEVEL)
    assert (status, output) == (1, "")
    [sentence] = errors.splitlines()
    assert sentence.startswith(f"pygrpc.services: Failed to bind to address {program.address}: ")


async def test_an_address_of_another_machine(tmp_path: Path) -> None:
    status, output, errors = await failing(
        "--host", "192.0.2.1", "--port", 0, "--database", tmp_path / "users.db", *LOG_LEVEL
    )
    assert (status, output) == (1, "")
    [sentence] = errors.splitlines()
    assert sentence.startswith("pygrpc.services: Failed to bind to address 192.0.2.1:0: ")


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("missing/users.db", 'the user database "{path}" cannot be used: unable to open database file'),
        ("text", 'the user database "{path}" cannot be used: file is not a database'),
    ],
)
async def test_a_database_that_cannot_be_used(tmp_path: Path, database: str, reason: str) -> None:
    (tmp_path / "text").write_text("This is a text and not a database, and it is long enough to tell. " * 20)
    path = tmp_path / database
    result = await failing("--port", 0, "--database", path)
    assert result == (1, "", f"pygrpc.services: {reason.format(path=path)}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "65536"], "argument --port: must be from 0 to 65535"),
        (["--port", "-1"], "argument --port: must be from 0 to 65535"),
        (["--port", "http"], "argument --port: invalid port_number value: 'http'"),
        (["--grace", "-1"], "argument --grace: must be a number of seconds, 0 or more"),
        (["--grace", "nan"], "argument --grace: must be a number of seconds, 0 or more"),
        (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(arguments)
    assert raised.value.code == 2
    assert complaint in capsys.readouterr().err


async def test_the_server_leaves_nothing_behind_when_it_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(StartError, match="Failed to bind"):
        options = Options(port=other.getsockname()[1], database=str(tmp_path / "users.db"))
        await run(options, lambda address: pytest.fail("not ready"))
    with closing(sqlite3.connect(tmp_path / "users.db", timeout=0)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
    assert len(asyncio.all_tasks()) == 1
