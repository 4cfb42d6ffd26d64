from __future__ import annotations

import asyncio
import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from pygrpc.services.errors import StoreError
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users import fields, validation
from pygrpc.services.users.database import DatabaseUserStore
from pygrpc.services.users.store import (
    Change,
    EmailTaken,
    NewUser,
    Position,
    UserNotFound,
    email_key,
    position_of,
)
from tests.services.stores import Clock, create, new, opened, rename
from tests.services.support import names


async def test_a_user_comes_back_as_it_was_stored(database: str) -> None:
    async with opened(database) as store:
        whole = new(
            "Ann",
            profile=user_pb2.Profile(bio="b", social_links=[user_pb2.SocialLink(platform="p", url="u")]),
            tags=["x", "y"],
            metadata={"k": "v"},
            phone="+1 555",
            slack_id="U1",
        )
        [user] = await create(store, whole)
        assert user.id
        assert user.created_at.ToMicroseconds() == user.updated_at.ToMicroseconds() == Clock().now
        assert (await store.get(user.id)).user == user
        user.ClearField("id")
        user.ClearField("created_at")
        user.ClearField("updated_at")
        assert user == whole.user


async def test_users_survive_the_store(shared_database: str) -> None:
    async with opened(shared_database) as store:
        [user] = await create(store, new("Ann"))
    url = shared_database if "://" in shared_database else f"sqlite:///{shared_database}"
    async with opened(url) as store:
        assert (await store.get(user.id)).user == user


async def test_a_missing_user(database: str) -> None:
    async with opened(database) as store:
        with pytest.raises(UserNotFound, match='no user "nobody"') as raised:
            await store.get("nobody")
        assert raised.value.user_id == "nobody"
        with pytest.raises(UserNotFound):
            await store.update("nobody", lambda user: None)
        with pytest.raises(UserNotFound):
            await store.delete("nobody")


async def test_an_address_belongs_to_one_user_in_any_case(database: str) -> None:
    async with opened(database) as store:
        [ann] = await create(store, new("Ann", "Ann@Example.com"))
        [taken] = await store.create([new("Other", "aNN@eXAMPLE.COM")])
        assert isinstance(taken, EmailTaken)
        assert (taken.email, taken.holder) == ("aNN@eXAMPLE.COM", ann.id)
        assert names(await store.page(limit=9)) == ["Ann"]


async def test_one_taken_address_does_not_stop_the_others(database: str) -> None:
    async with opened(database) as store:
        await create(store, new("Ann"))
        results = await store.create([new("Bob"), new("Ann"), new("Bob"), new("Cid")])
        assert [type(result) for result in results] == [user_pb2.User, EmailTaken, EmailTaken, user_pb2.User]
        assert names(await store.page(limit=9)) == ["Ann", "Bob", "Cid"]


async def test_an_update_changes_the_user_and_its_time(database: str) -> None:
    clock = Clock()
    async with opened(database, clock) as store:
        [user] = await create(store, new("Ann", tags=["x"]))
        clock.now += 5
        changed = await store.update(user.id, rename("Bob"))
        assert changed.name == "Bob"
        assert changed.tags == ["x"]
        assert changed.created_at == user.created_at
        assert changed.updated_at.ToMicroseconds() == clock.now
        assert await store.get(user.id) == (changed, 2)


async def test_the_time_of_an_update_moves_forward_even_if_the_clock_does_not(database: str) -> None:
    clock = Clock()
    async with opened(database, clock) as store:
        [user] = await create(store, new("Ann"))
        clock.now -= 1000
        first = await store.update(user.id, rename("Bob"))
        second = await store.update(user.id, rename("Cid"))
        times = [changed.updated_at.ToMicroseconds() for changed in (user, first, second)]
        assert times == [times[0], times[0] + 1, times[0] + 2]


async def test_a_user_may_respell_its_own_address_but_not_take_anothers(database: str) -> None:
    async with opened(database) as store:
        ann, bob = await create(store, new("Ann"), new("Bob"))
        respelt = await store.update(ann.id, lambda user: setattr(user, "email", "ANN@example.com"))
        assert respelt.email == "ANN@example.com"
        with pytest.raises(EmailTaken) as raised:
            await store.update(ann.id, lambda user: setattr(user, "email", "BOB@example.com"))
        assert raised.value.holder == bob.id
        assert await store.get(ann.id) == (respelt, 2)


async def test_a_change_that_raises_changes_nothing(database: str) -> None:
    def fail(user: user_pb2.User) -> None:
        user.name = "half"
        raise ZeroDivisionError

    async with opened(database) as store:
        [user] = await create(store, new("Ann"))
        with pytest.raises(ZeroDivisionError):
            await store.update(user.id, fail)
        assert await store.get(user.id) == (user, 1)
        await store.update(user.id, rename("Bob"))


async def test_the_address_of_a_deleted_user_is_free(database: str) -> None:
    async with opened(database) as store:
        [user] = await create(store, new("Ann"))
        await store.delete(user.id)
        with pytest.raises(UserNotFound):
            await store.get(user.id)
        [again] = await create(store, new("Ann"))
        assert again.id != user.id


