"""What was acknowledged is there after the server was killed, and what is there is whole."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pygrpc import aio
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.services.program import serving
from tests.services.support import all_of

BATCH = 5


class Writers:
    """Several clients that write without pause until the server is gone, and what the server acknowledged to them."""

    def __init__(self, stub: Any, failure: type[Exception]) -> None:
        self.stub = stub
        self.failure = failure
        self.acknowledged: dict[str, user_pb2.User] = {}
        self.deleted: set[str] = set()
        self.writes = 0
        self.enough = asyncio.Event()

    async def run(self) -> None:
        """Writes until the server is gone."""
        workers = [self.create, self.create, self.create, self.update, self.delete, self.batch]
        await asyncio.gather(*(self.repeat(worker, f"w{number}") for number, worker in enumerate(workers)))

    async def repeat(self, work: Callable[[str], Any], worker: str) -> None:
        for number in itertools.count():
            try:
                await work(f"{worker}-{number}")
            except self.failure:
                return
            self.writes += 1
            if self.writes >= 120:
                self.enough.set()

    def request(self, name: str) -> user_pb2.CreateUserRequest:
        return user_pb2.CreateUserRequest(
            name=name, email=f"{name}@example.com", tags=[name], metadata={"name": name}, phone_number="+1 555"
        )

    async def create(self, name: str) -> user_pb2.User:
        user: user_pb2.User = (await self.stub.CreateUser(self.request(name))).user
        self.acknowledged[user.id] = user
        return user

    async def update(self, name: str) -> None:
        user = await self.create(name)
        request = user_pb2.UpdateUserRequest(id=user.id, name=name + "-changed", slack_id="U1")
        # From here on until the answer, either state is right.
        del self.acknowledged[user.id]
        self.acknowledged[user.id] = await self.stub.UpdateUser(request)

    async def delete(self, name: str) -> None:
        user = await self.create(name)
        del self.acknowledged[user.id]
        await self.stub.DeleteUser(user_pb2.DeleteUserRequest(id=user.id))
        self.deleted.add(user.id)

    async def batch(self, name: str) -> None:
        requests = [self.request(f"{name}-{number}") for number in range(BATCH)]
        response = await self.stub.BatchCreateUsers(iter(requests))
        assert response.success_count == BATCH
        self.acknowledged |= {user.id: user for user in response.users}


async def everybody(stub: Any) -> dict[str, user_pb2.User]:
    """Reads all users, page by page."""
    found: dict[str, user_pb2.User] = {}
    token = ""
    while True:
        call = stub.ListUsers(user_pb2.ListUsersRequest(page_size=100, page_token=token))
        found |= {user.id: user for user in await all_of(call)}
        token = dict(await call.trailing_metadata()).get("next-page-token", "")
        if not token:
            return found


def assert_whole(user: user_pb2.User) -> None:
    name = user.email.partition("@")[0]
    changed = user.name == name + "-changed"
    assert changed or user.name == name
    assert (user.tags, dict(user.metadata)) == ([name], {"name": name})
    assert (user.phone_number, user.slack_id) == (("", "U1") if changed else ("+1 555", ""))
    assert (user.created_at == user.updated_at) is not changed


@pytest.mark.parametrize("attempt", range(3))
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    client_aio: ModuleType, tmp_path: Path, attempt: int
) -> None:
    path = tmp_path / "users.db"
    async with serving(path) as program, client_aio.insecure_channel(program.address) as channel:
        writers = Writers(user_pb2_grpc.UserServiceStub(channel), client_aio.AioRpcError)
        writing = asyncio.create_task(writers.run())
        await writers.enough.wait()
        program.process.kill()
        await writing
        assert (await program.finished())[0] == -9
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with serving(path) as program, client_aio.insecure_channel(program.address) as channel:
        found = await everybody(user_pb2_grpc.UserServiceStub(channel))
    assert_all_there(writers, found)


async def test_another_server_has_all_that_was_acknowledged_by_one_that_is_killed(postgresql: str) -> None:
    """Also when that one held the lock of the writers."""
    async with (
        serving(postgresql) as program,
        serving(postgresql) as other,
        aio.insecure_channel(program.address) as channel,
        aio.insecure_channel(other.address) as other_channel,
    ):
        writers = Writers(user_pb2_grpc.UserServiceStub(channel), aio.AioRpcError)
        writing = asyncio.create_task(writers.run())
        await writers.enough.wait()
        program.process.kill()
        await writing
        stub = user_pb2_grpc.UserServiceStub(other_channel)
        last = (await stub.CreateUser(writers.request("last"))).user
        found = await everybody(stub)
    assert found[last.id] == last
    assert_all_there(writers, found)


def assert_all_there(writers: Writers, found: dict[str, user_pb2.User]) -> None:
    assert len(writers.acknowledged) >= 100
    assert {user_id: found.get(user_id) for user_id in writers.acknowledged} == writers.acknowledged
    assert not writers.deleted & found.keys()
    batches: dict[str, int] = {}
    for user in found.values():
        assert_whole(user)
        if user.name.startswith("w5-"):
            batch = user.name.rpartition("-")[0]
            batches[batch] = batches.get(batch, 0) + 1
    assert set(batches.values()) == {BATCH}
