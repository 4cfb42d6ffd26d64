"""The chat room: what one connected client says goes to all the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.timestamp_pb2 import Timestamp

from pygrpc.services.outbox import Outbox, ShuttingDown
from pygrpc.services.protos.user.v1 import user_pb2

_log = logging.getLogger(__name__)

SYSTEM = "system"
WELCOME = "Welcome to the chat!"
ECHO = "Echo: "


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
        self._members: set[Outbox[user_pb2.ChatMessage]] = set()
        self._closed = False

    @property
    def members(self) -> int:
        """How many clients are in the room."""
        return len(self._members)

    @contextmanager
    def join(self) -> Iterator[Outbox[user_pb2.ChatMessage]]:
        """Is in the room while the context is open; the outbox begins with the welcome.

        Raises:
            ShuttingDown: The room is closed.
        """
        if self._closed:
            raise ShuttingDown
        outbox: Outbox[user_pb2.ChatMessage] = Outbox(self._queue_limit)
        outbox.offer(_message(SYSTEM, WELCOME))
        self._members.add(outbox)
        try:
            yield outbox
        finally:
            self._members.discard(outbox)

    async def say(self, sender: Outbox[user_pb2.ChatMessage], user_id: str, content: str) -> None:
        """Hands a message to all others, then its echo to the sender; waits while the sender has no room for it."""
        await sender.wait_for_room()
        message = _message(user_id, content)
        for outbox in tuple(self._members):
            if outbox is not sender and not outbox.offer(message):
                _log.warning("A client in the chat is too slow and was dropped.")
                self._members.discard(outbox)
        sender.offer(_message(user_id, ECHO + content))

    def close(self) -> None:
        """Ends the chat of everybody, and refuses newcomers, with ShuttingDown."""
        self._closed = True
        for outbox in self._members:
            outbox.fail(ShuttingDown())


def _message(user_id: str, content: str) -> user_pb2.ChatMessage:
    now = Timestamp()
    now.GetCurrentTime()
    return user_pb2.ChatMessage(user_id=user_id, content=content, timestamp=now)
