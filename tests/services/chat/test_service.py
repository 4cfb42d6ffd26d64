"""chat.v1 over a socket: rooms, stays and messages."""

from __future__ import annotations

from types import ModuleType

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo, RetryInfo

from pygrpc.services.chat import Limits
from pygrpc.services.chat.service import DEFAULT_HISTORY
from pygrpc.services.protos.chat.v1 import chat_pb2
from tests.services.chat.support import (
    JOINED,
    LEFT,
    USER,
    chatting,
    failure_at_read,
    heard,
    joined,
    messages,
    opened,
    rest_of,
    running,
    say,
)
from tests.services.support import failure_of, until


async def test_rooms_are_opened_and_listed(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        request = chat_pb2.CreateRoomRequest(name=" Tea ", description="for two", created_by="ann")
        room = (await server.stub.CreateRoom(request)).room
        assert (room.name, room.description, room.created_by, room.member_count) == ("Tea", "for two", "ann", 0)
        assert room.created_at.seconds > 1_000_000_000
        for number in range(4):
            await opened(server.stub, f"room-{number}")
        call = await joined(server.stub, "bob", room.room_id)
        token, found = "", []
        for _ in range(3):
            page = await server.stub.ListRooms(chat_pb2.ListRoomsRequest(page_size=2, page_token=token))
            assert page.total_size == 5
            token = page.next_page_token
            found += [(entry.room_id, entry.member_count) for entry in page.rooms]
        assert token == ""
        assert found == [(room.room_id, 1), *((f"room-{number}", 0) for number in range(4))]
        call.cancel()


async def test_history_comes_before_what_is_said_now(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = await joined(server.stub, "ann")
        for number in range(30):
            await say(server.stub, "ann", str(number))
        bob = await joined(server.stub, "bob", history=5)
        await say(server.stub, "ann", "now")
        found = [await bob.read() for _ in range(7)]
        assert [each.history for each in found] == [True] * 5 + [False] * 2
        contents = [str(number) for number in range(25, 30)]
        assert [each.message.content for each in found] == [*contents, "bob joined the room", "now"]
        assert [each.message.sequence for each in found] == list(range(27, 34))
        assert [each.message.type for each in found] == [USER] * 5 + [JOINED, USER]
        assert [each.sequence for each in await messages(ann, 33)] == list(range(1, 34))
        usual = server.stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="room-1", user_id="cid"))
        assert [(await usual.read()).history for _ in range(DEFAULT_HISTORY + 1)] == [True] * DEFAULT_HISTORY + [False]
        usual.cancel()
        ann.cancel()
        bob.cancel()