async def test_pages_follow_the_order_of_creation(database: str) -> None:
    everybody = [f"U{number}" for number in range(7)]
    async with opened(database) as store:
        for name in everybody[:3]:
            await create(store, new(name))
        await create(store, *map(new, everybody[3:]))
        assert names(await store.page(limit=100)) == everybody
        first = await store.page(limit=3)
        second = await store.page(limit=3, after=position_of(first[-1]))
        third = await store.page(limit=3, after=position_of(second[-1]))
        assert [names(first), names(second), names(third)] == [everybody[:3], everybody[3:6], everybody[6:]]
        assert names(await store.page(limit=2, offset=4)) == everybody[4:6]
        assert names(await store.page(limit=2, after=position_of(first[-1]), offset=1)) == everybody[4:6]


async def test_users_of_the_same_microsecond_are_in_the_order_of_their_ids(shared_database: str) -> None:
    path = shared_database
    for name in ("Ann", "Bob", "Cid"):
        # A new store starts its times afresh, and the clock stands still.
        async with opened(path) as store:
            await create(store, new(name))
    async with opened(path) as store:
        page = await store.page(limit=9)
        assert len({user.created_at.ToMicroseconds() for user in page}) == 1
        assert [user.id for user in page] == sorted(user.id for user in page)
        assert await store.page(limit=9, after=position_of(page[0])) == page[1:]


async def test_a_page_stays_where_it_was_when_users_before_it_are_deleted(database: str) -> None:
    async with opened(database) as store:
        users = await create(store, *map(new, ["Ann", "Bob", "Cid"]))
        await store.delete(users[1].id)
        assert names(await store.page(limit=9, after=position_of(users[1]))) == ["Cid"]
        assert await store.page(limit=9, after=Position(2**62, "")) == []


async def test_pages_can_be_filtered_by_status(database: str) -> None:
    async with opened(database) as store:
        await create(store, new("Ann"), new("Bob", status=user_pb2.USER_STATUS_PENDING), new("Cid"))
        assert names(await store.page(limit=9, status=user_pb2.USER_STATUS_ACTIVE)) == ["Ann", "Cid"]
        assert names(await store.page(limit=9, status=user_pb2.USER_STATUS_PENDING)) == ["Bob"]
        assert await store.page(limit=9, status=user_pb2.USER_STATUS_INACTIVE) == []


async def test_listeners_hear_of_committed_changes_in_order(database: str) -> None:
    heard: list[Change] = []
    async with opened(database) as store:
        store.listen(heard.extend)
        ann, taken = await store.create([new("Ann"), new("Ann")])
        assert isinstance(ann, user_pb2.User)
        assert isinstance(taken, EmailTaken)
        changed = await store.update(ann.id, rename("Bob"))
        with pytest.raises(UserNotFound):
            await store.delete("nobody")
        await store.delete(ann.id)
    assert [(change.event.event_type, change.event.user, change.revision) for change in heard] == [
        (user_pb2.USER_EVENT_TYPE_CREATED, ann, 1),
        (user_pb2.USER_EVENT_TYPE_UPDATED, changed, 2),
        (user_pb2.USER_EVENT_TYPE_DELETED, changed, 3),
    ]
    assert all(change.event.HasField("timestamp") for change in heard)


async def test_writes_at_once_are_all_made_and_heard_in_order(database: str) -> None:
    heard: list[Change] = []
    async with opened(database) as store:
        [user] = await create(store, new("Ann"))
        store.listen(heard.extend)
        await asyncio.gather(
            *(store.update(user.id, lambda user, tag=f"t{i}": user.tags.append(tag)) for i in range(20))
        )
        final = await store.get(user.id)
        assert sorted(final.user.tags) == sorted(f"t{i}" for i in range(20))
        assert [change.revision for change in heard] == list(range(2, 22))
        assert [len(change.event.user.tags) for change in heard] == list(range(1, 21))


async def test_a_write_goes_on_when_its_caller_is_cancelled(database: str) -> None:
    heard: list[Change] = []
    async with opened(database) as store:
        store.listen(heard.extend)
        writing = asyncio.create_task(store.create([new("Ann")]))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await create(store, new("Bob"))
        assert names(await store.page(limit=9)) == ["Ann", "Bob"]
    assert names(change.event.user for change in heard) == ["Ann", "Bob"]


async def test_a_cancelled_read_does_no_harm(database: str) -> None:
    async with opened(database) as store:
        [user] = await create(store, new("Ann"))
        reading = asyncio.create_task(store.get(user.id))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (await store.get(user.id)).user == user


async def test_an_error_that_nobody_waits_for_is_not_reported(database: str) -> None:
    async with opened(database) as store:
        reading = asyncio.create_task(store.get("nobody"))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    # Reports come when a task is removed from memory; the test fails by them.
    gc.collect()


