"""The synchronous clients of both libraries, in a thread beside the server."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import grpc
import pytest

import pygrpc
from pygrpc.services.protos.chat import chat_pb2 as old_pb2
from pygrpc.services.protos.chat import chat_pb2_grpc as old_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from tests.services.chat.support import running

clients = pytest.mark.parametrize("client", [pygrpc, grpc], ids=["pygrpc-client", "grpcio-client"])


def talk(client: ModuleType, address: str) -> None:
    with client.insecure_channel(address) as channel:
        stub: Any = chat_pb2_grpc.ChatServiceStub(channel)
        stub.CreateRoom(chat_pb2.CreateRoomRequest(name="Room", created_by="ann", room_id="r"), timeout=20)
        join = stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="r", user_id="ann", username="Ann"), timeout=20)
        assert next(join).message.content == "Ann joined the room"
        requests: queue.SimpleQueue[chat_pb2.ChatRequest | None] = queue.SimpleQueue()

        def sent() -> Iterator[chat_pb2.ChatRequest]:
            yield from iter(requests.get, None)

        chat = stub.Chat(sent(), timeout=20)
        requests.put(chat_pb2.ChatRequest(room_id="r", user_id="bob", content="hi"))
        assert [next(chat).message.content for _ in range(3)] == [
            "Ann joined the room",
            "User_bob joined the room",
            "hi",
        ]
        message = stub.SendMessage(chat_pb2.SendMessageRequest(room_id="r", user_id="ann", content="ho"), timeout=20)
        assert message.message.sequence == 4
        requests.put(None)
        assert [each.message.content for each in chat] == ["ho", "User_bob left the room"]
        assert [next(join).message.sequence for _ in range(4)] == [2, 3, 4, 5]
        page = stub.GetRoomHistory(chat_pb2.GetRoomHistoryRequest(room_id="r", page_size=2), timeout=20)
        assert ([each.sequence for each in page.messages], page.has_more) == ([4, 5], True)
        assert stub.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id="r", user_id="ann"), timeout=20).was_member
        assert [each.message.content for each in join] == ["Ann left the room"]
        with pytest.raises(client.RpcError) as raised:
            next(stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="none", user_id="ann"), timeout=20))
        assert raised.value.code() is client.StatusCode.NOT_FOUND


def talk_to_the_first_contract(client: ModuleType, address: str) -> None:
    with client.insecure_channel(address) as channel:
        stub: Any = old_grpc.ChatServiceStub(channel)
        room = stub.CreateRoom(old_pb2.CreateRoomRequest(name="Room", created_by="ann"), timeout=20)
        join = stub.JoinRoom(old_pb2.JoinRoomRequest(room_id=room.room_id, user_id="ann", username="Ann"), timeout=20)
        dict(join.initial_metadata())
        request = old_pb2.SendMessageRequest(room_id=room.room_id, user_id="ann", content="hi")
        assert stub.SendMessage(request, timeout=20).success
        assert next(join).content == "hi"
        assert stub.LeaveRoom(old_pb2.LeaveRoomRequest(room_id=room.room_id, user_id="ann"), timeout=20).success
        assert list(join) == []
        request = old_pb2.SendMessageRequest(room_id=room.room_id, user_id="ann", content="hi")
        response = stub.SendMessage(request, timeout=20)
        assert (response.success, response.error) == (False, f"User ann not in room {room.room_id}")


@clients
@pytest.mark.parametrize("conversation", [talk, talk_to_the_first_contract], ids=["chat.v1", "chat"])
async def test_a_synchronous_client(client: ModuleType, conversation: Any) -> None:
    async with running() as server:
        await asyncio.to_thread(conversation, client, server.address)
