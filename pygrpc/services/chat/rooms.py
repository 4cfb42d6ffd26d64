"""What both contracts do with rooms: stays, sending, and the life of the parts below them."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pygrpc.services.buckets import Buckets, Rate
from pygrpc.services.chat import errors, validation
from pygrpc.services.chat.feed import ChatFeed, Reader
from pygrpc.services.chat.store import ChatStore, Joined, Kind, Message, Page, Room, Session
from pygrpc.services.chat.validation import Limits
from pygrpc.services.errors import StoreError, require
from pygrpc.services.fanout import Fanout

_log = logging.getLogger(__name__)

# A process that has not been heard of for the lease is taken for dead, and those in its rooms have left.
_LEASE_US = 15_000_000
_RENEWALS_S = 5.0
# For so many users it is known how fast they send.
_USERS_KNOWN = 10_000


class Stay:
    """A user's stay in a room, as its call sees it: the messages since the arrival, by `async for`.

    It ends after the announcement that the user has left, which whoever ends the stay has stored.

    Attributes:
        session_id: Its id in the store.
        user_id: The user.
        history: The last messages from before the arrival.
        parting: Whether the client itself has begun to end the stay.
    """

    def __init__(self, session: Session, joined: Joined, reader: Reader) -> None:
        """For ChatRooms."""
        self.session_id = session.session_id
        self.user_id = session.user_id
        self.history = joined.history
        self.parting = False
        self._reader = reader
        self._read = joined.sequence
        self._end: int | None = None

    def end_after(self, sequence: int) -> None:
        """Ends the iteration after this message."""
        self._end = sequence
        if self._read >= sequence:
            self._reader.finish()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yields each message once, in the order of their sequence.

        Raises:
            OutboxClosed: The reader is too slow, or the server shuts down.
        """
        async for message in self._reader.after(self._read):
            self._read = message.sequence
            yield message
            if message.kind is Kind.LEFT and message.user_id == self.user_id:
                return
            if self._end is not None and message.sequence >= self._end:
                return


class ChatRooms:
    """The rooms of a store, for the services of one event loop. An asynchronous context manager."""

    def __init__(
        self,
        store: ChatStore,
        *,
        limits: Limits | None = None,
        queue_limit: int = 256,
        poll: float = 0.05,
        fanout: Fanout | None = None,
        patience: float = 30.0,
    ) -> None:
        """Makes the rooms on an open store.

        Args:
            store: Where the rooms are. The caller closes it after the rooms.
            limits: The largest requests that are accepted.
            queue_limit: The most messages that wait for one client in memory.
            poll: How often to look for messages of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it after the rooms.
            patience: How long a client with more messages than that may take to read on, in seconds.
        """
        self.limits = limits or Limits()
        self.store = store
        self.feed = ChatFeed(store, queue_limit, poll, fanout, patience=patience)
        self.server_id = str(uuid.uuid4())
        self._buckets = Buckets(Rate(self.limits.rate, self.limits.burst), _USERS_KNOWN, time.monotonic_ns)
        self._tasks: set[asyncio.Future[Any]] = set()
        self._stays: set[asyncio.Future[Any]] = set()
        # The sessions that are over although that could not be stored yet.
        self._over: set[str] = set()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> ChatRooms:
        """Begins to hand messages on."""
        await self.store.renew(self.server_id, _LEASE_US)
        self._running = [asyncio.create_task(self.feed.run()), asyncio.create_task(self._renew())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Waits until everybody has left; to be called when the server has ended its calls."""
        self.shut_down()
        while unfinished := self._tasks | self._stays:
            await asyncio.wait(unfinished)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def shut_down(self) -> None:
        """Ends the calls that would not end by themselves, so that a graceful stop need not wait for them."""
        self.feed.close()

    async def create(self, name: str, description: str, created_by: str, room_id: str = "") -> Room:
        """Opens a room."""
        require(validation.check_room(room_id, name, description, created_by, self.limits))
        return await self.store.create_room(name.strip(), description, created_by, room_id, self.limits.rooms)

    @asynccontextmanager
    async def stay(self, room_id: str, user_id: str, username: str, history: int) -> AsyncIterator[Stay]:
        """Keeps a user in a room while the context is open."""
        require(validation.check_join(room_id, user_id, username, history, self.limits))
        session_id = str(uuid.uuid4())
        name = username.strip() or f"User_{user_id}"
        session = Session(session_id, self.server_id, room_id, user_id, name)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.feed.catch_up()
        # Those who are dropped leave at once: their calls may take long to end, as nobody reads their status either.
        with self.feed.follow(room_id, lambda: self._part(session_id)) as reader:
            self._stays.add(over)
            try:
                history = min(history, self.limits.page_size)
                joined = await self.store.join(session, history=history, most=self.limits.members)
                yield Stay(session, joined, reader)
            finally:
                # Also if this task is cancelled, once more while it waits, or was so while the arrival was stored.
                self._stays.discard(over)
                over.cancel()
                await asyncio.shield(self._part(session_id))

    async def part(self, stay: Stay) -> None:
        """Ends a stay early; its iteration ends after all messages from before that."""
        stay.parting = True
        try:
            last = await self.store.end_session(stay.session_id)
        except StoreError:
            stay.end_after(0)
            raise
        # If it has ended already, the announcement that the user has left is on its way.
        if last:
            stay.end_after(last)

    async def send(self, room_id: str, user_id: str, content: str, key: str = "") -> Message:
        """Stores what a user says, once for each key."""
        require(validation.check_member(room_id, user_id, self.limits))
        require(validation.check_content(content, self.limits) + validation.check_key(key, self.limits))
        wait = self._buckets.take(user_id)
        if wait:
            raise errors.too_fast(wait)
        return await self.store.send(room_id, user_id, content, keep=self.limits.messages, key=key)

    async def leave(self, room_id: str, user_id: str) -> bool:
        """Ends all stays of a user in a room; returns whether there were any."""
        require(validation.check_member(room_id, user_id, self.limits))
        return await self.store.leave(room_id, user_id)

    async def history(self, room_id: str, size: int, before_message_id: str) -> Page:
        """Returns the last messages of a room, or those before a given one."""
        require(validation.check_room_id(room_id, self.limits))
        require(list(validation.check_before(room_id, before_message_id)))
        before = validation.sequence_of(room_id, before_message_id)
        return await self.store.history(room_id, min(size, self.limits.page_size), before)

    def page_size(self, asked: int, default: int) -> int:
        """Returns how much to put into a page."""
        return min(asked or default, self.limits.page_size)

    def _part(self, session_id: str) -> asyncio.Task[int]:
        task = asyncio.get_running_loop().create_task(self._end(session_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self, session_id: str) -> int:
        try:
            return await self.store.end_session(session_id)
        except StoreError as error:
            _log.error("A departure could not be stored yet: %s", error)
            self._over.add(session_id)
            return 0

    async def renew(self) -> None:
        """Says that this process lives, and stores the departures that could not be stored. From time to time."""
        try:
            await self.store.renew(self.server_id, _LEASE_US)
            for session_id in tuple(self._over):
                await self.store.end_session(session_id)
                self._over.discard(session_id)
        except StoreError as error:
            _log.error("The chat database cannot be written: %s", error)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWALS_S)
            await self.renew()
