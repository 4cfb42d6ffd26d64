"""The client of the chat service."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Unpack

from pygrpc.services.clients.chatting import ChatSession
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.sessions import Interrupted
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc

_PAGE_SIZE = 200
_Stub = chat_pb2_grpc.ChatServiceStub


class ChatClient:
    """Makes the calls of protos/chat/v1/chat.proto.

    Each method takes the options of `CallOptions` besides its own arguments, and raises ServiceError.
    """

    def __init__(self, connection: Connection) -> None:
        """Makes a client on a connection, which others may share and the caller closes."""
        self._connection = connection

    async def create_room(self, request: chat_pb2.CreateRoomRequest, **how: Unpack[CallOptions]) -> chat_pb2.Room:
        """Opens a room."""
        room: chat_pb2.Room = (await self._connection.unary(_Stub, "CreateRoom", request, how)).room
        return room

    async def rooms(self, *, page_size: int = _PAGE_SIZE, **how: Unpack[CallOptions]) -> AsyncIterator[chat_pb2.Room]:
        """Iterates over all rooms in the order in which they were opened.

        Args:
            page_size: How many rooms to ask for at a time.
            **how: Hold for each page.
        """
        token = ""
        while True:
            request = chat_pb2.ListRoomsRequest(page_size=page_size, page_token=token)
            response = await self._connection.unary(_Stub, "ListRooms", request, how)
            for room in response.rooms:
                yield room
            token = response.next_page_token
            if not token:
                return

    async def history(
        self, room_id: str, size: int = 50, *, before_message_id: str = "", **how: Unpack[CallOptions]
    ) -> list[chat_pb2.ChatMessage]:
        """Returns the last messages of a room, or those before a given one; the oldest comes first.

        Args:
            room_id: The room.
            size: How many to return at most.
            before_message_id: Only messages before this one.
            **how: Hold for each page.
        """
        found: list[chat_pb2.ChatMessage] = []
        while len(found) < size:
            request = chat_pb2.GetRoomHistoryRequest(
                room_id=room_id,
                page_size=min(size - len(found), _PAGE_SIZE),
                before_message_id=found[0].message_id if found else before_message_id,
            )
            response = await self._connection.unary(_Stub, "GetRoomHistory", request, how)
            found[:0] = response.messages
            if not response.has_more or not response.messages:
                break
        return found

    async def send(self, room_id: str, user_id: str, content: str, **how: Unpack[CallOptions]) -> chat_pb2.ChatMessage:
        """Says something in a room in which the user is, and returns the message as it is stored."""
        # With a key of its own the message is stored once, however often the channel has to send the request.
        key = uuid.uuid4().hex
        request = chat_pb2.SendMessageRequest(room_id=room_id, user_id=user_id, content=content, idempotency_key=key)
        message: chat_pb2.ChatMessage = (await self._connection.unary(_Stub, "SendMessage", request, how)).message
        return message

    async def leave(self, room_id: str, user_id: str, **how: Unpack[CallOptions]) -> bool:
        """Ends all stays of a user in a room; returns whether there were any."""
        request = chat_pb2.LeaveRoomRequest(room_id=room_id, user_id=user_id)
        return bool((await self._connection.unary(_Stub, "LeaveRoom", request, how)).was_member)

    def join(
        self,
        room_id: str,
        user_id: str,
        *,
        username: str = "",
        history: int = 20,
        interrupted: Interrupted | None = None,
        **how: Unpack[CallOptions],
    ) -> ChatSession:
        """Enters a room, as an asynchronous context manager that leaves it again.

        Args:
            room_id: The room.
            user_id: Who enters it.
            username: The name that is shown; "User_" and the user_id if empty.
            history: How many messages from before to get, up to 200.
            interrupted: Called with the reason when the stay breaks off and is taken up again, and with None when the
                user is back in the room.
            **how: Hold for the stay, which has no timeout, and for each call that looks up what was missed.
        """
        return ChatSession(self._connection, room_id, user_id, username, history, interrupted, how)
