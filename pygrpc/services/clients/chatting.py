"""A stay in a chat room, over as many calls as it takes.

What has been received is known by the sequence of its messages, so a stay that breaks off goes on without a gap and
without a duplicate: the new call enters the room first, then what lies between is looked up in the history, then comes
what the call brings.

What was being sent is known to be stored when it comes back. What did not come back, and is not in the history either,
is sent again, with the same key: so it is stored once even if the server still stores what the call that broke off has
brought.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator

from pygrpc import StatusCode
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.sessions import Interrupted, Session
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc

_PAGE_SIZE = 200
#: So many pages are looked up when the stay goes on; a room keeps 50 of them.
_MOST_PAGES = 100
#: The longest pause between two messages that a server's limits lead to, in seconds.
_LONGEST_PAUSE = 1.0


class _Sending:
    """A message on its way."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.key = uuid.uuid4().hex
        self.written = False
        self.stored: asyncio.Future[chat_pb2.ChatMessage] = asyncio.get_running_loop().create_future()


class ChatSession(Session[tuple[chat_pb2.ChatMessage, bool]]):
    """A user's stay in a room. An asynchronous context manager; the messages come by `async for`.

    The iteration has to keep going: while messages wait that nobody takes, nothing is read, acknowledgements included.
    It ends when the stay does, and raises ServiceError if that broke off and could not go on.
    """

    _stub = chat_pb2_grpc.ChatServiceStub
    _method = "Chat"
    _what = "the stay in the room"

    def __init__(
        self,
        connection: Connection,
        room_id: str,
        user_id: str,
        username: str,
        history_size: int,
        interrupted: Interrupted | None,
        how: CallOptions,
    ) -> None:
        """For ChatClient.join."""
        super().__init__(connection, interrupted, how)
        self.room_id = room_id
        self.user_id = user_id
        self._username = username
        self._history_size = history_size
        self._sending: deque[_Sending] = deque()
        # The sequence of the last message that was received.
        self._last = 0
        self._pause_s = 0.0
        self._refusal: ServiceError | None = None

    async def send(self, content: str) -> chat_pb2.ChatMessage:
        """Says something in the room.

        Returns:
            The message, when it has come back and is stored.

        Raises:
            ServiceError: The server refuses it, or the stay is over.
        """
        self._require_running()
        sending = _Sending(content)
        self._sending.append(sending)
        self._to_do.set()
        try:
            return await sending.stored
        finally:
            # If the wait was cancelled. What is written already stays, so that it is known when it comes back.
            if not sending.written and sending in self._sending:
                self._sending.remove(sending)

    async def __aiter__(self) -> AsyncIterator[chat_pb2.ChatMessage]:
        """Yields each message once, in the order of their sequence; those from before the arrival come first.

        Raises:
            ServiceError: The stay broke off.
        """
        async for message, _ in self._items():
            yield message

    async def marked(self) -> AsyncIterator[tuple[chat_pb2.ChatMessage, bool]]:
        """Yields the same with a mark: whether the message was sent by this stay."""
        async for each in self._items():
            yield each

    def _first_request(self) -> chat_pb2.ChatRequest:
        # The last message from before is asked for in any case: it tells where the stay begins. One that goes on looks
        # the rest up when it is inside.
        history = 0 if self._last else max(self._history_size, 1)
        return chat_pb2.ChatRequest(
            room_id=self.room_id, user_id=self.user_id, username=self._username, history_size=history
        )

    async def _catch_up(self) -> None:
        if self._last:
            for message in await self._missed():
                await self._take_message(message, wanted=True)
        if self._refusal is not None:
            # All before it are acknowledged, so the first that was written is the one which the server has refused.
            refused = next((each for each in self._sending if each.written), None)
            if refused is not None:
                self._sending.remove(refused)
                _set_exception(refused, self._refusal)
            self._refusal = None
        for each in self._sending:
            each.written = False

    async def _missed(self) -> list[chat_pb2.ChatMessage]:
        found: list[chat_pb2.ChatMessage] = []
        for _ in range(_MOST_PAGES):
            before = found[0].message_id if found else ""
            request = chat_pb2.GetRoomHistoryRequest(
                room_id=self.room_id, page_size=_PAGE_SIZE, before_message_id=before
            )
            how: CallOptions = {"metadata": self._how.get("metadata", ())}
            page = await self._connection.unary(self._stub, "GetRoomHistory", request, how)
            missed = [each for each in page.messages if each.sequence > self._last]
            found[:0] = missed
            if not page.has_more or not missed or len(missed) < len(page.messages):
                break
        return found

    async def _take(self, response: chat_pb2.ChatResponse) -> None:
        await self._take_message(response.message, wanted=self._history_size > 0 or not response.history)

    async def _take_message(self, message: chat_pb2.ChatMessage, wanted: bool) -> None:
        if message.sequence <= self._last:
            return
        self._last = message.sequence
        own = self._acknowledge(message)
        if wanted:
            await self._hand_out((message, own))

    def _acknowledge(self, message: chat_pb2.ChatMessage) -> bool:
        """Tells whoever sent a message that it is stored; returns whether it was sent here."""
        for each in self._sending:
            if each.key == message.idempotency_key:
                self._sending.remove(each)
                if not each.stored.done():
                    each.stored.set_result(message)
                return True
        return False

    def _next_request(self) -> chat_pb2.ChatRequest | None:
        for each in self._sending:
            if not each.written:
                each.written = True
                return chat_pb2.ChatRequest(content=each.content, idempotency_key=each.key)
        return None

    def _unacknowledged(self) -> bool:
        return bool(self._sending)

    def _blame(self, error: ServiceError) -> bool:
        if error.code is StatusCode.INVALID_ARGUMENT and {each.field for each in error.violations} == {"content"}:
            self._refusal = error
        elif error.retry_after is not None:
            self._pause_s = min(max(2 * self._pause_s, error.retry_after), _LONGEST_PAUSE)
        return self._refusal is not None

    async def _pause(self) -> None:
        if self._pause_s:
            await asyncio.sleep(self._pause_s)

    def _give_up(self, error: ServiceError) -> None:
        while self._sending:
            _set_exception(self._sending.popleft(), error)


def _set_exception(sending: _Sending, error: ServiceError) -> None:
    if not sending.stored.done():
        sending.stored.set_exception(error)
