"""Stored messages on their way to the clients that are in the rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from pygrpc.services.chat.store import ChatStore, Message
from pygrpc.services.fanout import Fanout
from pygrpc.services.feeds import Feed
from pygrpc.services.outbox import Outbox, ReaderTooSlow, ShuttingDown

_log = logging.getLogger(__name__)

TOPIC = "chat"


class ChatFeed(Feed[Message]):
    """Hands each message to those who are in its room.

    Attributes:
        patience: How long a client with a full queue may take to read on, in seconds.
    """

    topic = TOPIC
    database = "chat database"

    def __init__(
        self,
        store: ChatStore,
        queue_limit: int,
        poll: float,
        fanout: Fanout | None = None,
        *,
        poll_besides_hints: float = 2.0,
        patience: float = 30.0,
    ) -> None:
        """Makes a feed without readers; see Feed.

        Args:
            store: Where the messages come from.
            queue_limit: The most messages that wait for one reader in memory. One that lets more pile up gets the
                others from the store when it reads on.
            poll: How often to look for messages of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes.
            poll_besides_hints: How often to look while hints come.
            patience: How long a reader with a full queue may take to read on, in seconds, before it is dropped.
        """
        super().__init__(store, queue_limit, poll, fanout, poll_besides_hints)
        self._store = store
        self.patience = patience
        self._rooms: dict[str, set[Reader]] = {}

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return sum(map(len, self._rooms.values()))

    @contextmanager
    def follow(self, room_id: str, dropped: Callable[[], object]) -> Iterator[Reader]:
        """Collects the messages of a room while the context is open.

        All that are stored from now on, and maybe some from before.

        Args:
            room_id: The room.
            dropped: Called when the reader is dropped because it is too slow.

        Raises:
            ShuttingDown: The feed is closed.
        """
        reader = Reader(self, room_id, dropped)
        self.attach(reader)
        try:
            yield reader
        finally:
            self.detach(reader)
            reader.attend()

    def attach(self, reader: Reader) -> None:
        """Gives a reader an empty queue for what is stored from now on.

        Raises:
            ShuttingDown: The feed is closed.
        """
        if self._closed:
            raise ShuttingDown
        reader.outbox = Outbox(self._queue_limit)
        self._rooms.setdefault(reader.room_id, set()).add(reader)
        # It may be waiting without end.
        self._news.set()

    def detach(self, reader: Reader) -> None:
        """Puts nothing more into the queue of a reader."""
        readers = self._rooms.get(reader.room_id, set())
        readers.discard(reader)
        if not readers:
            self._rooms.pop(reader.room_id, None)

    async def stored(self, room_id: str, sequence: int) -> list[Message]:
        """Returns the next messages of a room from the store.

        Raises:
            ReaderTooSlow: The room does not keep them any more.
            ShuttingDown: The feed is closed.
        """
        if self._closed:
            raise ShuttingDown
        messages = await self._store.since(room_id, sequence, self._batch)
        if messages and messages[0].sequence != sequence + 1:
            raise ReaderTooSlow
        return messages

    def close(self) -> None:
        """Ends all reading, and refuses new readers, with ShuttingDown."""
        self._closed = True
        self._stop_listening()
        for readers in self._rooms.values():
            for reader in readers:
                reader.outbox.fail(ShuttingDown())

    def _has_readers(self) -> bool:
        return bool(self._rooms)

    def _publish(self, entry: Message) -> None:
        for reader in tuple(self._rooms.get(entry.room_id, ())):
            if not reader.outbox.ended and not reader.outbox.offer(entry):
                self.detach(reader)
                reader.wait_for_client()


class Reader:
    """One client's way through the messages of a room.

    It reads from a queue that the feed fills. When the queue overflows, because the client or the server had too much
    to do at once, what is missing comes from the store, at the client's pace, until it has caught up. So nobody's pace
    takes memory, and only a client that does not read at all is dropped.

    Attributes:
        room_id: The room.
        outbox: The queue.
    """

    outbox: Outbox[Message]

    def __init__(self, feed: ChatFeed, room_id: str, dropped: Callable[[], object]) -> None:
        """For `ChatFeed.follow`."""
        self.room_id = room_id
        self._feed = feed
        self._dropped = dropped
        self._finished = False
        self._too_slow = False
        self._timer: asyncio.TimerHandle | None = None

    async def after(self, sequence: int) -> AsyncIterator[Message]:
        """Yields the messages of the room behind a sequence, each once and in their order.

        Ends after `finish`, with what is in the queue.

        Raises:
            ReaderTooSlow: Nothing was read for too long, or the room does not keep what comes next.
            ShuttingDown: The feed is closed.
        """
        while True:
            try:
                async for message in self.outbox:
                    # The queue was there before its reader had read up to here, and may hold what it has read.
                    if message.sequence > sequence:
                        sequence = message.sequence
                        yield message
                return
            except ReaderTooSlow:
                if self._too_slow:
                    raise
            self.attend()
            async for message in self._stored(sequence):
                sequence = message.sequence
                yield message
            if self._finished:
                return

    async def _stored(self, sequence: int) -> AsyncIterator[Message]:
        """Yields what the store has behind a sequence, until everything else will be in the queue."""
        attached = False
        while not self._finished:
            messages = await self._feed.stored(self.room_id, sequence)
            for message in messages:
                sequence = message.sequence
                self.wait_for_client()
                yield message
                self.attend()
                if self._too_slow:
                    raise ReaderTooSlow
            if messages:
                continue
            if attached:
                return
            # What is stored before the queue is there is found by reading once more.
            await self._feed.catch_up()
            self._feed.attach(self)
            attached = True

    def finish(self) -> None:
        """Ends the reading after what is in the queue."""
        self._finished = True
        self.outbox.finish()

    def wait_for_client(self) -> None:
        """Begins to wait for the client to read on, and drops it if that takes too long."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._feed.patience, self._give_up)

    def attend(self) -> None:
        """Ends the wait: the client reads, or has gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        _log.warning("A client in room %s has stopped reading and was dropped.", self.room_id)
        self._too_slow = True
        self._dropped()
