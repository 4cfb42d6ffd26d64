"""Committed changes on their way to the clients that watch a user, from whatever process they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from google.protobuf.timestamp_pb2 import Timestamp

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout, LocalFanout
from pygrpc.services.outbox import ChangesMissed, Outbox, OutboxClosed, ShuttingDown
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.store import Change, UserStore

_log = logging.getLogger(__name__)

TOPIC = "users"


class UserEvents:
    """Hands each change to those who watch its user.

    The changes are in a log of the store, in the order of its commits, and have positions without gaps. What this
    process commits is handed on at once if it follows what was handed on before. Otherwise something of another process
    is in between, and the log is read; it is also read when a hint comes from another process, and from time to time,
    while somebody watches.
    """

    def __init__(
        self,
        store: UserStore,
        queue_limit: int,
        *,
        poll: float = 0.25,
        fanout: Fanout | None = None,
        poll_besides_hints: float = 2.0,
    ) -> None:
        """Makes it without watchers.

        Args:
            store: Where the changes come from.
            queue_limit: The most changes that wait for one watcher; a watcher that lets more pile up is dropped.
            poll: How often to look for changes of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it afterwards.
            poll_besides_hints: How often to look while hints come, as one may be lost; and after the store has failed.
        """
        self._store = store
        self._queue_limit = queue_limit
        # So many are handed on at a time: watchers that keep up have emptied their queues before the next ones come.
        self._batch = max(1, queue_limit // 2)
        self._poll, self._poll_besides_hints = poll, poll_besides_hints
        self._watchers: dict[str, set[Outbox[Change]]] = {}
        # All changes up to this one have been handed on. It is known while somebody watches.
        self._position: int | None = None
        # Held while the position is looked up or the log is read.
        self._moving = asyncio.Lock()
        self._news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._closed = False
        self._fanout = fanout or LocalFanout()
        self._publishing = False
        self._stop_listening = self._fanout.listen(TOPIC, self._hinted)
        store.listen(self._committed)

    @property
    def watchers(self) -> int:
        """How many watches there are."""
        return sum(map(len, self._watchers.values()))

    @asynccontextmanager
    async def watch(self, user_id: str) -> AsyncIterator[Outbox[Change]]:
        """Collects the changes of one user while the context is open. They end after the user's deletion.

        A change that is not in what is read of the user from now on comes in the outbox; one that is may come too.

        Raises:
            ShuttingDown: The fan-out is closed.
            StoreError: The store does not work.
        """
        if self._closed:
            raise ShuttingDown
        outbox: Outbox[Change] = Outbox(self._queue_limit)
        self._watchers.setdefault(user_id, set()).add(outbox)
        try:
            async with self._moving:
                if self._position is None:
                    self._position = await self._store.latest()
            if self._following is None:
                self._following = asyncio.create_task(self._follow())
            yield outbox
        finally:
            self._remove(user_id, outbox)
            if not self._watchers:
                await self._rest()

    async def follow(self, user_id: str) -> AsyncGenerator[user_pb2.UserEvent, None]:
        """Yields the state of a user and then its changes, in order and without a gap, until it is removed.

        Close it with `aclosing`: it watches until then.

        Raises:
            UserNotFound: There is no such user.
            OutboxClosed: The rest cannot be delivered.
            StoreError: The store does not work.
        """
        # The watch begins before the user is read, and what is in both is yielded once: so there is no gap.
        async with self.watch(user_id) as changes:
            user, revision = await self._store.get(user_id)
            now = Timestamp()
            now.GetCurrentTime()
            yield user_pb2.UserEvent(event_type=user_pb2.USER_EVENT_TYPE_INITIAL, user=user, timestamp=now)
            async for change in changes:
                if change.revision > revision:
                    yield change.event

    def close(self) -> None:
        """Ends all watches, and refuses new ones, with ShuttingDown."""
        self._closed = True
        self._stop_listening()
        self._fail(ShuttingDown())

    def _committed(self, changes: Sequence[Change]) -> None:
        if self._position is None or self._moving.locked() or len(changes) > self._batch:
            self._news.set()
        else:
            self._hand_on(changes)
        # This tells the listeners of this process too, and the changes are handed on already.
        self._publishing = True
        self._fanout.publish(TOPIC)
        self._publishing = False

    def _hinted(self) -> None:
        if not self._publishing:
            self._news.set()

    def _hand_on(self, changes: Sequence[Change]) -> None:
        """Hands changes of this process on, unless there is something of another one before them."""
        if changes[0].position - 1 != self._position:
            self._news.set()
            return
        for change in changes:
            self._publish(change)
        self._position = changes[-1].position

    async def _follow(self) -> None:
        """Reads the log when there may be something new, until it is cancelled."""
        failing = False
        while True:
            # Not asyncio.wait_for: before Python 3.12 that loses a cancellation which comes together with the news.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_besides_hints if failing else self._interval()):
                    await self._news.wait()
            self._news.clear()
            try:
                async with self._moving:
                    await self._advance()
                failing = False
            except StoreError as error:
                # Those who watch see a gap in time and none in the changes: the position has not moved.
                if not failing:
                    _log.error("The user database cannot be read: %s", error)
                failing = True

    def _interval(self) -> float | None:
        """Returns after how long to look without a hint; None for never."""
        if not self._store.shared:
            return None
        return self._poll_besides_hints if self._fanout.shared and self._fanout.healthy else self._poll

    async def _advance(self) -> None:
        assert self._position is not None
        while True:
            changes = await self._store.after(self._position, self._batch)
            if changes and changes[0].position - 1 != self._position:
                # This process was away for so long that the log does not reach back.
                _log.warning("Changes of users were missed; their watchers have to begin anew.")
                self._fail(ChangesMissed())
                self._position = await self._store.latest()
                return
            for change in changes:
                self._publish(change)
                self._position = change.position
            if len(changes) < self._batch:
                return

    async def _rest(self) -> None:
        """Stops reading the log: nobody watches."""
        self._position = None
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait((following,))

    def _publish(self, change: Change) -> None:
        user_id = change.event.user.id
        for outbox in tuple(self._watchers.get(user_id, ())):
            if not outbox.ended and not outbox.offer(change):
                _log.warning("A watcher of user %s is too slow and was dropped.", user_id)
                self._remove(user_id, outbox)
            elif change.event.event_type == user_pb2.USER_EVENT_TYPE_DELETED:
                outbox.finish()

    def _fail(self, failure: OutboxClosed) -> None:
        for outboxes in self._watchers.values():
            for outbox in outboxes:
                outbox.fail(failure)

    def _remove(self, user_id: str, outbox: Outbox[Change]) -> None:
        outboxes = self._watchers.get(user_id, set())
        outboxes.discard(outbox)
        if not outboxes:
            self._watchers.pop(user_id, None)
