"""The chat room: what one connected client says goes to all the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pygrpc.services.outbox import Outbox, ShuttingDown

_log = logging.getLogger(__name__)

SYSTEM = "system"
WELCOME = "Welcome to the chat!"


class Words(NamedTuple):
    """What a client says.

    Attributes:
        user_id: Who says it.
        content: What.
        number: The number of that user, where the client's contract has numbers.
        username: The name of that user, where the client's contract has names.
    """

    user_id: str
    content: str
    number: int = 0
    username: str = ""


class Said(NamedTuple):
    """What was said, on its way to a client.

    Attributes:
        words: Who says what.
        at: When the server heard it, in microseconds since 1970-01-01 UTC.
        echo: Whether the client said it itself, and hears by this that it was handed on.
    """

    words: Words
    at: int
    echo: bool = False


class ChatRoom:
    """All clients that are in the chat, each with an outbox of its own.

    A client that sends without reading is held up by its own echoes. A client that does not keep up with what the
    others say is dropped: they must not wait for it.
    """

    def __init__(self, queue_limit: int) -> None:
        """Opens an empty room.

        Args:
            queue_limit: The most messages that wait for one client.
        """
        self._queue_limit = queue_limit
        self._members: set[Outbox[Said]] = set()
        self._closed = False

    @property
    def members(self) -> int:
        """How many clients are in the room."""
        return len(self._members)

    @contextmanager
    def join(self) -> Iterator[Outbox[Said]]:
        """Is in the room while the context is open; the outbox begins with the welcome.

        Raises:
            ShuttingDown: The room is closed.
        """
        if self._closed:
            raise ShuttingDown
        outbox: Outbox[Said] = Outbox(self._queue_limit)
        outbox.offer(Said(Words(SYSTEM, WELCOME), _now()))
        self._members.add(outbox)
        try:
            yield outbox
        finally:
            self._members.discard(outbox)

    async def visit(self, talk: AsyncIterator[Words]) -> AsyncGenerator[Said, None]:
        """Is in the room until the talk of a client is over, and yields what that client hears.

        Close it with `aclosing`: who leaves early is in the room until then.

        Raises:
            ShuttingDown: The room is closed.
            ReaderTooSlow: The client does not keep up with what the others say.
            Exception: Whatever the talk raises.
        """
        with self.join() as outbox:
            listening = asyncio.create_task(self._listen(talk, outbox))
            try:
                async for said in outbox:
                    yield said
                await listening
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, talk: AsyncIterator[Words], outbox: Outbox[Said]) -> None:
        """Hands on what one client says; its outbox ends with it."""
        try:
            async for words in talk:
                await self.say(outbox, words)
        finally:
            outbox.finish()

    async def say(self, sender: Outbox[Said], words: Words) -> None:
        """Hands a message to all others, then its echo to the sender; waits while the sender has no room for it."""
        await sender.wait_for_room()
        message = Said(words, _now())
        for outbox in tuple(self._members):
            if outbox is not sender and not outbox.offer(message):
                _log.warning("A client in the chat is too slow and was dropped.")
                self._members.discard(outbox)
        sender.offer(message._replace(echo=True))

    def close(self) -> None:
        """Ends the chat of everybody, and refuses newcomers, with ShuttingDown."""
        self._closed = True
        for outbox in self._members:
            outbox.fail(ShuttingDown())


def _now() -> int:
    return time.time_ns() // 1000
