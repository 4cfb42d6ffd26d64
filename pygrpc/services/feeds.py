"""How what is new in a store comes to those in this process who wait for it, from whatever process it is."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout, LocalFanout

_log = logging.getLogger(__name__)


class Positioned(Protocol):
    """An entry of a store that knows its place in the order of the commits."""

    @property
    def position(self) -> int:
        """Grows with each entry of the whole store."""


_T = TypeVar("_T", bound=Positioned)


class Source(Protocol[_T]):
    """What a feed needs of a store."""

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""

    def listen(self, listener: Callable[[Any], None]) -> None:
        """Calls `listener` after each commit of this store that has added entries."""

    async def after(self, position: int, limit: int) -> list[_T]:
        """Returns the first entries behind a position."""

    async def latest(self) -> int:
        """Returns the position of the last entry, 0 if there is none."""


class Feed(ABC, Generic[_T]):
    """Reads the entries of a store in the order of its commits, while there are readers, and hands them on.

    There is one way for all entries: they are read from the store, whether this process has written them or another
    one. So everybody sees one order, and an entry is never shown before it is stored. A commit of this process is
    followed up at once, and so are those of others if hints come from there. Besides, the store is asked from time to
    time.

    Attributes:
        topic: Under which hints go through the fan-out.
        database: What the store is called in a sentence.
    """

    topic: ClassVar[str]
    database: ClassVar[str]

    def __init__(
        self, store: Source[_T], queue_limit: int, poll: float, fanout: Fanout | None, poll_besides_hints: float
    ) -> None:
        """Makes a feed without readers. `run` has to run for entries to move.

        Args:
            store: Where the entries come from.
            queue_limit: The most entries that wait for one reader in memory.
            poll: How often to look for entries of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it afterwards.
            poll_besides_hints: How often to look while hints come, as one may be lost; and after the store has failed.
        """
        self._source = store
        self._queue_limit = queue_limit
        # So many are handed on at a time: readers that keep up have emptied their queues before the next ones come.
        self._batch = max(1, queue_limit // 2)
        self._poll, self._poll_besides_hints = poll, poll_besides_hints
        # All entries up to this one have been handed on.
        self._position = 0
        # Held while the position moves.
        self._moving = asyncio.Lock()
        self._news = asyncio.Event()
        self._closed = False
        self._fanout = fanout or LocalFanout()
        self._stop_listening = self._fanout.listen(self.topic, self._news.set)
        store.listen(self._committed)

    @abstractmethod
    def _has_readers(self) -> bool:
        """Whether anybody waits for entries."""

    @abstractmethod
    def _publish(self, entry: _T) -> None:
        """Hands an entry on to those whom it concerns."""

    async def catch_up(self) -> None:
        """Passes by what was stored while nobody was there to read it. To be called before a reader comes."""
        if self._has_readers():
            return
        async with self._moving:
            latest = await self._source.latest()
            # A reader that has come meanwhile may need what is before this position.
            if not self._has_readers():
                self._position = latest

    async def run(self) -> None:
        """Hands entries on until it is cancelled."""
        failing = False
        while True:
            self._news.clear()
            try:
                await self._advance()
                failing = False
            except StoreError as error:
                # Those who read see a gap in time and none in the entries: the position has not moved.
                if not failing:
                    _log.error("The %s cannot be read: %s", self.database, error)
                failing = True
            await self._wait(self._poll_besides_hints if failing else self._interval())

    def _committed(self, entries: object) -> None:
        self._fanout.publish(self.topic)

    def _interval(self) -> float | None:
        """Returns after how long to look without a hint; None for never."""
        if not self._has_readers() or not self._source.shared:
            return None
        return self._poll_besides_hints if self._fanout.shared and self._fanout.healthy else self._poll

    async def _wait(self, seconds: float | None) -> None:
        # Not asyncio.wait_for: before Python 3.12 that loses a cancellation which comes together with the news.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _advance(self) -> None:
        async with self._moving:
            while self._has_readers():
                entries = await self._source.after(self._position, self._batch)
                for entry in entries:
                    self._publish(entry)
                    self._position = entry.position
                if len(entries) < self._batch:
                    return
