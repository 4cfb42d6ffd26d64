"""A stay in a chat room, over as many calls as it takes.

What has been received is known by the sequence of its messages, so a stay that breaks off goes on without a gap and
without a duplicate: the new call enters the room first, then what lies between is looked up in the history, then comes
what the call brings.

What was being sent is known to be stored when it comes back. What did not come back, and is not in the history either,
is sent again. The contract has no ids by which a server could tell a repetition: a message would be stored twice if the
server stored it only after the client has come back and read the history, although the call that brought it had been
broken off before that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Self

from pygrpc import StatusCode, aio
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.pacing import Pacing
from pygrpc.services.outbox import Outbox
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc

_Stub = chat_pb2_grpc.ChatServiceStub

#: So many messages wait for whoever reads the stay; meanwhile nothing more is read from the server.
_QUEUE_SIZE = 256
_PAGE_SIZE = 200
#: So many pages are looked up when the stay goes on; a room keeps 50 of them.
_MOST_PAGES = 100
#: The longest pause between two messages that a server's limits lead to, in seconds.
_LONGEST_PAUSE = 1.0
#: How long the last words of a stay may take, in seconds.
_FAREWELL = 5.0


class _Sending:
    """A message on its way."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.written = False
        self.stored: asyncio.Future[chat_pb2.ChatMessage] = asyncio.get_running_loop().create_future()


