"""Two servers on one PostgreSQL and one Redis behave as one, each in processes of its own."""

from __future__ import annotations

from types import ModuleType

from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pygrpc.health.v1.health_pb2_grpc import HealthStub
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.services.chat.support import chatting, heard, opened
from tests.services.program import serving
from tests.services.servers.redis import RedisServer
from tests.services.support import create


async def test_two_servers_behave_as_one(client_aio: ModuleType, postgresql: str, redis_server: RedisServer) -> None:
    options = ("--fanout", redis_server.url)
    async with (
        serving(postgresql, *options) as first,
        serving(postgresql, *options) as second,
        client_aio.insecure_channel(first.address) as here,
        client_aio.insecure_channel(second.address) as there,
    ):
        user = await create(user_pb2_grpc.UserServiceStub(here))
        answer = await user_pb2_grpc.UserServiceStub(there).GetUser(user_pb2.GetUserRequest(id=user.id))
        assert answer.user == user
        watch = user_pb2_grpc.UserServiceStub(there).WatchUser(user_pb2.WatchUserRequest(id=user.id))
        assert (await watch.read()).user == user
        change = user_pb2.UpdateUserRequest(id=user.id, name="Anna")
        changed = await user_pb2_grpc.UserServiceStub(here).UpdateUser(change)
        assert (await watch.read()).user == changed
        rooms = chat_pb2_grpc.ChatServiceStub(here)
        await opened(rooms)
        ann, bob = await chatting(rooms, "ann"), await chatting(chat_pb2_grpc.ChatServiceStub(there), "bob")
        await ann.write(chat_pb2.ChatRequest(content="hello there"))
        assert await heard(bob, 2) == [("bob", "bob joined the room"), ("ann", "hello there")]
        for call in (watch, ann, bob):
            call.cancel()


async def test_a_server_that_is_killed_takes_nothing_but_its_calls(
    client_aio: ModuleType, postgresql: str, redis_server: RedisServer
) -> None:
    options = ("--fanout", redis_server.url)
    async with (
        serving(postgresql, *options) as first,
        serving(postgresql, *options) as second,
        client_aio.insecure_channel(first.address) as here,
        client_aio.insecure_channel(second.address) as there,
    ):
        rooms = chat_pb2_grpc.ChatServiceStub(here)
        await opened(rooms)
        ann, bob = await chatting(rooms, "ann"), await chatting(chat_pb2_grpc.ChatServiceStub(there), "bob")
        await ann.write(chat_pb2.ChatRequest(content="hello there"))
        assert await heard(bob, 2) == [("bob", "bob joined the room"), ("ann", "hello there")]
        first.process.kill()
        assert (await ann.code()).name == "UNAVAILABLE"
        await bob.write(chat_pb2.ChatRequest(content="hello?"))
        assert await heard(bob) == [("bob", "hello?")]
        health = await HealthStub(there).Check(HealthCheckRequest())
        assert health.status == HealthCheckResponse.SERVING
        bob.cancel()
