"""The bounded queue between those who have something to tell and one client that reads it at its own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

_T = TypeVar("_T")


class OutboxClosed(Exception):
    """The rest of the outbox will not be delivered."""


class ReaderTooSlow(OutboxClosed):
    """More was put in than the reader took out, and there was no more room."""


class ChangesMissed(OutboxClosed):
    """What should come next is not kept any more: the reader has to begin anew."""


class ShuttingDown(OutboxClosed):
    """The server is about to stop."""


class Outbox(Generic[_T]):
    """Holds up to `limit` items for one reader, who takes them by `async for`.

    It ends in one of two ways. After `finish` the reader gets what is left, and the iteration ends. After `fail`, or an
    `offer` that finds no room, what is left is dropped and the iteration raises.
    """

    def __init__(self, limit: int) -> None:
        """Makes an empty outbox.

        Args:
            limit: The most items that it holds.
        """
        self._limit = limit
        self._items: deque[_T] = deque()
        self._finished = False
        self._failure: OutboxClosed | None = None
        self._readable = asyncio.Event()
        self._room = asyncio.Event()

    def offer(self, item: _T) -> bool:
        """Puts an item in if there is room, else fails the outbox. Does nothing once the outbox has ended.

        Returns:
            Whether the outbox goes on.
        """
        if self.ended:
            return False
        if len(self._items) >= self._limit:
            self.fail(ReaderTooSlow())
            return False
        self._items.append(item)
        self._readable.set()
        return True

    async def wait_for_room(self) -> None:
        """Waits until an item can be put in, or the outbox has ended."""
        while len(self._items) >= self._limit and not self.ended:
            self._room.clear()
            await self._room.wait()

    def finish(self) -> None:
        """Ends the outbox after what it holds."""
        self._finished = True
        self._wake()

    def fail(self, failure: OutboxClosed) -> None:
        """Ends the outbox at once: its reader gets `failure` instead of what it holds."""
        if self._failure is None:
            self._failure = failure
            self._items.clear()
            self._wake()

    def __aiter__(self) -> Outbox[_T]:
        """Returns itself: the outbox has one reader, and what is read is gone."""
        return self

    async def __anext__(self) -> _T:
        """Takes the oldest item out, waiting for one if need be.

        Raises:
            StopAsyncIteration: The outbox is finished and empty.
            OutboxClosed: The outbox has failed.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._items:
                item = self._items.popleft()
                self._room.set()
                return item
            if self._finished:
                raise StopAsyncIteration
            self._readable.clear()
            await self._readable.wait()

    @property
    def ended(self) -> bool:
        """Whether nothing more can be put in."""
        return self._finished or self._failure is not None

    def _wake(self) -> None:
        self._readable.set()
        self._room.set()
