"""Stored messages on their way to the clients that are in the rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from pygrpc.services.chat.store import ChatStore, Message
from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout, LocalFanout
from pygrpc.services.outbox import Outbox, ReaderTooSlow, ShuttingDown

_log = logging.getLogger(__name__)

TOPIC = "chat"


class ChatFeed:
    """Hands each message to those who are in its room.

    There is one way for all messages: they are read from the store, in the order of its commits, whether this process
    has written them or another one. So everybody sees one order, and a message is never shown before it is stored. A
    commit of this process is followed up at once, and so are those of others if hints come from there. Besides, the
    store is asked from time to time while somebody is in a room.

    Attributes:
        patience: How long a client with a full queue may take to read on, in seconds.
    """

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
        """Makes a feed without readers. `run` has to run for messages to move.

        Args:
            store: Where the messages come from.
            queue_limit: The most messages that wait for one reader in memory. One that lets more pile up gets the
                others from the store when it reads on.
            poll: How often to look for messages of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it afterwards.
            poll_besides_hints: How often to look while hints come, as one may be lost; and after the store has failed.
            patience: How long a reader with a full queue may take to read on, in seconds, before it is dropped.
        """
        self._store = store
        self._queue_limit = queue_limit
        # So many are handed on at a time: readers that keep up have emptied their queues before the next ones come.
        self._batch = max(1, queue_limit // 2)
        self._poll, self._poll_besides_hints = poll, poll_besides_hints
        self.patience = patience
        self._rooms: dict[str, set[Reader]] = {}
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

    async def catch_up(self) -> None:
        """Passes by what was stored while nobody was there to read it. To be called before `follow`."""
        if not self._rooms:
            async with self._moving:
                await self._skip()

    async def run(self) -> None:
        """Hands messages on until it is cancelled."""
        failing = False
        while True:
            self._news.clear()
            try:
                await self._advance()
                failing = False
            except StoreError as error:
                # Those who read see a gap in time and none in the messages: the position has not moved.
                if not failing:
                    _log.error("The chat database cannot be read: %s", error)
                failing = True
            await self._wait(self._poll_besides_hints if failing else self._interval())

    def close(self) -> None:
        """Ends all reading, and refuses new readers, with ShuttingDown."""
        self._closed = True
        self._stop_listening()
        for readers in self._rooms.values():
            for reader in readers:
                reader.outbox.fail(ShuttingDown())

    def _committed(self, messages: object) -> None:
        self._fanout.publish(TOPIC)

    def _interval(self) -> float | None:
        """Returns after how long to look without a hint; None for never."""
        if not self._rooms or not self._store.shared:
            return None
        return self._poll_besides_hints if self._fanout.shared and self._fanout.healthy else self._poll

    async def _wait(self, seconds: float | None) -> None:
        # Not asyncio.wait_for: before Python 3.12 that loses a cancellation which comes together with the news.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
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
        for reader in tuple(self._rooms.get(message.room_id, ())):
            if not reader.outbox.ended and not reader.outbox.offer(message):
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