async def test_closing_waits_for_the_writes(shared_database: str) -> None:
    store = await DatabaseUserStore.open(shared_database)
    writing = [asyncio.create_task(store.create([new(f"U{i}")])) for i in range(5)]
    await asyncio.sleep(0)
    await store.close()
    async with opened(shared_database) as again:
        assert len(await again.page(limit=9)) == 5
    await asyncio.gather(*writing)


async def test_readers_do_not_wait_for_a_writer(tmp_path: Path, rows: sqlite3.Connection) -> None:
    async with opened(str(tmp_path / "users.db")) as store:
        [user] = await create(store, new("Ann"))
        rows.execute("BEGIN IMMEDIATE")
        rows.execute("UPDATE users SET name = 'Bob'")
        assert (await store.get(user.id)).user == user
        rows.rollback()


async def test_the_file_is_used_durably(tmp_path: Path, rows: sqlite3.Connection) -> None:
    async with opened(str(tmp_path / "users.db")) as store, store._engine.connect() as connection:
        values = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 2, 1, 5000]
    assert rows.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_hash_is_stored_and_never_returned(tmp_path: Path, rows: sqlite3.Connection) -> None:
    heard: list[Change] = []
    async with opened(str(tmp_path / "users.db")) as store:
        store.listen(heard.extend)
        [user] = await create(store, new("Ann", password_hash="$argon2id$hash"))
        await store.update(user.id, rename("Bob"))
        returned = [user, await store.get(user.id), await store.page(limit=1), heard]
    assert rows.execute("SELECT name, password_hash FROM users").fetchall() == [("Bob", "$argon2id$hash")]
    assert "argon2id" not in str(returned)


async def test_errors_of_the_database_do_not_carry_the_hash(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "users.db")) as store:
        async with store._write() as connection:
            await connection.execute(sqlalchemy.text("DROP TABLE users"))
            await connection.execute(sqlalchemy.text("CREATE TABLE users (id TEXT, email_key TEXT)"))
        with pytest.raises(StoreError) as raised:
            await store.create([new("Ann", password_hash="$argon2id$hash")])
    assert "no column named" in str(raised.value)
    assert "argon2id" not in str(raised.value) + str(raised.value.__cause__)


async def test_two_stores_may_change_the_same_user(shared_database: str) -> None:
    async with opened(shared_database) as first, opened(shared_database) as second:
        [user] = await create(first, new("Ann"))
        await asyncio.gather(
            *(
                store.update(user.id, lambda user, tag=f"t{i}": user.tags.append(tag))
                for i in range(20)
                for store in (first, second)
            )
        )
        assert sorted((await first.get(user.id)).user.tags) == sorted(f"t{i}" for i in range(20) for _ in range(2))


async def test_a_commit_that_fails_is_an_error_and_nobody_hears_of_it(database: str) -> None:
    heard: list[Change] = []

    def fail(connection: Any) -> None:
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    async with opened(database) as store:
        store.listen(heard.extend)
        event.listen(store._engine.sync_engine, "commit", fail)
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.create([new("Ann")])
        event.remove(store._engine.sync_engine, "commit", fail)
        assert heard == []
        await create(store, new("Ann"))


async def test_a_full_disk(tmp_path: Path) -> None:
    async with opened(":memory:") as store:
        async with store._write() as connection:
            pages = (await connection.execute(sqlalchemy.text("PRAGMA page_count"))).scalar_one()
            await connection.execute(sqlalchemy.text(f"PRAGMA max_page_count={pages + 4}"))
        [user] = await create(store, new("Ann"))
        with pytest.raises(StoreError, match="full"):
            await store.create([new("Bob", profile=user_pb2.Profile(bio="b" * 100_000))])
        assert await store.page(limit=9) == [user]
        await store.update(user.id, rename("Cid"))


TEXTS = st.text(max_size=30)
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(str.strip)
REQUESTS = st.builds(
    user_pb2.CreateUserRequest,
    name=LINES,
    email=st.just("ann@example.com"),
    role=st.sampled_from(user_pb2.Role.values()),
    tags=st.lists(LINES, unique=True),
    metadata=st.dictionaries(LINES, TEXTS),
    profile=st.none() | st.builds(user_pb2.Profile, bio=TEXTS),
    slack_id=st.none() | LINES,
)


@given(request=REQUESTS)
@settings(max_examples=50)
async def test_every_user_that_is_accepted_comes_back_as_it_was(request: user_pb2.CreateUserRequest) -> None:
    assume(not validation.check_create(request, validation.Limits()))
    user = fields.new_user(request)
    async with opened(":memory:") as store:
        [created] = await create(store, NewUser(user, ""))
        user.MergeFrom(user_pb2.User(id=created.id, created_at=created.created_at, updated_at=created.updated_at))
        assert (await store.get(created.id)).user == user


@pytest.mark.parametrize(
    ("left", "right"),
    [("Ann@Example.COM", "ann@example.com"), ("STRASSE@x.org", "straße@x.org"), ("ﬁ@x.org", "FI@x.org")],
)
def test_spellings_of_one_address(left: str, right: str) -> None:
    assert email_key(left) == email_key(right)


def test_different_addresses() -> None:
    assert email_key("ann@example.com") != email_key("anna@example.com")
