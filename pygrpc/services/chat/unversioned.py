"""The RPCs of chat.ChatService, the contract without a version, over the same rooms."""

from __future__ import annotations

from typing import Any, TypeAlias

from pygrpc import StatusCode, aio
from pygrpc.services import callers
from pygrpc.services.callers import Identify
from pygrpc.services.chat import errors, store, validation
from pygrpc.services.chat.rooms import ChatRooms
from pygrpc.services.chat.store import Kind, NotInRoom, RoomNotFound
from pygrpc.services.chat.validation import SYSTEM
from pygrpc.services.errors import RequestError, require
from pygrpc.services.protos.chat import chat_pb2, chat_pb2_grpc

DEFAULT_ROOMS = 10
DEFAULT_MESSAGES = 50
HISTORY = 20

_Context: TypeAlias = aio.ServicerContext[Any, Any]

_TYPES = {
    Kind.USER: chat_pb2.USER_MESSAGE,
    Kind.SYSTEM: chat_pb2.SYSTEM_MESSAGE,
    Kind.JOINED: chat_pb2.USER_JOINED,
    Kind.LEFT: chat_pb2.USER_LEFT,
}


class UnversionedChatService(chat_pb2_grpc.ChatServiceServicer):
    """Serves the RPCs of protos/chat/chat.proto."""

    def __init__(self, rooms: ChatRooms, *, identify: Identify = callers.unknown) -> None:
        """Makes the service; see ChatService."""
        self._rooms = rooms
        self._identify = identify

    async def CreateRoom(self, request: chat_pb2.CreateRoomRequest, context: _Context) -> chat_pb2.Room:
        """Opens a room."""
        async with errors.answering(context):
            self._require_self(context, request.created_by, "created_by")
            try:
                return _room(await self._rooms.create(request.name, request.description, request.created_by))
            except RequestError as error:
                if request.name and request.created_by:
                    raise
                raise RequestError(error.code, "Room name and creator are required", *error.details) from None

    async def ListRooms(self, request: chat_pb2.ListRoomsRequest, context: _Context) -> chat_pb2.ListRoomsResponse:
        """Returns some rooms, in the order in which they were opened."""
        async with errors.answering(context):
            require(validation.check_not_negative("limit", request.limit))
            require(validation.check_offset(request.offset, self._rooms.limits))
            limit = self._rooms.page_size(request.limit, DEFAULT_ROOMS)
            found, total = await self._rooms.store.rooms(limit, offset=request.offset)
            return chat_pb2.ListRoomsResponse(rooms=map(_room, found), total_count=total)

    async def JoinRoom(self, request: chat_pb2.JoinRoomRequest, context: _Context) -> None:
        """Streams what is said in a room, and keeps the user there meanwhile."""
        async with (
            errors.answering(context),
            self._stay(request, context) as stay,
        ):
            await context.send_initial_metadata(())
            for message in stay.history:
                await context.write(_message(message))
            async for message in stay:
                if message.user_id != request.user_id or message.kind is Kind.USER:
                    await context.write(_message(message))

    async def SendMessage(
        self, request: chat_pb2.SendMessageRequest, context: _Context
    ) -> chat_pb2.SendMessageResponse:
        """Says something in a room; what is wrong with it is told in the response."""
        async with errors.answering(context):
            self._require_self(context, request.user_id)
            try:
                message = await self._rooms.send(request.room_id, request.user_id, request.content)
            except (RoomNotFound, NotInRoom) as error:
                return chat_pb2.SendMessageResponse(error=str(error))
            except RequestError as error:
                if error.code is not StatusCode.INVALID_ARGUMENT:
                    raise
                return chat_pb2.SendMessageResponse(error=error.message)
            return chat_pb2.SendMessageResponse(message_id=message.message_id, success=True)

    async def LeaveRoom(self, request: chat_pb2.LeaveRoomRequest, context: _Context) -> chat_pb2.LeaveRoomResponse:
        """Ends all stays of a user in a room; also a success if there were none."""
        async with errors.answering(context):
            self._require_self(context, request.user_id)
            await self._rooms.leave(request.room_id, request.user_id)
            return chat_pb2.LeaveRoomResponse(success=True)

    async def GetRoomHistory(
        self, request: chat_pb2.GetRoomHistoryRequest, context: _Context
    ) -> chat_pb2.GetRoomHistoryResponse:
        """Returns the last messages of a room, or those before a given one."""
        async with errors.answering(context):
            require(validation.check_not_negative("limit", request.limit))
            page = await self._rooms.history(
                request.room_id, request.limit or DEFAULT_MESSAGES, request.before_message_id
            )
            return chat_pb2.GetRoomHistoryResponse(messages=map(_message, page.messages), has_more=page.has_more)

    def _stay(self, request: chat_pb2.JoinRoomRequest, context: _Context) -> Any:
        self._require_self(context, request.user_id)
        return self._rooms.stay(request.room_id, request.user_id, request.username, HISTORY)

    def _require_self(self, context: _Context, user_id: str, field: str = "user_id") -> None:
        callers.require_self(self._identify(context), user_id, field, errors.DOMAIN)


def _message(message: store.Message) -> chat_pb2.ChatMessage:
    said = message.kind is Kind.USER
    return chat_pb2.ChatMessage(
        message_id=message.message_id,
        room_id=message.room_id,
        user_id=message.user_id if said else SYSTEM,
        username=message.username if said else SYSTEM.capitalize(),
        content=message.content,
        timestamp=message.at // 1000,
        type=_TYPES[message.kind],
    )


def _room(room: store.Room) -> chat_pb2.Room:
    return chat_pb2.Room(
        room_id=room.room_id,
        name=room.name,
        description=room.description,
        created_by=room.created_by,
        created_at=room.created_at // 1000,
        member_count=room.members,
    )
