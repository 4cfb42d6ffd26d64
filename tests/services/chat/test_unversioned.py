"""chat.ChatService, as a client has it that knows nothing of chat.v1."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.chat import Limits
from pygrpc.services.chat.unversioned import UnversionedChatService
from pygrpc.services.protos.chat import chat_pb2
from tests.services.chat.support import chatting, heard, opened, rest_of, running
from tests.services.support import failure_of, until


async def entered(stub: Any, room_id: str, user_id: str, username: str = "") -> Any:
    call = stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id=room_id, user_id=user_id, username=username))
    await call.initial_metadata()
    return call


async def say(stub: Any, room_id: str, user_id: str, content: str) -> chat_pb2.SendMessageResponse:
    request = chat_pb2.SendMessageRequest(room_id=room_id, user_id=user_id, content=content)
    response: chat_pb2.SendMessageResponse = await stub.SendMessage(request)
    return response


async def test_a_room_from_its_opening_to_the_last_word(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        old = server.old
        room = await old.CreateRoom(chat_pb2.CreateRoomRequest(name="Demo", description="d", created_by="ann"))
        assert (room.name, room.description, room.created_by, room.member_count) == ("Demo", "d", "ann", 0)
        assert room.created_at > 1_700_000_000_000
        ann = await entered(old, room.room_id, "ann", "Ann")
        sent = await say(old, room.room_id, "ann", "Hello everyone!")
        assert (sent.success, sent.error) == (True, "")
        bob = await entered(old, room.room_id, "bob")
        listed = await old.ListRooms(chat_pb2.ListRoomsRequest(limit=10))
        assert ([entry.member_count for entry in listed.rooms], listed.total_count) == ([2], 1)
        assert (await old.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id=room.room_id, user_id="bob"))).success
        assert (await old.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id=room.room_id, user_id="bob"))).success
        seen = await rest_of(bob, client_aio)
        assert [(each.user_id, each.username, each.content, each.type) for each in seen] == [
            ("system", "System", "Ann joined the room", chat_pb2.USER_JOINED),
            ("ann", "Ann", "Hello everyone!", chat_pb2.USER_MESSAGE),
        ]
        assert (seen[1].message_id, seen[1].room_id) == (sent.message_id, room.room_id)
        assert seen[1].timestamp > 1_700_000_000_000
        found = [await ann.read() for _ in range(3)]
        assert [(each.content, each.type) for each in found] == [
            ("Hello everyone!", chat_pb2.USER_MESSAGE),
            ("User_bob joined the room", chat_pb2.USER_JOINED),
            ("User_bob left the room", chat_pb2.USER_LEFT),
        ]
        ann.cancel()


async def test_what_is_wrong_with_a_message_is_told_in_the_response(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(rate=0.001, burst=4)) as server:
        await opened(server.stub)
        for room_id, content, error in (
            ("none", "hello", "Room none not found"),
            ("room-1", "hello", "User ann not in room room-1"),
            ("room-1", "", "content must not be empty"),
        ):
            response = await say(server.old, room_id, "ann", content)
            assert (response.success, response.message_id, response.error) == (False, "", error)
        call = await entered(server.old, "room-1", "ann")
        for _ in range(2):
            assert (await say(server.old, "room-1", "ann", "hello")).success
        failure = await failure_of(say(server.old, "room-1", "ann", "hello"), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        call.cancel()


async def test_errors_with_a_status(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        old = server.old
        failure = await failure_of(old.CreateRoom(chat_pb2.CreateRoomRequest(description="d")), client_aio)
        assert failure.violations == {"name": "must not be empty", "created_by": "must not be empty"}
        assert (failure.code, failure.message) == ("INVALID_ARGUMENT", "Room name and creator are required")
        request = chat_pb2.CreateRoomRequest(name="n" * 1000, created_by="ann")
        failure = await failure_of(old.CreateRoom(request), client_aio)
        assert failure.message.startswith("name must not be longer than")
        for call in (
            old.JoinRoom(chat_pb2.JoinRoomRequest(room_id="none", user_id="ann")).read(),
            old.GetRoomHistory(chat_pb2.GetRoomHistoryRequest(room_id="none")),
            old.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id="none", user_id="ann")),
        ):
            failure = await failure_of(call, client_aio)
            assert (failure.code, failure.message) == ("NOT_FOUND", "Room none not found")
        failure = await failure_of(old.ListRooms(chat_pb2.ListRoomsRequest(limit=-1, offset=0)), client_aio)
        assert failure.violations == {"limit": "must not be negative"}
        failure = await failure_of(old.ListRooms(chat_pb2.ListRoomsRequest(offset=-1)), client_aio)
        assert failure.violations == {"offset": "must be from 0 to 1000000"}


async def test_history_in_pages(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        call = await entered(server.old, "room-1", "ann")
        for number in range(60):
            await say(server.old, "room-1", "ann", str(number))
        page = await server.old.GetRoomHistory(chat_pb2.GetRoomHistoryRequest(room_id="room-1"))
        assert ([each.content for each in page.messages], page.has_more) == ([*map(str, range(10, 60))], True)
        request = chat_pb2.GetRoomHistoryRequest(
            room_id="room-1", limit=20, before_message_id=page.messages[0].message_id
        )
        page = await server.old.GetRoomHistory(request)
        contents = ["User_ann joined the room", *map(str, range(10))]
        assert ([each.content for each in page.messages], page.has_more) == (contents, False)
        call.cancel()


async def test_rooms_are_left_out_from_the_start(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        for number in range(12):
            await opened(server.stub, f"r{number}")
        page = await server.old.ListRooms(chat_pb2.ListRoomsRequest())
        assert ([room.room_id for room in page.rooms], page.total_count) == ([f"r{n}" for n in range(10)], 12)
        page = await server.old.ListRooms(chat_pb2.ListRoomsRequest(offset=11, limit=5))
        assert [room.room_id for room in page.rooms] == ["r11"]


async def test_both_contracts_have_the_same_rooms(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        old, new = await entered(server.old, "room-1", "ann"), await chatting(server.stub, "bob")
        assert (await say(server.old, "room-1", "ann", "old")).success
        assert await heard(new, 2) == [("bob", "bob joined the room"), ("ann", "old")]
        new.cancel()
        await until(lambda: server.rooms.feed.readers == 1)
        assert [(await old.read()).content for _ in range(3)] == ["bob joined the room", "old", "bob left the room"]
        assert server.old is not server.stub and UnversionedChatService(server.rooms)
        old.cancel()
