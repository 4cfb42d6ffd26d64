"""The RPCs of chat.v1.ChatService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from pygrpc import aio
from pygrpc.services import callers
from pygrpc.services.callers import Identify
from pygrpc.services.chat import errors, store, validation
from pygrpc.services.chat.rooms import ChatRooms, Stay
from pygrpc.services.chat.store import Kind
from pygrpc.services.errors import Violation, require
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc

DEFAULT_PAGE_SIZE = 50
DEFAULT_HISTORY = 20

_Context: TypeAlias = aio.ServicerContext[Any, Any]

_TYPES = {
    Kind.USER: chat_pb2.MESSAGE_TYPE_USER,
    Kind.SYSTEM: chat_pb2.MESSAGE_TYPE_SYSTEM,
    Kind.JOINED: chat_pb2.MESSAGE_TYPE_JOINED,
    Kind.LEFT: chat_pb2.MESSAGE_TYPE_LEFT,
}


class ChatService(chat_pb2_grpc.ChatServiceServicer):
    """Serves the RPCs of protos/chat/v1/chat.proto, which says what each of them does."""

    def __init__(self, rooms: ChatRooms, *, identify: Identify = callers.unknown) -> None:
        """Makes the service.

        Args:
            rooms: Have been entered as a context.
            identify: Knows who makes a call, and may speak as nobody else.
        """
        self._rooms = rooms
        self._identify = identify

    async def CreateRoom(self, request: chat_pb2.CreateRoomRequest, context: _Context) -> chat_pb2.CreateRoomResponse:
        """Opens a room."""
        async with errors.answering(context):
            self._require_self(context, request.created_by, "created_by")
            room = await self._rooms.create(request.name, request.description, request.created_by, request.room_id)
            return chat_pb2.CreateRoomResponse(room=_room(room))

    async def ListRooms(self, request: chat_pb2.ListRoomsRequest, context: _Context) -> chat_pb2.ListRoomsResponse:
        """Returns one page of rooms."""
        async with errors.answering(context):
            require(validation.check_not_negative("page_size", request.page_size))
            require(list(validation.check_token(request.page_token)))
            size = self._rooms.page_size(request.page_size, DEFAULT_PAGE_SIZE)
            after = validation.decode_token(request.page_token)
            # One more than wanted tells whether there is another page.
            found, total = await self._rooms.store.rooms(size + 1, after=after)
            token = validation.encode_token(found[size - 1].number) if len(found) > size else ""
            listed = map(_room, found[:size])
            return chat_pb2.ListRoomsResponse(rooms=listed, next_page_token=token, total_size=total)

    async def JoinRoom(self, request: chat_pb2.JoinRoomRequest, context: _Context) -> None:
        """Streams what is said in a room, and keeps the user there meanwhile."""
        async with errors.answering(context), self._stay(request, context) as stay:
            await context.send_initial_metadata(())
            for message in stay.history:
                await context.write(chat_pb2.JoinRoomResponse(message=_message(message), history=True))
            async for message in stay:
                await context.write(chat_pb2.JoinRoomResponse(message=_message(message)))

    async def LeaveRoom(self, request: chat_pb2.LeaveRoomRequest, context: _Context) -> chat_pb2.LeaveRoomResponse:
        """Ends all stays of a user in a room."""
        async with errors.answering(context):
            self._require_self(context, request.user_id)
            was_member = await self._rooms.leave(request.room_id, request.user_id)
            return chat_pb2.LeaveRoomResponse(was_member=was_member)

    async def SendMessage(
        self, request: chat_pb2.SendMessageRequest, context: _Context
    ) -> chat_pb2.SendMessageResponse:
        """Says something in a room."""
        async with errors.answering(context):
            self._require_self(context, request.user_id)
            message = await self._rooms.send(request.room_id, request.user_id, request.content, request.idempotency_key)
            return chat_pb2.SendMessageResponse(message=_message(message))

    async def GetRoomHistory(
        self, request: chat_pb2.GetRoomHistoryRequest, context: _Context
    ) -> chat_pb2.GetRoomHistoryResponse:
        """Returns one page of the messages of a room."""
        async with errors.answering(context):
            require(validation.check_not_negative("page_size", request.page_size))
            page = await self._rooms.history(
                request.room_id, request.page_size or DEFAULT_PAGE_SIZE, request.before_message_id
            )
            return chat_pb2.GetRoomHistoryResponse(messages=map(_message, page.messages), has_more=page.has_more)

    async def Chat(self, request_iterator: AsyncIterator[chat_pb2.ChatRequest], context: _Context) -> None:
        """Streams what is said in a room, and says there what the client sends."""
        async with errors.answering(context):
            first = await anext(aiter(request_iterator), None)
            if first is None:
                return
            async with self._stay(first, context) as stay:
                await context.send_initial_metadata(())
                for message in stay.history:
                    await context.write(chat_pb2.ChatResponse(message=_message(message), history=True))
                listening = asyncio.create_task(self._listen(first, request_iterator, stay))
                try:
                    async for message in stay:
                        await context.write(chat_pb2.ChatResponse(message=_message(message)))
                    # Otherwise somebody else has ended the stay, while the client may go on sending.
                    if stay.parting:
                        await listening
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)

    def _require_self(self, context: _Context, user_id: str, field: str = "user_id") -> None:
        callers.require_self(self._identify(context), user_id, field, errors.DOMAIN)

    def _stay(self, request: chat_pb2.JoinRoomRequest | chat_pb2.ChatRequest, context: _Context) -> Any:
        self._require_self(context, request.user_id)
        history = request.history_size if request.HasField("history_size") else DEFAULT_HISTORY
        return self._rooms.stay(request.room_id, request.user_id, request.username, history)

    async def _listen(
        self, first: chat_pb2.ChatRequest, requests: AsyncIterator[chat_pb2.ChatRequest], stay: Stay
    ) -> None:
        """Says what one client sends; its stay ends when the client half-closes or sends what it may not."""
        try:
            if first.content:
                await self._rooms.send(first.room_id, first.user_id, first.content, first.idempotency_key)
            async for request in requests:
                require(_check_same("room_id", request.room_id, first.room_id))
                require(_check_same("user_id", request.user_id, first.user_id))
                await self._rooms.send(first.room_id, first.user_id, request.content, request.idempotency_key)
        finally:
            await self._rooms.part(stay)


def _check_same(field: str, value: str, first: str) -> list[Violation]:
    return [Violation(field, "must be that of the first request, or empty")] if value and value != first else []


def _message(message: store.Message) -> chat_pb2.ChatMessage:
    shown = chat_pb2.ChatMessage(
        message_id=message.message_id,
        room_id=message.room_id,
        user_id=message.user_id,
        username=message.username,
        content=message.content,
        type=_TYPES[message.kind],
        sequence=message.sequence,
        idempotency_key=message.key,
    )
    shown.timestamp.FromMicroseconds(message.at)
    return shown


def _room(room: store.Room) -> chat_pb2.Room:
    shown = chat_pb2.Room(
        room_id=room.room_id,
        name=room.name,
        description=room.description,
        created_by=room.created_by,
        member_count=room.members,
    )
    shown.created_at.FromMicroseconds(room.created_at)
    return shown
