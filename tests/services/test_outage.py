"""PostgreSQL is away for a while, and comes back."""

from __future__ import annotations

import pytest

from pygrpc import aio
from pygrpc.services.protos.chat.v1 import chat_pb2
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.chat import support as chat
from tests.services.servers.postgresql import PostgresqlServer
from tests.services.support import create, failed, running, until


async def code_of(call: object) -> str:
    with pytest.raises(aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return failed(raised.value).code


async def test_watchers_go_on(
    postgresql: str, postgresql_server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(aio, database=postgresql) as server:
        user = await create(server.stub)
        call = server.stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))
        await call.read()
        server.service.events._poll = server.service.events._poll_besides_hints = 0.01
        async with postgresql_server.away():
            request = user_pb2.UpdateUserRequest(id=user.id, name="Bob")
            assert await code_of(server.stub.UpdateUser(request)) == "UNAVAILABLE"
            await until(lambda: any("cannot be read" in message for message in caplog.messages))
        await server.stub.UpdateUser(user_pb2.UpdateUserRequest(id=user.id, name="Cid"))
        assert (await call.read()).user.name == "Cid"
        call.cancel()
    assert sum("cannot be read" in message for message in caplog.messages) == 1


async def test_rooms_go_on_and_departures_are_made_up_for(postgresql: str, postgresql_server: PostgresqlServer) -> None:
    async with chat.running(aio, database=postgresql) as server:
        await chat.opened(server.stub)
        ann = await chat.joined(server.stub, "ann")
        bob = await chat.joined(server.stub, "bob", history=0)
        assert await chat.heard(bob) == [("bob", "bob joined the room")]
        server.rooms.feed._poll_besides_hints = 0.01
        async with postgresql_server.away():
            assert await code_of(chat.say(server.stub, "bob", "lost")) == "UNAVAILABLE"
            ann.cancel()
            await until(lambda: bool(server.rooms._over))
        await server.rooms.renew()
        assert await chat.heard(bob) == [("ann", "ann left the room")]
        await chat.say(server.stub, "bob", "still there")
        assert await chat.heard(bob) == [("bob", "still there")]
        [room] = (await server.stub.ListRooms(chat_pb2.ListRoomsRequest())).rooms
        assert room.member_count == 1
        bob.cancel()
