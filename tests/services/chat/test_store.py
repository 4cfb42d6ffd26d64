"""The store of the chat, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert

from pygrpc.services.chat.database import DatabaseChatStore
from pygrpc.services.chat.schema import servers
from pygrpc.services.chat.store import KeyTaken, Kind, Message, NotInRoom, RoomNotFound, RoomTaken, Session, TooMany
from tests.services.stores import Clock

LEASE = 1000


@asynccontextmanager
async def opened(database: str, clock: Clock | None = None) -> AsyncIterator[DatabaseChatStore]:
    store = await DatabaseChatStore.open(database, clock=clock or Clock())
    try:
        await store.create_room("Room", "", "ann", "r", 10)
        yield store
    finally:
        await store.close()


def session(number: int, user_id: str = "ann", server_id: str = "server") -> Session:
    return Session(f"{user_id}-{number}", server_id, "r", user_id, user_id.title())


async def told(store: DatabaseChatStore) -> list[tuple[int, str, Kind]]:
    return [(each.sequence, each.user_id, each.kind) for each in await store.after(0, 1000)]


async def test_a_stay_begins_and_ends(database: str) -> None:
    async with opened(database) as store:
        heard: list[Message] = []
        store.listen(heard.extend)
        assert await store.join(session(1), history=10, most=3) == (0, [])
        message = await store.send("r", "ann", "hello", keep=10)
        assert message == Message(2, "r", 2, "ann", "Ann", "hello", Clock().now, Kind.USER)
        joined = await store.join(session(1, "bob"), history=10, most=3)
        assert (joined.sequence, joined.history[1]) == (2, message)
        assert len(joined.history) == 2
        assert heard == await store.after(0, 9)
        assert await store.end_session("ann-1") == 4
        assert await store.end_session("ann-1") == 0
        with pytest.raises(NotInRoom):
            await store.send("r", "ann", "hello", keep=10)
        kinds = [(1, "ann", Kind.JOINED), (2, "ann", Kind.USER), (3, "bob", Kind.JOINED), (4, "ann", Kind.LEFT)]
        assert await told(store) == kinds
        assert await store.latest() == 4


async def test_a_message_with_a_key_is_stored_once(database: str) -> None:
    async with opened(database) as store:
        await store.create_room("Other", "", "ann", "other", 10)
        await store.join(session(1), history=0, most=3)
        await store.join(session(1, "bob"), history=0, most=3)
        message = await store.send("r", "ann", "hello", keep=10, key="k")
        assert message.key == "k"
        heard: list[Message] = []
        store.listen(heard.extend)
        assert await store.send("r", "ann", "hello", keep=10, key="k") == message
        with pytest.raises(KeyTaken):
            await store.send("r", "ann", "something else", keep=10, key="k")
        assert heard == []
        # Of others, of the same user in another room, and without a key, they are messages of their own.
        await store.join(session(2)._replace(room_id="other"), history=0, most=3)
        await store.send("other", "ann", "hello", keep=10, key="k")
        for user_id, key in (("bob", "k"), ("ann", ""), ("ann", "")):
            await store.send("r", user_id, "hello", keep=10, key=key)
        assert [each.content for each in heard].count("hello") == 4
        # Also when the user has left meanwhile.
        await store.leave("r", "ann")
        assert await store.send("r", "ann", "hello", keep=10, key="k") == message


async def test_the_last_stay_of_a_user_is_the_departure(database: str) -> None:
    async with opened(database) as store:
        for number in range(3):
            assert (await store.join(session(number), history=0, most=3)).sequence == min(number, 1)
        with pytest.raises(TooMany):
            await store.join(session(4), history=0, most=3)
        assert await store.end_session("ann-1") == 1
        assert await store.leave("r", "ann")
        assert not await store.leave("r", "ann")
        assert await told(store) == [(1, "ann", Kind.JOINED), (2, "ann", Kind.LEFT)]


async def test_rooms_have_a_limit_and_ids_of_their_own(database: str) -> None:
    async with opened(database) as store:
        with pytest.raises(RoomTaken):
            await store.create_room("Room", "", "ann", "r", 10)
        room = await store.create_room("Other", "", "ann", "", 2)
        with pytest.raises(TooMany):
            await store.create_room("Third", "", "ann", "", 2)
        listed, total = await store.rooms(10)
        assert ([each.name for each in listed], total) == (["Room", "Other"], 2)
        assert ((await store.rooms(10, after=listed[0].number))[0]) == [room]
        for call in (store.history("none", 1), store.leave("none", "a"), store.send("none", "a", "x", keep=1)):
            with pytest.raises(RoomNotFound):
                await call


async def test_a_room_forgets_its_oldest_messages(database: str) -> None:
    async with opened(database) as store:
        await store.join(session(1), history=0, most=3)
        for _ in range(205):
            await store.send("r", "ann", "x", keep=50)
        page = await store.history("r", 1000)
        assert ([each.sequence for each in page.messages], page.has_more) == (list(range(151, 207)), False)


async def test_the_stays_of_a_dead_server_end(database: str) -> None:
    clock = Clock()
    async with opened(database, clock=clock) as store:
        await store.renew("one", LEASE)
        await store.renew("two", LEASE)
        await store.join(session(1, "ann", "one"), history=0, most=9)
        await store.join(session(1, "bob", "two"), history=0, most=9)
        clock.now += LEASE
        await store.renew("two", LEASE)
        assert len(await told(store)) == 2
        clock.now += 1
        await store.renew("two", LEASE)
        assert (await told(store))[2:] == [(3, "ann", Kind.LEFT)]
        [room] = (await store.rooms(1))[0]
        assert room.members == 1


async def test_a_file_is_shared_and_memory_is_not(tmp_path: Path) -> None:
    async with opened(":memory:") as memory, opened(str(tmp_path / "chat.db")) as file:
        assert (memory.shared, file.shared) == (False, True)


async def test_nobody_is_taken_for_dead_while_the_database_was_away(database: str) -> None:
    clock = Clock()
    async with opened(database, clock=clock) as here:
        await here.renew("one", LEASE)
        await here.join(session(1, "bob", "two"), history=0, most=9)
        # Server two has said that it lives before the database went away, and has had no time to say so again.
        async with here._write() as connection:
            await connection.execute(insert(servers).values(id="two", seen_at=clock.now))
        clock.now += LEASE + 1
        await here.renew("one", LEASE)
        clock.now += LEASE - 1
        await here.renew("one", LEASE)
        assert await told(here) == [(1, "bob", Kind.JOINED)]
        clock.now += 1
        await here.renew("one", LEASE)
        assert (await told(here))[1:] == [(2, "bob", Kind.LEFT)]
