"""WatchUser over a socket."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.store import StoredUser, UserStore
from tests.services.support import Failure, all_of, create, failed, failure_of, running, until

INITIAL = user_pb2.USER_EVENT_TYPE_INITIAL
UPDATED = user_pb2.USER_EVENT_TYPE_UPDATED
DELETED = user_pb2.USER_EVENT_TYPE_DELETED


def watch(stub: Any, user: user_pb2.User) -> Any:
    return stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))


async def rename(stub: Any, user: user_pb2.User, name: str) -> user_pb2.User:
    changed: user_pb2.User = await stub.UpdateUser(user_pb2.UpdateUserRequest(id=user.id, name=name))
    return changed


async def delete(stub: Any, user: user_pb2.User) -> None:
    await stub.DeleteUser(user_pb2.DeleteUserRequest(id=user.id))


async def test_a_watch_tells_the_state_the_changes_and_the_end(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user, other = await create(server.stub, "Ann"), await create(server.stub, "Other")
        call = watch(server.stub, user)
        first = await call.read()
        assert (first.event_type, first.user) == (INITIAL, user)
        assert first.timestamp.ToNanoseconds() >= user.created_at.ToNanoseconds()
        await rename(server.stub, other, "Not this one")
        changed = await rename(server.stub, user, "Bob")
        second = await call.read()
        assert (second.event_type, second.user, second.timestamp) == (UPDATED, changed, changed.updated_at)
        await delete(server.stub, user)
        third = await call.read()
        assert (third.event_type, third.user) == (DELETED, changed)
        assert await call.read() is client_aio.EOF
        assert (await call.code()).name == "OK"
        assert server.service.events.watchers == 0


async def test_a_watch_ends_when_the_client_cancels(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        call = watch(server.stub, user)
        await call.read()
        assert server.service.events.watchers == 1
        call.cancel()
        await until(lambda: server.service.events.watchers == 0)
        assert (await call.code()).name == "CANCELLED"
        assert (await rename(server.stub, user, "Bob")).name == "Bob"


class Meanwhile:
    """A store in which something happens while the state of a user is read for a watch."""

    def __init__(self, store: UserStore) -> None:
        self.store = store
        self.before_reading: Any = None
        self.after_reading: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def get(self, user_id: str) -> StoredUser:
        if self.before_reading:
            await self.before_reading()
        stored = await self.store.get(user_id)
        if self.after_reading:
            await self.after_reading()
        return stored


async def test_a_change_just_after_the_state_was_read_is_not_lost(client_aio: ModuleType) -> None:
    async with running(client_aio, wrap=Meanwhile) as server:
        user = await create(server.stub)
        server.store.after_reading = lambda: rename(server.stub, user, "Bob")
        call = watch(server.stub, user)
        assert (await call.read()).user.name == "Ann"
        assert (await call.read()).user.name == "Bob"
        call.cancel()


async def test_a_change_just_before_the_state_is_read_is_told_once(client_aio: ModuleType) -> None:
    async with running(client_aio, wrap=Meanwhile) as server:
        user = await create(server.stub)
        server.store.before_reading = lambda: rename(server.stub, user, "Bob")
        call = watch(server.stub, user)
        assert (await call.read()).user.name == "Bob"
        await rename(server.stub, user, "Cid")
        assert (await call.read()).user.name == "Cid"
        call.cancel()


async def test_a_deletion_just_before_the_state_is_read(client_aio: ModuleType) -> None:
    async with running(client_aio, wrap=Meanwhile) as server:
        user = await create(server.stub)
        server.store.before_reading = lambda: delete(server.stub, user)
        failure = await failure_of(all_of(watch(server.stub, user)), client_aio)
        assert failure.code == "NOT_FOUND"
        assert server.service.events.watchers == 0


async def test_watches_that_begin_among_changes_have_no_gap(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub, "0", "ann@example.com")
        last = 60

        async def change() -> None:
            for number in range(1, last + 1):
                await rename(server.stub, user, str(number))

        async def follow(begin: int) -> list[int]:
            while int((await server.stub.GetUser(user_pb2.GetUserRequest(id=user.id))).user.name) < begin:
                pass
            seen = []
            call = watch(server.stub, user)
            while not seen or seen[-1] < last:
                seen.append(int((await call.read()).user.name))
            call.cancel()
            return seen

        changing = asyncio.create_task(change())
        for seen in await asyncio.gather(*(follow(begin) for begin in range(0, last, 5))):
            assert seen == list(range(seen[0], last + 1))
        await changing


async def test_all_watchers_see_the_changes_of_many_in_the_same_order(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        calls = [watch(server.stub, user) for _ in range(3)]
        for call in calls:
            await call.read()
        await asyncio.gather(*(rename(server.stub, user, f"n{number}") for number in range(20)))
        await delete(server.stub, user)
        seen = []
        for call in calls:
            events = [await call.read() for _ in range(21)]
            assert await call.read() is client_aio.EOF
            seen.append([(event.event_type, event.user.name, event.timestamp.ToNanoseconds()) for event in events])
        assert seen[0] == seen[1] == seen[2]
        assert {name for _, name, _ in seen[0]} == {f"n{number}" for number in range(20)}
        times = [time for _, _, time in seen[0]]
        assert times[:-1] == sorted(set(times[:-1]))


async def rest_of(call: Any, client_aio: ModuleType) -> tuple[list[Any], Failure]:
    """Reads a call to its failure."""
    read = []
    try:
        while True:
            read.append(await call.read())
            assert read[-1] is not client_aio.EOF
    except client_aio.AioRpcError as error:
        return read, failed(error)


async def test_a_watcher_that_does_not_read_is_dropped(client_aio: ModuleType) -> None:
    async with running(client_aio, queue_limit=4) as server:
        large = {str(number): "v" * 1024 for number in range(60)}
        user = await create(server.stub, metadata=large)
        slow, quick = watch(server.stub, user), watch(server.stub, user)
        await slow.read()
        await quick.read()
        changes = 0
        # The windows of HTTP/2 hold some MiB before the server notices: change until it does.
        while server.service.events.watchers == 2:
            changes += 1
            assert changes < 2000
            await rename(server.stub, user, str(changes))
            assert (await quick.read()).user.name == str(changes)
        read, failure = await rest_of(slow, client_aio)
        assert [event.user.name for event in read] == [str(number + 1) for number in range(len(read))]
        assert len(read) < changes
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "the client reads too slowly")
        assert failure.detail(ErrorInfo).reason == "READER_TOO_SLOW"
        await rename(server.stub, user, "after")
        assert (await quick.read()).user.name == "after"
        again = watch(server.stub, user)
        assert (await again.read()).user.name == "after"
        quick.cancel()
        again.cancel()


async def test_watches_end_when_the_server_shuts_down(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        call = watch(server.stub, user)
        await call.read()
        server.service.shut_down()
        read, failure = await rest_of(call, client_aio)
        assert read == []
        assert (failure.code, failure.message) == ("UNAVAILABLE", "the server is shutting down")
        failure = await failure_of(all_of(watch(server.stub, user)), client_aio)
        assert failure.code == "UNAVAILABLE"
