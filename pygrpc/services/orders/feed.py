"""Committed changes on their way to the clients that follow orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pygrpc.services.fanout import Fanout
from pygrpc.services.feeds import Feed
from pygrpc.services.orders.store import Change, OrderStore
from pygrpc.services.outbox import Outbox, ReaderTooSlow, ShuttingDown

TOPIC = "orders"


class Reader:
    """One client's way through the changes of the orders that it follows.

    It reads from a queue that the feed fills. When that overflows, because the client or the server had too much to do
    at once, what is missing comes from the store, at the client's pace, until it has caught up. So nobody's pace takes
    memory, and nobody misses anything.

    Attributes:
        known: The orders that are followed, and the revision up to which the client knows each of them.
        queue: What the feed has put in.
    """

    queue: Outbox[Change]

    def __init__(self, feed: OrderFeed) -> None:
        """For OrderFeed."""
        self.known: dict[str, int] = {}
        self._feed = feed

    def follow(self, order_id: str, revision: int) -> None:
        """Takes the changes of an order after a revision."""
        self.known[order_id] = revision
        self._feed.attach(self, order_id)

    def forget(self, order_id: str) -> None:
        """Takes no more changes of an order."""
        self.known.pop(order_id, None)
        self._feed.detach(self, order_id)

    def is_news(self, change: Change) -> bool:
        """Tells whether a change is of an order that is followed, and the client does not know it."""
        return change.revision > self.known.get(change.order_id, change.revision)

    async def __aiter__(self) -> AsyncIterator[Change]:
        """Yields the changes, for each order in sequence, without a gap and without a duplicate.

        Raises:
            ShuttingDown: The feed is closed.
        """
        while True:
            with suppress(ReaderTooSlow):
                async for change in self.queue:
                    if self.is_news(change):
                        yield change
                        self._learn(change)
            # The queue is there before the store is read, and what is in both is yielded once: so there is no gap.
            self._feed.renew(self)
            for order_id in tuple(self.known):
                async for change in self._missed(order_id):
                    yield change
                    self._learn(change)

    async def _missed(self, order_id: str) -> AsyncIterator[Change]:
        while order_id in self.known:
            changes = await self._feed.stored(order_id, self.known[order_id])
            for change in changes:
                if self.is_news(change):
                    yield change
            if not changes:
                return

    def _learn(self, change: Change) -> None:
        if self.is_news(change):
            self.known[change.order_id] = change.revision


class OrderFeed(Feed[Change]):
    """Hands each change to those who follow its order."""

    topic = TOPIC
    database = "order database"

    def __init__(
        self,
        store: OrderStore,
        queue_limit: int,
        poll: float,
        fanout: Fanout | None = None,
        poll_besides_hints: float = 2.0,
    ) -> None:
        """Makes a feed without readers; see Feed.

        Args:
            store: Where the changes come from.
            queue_limit: The most changes that wait for one reader in memory. One that lets more pile up gets the others
                from the store when it reads on.
            poll: How often to look for changes of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes.
            poll_besides_hints: How often to look while hints come.
        """
        super().__init__(store, queue_limit, poll, fanout, poll_besides_hints)
        self._store = store
        self._readers: set[Reader] = set()
        self._followers: dict[str, set[Reader]] = {}

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    @property
    def followed(self) -> int:
        """How many orders the queues of readers are filled with."""
        return len(self._followers)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Keeps a reader, which follows no order yet, while the context is open.

        Raises:
            ShuttingDown: The feed is closed.
            StoreError: The store cannot be read.
        """
        await self.catch_up()
        reader = Reader(self)
        self.renew(reader)
        self._readers.add(reader)
        # It may be waiting without end.
        self._news.set()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self._detach_all(reader)

    def attach(self, reader: Reader, order_id: str) -> None:
        """Puts what is stored of an order from now on, and maybe some from before, into the queue of a reader."""
        self._followers.setdefault(order_id, set()).add(reader)

    def detach(self, reader: Reader, order_id: str) -> None:
        """Ends that."""
        readers = self._followers.get(order_id, set())
        readers.discard(reader)
        if not readers:
            self._followers.pop(order_id, None)

    def renew(self, reader: Reader) -> None:
        """Gives a reader an empty queue for all orders that it follows.

        Raises:
            ShuttingDown: The feed is closed.
        """
        if self._closed:
            raise ShuttingDown
        reader.queue = Outbox(self._queue_limit)
        for order_id in reader.known:
            self.attach(reader, order_id)

    async def stored(self, order_id: str, revision: int) -> list[Change]:
        """Returns the next changes of an order from the store.

        Raises:
            ShuttingDown: The feed is closed.
            StoreError: The store cannot be read.
        """
        if self._closed:
            raise ShuttingDown
        return await self._store.since(order_id, revision, self._batch)

    def close(self) -> None:
        """Ends all reading, and refuses new readers, with ShuttingDown."""
        self._closed = True
        self._stop_listening()
        for reader in self._readers:
            reader.queue.fail(ShuttingDown())

    def _has_readers(self) -> bool:
        return bool(self._readers)

    def _publish(self, entry: Change) -> None:
        for reader in tuple(self._followers.get(entry.order_id, ())):
            if not reader.queue.offer(entry):
                self._detach_all(reader)

    def _detach_all(self, reader: Reader) -> None:
        for order_id in reader.known:
            self.detach(reader, order_id)
