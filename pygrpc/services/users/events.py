"""Committed changes on their way to the clients that watch a user."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager

from google.protobuf.timestamp_pb2 import Timestamp

from pygrpc.services.outbox import Outbox, ShuttingDown
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.store import Change, UserStore

_log = logging.getLogger(__name__)


class UserEvents:
    """Hands each change to those who watch its user.

    A watch that is begun before the user is read misses nothing: a change is either in what was read, or comes after it
    in the outbox, or both; the revision tells.
    """

    def __init__(self, queue_limit: int) -> None:
        """Makes an empty fan-out.

        Args:
            queue_limit: The most changes that wait for one watcher; a watcher that lets more pile up is dropped.
        """
        self._queue_limit = queue_limit
        self._watchers: dict[str, set[Outbox[Change]]] = {}
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many watches there are."""
        return sum(map(len, self._watchers.values()))

    @contextmanager
    def watch(self, user_id: str) -> Iterator[Outbox[Change]]:
        """Collects the changes of one user while the context is open. They end after the user's deletion.

        Raises:
            ShuttingDown: The fan-out is closed.
        """
        if self._closed:
            raise ShuttingDown
        outbox: Outbox[Change] = Outbox(self._queue_limit)
        self._watchers.setdefault(user_id, set()).add(outbox)
        try:
            yield outbox
        finally:
            self._remove(user_id, outbox)

    async def follow(self, store: UserStore, user_id: str) -> AsyncGenerator[user_pb2.UserEvent, None]:
        """Yields the state of a user and then its changes, in order and without a gap, until it is removed.

        Close it with `aclosing`: it watches until then.

        Raises:
            UserNotFound: There is no such user.
            ShuttingDown: The fan-out is closed.
            ReaderTooSlow: More changes piled up than may wait.
        """
        # The watch begins before the user is read, and what is in both is yielded once: so there is no gap.
        with self.watch(user_id) as changes:
            user, revision = await store.get(user_id)
            now = Timestamp()
            now.GetCurrentTime()
            yield user_pb2.UserEvent(event_type=user_pb2.USER_EVENT_TYPE_INITIAL, user=user, timestamp=now)
            async for change in changes:
                if change.revision > revision:
                    yield change.event

    def publish(self, changes: Iterable[Change]) -> None:
        """Hands changes to their watchers; to be called in the order of the commits."""
        for change in changes:
            self._publish(change)

    def _publish(self, change: Change) -> None:
        user_id = change.event.user.id
        for outbox in tuple(self._watchers.get(user_id, ())):
            if not outbox.offer(change):
                _log.warning("A watcher of user %s is too slow and was dropped.", user_id)
                self._remove(user_id, outbox)
            elif change.event.event_type == user_pb2.USER_EVENT_TYPE_DELETED:
                outbox.finish()

    def close(self) -> None:
        """Ends all watches, and refuses new ones, with ShuttingDown."""
        self._closed = True
        for outboxes in self._watchers.values():
            for outbox in outboxes:
                outbox.fail(ShuttingDown())

    def _remove(self, user_id: str, outbox: Outbox[Change]) -> None:
        outboxes = self._watchers.get(user_id, set())
        outboxes.discard(outbox)
        if not outboxes:
            self._watchers.pop(user_id, None)
