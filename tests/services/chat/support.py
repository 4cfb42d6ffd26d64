"""A chat service on a real socket, a client of either library, and what the tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pygrpc import aio
from pygrpc.services.chat import ChatRooms, ChatService, ChatStore, DatabaseChatStore, Limits, UnversionedChatService
from pygrpc.services.protos.chat import chat_pb2_grpc as old_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from tests.services.support import Failure, failed

BOUND = 20.0
USER, JOINED, LEFT = chat_pb2.MESSAGE_TYPE_USER, chat_pb2.MESSAGE_TYPE_JOINED, chat_pb2.MESSAGE_TYPE_LEFT


@dataclass(frozen=True)
class Running:
    """A server in this process, and a client connected to it."""

    stub: Any
    old: Any
    rooms: ChatRooms
    store: ChatStore
    server: Any
    address: str


@asynccontextmanager
async def running(
    client_aio: ModuleType = aio,
    *,
    limits: Limits | None = None,
    queue_limit: int = 256,
    poll: float = 0.005,
    patience: float = 30.0,
    database: str = ":memory:",
    wrap: Callable[[ChatStore], ChatStore] = lambda store: store,
    bound: float = BOUND,
) -> AsyncIterator[Running]:
    """Runs both contracts on a free port."""
    store = wrap(await DatabaseChatStore.open(database))
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    limits = limits or Limits(rate=1e6, burst=1_000_000)
    async with ChatRooms(store, limits=limits, queue_limit=queue_limit, poll=poll, patience=patience) as rooms:
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatService(rooms), server)
        old_grpc.add_ChatServiceServicer_to_server(UnversionedChatService(rooms), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with asyncio.timeout(bound), client_aio.insecure_channel(address) as channel:
                stub, old = chat_pb2_grpc.ChatServiceStub(channel), old_grpc.ChatServiceStub(channel)
                yield Running(stub, old, rooms, store, server, address)
        finally:
            rooms.shut_down()
            await server.stop(None)
    await store.close()


async def opened(stub: Any, room_id: str = "room-1") -> str:
    """Opens a room; returns its id."""
    request = chat_pb2.CreateRoomRequest(name="Room", created_by="ann", room_id=room_id)
    room_id = (await stub.CreateRoom(request)).room.room_id
    return room_id


async def joined(stub: Any, user_id: str, room_id: str = "room-1", history: int = 20) -> Any:
    """Enters a room; the user is there when this returns."""
    call = stub.JoinRoom(
        chat_pb2.JoinRoomRequest(room_id=room_id, user_id=user_id, username=user_id, history_size=history)
    )
    await call.initial_metadata()
    return call


async def chatting(stub: Any, user_id: str, room_id: str = "room-1") -> Any:
    """Enters a room by Chat; the user is there when this returns."""
    call = stub.Chat()
    await call.write(chat_pb2.ChatRequest(room_id=room_id, user_id=user_id, username=user_id, history_size=0))
    await call.initial_metadata()
    return call


async def say(stub: Any, user_id: str, content: str, room_id: str = "room-1") -> chat_pb2.ChatMessage:
    """Sends a message; returns it as it is stored."""
    request = chat_pb2.SendMessageRequest(room_id=room_id, user_id=user_id, content=content)
    message: chat_pb2.ChatMessage = (await stub.SendMessage(request)).message
    return message


async def heard(call: Any, count: int = 1) -> list[tuple[str, str]]:
    """Reads messages; returns who said what."""
    return [(each.user_id, each.content) for each in await messages(call, count)]


async def messages(call: Any, count: int) -> list[chat_pb2.ChatMessage]:
    """Reads so many messages."""
    return [(await call.read()).message for _ in range(count)]


async def rest_of(call: Any, client_aio: ModuleType) -> list[Any]:
    """Reads a call to its end, which has to be OK."""
    found = []
    while (response := await call.read()) is not client_aio.EOF:
        found.append(response)
    assert (await call.code()).name == "OK"
    return found


async def failure_at_read(call: Any, client_aio: ModuleType) -> Failure:
    """Reads a call to its end, which has to be an error."""
    try:
        while await call.read() is not client_aio.EOF:
            pass
    except client_aio.AioRpcError as error:
        return failed(error)
    raise AssertionError("the call did not fail")
