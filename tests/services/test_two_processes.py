"""Two server processes on one database behave as one: PostgreSQL with Redis, and an SQLite file without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pygrpc import aio
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.services.chat.support import joined, rest_of, say
from tests.services.chat.support import opened as opened_room
from tests.services.program import Program, serving
from tests.services.servers.redis import RedisServer
from tests.services.support import create

BOUND = 60.0
COUNT = 20


class Served:
    """A server process, and stubs of a client of its own."""

    def __init__(self, program: Program, channel: Any) -> None:
        self.program = program
        self.users = user_pb2_grpc.UserServiceStub(channel)
        self.chat = chat_pb2_grpc.ChatServiceStub(channel)


@pytest.fixture(params=["file", "postgresql", "postgresql and redis"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Where the processes have their data, and how they tell each other of it."""
    if request.param == "file":
        return {"DATABASE_URL": str(tmp_path / "services.db")}
    found = {"DATABASE_URL": str(request.getfixturevalue("postgresql"))}
    if request.param == "postgresql and redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        found["REDIS_URL"] = server.url
    return found


@asynccontextmanager
async def processes(count: int, variables: dict[str, str]) -> AsyncIterator[list[Served]]:
    """Starts servers, all at the same time on a database that is still empty."""
    database, others = variables["DATABASE_URL"], {k: v for k, v in variables.items() if k != "DATABASE_URL"}
    async with AsyncExitStack() as stack, asyncio.timeout(BOUND):
        servers = [serving(database, **others) for _ in range(count)]
        programs = await asyncio.gather(*map(stack.enter_async_context, servers))
        channels = [await stack.enter_async_context(aio.insecure_channel(each.address)) for each in programs]
        yield [Served(program, channel) for program, channel in zip(programs, channels, strict=True)]


def watch(stub: Any, user_id: str) -> Any:
    return stub.WatchUser(user_pb2.WatchUserRequest(id=user_id))


async def rename(stub: Any, user_id: str, name: str) -> user_pb2.User:
    user: user_pb2.User = await stub.UpdateUser(user_pb2.UpdateUserRequest(id=user_id, name=name))
    return user


async def test_watchers_see_what_both_write(variables: dict[str, str]) -> None:
    async with processes(2, variables) as servers:
        here, there = servers
        user = await create(here.users)
        watches = [watch(server.users, user.id) for server in servers for _ in range(2)]
        for call in watches:
            assert (await call.read()).user == user

        async def write(server: Served, name: str) -> list[str]:
            return [(await rename(server.users, user.id, f"{name}{number}")).name for number in range(COUNT)]

        written = await asyncio.gather(write(here, "here"), write(there, "there"))
        await there.users.DeleteUser(user_pb2.DeleteUserRequest(id=user.id))
        seen = []
        for call in watches:
            events = await rest_of(call, aio)
            assert [event.event_type for event in events] == [
                *[user_pb2.USER_EVENT_TYPE_UPDATED] * (2 * COUNT),
                user_pb2.USER_EVENT_TYPE_DELETED,
            ]
            seen.append([event.user.name for event in events[:-1]])
        assert all(names == seen[0] for names in seen)
        assert [name for name in seen[0] if name.startswith("here")] == written[0]
        assert [name for name in seen[0] if name.startswith("there")] == written[1]


async def test_a_room_is_one_room(variables: dict[str, str]) -> None:
    async with processes(2, variables) as servers:
        here, there = servers
        await opened_room(here.chat)
        speakers = {"ann": here, "bob": there}
        calls = {user_id: await joined(server.chat, user_id, history=0) for user_id, server in speakers.items()}

        async def talk(user_id: str) -> list[int]:
            return [(await say(speakers[user_id].chat, user_id, f"{user_id} {n}")).sequence for n in range(COUNT)]

        async def listen(server: Served, user_id: str) -> list[tuple[int, str]]:
            """Comes while the others talk; returns all from the history to the end."""
            call = await joined(server.chat, user_id, history=1000)
            seen: list[tuple[int, str]] = []
            while not seen or seen[-1][1] != "end":
                message = (await call.read()).message
                seen.append((message.sequence, message.content))
            call.cancel()
            return seen

        talking = asyncio.gather(*map(talk, speakers))
        listening = [asyncio.create_task(listen(servers[number % 2], f"l{number}")) for number in range(4)]
        sequences = await talking
        await say(there.chat, "bob", "end")
        everything: dict[int, str] = {}
        for seen in await asyncio.gather(*listening):
            assert [sequence for sequence, _ in seen] == list(range(1, len(seen) + 1))
            for sequence, content in seen:
                assert everything.setdefault(sequence, content) == content
        for user_id, numbers in zip(speakers, sequences, strict=True):
            assert [everything[number] for number in numbers] == [f"{user_id} {n}" for n in range(COUNT)]
        [room] = (await there.chat.ListRooms(chat_pb2.ListRoomsRequest())).rooms
        assert room.room_id == "room-1"
        for call in calls.values():
            call.cancel()


@pytest.mark.parametrize("variables", ["postgresql"], indirect=True)
async def test_an_address_is_taken_in_both(variables: dict[str, str]) -> None:
    async with processes(2, variables) as servers:
        requests = [user_pb2.CreateUserRequest(name="Ann", email=f"u{n}@example.com") for n in range(10) for _ in "ab"]
        results = await asyncio.gather(
            *(servers[number % 2].users.CreateUser(request) for number, request in enumerate(requests)),
            return_exceptions=True,
        )
        created = [result.user.id for result in results if isinstance(result, user_pb2.CreateUserResponse)]
        refused = [result.code().name for result in results if isinstance(result, aio.AioRpcError)]
        assert (len(created), refused) == (10, ["ALREADY_EXISTS"] * 10)
        lists = [
            [user.id async for user in server.users.ListUsers(user_pb2.ListUsersRequest(page_size=100))]
            for server in servers
        ]
        assert sorted(lists[0]) == sorted(created)
        assert lists[0] == lists[1]
