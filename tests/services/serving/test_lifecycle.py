"""`pygrpc serve` as a process: start, signals, and what keeps it from starting."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from pygrpc import aio
from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pygrpc.health.v1.health_pb2_grpc import HealthStub
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.services import servers
from tests.services.program import failing, serving, start
from tests.services.servers.postgresql import PASSWORD, PostgresqlServer
from tests.services.servers.redis import RedisServer
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
        f"Serving user, chat on {program.address}, in the clear.",
        f"The database is {path}.",
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


async def test_a_second_signal_ends_it_at_once(client_aio: ModuleType, tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "users.db", "--grace", 3600) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        stub = user_pb2_grpc.UserServiceStub(channel)
        user = await create(stub)
        batch, watch = stub.BatchCreateUsers(), stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))
        await batch.write(user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"))
        await watch.read()
        program.process.send_signal(signal.SIGTERM)
        # It ends at the signal, so that this has arrived when the second one is sent.
        with pytest.raises(client_aio.AioRpcError):
            await watch.read()
        program.process.send_signal(signal.SIGTERM)
        status, output, errors = await program.finished()
        assert (await batch.code()).name in ("UNAVAILABLE", "CANCELLED")
    assert (status, output) == (0, "")
    assert "WARNING pygrpc.services.serving.running: Stopping at once.\n" in errors
    assert "Traceback" not in errors


async def test_a_signal_while_it_starts_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        process = await start("--port", 0, "--database", tmp_path / "users.db", "--fanout", url, *LOG_LEVEL)
        # It waits for an answer of what it takes for a Redis server.
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            process.send_signal(signal.SIGTERM)
            assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


async def test_health_and_the_calls_that_watch_it_end_with_the_server(client_aio: ModuleType, tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "users.db", "--grace", 3600) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        watch = HealthStub(channel).Watch(HealthCheckRequest(service="user.v1.UserService"))
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        program.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        with pytest.raises(client_aio.AioRpcError, match="the server is shutting down"):
            await watch.read()
        status, _, _ = await program.finished()
    assert status == 0


async def test_a_database_that_goes_away_and_comes_back(client_aio: ModuleType, tmp_path: Path) -> None:
    path, away = tmp_path / "users.db", tmp_path / "away.db"
    options = ("--files", tmp_path / "files", "--health-interval", 0.01)
    async with serving(path, *options) as program, client_aio.insecure_channel(program.address) as channel:
        health = HealthStub(channel)
        watches = {
            name: health.Watch(HealthCheckRequest(service=name))
            for name in ("", "user.v1.UserService", "chat.ChatService", "file.v1.FileService")
        }
        for watch in watches.values():
            assert (await watch.read()).status == HealthCheckResponse.SERVING
        files = watches.pop("file.v1.FileService")
        for old, new, expected in ((path, away, "NOT_SERVING"), (away, path, "SERVING")):
            old.rename(new)
            for watch in watches.values():
                assert (await watch.read()).status == HealthCheckResponse.ServingStatus.Value(expected)
        (tmp_path / "files" / "blobs").rename(tmp_path / "blobs")
        assert (await files.read()).status == HealthCheckResponse.NOT_SERVING
        program.process.send_signal(signal.SIGTERM)
        status, _, errors = await program.finished()
    assert status == 0
    messages = [line.partition(": ")[2] for line in errors.splitlines()]
    assert f'The user database does not work: there is no file "{path}" any more.' in messages
    assert "The user database works again." in messages
    assert "The storage of the files does not work: No such file or directory." in messages


async def test_a_database_server_that_goes_away_and_comes_back(
    postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    # Not with a client of grpcio, whose process must not fork, as it does to start the server as another user.
    async with serving(postgresql, "--health-interval", 0.01) as program:
        async with aio.insecure_channel(program.address) as channel:
            stub = user_pb2_grpc.UserServiceStub(channel)
            user = await create(stub)
            watch = HealthStub(channel).Watch(HealthCheckRequest(service="user.v1.UserService"))
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            async with postgresql_server.away():
                assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
                call = stub.GetUser(user_pb2.GetUserRequest(id=user.id))
                assert (await call.code()).name == "UNAVAILABLE"
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            assert (await stub.GetUser(user_pb2.GetUserRequest(id=user.id))).user == user
        program.process.send_signal(signal.SIGTERM)
        status, _, errors = await program.finished()
    assert status == 0
    assert "The user database works again.\n" in errors
    assert PASSWORD not in errors


async def test_redis_that_goes_away_and_comes_back(client_aio: ModuleType, tmp_path: Path) -> None:
    redis = RedisServer(str(tmp_path), password="s3cret")
    options = ("--fanout", redis.url, "--health-interval", 0.01)
    try:
        async with serving(tmp_path / "users.db", *options) as program:
            async with client_aio.insecure_channel(program.address) as channel:
                watch = HealthStub(channel).Watch(HealthCheckRequest(service="chat.v1.ChatService"))
                assert (await watch.read()).status == HealthCheckResponse.SERVING
                redis.stop()
                assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
                redis.start()
                assert (await watch.read()).status == HealthCheckResponse.SERVING
            program.process.send_signal(signal.SIGTERM)
            status, _, errors = await program.finished()
    finally:
        redis.stop()
    assert status == 0
    assert "The fan-out by Redis does not work: the connection is lost.\n" in errors
    assert f"The fan-out is by redis://:***@127.0.0.1:{redis.port}.\n" in errors
    assert "s3cret" not in errors


def sentence_of(result: tuple[int, str, str], status: int = 1) -> str:
    """Returns the one sentence that a program has said which could not start."""
    assert result[:2] == (status, ""), result
    [line] = result[2].splitlines()
    assert line.startswith("pygrpc serve: ")
    return line.removeprefix("pygrpc serve: ")


WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
async def test_a_port_that_is_in_use(tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = await failing("--port", port, "--database", tmp_path / "users.db", "--workers", workers, *LOG_LEVEL)
    assert sentence_of(result) == f"Failed to bind to address 127.0.0.1:{port}: Address already in use"
    assert list(tmp_path.iterdir()) == []


@WORKERS
async def test_a_port_that_another_server_has(tmp_path: Path, workers: int) -> None:
    async with serving(tmp_path / "users.db", "--workers", workers) as program:
        port = program.address.rpartition(":")[2]
        # Those with workers share a port among themselves, and with nobody else.
        result = await failing("--port", port, "--workers", 3 - workers, *LOG_LEVEL)
    assert sentence_of(result) == f"Failed to bind to address {program.address}: Address already in use"


@WORKERS
async def test_an_address_of_another_machine(tmp_path: Path, workers: int) -> None:
    options = ("--host", "192.0.2.1", "--port", 0, "--workers", workers)
    result = await failing(*options, "--database", tmp_path / "users.db", *LOG_LEVEL)
    assert sentence_of(result).startswith("Failed to bind to address 192.0.2.1:0: ")


@WORKERS
@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("missing/users.db", 'the user database "{path}" cannot be used: unable to open database file'),
        ("text", 'the user database "{path}" cannot be used: file is not a database'),
    ],
)
async def test_a_database_that_cannot_be_used(tmp_path: Path, database: str, reason: str, workers: int) -> None:
    (tmp_path / "text").write_text("This is a text and not a database, and it is long enough to tell. " * 20)
    path = tmp_path / database
    result = await failing("--port", 0, "--database", path, "--workers", workers, *LOG_LEVEL)
    said = re.sub(r"^worker [12] \(process \d+\) could not start: ", "", sentence_of(result))
    assert said == reason.format(path=path)


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("This is no folder.")
    folder = tmp_path / "text" / "files"
    result = await failing("--port", 0, "--services", "file", "--files", folder, *LOG_LEVEL)
    assert sentence_of(result) == f'the file folder "{folder}" cannot be used: Not a directory'


@WORKERS
async def test_a_database_server_that_is_not_there(workers: int) -> None:
    url = f"postgresql://ann:s3cret@127.0.0.1:{servers.free_port()}/users"
    result = await failing("--port", 0, "--services", "user", "--database", url, "--workers", workers, *LOG_LEVEL)
    assert f'the user database "{url.replace(":s3cret", "")}" cannot be used: ' in sentence_of(result)


async def test_a_redis_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"redis://:s3cret@127.0.0.1:{servers.free_port()}"
    result = await failing("--port", 0, "--database", tmp_path / "users.db", "--fanout", url, *LOG_LEVEL)
    assert sentence_of(result).startswith(f'the fan-out "{url.replace("s3cret", "***")}" cannot be used: ')


async def test_a_setting_that_is_wrong(tmp_path: Path) -> None:
    result = await failing("--database", tmp_path / "users.db", GRPC_PORT="http")
    assert sentence_of(result, 2) == "GRPC_PORT must be a whole number from 0 to 65535, not 'http'"
