"""Changes on their way to watchers, without a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import LocalFanout
from pygrpc.services.outbox import ChangesMissed, Outbox, ReaderTooSlow, ShuttingDown
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users import database as stores
from pygrpc.services.users.database import DatabaseUserStore
from pygrpc.services.users.events import TOPIC, UserEvents
from pygrpc.services.users.store import Change
from tests.services.stores import Clock, create, new, opened, rename
from tests.services.support import all_of, until

NEVER = 3600.0
BOUND = 20.0


class Hints(LocalFanout):
    """A fan-out to other processes, of which the test says whether it works."""

    shared = True
    healthy = True


class Counted(DatabaseUserStore):
    """A store that counts how often its log is read."""

    reads = 0
    failing = False

    async def after(self, position: int, limit: int) -> list[Change]:
        self.reads += 1
        if self.failing:
            raise StoreError("disk I/O error")
        return await super().after(position, limit)


@asynccontextmanager
async def two(database: str) -> AsyncIterator[tuple[Counted, Counted, user_pb2.User]]:
    """The stores of two processes on one database, with a user."""
    here, there = [await Counted.open(database, clock=Clock()) for _ in range(2)]
    try:
        [user] = await create(here, new("Ann"))
        async with asyncio.timeout(BOUND):
            yield here, there, user
    finally:
        await here.close()
        await there.close()


async def revisions(outbox: Outbox[Change], count: int) -> list[int]:
    return [(await anext(outbox)).revision for _ in range(count)]


async def test_each_watcher_gets_the_changes_of_its_user() -> None:
    async with opened(":memory:") as store:
        events = UserEvents(store, 8)
        ann, bob, other = await create(store, new("Ann"), new("Bob"), new("Other"))
        async with events.watch(ann.id) as first, events.watch(ann.id) as second, events.watch(bob.id) as third:
            assert events.watchers == 3
            for user in (ann, other, bob):
                await store.update(user.id, rename("changed"))
            for outbox, user in ((first, ann), (second, ann), (third, bob)):
                assert (await anext(outbox)).event.user.id == user.id
                outbox.finish()
                assert await all_of(outbox) == []
        assert events.watchers == 0


async def test_a_watch_ends_with_the_deletion() -> None:
    async with opened(":memory:") as store:
        events = UserEvents(store, 8)
        [user] = await create(store, new("Ann"))
        async with events.watch(user.id) as outbox:
            await store.update(user.id, rename("Bob"))
            await store.delete(user.id)
            assert [item.revision for item in await all_of(outbox)] == [2, 3]


async def test_a_slow_watcher_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(":memory:") as store:
        events = UserEvents(store, 2)
        [user] = await create(store, new("Ann"))
        async with events.watch(user.id) as slow, events.watch(user.id) as quick:
            with caplog.at_level(logging.WARNING, "pygrpc"):
                for revision in (2, 3, 4):
                    await store.update(user.id, rename(str(revision)))
                    assert (await anext(quick)).revision == revision
            assert events.watchers == 1
            with pytest.raises(ReaderTooSlow):
                await anext(slow)
        assert events.watchers == 0
        assert caplog.messages == [f"A watcher of user {user.id} is too slow and was dropped."]


async def test_closing_ends_all_watches_and_refuses_new_ones() -> None:
    async with opened(":memory:") as store:
        events = UserEvents(store, 2)
        async with events.watch("ann") as outbox:
            events.close()
            with pytest.raises(ShuttingDown):
                await anext(outbox)
        with pytest.raises(ShuttingDown):
            async with events.watch("ann"):
                raise AssertionError
        assert events.watchers == 0


async def test_the_changes_of_one_process_are_handed_on_without_reading_the_log(shared_database: str) -> None:
    async with two(shared_database) as (here, _, user):
        events = UserEvents(here, 8, poll=NEVER, fanout=LocalFanout())
        async with events.watch(user.id) as outbox:
            for revision in (2, 3, 4):
                await here.update(user.id, rename(str(revision)))
                # It is there before the write has returned.
                assert [change.revision for change in outbox._items] == [revision]
                await anext(outbox)
        assert here.reads == 0


async def test_the_changes_of_another_process_are_found_by_looking(shared_database: str) -> None:
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=0.001)
        async with events.watch(user.id) as outbox:
            await there.update(user.id, rename("Bob"))
            assert (await anext(outbox)).event.user.name == "Bob"
            await there.delete(user.id)
            assert [item.revision for item in await all_of(outbox)] == [3]


async def test_a_hint_is_followed_up_at_once(shared_database: str) -> None:
    hints = Hints()
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=NEVER, fanout=hints, poll_besides_hints=NEVER)
        UserEvents(there, 8, fanout=hints)
        async with events.watch(user.id) as outbox:
            await there.update(user.id, rename("Bob"))
            assert (await anext(outbox)).event.user.name == "Bob"


async def test_a_change_of_this_process_brings_those_that_others_made_before(shared_database: str) -> None:
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=NEVER)
        async with events.watch(user.id) as outbox:
            await there.update(user.id, rename("Bob"))
            await here.update(user.id, rename("Cid"))
            await there.update(user.id, rename("Dan"))
            await here.update(user.id, rename("Eve"))
            assert await revisions(outbox, 4) == [2, 3, 4, 5]


async def test_both_processes_tell_each_other(shared_database: str) -> None:
    told: list[None] = []
    async with two(shared_database) as (here, _, user):
        hints = Hints()
        events = UserEvents(here, 8, fanout=hints)
        hints.listen(TOPIC, lambda: told.append(None))
        await here.update(user.id, rename("Bob"))
        assert len(told) == 1
        events.close()


async def test_looking_is_seldom_while_hints_come(shared_database: str) -> None:
    hints = Hints()
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=0.001, fanout=hints, poll_besides_hints=NEVER)
        async with events.watch(user.id) as outbox:
            await there.update(user.id, rename("Bob"))
            hints.healthy = False
            # As a fan-out says when it has lost its connection.
            hints.publish(TOPIC)
            assert (await anext(outbox)).event.user.name == "Bob"
            await there.update(user.id, rename("Cid"))
            assert (await anext(outbox)).event.user.name == "Cid"


async def test_a_log_that_cannot_be_read_for_a_while(shared_database: str, caplog: pytest.LogCaptureFixture) -> None:
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=0.001, poll_besides_hints=0.001)
        async with events.watch(user.id) as outbox:
            here.failing = True
            await there.update(user.id, rename("Bob"))
            await until(lambda: here.reads > 3)
            here.failing = False
            assert (await anext(outbox)).event.user.name == "Bob"
        assert caplog.messages == ["The user database cannot be read: disk I/O error"]


async def test_who_was_away_for_longer_than_the_log_reaches_begins_anew(
    shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_KEEP", 3)
    monkeypatch.setattr(stores, "_PRUNE_EVERY", 5)
    async with two(shared_database) as (here, there, user):
        events = UserEvents(here, 8, poll=NEVER)
        async with events.watch(user.id) as outbox:
            for number in range(9):
                await there.update(user.id, rename(str(number)))
            assert [change.position for change in await here.after(0, 99)] == [8, 9, 10]
            await here.update(user.id, rename("last"))
            with pytest.raises(ChangesMissed):
                await anext(outbox)
            async with events.watch(user.id) as again:
                await here.update(user.id, rename("once more"))
                assert (await anext(again)).event.user.name == "once more"


async def test_the_log_keeps_no_more_than_it_has_to(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_KEEP", 4)
    monkeypatch.setattr(stores, "_PRUNE_EVERY", 2)
    async with opened(database) as store:
        users = await create(store, *(new(f"U{number}") for number in range(7)))
        for user in users:
            await store.delete(user.id)
        found = await store.after(0, 99)
        assert [change.position for change in found] == [11, 12, 13, 14]
        assert await store.latest() == 14
        assert found[-1].event.event_type == user_pb2.USER_EVENT_TYPE_DELETED


async def test_a_watch_of_a_store_that_does_not_work(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(DatabaseUserStore):
        async def latest(self) -> int:
            raise StoreError("disk I/O error")

    store = await Broken.open(":memory:")
    events = UserEvents(store, 8)
    with pytest.raises(StoreError):
        async with aclosing(events.follow("ann")) as following:
            await anext(following)
    assert events.watchers == 0
    await store.close()


class StoreInMemory:
    """What events need of a store, of which a test says when another process writes to it."""

    shared = True

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.listener: Any = None

    def listen(self, listener: Any) -> None:
        self.listener = listener

    def add(self, count: int, *, own: bool) -> None:
        first = len(self.changes) + 1
        event = user_pb2.UserEvent(user=user_pb2.User(id="ann"))
        added = [Change(event, position, position) for position in range(first, first + count)]
        self.changes += added
        if own:
            self.listener(added)

    async def latest(self) -> int:
        await asyncio.sleep(0)
        latest = len(self.changes)
        await asyncio.sleep(0)
        return latest

    async def after(self, position: int, limit: int) -> Sequence[Change]:
        await asyncio.sleep(0)
        found = self.changes[position : position + limit]
        await asyncio.sleep(0)
        return found


steps = st.lists(st.tuples(st.sampled_from(["own", "other", "turn", "watch", "leave"]), st.integers(1, 3)), max_size=25)


@given(steps=steps)
async def test_no_interleaving_makes_a_gap(steps: list[tuple[str, int]]) -> None:
    store = StoreInMemory()
    events = UserEvents(store, 1000, poll=0)  # type: ignore[arg-type]
    watches: list[tuple[list[int], asyncio.Event, asyncio.Task[None]]] = []

    async def watch(seen: list[int], leave: asyncio.Event) -> None:
        async with events.watch("ann") as outbox:
            reading = asyncio.create_task(read(outbox, seen))
            await leave.wait()
            # It ends if nothing is missed.
            await until(lambda: bool(seen) and seen[-1] == len(store.changes))
            reading.cancel()
            await asyncio.wait((reading,))

    async def read(outbox: Outbox[Change], seen: list[int]) -> None:
        # What is stored once the watch has begun is what it must not miss.
        seen.append(len(store.changes))
        async for change in outbox:
            if change.position > seen[0]:
                seen.append(change.position)

    for kind, count in steps:
        if kind in ("own", "other"):
            store.add(count, own=kind == "own")
        elif kind == "turn":
            for _ in range(count):
                await asyncio.sleep(0)
        elif kind == "watch":
            seen: list[int] = []
            leave = asyncio.Event()
            watches.append((seen, leave, asyncio.create_task(watch(seen, leave))))
        elif watches:
            watches[0][1].set()
    for seen, leave, task in watches:
        leave.set()
        async with asyncio.timeout(BOUND):
            await task
        assert seen == list(range(seen[0], seen[-1] + 1))
    assert events.watchers == 0