async def test_comings_and_goings_are_announced(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = await joined(server.stub, "ann")
        request = chat_pb2.JoinRoomRequest(room_id="room-1", user_id="bob", username="Bob")
        bob = server.stub.JoinRoom(request)
        await bob.initial_metadata()
        leave = chat_pb2.LeaveRoomRequest(room_id="room-1", user_id="bob")
        assert (await server.stub.LeaveRoom(leave)).was_member
        assert not (await server.stub.LeaveRoom(leave)).was_member
        seen = await rest_of(bob, client_aio)
        assert [(each.message.user_id, each.message.type) for each in seen] == [
            ("ann", JOINED),
            ("bob", JOINED),
            ("bob", LEFT),
        ]
        assert await heard(ann, 3) == [
            ("ann", "ann joined the room"),
            ("bob", "Bob joined the room"),
            ("bob", "Bob left the room"),
        ]
        failure = await failure_of(say(server.stub, "bob", "hello?"), client_aio)
        assert (failure.code, failure.message) == ("FAILED_PRECONDITION", "User bob not in room room-1")
        assert failure.detail(ErrorInfo).reason == "NOT_IN_ROOM"
        ann.cancel()


async def test_a_message_that_is_sent_again_is_stored_once(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = await chatting(server.stub, "ann")
        request = chat_pb2.SendMessageRequest(room_id="room-1", user_id="ann", content="hello", idempotency_key="k")
        first = (await server.stub.SendMessage(request)).message
        assert first.idempotency_key == "k"
        assert (await server.stub.SendMessage(request)).message == first
        await ann.write(chat_pb2.ChatRequest(content="hello", idempotency_key="k"))
        await ann.write(chat_pb2.ChatRequest(content="bye", idempotency_key="k2"))
        await ann.done_writing()
        said = [each.message for each in await rest_of(ann, client_aio) if each.message.type == USER]
        assert [(each.content, each.idempotency_key) for each in said] == [("hello", "k"), ("bye", "k2")]
        request.content = "something else"
        failure = await failure_of(server.stub.SendMessage(request), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("ALREADY_EXISTS", "KEY_TAKEN")
        request.idempotency_key = "k" * 65
        assert (await failure_of(server.stub.SendMessage(request), client_aio)).violations == {
            "idempotency_key": "must not be longer than 64 characters"
        }


async def test_a_user_is_there_until_its_last_call_ends(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        first, second = await joined(server.stub, "ann"), await joined(server.stub, "ann")
        first.cancel()
        await until(lambda: server.rooms.feed.readers == 1)
        await say(server.stub, "ann", "still here")
        assert await heard(second, 2) == [("ann", "ann joined the room"), ("ann", "still here")]
        second.cancel()
        await until(lambda: server.rooms.feed.readers == 0)


async def test_history_in_pages(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        call = await joined(server.stub, "ann")
        for number in range(2, 8):
            await say(server.stub, "ann", str(number))
        found, before, more = [], "", True
        while more:
            request = chat_pb2.GetRoomHistoryRequest(room_id="room-1", page_size=3, before_message_id=before)
            page = await server.stub.GetRoomHistory(request)
            assert len(page.messages) <= 3
            found = [each.sequence for each in page.messages] + found
            before, more = page.messages[0].message_id, page.has_more
        assert found == list(range(1, 8))
        call.cancel()


async def test_a_chat_says_and_hears(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann, bob = await chatting(server.stub, "ann"), await chatting(server.stub, "bob")
        await ann.write(chat_pb2.ChatRequest(content="hello"))
        assert await heard(bob, 2) == [("bob", "bob joined the room"), ("ann", "hello")]
        for number in range(50):
            await bob.write(chat_pb2.ChatRequest(room_id="room-1", user_id="bob", content=str(number)))
        await bob.done_writing()
        seen = [each.message for each in await rest_of(bob, client_aio)]
        assert [each.content for each in seen] == [*map(str, range(50)), "bob left the room"]
        assert [each.sequence for each in seen] == list(range(4, 55))
        assert len(await messages(ann, 54)) == 54
        ann.cancel()


async def test_a_chat_of_the_first_message(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = server.stub.Chat()
        await ann.write(chat_pb2.ChatRequest(room_id="room-1", user_id="ann", username="Ann", content="hi"))
        await ann.done_writing()
        seen = [each.message for each in await rest_of(ann, client_aio)]
        assert [(each.username, each.content) for each in seen] == [
            ("Ann", "Ann joined the room"),
            ("Ann", "hi"),
            ("Ann", "Ann left the room"),
        ]
        nobody = server.stub.Chat()
        await nobody.done_writing()
        assert await rest_of(nobody, client_aio) == []


async def test_a_chat_ends_when_the_user_is_made_to_leave(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = await chatting(server.stub, "ann")
        await server.stub.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id="room-1", user_id="ann"))
        seen = [each.message.type for each in await rest_of(ann, client_aio)]
        assert seen == [JOINED, LEFT]


async def test_a_chat_of_two_calls_of_one_user_ends_after_what_was_said(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        first, second = await chatting(server.stub, "ann"), await chatting(server.stub, "ann")
        await second.write(chat_pb2.ChatRequest(content="bye"))
        await second.done_writing()
        assert [each.message.content for each in await rest_of(second, client_aio)] == ["bye"]
        assert await heard(first, 2) == [("ann", "ann joined the room"), ("ann", "bye")]
        first.cancel()


async def test_a_bad_message_ends_the_chat_of_its_sender_only(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann, bob = await chatting(server.stub, "ann"), await chatting(server.stub, "bob")
        await ann.write(chat_pb2.ChatRequest(content="x" * 4097))
        failure = await failure_at_read(ann, client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.violations == {"content": "must not be longer than 4096 characters"}
        assert await heard(bob, 2) == [("bob", "bob joined the room"), ("ann", "ann left the room")]
        await bob.write(chat_pb2.ChatRequest(room_id="room-2", content="hello"))
        failure = await failure_at_read(bob, client_aio)
        assert failure.violations == {"room_id": "must be that of the first request, or empty"}


@pytest.mark.parametrize(
    ("method", "request_", "violations"),
    [
        (
            "CreateRoom",
            chat_pb2.CreateRoomRequest(room_id="a b"),
            {
                "name": "must not be empty",
                "created_by": "must not be empty",
                "room_id": 'may hold only letters, digits, "-" and "_"',
            },
        ),
        (
            "CreateRoom",
            chat_pb2.CreateRoomRequest(name="x" * 101, description="x" * 1001, created_by="SYSTEM"),
            {
                "name": "must not be longer than 100 characters",
                "description": "must not be longer than 1000 characters",
                "created_by": 'must not be "system", which is the server',
            },
        ),
        ("ListRooms", chat_pb2.ListRoomsRequest(page_size=-1), {"page_size": "must not be negative"}),
        ("ListRooms", chat_pb2.ListRoomsRequest(page_token="x"), {"page_token": "is not a page token of this service"}),
        (
            "GetRoomHistory",
            chat_pb2.GetRoomHistoryRequest(room_id="room-1", before_message_id="room-2.1"),
            {"before_message_id": "is not the id of a message of this room"},
        ),
        ("SendMessage", chat_pb2.SendMessageRequest(room_id="room-1", user_id="a"), {"content": "must not be empty"}),
        (
            "LeaveRoom",
            chat_pb2.LeaveRoomRequest(),
            {"room_id": "must not be empty", "user_id": "must not be empty"},
        ),
    ],
)
async def test_bad_requests(client_aio: ModuleType, method: str, request_: object, violations: dict[str, str]) -> None:
    async with running(client_aio) as server:
        failure = await failure_of(getattr(server.stub, method)(request_), client_aio)
        assert (failure.code, failure.violations) == ("INVALID_ARGUMENT", violations)


async def test_rooms_that_do_not_exist(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        history = server.stub.GetRoomHistory(chat_pb2.GetRoomHistoryRequest(room_id="none"))
        leave = server.stub.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id="none", user_id="ann"))
        join = server.stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="none", user_id="ann")).read()
        for call in (history, leave, join, say(server.stub, "ann", "hello", "none")):
            failure = await failure_of(call, client_aio)
            assert (failure.code, failure.message) == ("NOT_FOUND", "Room none not found")
            assert failure.detail(ErrorInfo).reason == "ROOM_NOT_FOUND"
            assert failure.detail(ResourceInfo).resource_name == "none"
        chat = server.stub.Chat()
        await chat.write(chat_pb2.ChatRequest(room_id="none", user_id="ann"))
        assert (await failure_at_read(chat, client_aio)).code == "NOT_FOUND"
        await opened(server.stub)
        failure = await failure_of(opened(server.stub), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("ALREADY_EXISTS", "ROOM_TAKEN")


async def test_limits_of_rooms_members_and_rate(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(rooms=2, members=2, rate=0.001, burst=3)) as server:
        await opened(server.stub)
        await opened(server.stub, "room-2")
        failure = await failure_of(opened(server.stub, "room-3"), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("RESOURCE_EXHAUSTED", "LIMIT_REACHED")
        ann, bob = await joined(server.stub, "ann"), await chatting(server.stub, "bob")
        failure = await failure_at_read(await joined_or_not(server.stub, "cid"), client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "room room-1 is full")
        for _ in range(3):
            await say(server.stub, "ann", "hello")
            await bob.write(chat_pb2.ChatRequest(content="hello"))
        failure = await failure_of(say(server.stub, "ann", "hello"), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert 900 < failure.detail(RetryInfo).retry_delay.seconds <= 1000
        await bob.write(chat_pb2.ChatRequest(content="hello"))
        failure = await failure_at_read(bob, client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        ann.cancel()


async def joined_or_not(stub: object, user_id: str) -> object:
    return stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="room-1", user_id=user_id))  # type: ignore[attr-defined]


async def test_calls_end_when_the_server_shuts_down(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann, bob = await joined(server.stub, "ann"), await chatting(server.stub, "bob")
        server.rooms.shut_down()
        for call in (ann, bob, await joined_or_not(server.stub, "cid")):
            failure = await failure_at_read(call, client_aio)
            assert (failure.code, failure.message) == ("UNAVAILABLE", "the server is shutting down")


async def test_a_client_that_does_not_read_leaves_and_is_dropped(client_aio: ModuleType) -> None:
    async with running(client_aio, queue_limit=8, patience=0.0) as server:
        await opened(server.stub)
        ann, slow = await joined(server.stub, "ann"), await joined(server.stub, "slow")
        await heard(ann, 2)
        count, last = 0, ("", "")
        # The windows of HTTP/2 hold some MiB before the server notices: talk until it does.
        while last != ("slow", "slow left the room"):
            count += 1
            assert count < 20_000
            await say(server.stub, "ann", "\U0001f600" * 4096)
            [last] = await heard(ann)
        failure = await failure_at_read(slow, client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "the client reads too slowly")
        assert failure.detail(ErrorInfo).reason == "READER_TOO_SLOW"
        ann.cancel()
