"""The client of the user service: each call, and watches and lists that go on after a connection broke."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pygrpc.services.clients.users import UserClient
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.clients.support import collected, fails, quick, until, world

__all__ = ["quick"]


def request(name: str) -> user_pb2.CreateUserRequest:
    return user_pb2.CreateUserRequest(name=name, email=f"{name.lower()}@example.com")


async def renamed(users: UserClient, user_id: str, name: str) -> user_pb2.User:
    return await users.update(user_pb2.UpdateUserRequest(id=user_id, name=name, update_mask=FieldMask(paths=["name"])))


async def test_every_call(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        users = here.clients.users
        ann = await users.create(request("Ann"))
        assert await users.get(ann.id) == ann
        assert (await renamed(users, ann.id, "Anna")).name == "Anna"
        created = await users.create_many([request("Bob"), request("Ann"), request("Cid")])
        assert (created.success_count, created.failure_count) == (2, 1)
        assert [each.name async for each in users.list(page_size=2)] == ["Anna", "Bob", "Cid"]
        assert [each async for each in users.list(user_pb2.USER_STATUS_INACTIVE)] == []
        await users.delete(ann.id)
        with fails("NOT_FOUND"):
            await users.get(ann.id)


async def test_many_users_from_an_asynchronous_iterator(tmp_path: Path) -> None:
    async def requests():  # type: ignore[no-untyped-def]
        for name in ("Ann", "Bob"):
            yield request(name)

    async with world(tmp_path) as here:
        assert (await here.clients.users.create_many(requests())).success_count == 2


async def test_the_chat_of_all_users(tmp_path: Path) -> None:
    async def messages():  # type: ignore[no-untyped-def]
        yield user_pb2.ChatMessage(user_id="ann", content="hello")

    async with world(tmp_path) as here:
        said = [each.content async for each in here.clients.users.chat(messages())]
    assert said == ["Welcome to the chat!", "Echo: hello"]


async def test_a_watch_tells_the_state_the_changes_and_the_deletion(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        users = here.clients.users
        ann = await users.create(request("Ann"))
        events = users.watch(ann.id)
        assert kind(await anext(events)) == "INITIAL"
        await renamed(users, ann.id, "Anna")
        assert kind(await anext(events)) == "UPDATED"
        await users.delete(ann.id)
        assert [kind(each) async for each in events] == ["DELETED"]


@pytest.mark.usefixtures("quick")
async def test_a_watch_goes_on_without_gap_and_duplicate(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.more() as others:
        ann = await here.clients.users.create(request("Ann"))
        async with aclosing(here.clients.users.watch(ann.id)) as events:
            await anext(events)
            # Nothing changes while it is away: nothing is told twice.
            following = asyncio.create_task(anext(events))
            here.cut()
            await until(lambda: here.serving.users.events.watchers == 0)
            await until(lambda: here.serving.users.events.watchers == 1)
            await renamed(others.users, ann.id, "Anna")
            event = await following
            assert (kind(event), event.user.name) == ("UPDATED", "Anna")
            # Two changes while it is away: the state that they lead to is told.
            here.proxy.refuse()
            here.cut()
            await renamed(others.users, ann.id, "Anne")
            changed = await renamed(others.users, ann.id, "Annie")
            here.proxy.accept()
            event = await anext(events)
            assert (kind(event), event.user) == ("UPDATED", changed)
            # It is gone when the watch is back.
            here.proxy.refuse()
            here.cut()
            await others.users.delete(ann.id)
            here.proxy.accept()
            event = await anext(events)
            assert (kind(event), event.user) == ("DELETED", changed)
            assert [each async for each in events] == []


@pytest.mark.usefixtures("quick")
async def test_a_watch_survives_the_restart_of_the_server(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        ann = await here.clients.users.create(request("Ann"))
        async with aclosing(here.clients.users.watch(ann.id)) as events:
            await anext(events)
            await here.serving.restart()
            async with here.more() as others:
                await renamed(others.users, ann.id, "Anna")
            assert (await anext(events)).user.name == "Anna"


async def test_a_watch_of_nobody_fails_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with fails("NOT_FOUND"):
            await anext(here.clients.users.watch("00000000-0000-4000-8000-000000000000"))


async def test_a_watch_ends_at_its_timeout(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        ann = await here.clients.users.create(request("Ann"))
        events = here.clients.users.watch(ann.id, timeout=0.2)
        with fails("DEADLINE_EXCEEDED"):
            while True:
                await anext(events)


@pytest.mark.usefixtures("quick")
async def test_a_page_that_breaks_off_is_asked_for_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        users = here.clients.users
        wanted = [f"User {number}" for number in range(30)]
        await users.create_many(
            [user_pb2.CreateUserRequest(name=name, email=f"{name[5:]}@example.com") for name in wanted]
        )
        # Some users come through, so that the channel can't try the call again by itself.
        here.limit_next(2000)
        here.cut()
        listing = asyncio.create_task(collected(users.list()))
        await until(lambda: len(here.proxy.links) == 2 and here.proxy.links[1].down.forwarded == 2000)
        here.cut()
        assert [each.name for each in await listing] == wanted
        assert len(here.proxy.links) == 3


def kind(event: user_pb2.UserEvent) -> str:
    return user_pb2.UserEventType.Name(event.event_type).removeprefix("USER_EVENT_TYPE_")
