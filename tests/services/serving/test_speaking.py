"""With authentication, nobody opens rooms, comes, speaks or leaves in the name of somebody else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pygrpc.services.protos.chat import chat_pb2 as old_chat
from pygrpc.services.protos.chat import chat_pb2_grpc as old_chat_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from pygrpc.services.protos.user import user_pb2 as old_user
from pygrpc.services.protos.user import user_pb2_grpc as old_user_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.serving import Configuration, Server

TOKEN = "the token of ann in these tests"
ANN = (("authorization", f"Bearer {TOKEN}"),)


@asynccontextmanager
async def serving(client_aio: ModuleType, tmp_path: Path) -> AsyncIterator[Any]:
    """A channel to a server that knows ann; there is a room that is called lobby."""
    listed = tmp_path / "tokens.json"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    listed.write_text(json.dumps([{"sha256": digest, "name": "ann", "roles": []}]))
    settings = Configuration(port=0, database=":memory:", services=("user", "chat"), auth_tokens=str(listed))
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        request = chat_pb2.CreateRoomRequest(name="Lobby", created_by="ann", room_id="lobby")
        await chat_pb2_grpc.ChatServiceStub(channel).CreateRoom(request, metadata=ANN, timeout=20)
        yield channel


async def outcome(call: Any) -> tuple[str, str]:
    return (await call.code()).name, await call.details()


async def end_of(call: Any, client_aio: ModuleType, *requests: Any) -> tuple[str, str]:
    """Says something in a stream, and reads the call to its end."""
    try:
        for request in requests:
            await call.write(request)
        while await call.read() is not client_aio.EOF:
            pass
    except client_aio.AioRpcError:
        pass
    return await outcome(call)


DENIED = ("PERMISSION_DENIED", "user_id must be the name of the caller")


async def test_rooms_of_chat_v1(client_aio: ModuleType, tmp_path: Path) -> None:
    async with serving(client_aio, tmp_path) as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        known: dict[str, Any] = {"metadata": ANN, "timeout": 20}
        create = chat_pb2.CreateRoomRequest(name="Den", created_by="bob")
        assert await outcome(stub.CreateRoom(create, **known)) == (
            DENIED[0],
            DENIED[1].replace("user_id", "created_by"),
        )
        for user, expected in (("ann", ("OK", "")), ("bob", DENIED)):
            join = stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="lobby", user_id=user), **known)
            if user == "ann":
                await join.initial_metadata()
            say = chat_pb2.SendMessageRequest(room_id="lobby", user_id=user, content="hello")
            assert await outcome(stub.SendMessage(say, **known)) == expected
            leave = chat_pb2.LeaveRoomRequest(room_id="lobby", user_id=user)
            assert await outcome(stub.LeaveRoom(leave, **known)) == expected
            assert await end_of(join, client_aio) == expected
        chat = chat_pb2.ChatRequest(room_id="lobby", user_id="bob", content="hello")
        assert await end_of(stub.Chat(**known), client_aio, chat) == DENIED


async def test_rooms_of_the_contract_without_a_version(client_aio: ModuleType, tmp_path: Path) -> None:
    async with serving(client_aio, tmp_path) as channel:
        stub = old_chat_grpc.ChatServiceStub(channel)
        known: dict[str, Any] = {"metadata": ANN, "timeout": 20}
        create = old_chat.CreateRoomRequest(name="Den", created_by="bob")
        assert (await outcome(stub.CreateRoom(create, **known)))[0] == "PERMISSION_DENIED"
        for user, expected in (("ann", ("OK", "")), ("bob", DENIED)):
            join = stub.JoinRoom(old_chat.JoinRoomRequest(room_id="lobby", user_id=user), **known)
            if user == "ann":
                await join.initial_metadata()
            say = old_chat.SendMessageRequest(room_id="lobby", user_id=user, content="hello")
            assert await outcome(stub.SendMessage(say, **known)) == expected
            leave = old_chat.LeaveRoomRequest(room_id="lobby", user_id=user)
            assert await outcome(stub.LeaveRoom(leave, **known)) == expected
            assert await end_of(join, client_aio) == expected


async def test_the_chat_of_users(client_aio: ModuleType, tmp_path: Path) -> None:
    async with serving(client_aio, tmp_path) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        old = old_user_grpc.UserServiceStub(channel)
        known: dict[str, Any] = {"metadata": ANN, "timeout": 20}
        listening = old.ChatWithUsers(**known)
        assert (await listening.read()).username == "System"
        for call, request in (
            (stub.UserChat(**known), user_pb2.ChatMessage(user_id="bob", content="I am bob")),
            (old.ChatWithUsers(**known), old_user.ChatMessage(user_id=2, username="bob", message="I am bob")),
            (old.ChatWithUsers(**known), old_user.ChatMessage(user_id=2, message="I am user 2")),
        ):
            assert (await end_of(call, client_aio, request))[0] == "PERMISSION_DENIED"
        speaking = old.ChatWithUsers(**known)
        await speaking.write(old_user.ChatMessage(user_id=2, username="ann", message="I am ann"))
        heard = await listening.read()
        # The number could be that of anybody.
        assert (heard.user_id, heard.username, heard.message) == (0, "ann", "I am ann")
        for call in (speaking, listening):
            call.cancel()
