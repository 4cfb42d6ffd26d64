from __future__ import annotations

import logging

import pytest

from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.events import UserEvents
from pygrpc.services.users.store import Change
from tests.services.support import all_of


def change(user_id: str, revision: int, kind: user_pb2.UserEventType = user_pb2.USER_EVENT_TYPE_UPDATED) -> Change:
    return Change(user_pb2.UserEvent(event_type=kind, user=user_pb2.User(id=user_id)), revision)


async def test_each_watcher_gets_the_changes_of_its_user() -> None:
    events = UserEvents(8)
    with events.watch("ann") as first, events.watch("ann") as second, events.watch("bob") as other:
        assert events.watchers == 3
        events.publish([change("ann", 2)])
        events.publish([change("bob", 2)])
        events.publish([change("nobody", 2)])
        for outbox, user_id in ((first, "ann"), (second, "ann"), (other, "bob")):
            assert (await anext(outbox)).event.user.id == user_id
            outbox.finish()
            assert await all_of(outbox) == []
    assert events.watchers == 0


async def test_a_watch_ends_with_the_deletion() -> None:
    events = UserEvents(8)
    with events.watch("ann") as outbox:
        events.publish([change("ann", 2)])
        events.publish([change("ann", 3, user_pb2.USER_EVENT_TYPE_DELETED)])
        assert [item.revision for item in await all_of(outbox)] == [2, 3]


async def test_a_slow_watcher_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    events = UserEvents(2)
    with events.watch("ann") as slow, events.watch("ann") as quick, caplog.at_level(logging.WARNING, "pygrpc"):
        for revision in (2, 3, 4):
            events.publish([change("ann", revision)])
            assert (await anext(quick)).revision == revision
        assert events.watchers == 1
        with pytest.raises(ReaderTooSlow):
            await anext(slow)
    assert events.watchers == 0
    assert [record.getMessage() for record in caplog.records] == ["A watcher of user ann is too slow and was dropped."]


async def test_closing_ends_all_watches_and_refuses_new_ones() -> None:
    events = UserEvents(2)
    with events.watch("ann") as outbox:
        events.publish([change("ann", 2)])
        events.close()
        with pytest.raises(ShuttingDown):
            await anext(outbox)
    with pytest.raises(ShuttingDown), events.watch("ann"):
        pass
    assert events.watchers == 0
