"""Stored messages on their way to the clients that are in the rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pygrpc.services.chat.store import ChatStore, Message
from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout, LocalFanout
from pygrpc.services.outbox import Outbox, ShuttingDown

_log = logging.getLogger(__name__)

TOPIC = "chat"


class ChatFeed:
    """Hands each message to those who are in its room.

    There is one way for all messages: they are read from the store, in the order of its commits, whether this process
    has written them or another one. So everybody sees one order, and a message is never shown before it is stored. A
    commit of this process is followed up at once, and so are those of others if hints come from there. Besides, the
    store is asked from time to time while somebody is in a room.
    """

    def __init__(
        self,
        store: ChatStore,
        queue_limit: int,
        poll: float,
        fanout: Fanout | None = None,
        poll_besides_hints: float = 2.0,
    ) -> None:
        """Makes a feed without readers. `run` has to run for messages to move.

        Args:
            store: Where the messages come from.
            queue_limit: The most messages that wait for one reader; one that lets more pile up is dropped.
            poll: How often to look for messages of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it afterwards.
            poll_besides_hints: How often to look while hints come, as one may be lost.
        """
        self._store = store
        self._queue_limit = queue_limit
        # So many are handed on at a time: readers that keep up have emptied their queues before the next ones come.
        self._batch = max(1, queue_limit // 2)
        self._poll, self._poll_besides_hints = poll, poll_besides_hints
        self._rooms: dict[str, dict[Outbox[Message], Callable[[], object]]] = {}
        # All messages up to this one have been handed on.
        self._position = 0
        # Held while the position moves.
        self._moving = asyncio.Lock()
        self._news = asyncio.Event()
        self._closed = False
        self._fanout = fanout or LocalFanout()
        self._stop_listening = self._fanout.listen(TOPIC, self._news.set)
        store.listen(self._committed)

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return sum(map(len, self._rooms.values()))

    @contextmanager
    def follow(self, room_id: str, dropped: Callable[[], object]) -> Iterator[Outbox[Message]]:
        """Collects the messages of a room while the context is open.

        All that are stored from now on, and maybe some from before.

        Args:
            room_id: The room.
            dropped: Called when the reader is dropped because it is too slow.

        Raises:
            ShuttingDown: The feed is closed.
        """
        if self._closed:
            raise ShuttingDown
        outbox: Outbox[Message] = Outbox(self._queue_limit)
        self._rooms.setdefault(room_id, {})[outbox] = dropped
        # It may be waiting without end.
        self._news.set()
        try:
            yield outbox
        finally:
            self._remove(room_id, outbox)

    async def catch_up(self) -> None:
        """Passes by what was stored while nobody was there to read it. To be called before `follow`."""
        if not self._rooms:
            async with self._moving:
                await self._skip()

    async def run(self) -> None:
        """Hands messages on until it is cancelled."""
        while True:
            self._news.clear()
            try:
                await self._advance()
            except StoreError as error:
                # Those who read see a gap in time and none in the messages: the position has not moved.
                _log.error("The chat database cannot be read: %s", error)
            await self._wait()

    def close(self) -> None:
        """Ends all reading, and refuses new readers, with ShuttingDown."""
        self._closed = True
        self._stop_listening()
        for outboxes in self._rooms.values():
            for outbox in outboxes:
                outbox.fail(ShuttingDown())

    def _committed(self, *_: object) -> None:
        self._fanout.publish(TOPIC)

    def _interval(self) -> float | None:
        """Returns after how long to look without a hint; None for never."""
        if not self._rooms or not self._store.shared:
            return None
        return self._poll_besides_hints if self._fanout.shared and self._fanout.healthy else self._poll

    async def _wait(self) -> None:
        # Not asyncio.wait_for: before Python 3.12 that loses a cancellation which comes together with the news.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval()):
                await self._news.wait()

    async def _advance(self) -> None:
        async with self._moving:
            while self._rooms:
                messages = await self._store.after(self._position, self._batch)
                for message in messages:
                    self._publish(message)
                    self._position = message.position
                if len(messages) < self._batch:
                    return
            await self._skip()

    async def _skip(self) -> None:
        latest = await self._store.latest()
        # A reader that has come meanwhile may need what is before this position.
        if not self._rooms:
            self._position = latest

    def _publish(self, message: Message) -> None:
        for outbox, dropped in tuple(self._rooms.get(message.room_id, {}).items()):
            if not outbox.ended and not outbox.offer(message):
                _log.warning("A client in room %s is too slow and was dropped.", message.room_id)
                self._remove(message.room_id, outbox)
                dropped()

    def _remove(self, room_id: str, outbox: Outbox[Message]) -> None:
        outboxes = self._rooms.get(room_id, {})
        outboxes.pop(outbox, None)
        if not outboxes:
            self._rooms.pop(room_id, None)