class ChatSession:
    """A user's stay in a room. An asynchronous context manager; the messages come by `async for`.

    The iteration has to keep going: while messages wait that nobody takes, nothing is read, acknowledgements included.
    It ends when the stay does, and raises ServiceError if that broke off and could not go on.
    """

    def __init__(
        self,
        connection: Connection,
        room_id: str,
        user_id: str,
        username: str,
        history_size: int,
        interrupted: Callable[[ServiceError | None], object] | None,
        how: CallOptions,
    ) -> None:
        """For ChatClient.join."""
        self.room_id = room_id
        self.user_id = user_id
        self._connection = connection
        self._username = username
        self._history_size = history_size
        self._interrupted = interrupted or (lambda error: None)
        self._how = how
        # Each message, and whether this stay has said it.
        self._received: Outbox[tuple[chat_pb2.ChatMessage, bool]] = Outbox(_QUEUE_SIZE)
        self._sending: deque[_Sending] = deque()
        self._to_do = asyncio.Event()
        self._inside = asyncio.Event()
        self._leaving = self._away = False
        # The sequence of the last message that was received.
        self._last = 0
        self._pause = 0.0
        self._refusal: ServiceError | None = None
        self._failure: ServiceError | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Enters the room; returns when the user is in it.

        Raises:
            ServiceError: The room can't be entered.
        """
        self._running = asyncio.create_task(self._run())
        inside = asyncio.create_task(self._inside.wait())
        try:
            await asyncio.wait((self._running, inside), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _stopped(self._running)
            raise
        finally:
            await _stopped(inside)
        if not self._inside.is_set() and self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves the room. What is not stored yet is given up; what was not read is dropped."""
        assert self._running is not None
        self._received.finish()
        self._give_up(self._over())
        self.leave()
        if self._inside.is_set():
            await asyncio.wait((self._running,), timeout=_FAREWELL)
        await _stopped(self._running)

    def leave(self) -> None:
        """Ends the stay after all that is being sent; the iteration ends when that is done."""
        self._leaving = True
        self._to_do.set()

    async def send(self, content: str) -> chat_pb2.ChatMessage:
        """Says something in the room.

        Returns:
            The message, when it has come back and is stored.

        Raises:
            ServiceError: The server refuses it, or the stay is over.
        """
        if self._leaving or self._running is None or self._running.done():
            raise self._over()
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
        async for message, _ in self.marked():
            yield message

    async def marked(self) -> AsyncIterator[tuple[chat_pb2.ChatMessage, bool]]:
        """Yields the same with a mark: whether the message was sent by this stay."""
        async for each in self._received:
            yield each
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        pacing = self._connection.pacing()
        deadline = self._connection.deadline({"timeout": self._how.get("timeout")})
        try:
            while True:
                try:
                    return await self._stay(pacing, deadline.left())
                except ServiceError as error:
                    if self._leaving and not self._sending:
                        return
                    self._note(error)
                    if self._refusal is None:
                        if self._inside.is_set():
                            self._away = True
                            self._interrupted(error)
                        await pacing.after(error)
                finally:
                    self._inside.clear()
        except ServiceError as error:
            self._failure = error
        finally:
            self._give_up(self._failure or self._over())
            self._received.finish()

    def _note(self, error: ServiceError) -> None:
        """Takes in what the end of a stay says about what was sent."""
        if error.code is StatusCode.INVALID_ARGUMENT and {each.field for each in error.violations} == {"content"}:
            self._refusal = error
        elif error.retry_after is not None:
            self._pause = min(max(2 * self._pause, error.retry_after), _LONGEST_PAUSE)

    async def _stay(self, pacing: Pacing, timeout: float | None) -> None:
        """Is in the room for one call."""
        with self._connection.calling(_Stub, "Chat", self._how, timeout) as begin:
            call = begin()
            writing: asyncio.Task[None] | None = None
            try:
                with suppress(asyncio.InvalidStateError):
                    await call.write(self._first_request())
                await call.initial_metadata()
                if not call.done():
                    pacing.begin()
                    await self._catch_up()
                    self._inside.set()
                    if self._away:
                        self._away = False
                        self._interrupted(None)
                    writing = asyncio.create_task(self._write(call))
                while (response := await call.read()) is not aio.EOF:
                    pacing.progressed()
                    await self._take(response.message, wanted=self._history_size > 0 or not response.history)
            finally:
                call.cancel()
                if writing is not None:
                    await _stopped(writing)

    def _first_request(self) -> chat_pb2.ChatRequest:
        # The last message from before is asked for in any case: it tells where the stay begins. One that goes on looks
        # the rest up when it is inside.
        history = 0 if self._last else max(self._history_size, 1)
        return chat_pb2.ChatRequest(
            room_id=self.room_id, user_id=self.user_id, username=self._username, history_size=history
        )

    async def _catch_up(self) -> None:
        """Takes what was said between the last stay and this one, and readies what is to be sent again."""
        if self._last:
            for message in await self._missed():
                await self._take(message)
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
            page = await self._connection.unary(_Stub, "GetRoomHistory", request, how)
            missed = [each for each in page.messages if each.sequence > self._last]
            found[:0] = missed
            if not page.has_more or not missed or len(missed) < len(page.messages):
                break
        return found

    async def _take(self, message: chat_pb2.ChatMessage, wanted: bool = True) -> None:
        if message.sequence <= self._last:
            return
        self._last = message.sequence
        own = self._acknowledge(message)
        if wanted:
            await self._received.wait_for_room()
            self._received.offer((message, own))

    def _acknowledge(self, message: chat_pb2.ChatMessage) -> bool:
        """Tells whoever sent a message that it is stored; returns whether it was sent here."""
        # The same user may speak from elsewhere, too.
        if message.type != chat_pb2.MESSAGE_TYPE_USER or message.user_id != self.user_id:
            return False
        for each in self._sending:
            if each.written and each.content == message.content:
                self._sending.remove(each)
                if not each.stored.done():
                    each.stored.set_result(message)
                return True
        return False

    async def _write(self, call: Any) -> None:
        """Writes what is to be sent. If the call ends meanwhile, whoever reads it gets to know why."""
        with suppress(asyncio.InvalidStateError, aio.AioRpcError):
            while True:
                self._to_do.clear()
                while (each := next((each for each in self._sending if not each.written), None)) is not None:
                    each.written = True
                    await call.write(chat_pb2.ChatRequest(content=each.content))
                    if self._pause:
                        await asyncio.sleep(self._pause)
                if self._leaving:
                    await call.done_writing()
                    return
                await self._to_do.wait()

    def _give_up(self, error: ServiceError) -> None:
        while self._sending:
            _set_exception(self._sending.popleft(), error)

    def _over(self) -> ServiceError:
        message = "the stay in the room is over"
        return ServiceError(StatusCode.FAILED_PRECONDITION, message, target=self._connection.target)


def _set_exception(sending: _Sending, error: ServiceError) -> None:
    if not sending.stored.done():
        sending.stored.set_exception(error)


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
