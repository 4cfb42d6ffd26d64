"""user.UserService, as a client has it that knows nothing of user.v1; and both side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo
from sqlalchemy import text

from pygrpc.services.protos.user import user_pb2
from pygrpc.services.protos.user.v1 import user_pb2 as v1
from pygrpc.services.users import DatabaseUserStore, Limits
from pygrpc.services.users.schema import MIGRATIONS, metadata
from pygrpc.services.users.store import UserNotFound
from pygrpc.services.users.unversioned import UnversionedUserService
from tests.services import support
from tests.services.stores import create as stored
from tests.services.stores import new, opened
from tests.services.support import all_of, failure_of, running, until

NOW = 1_700_000_000_000
TOO_LONG = "Validation failed for field 'name': must not be longer than 200 characters"


async def create(stub: Any, name: str = "Ann", email: str | None = None) -> user_pb2.User:
    request = user_pb2.CreateUserRequest(name=name, email=email or f"{name.lower()}@example.com")
    user: user_pb2.User = await stub.CreateUser(request)
    return user


async def test_a_user_from_creation_to_deletion(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        old = server.old
        user = await create(old, " John Doe ", "john@example.com")
        assert (user.id, user.name, user.email) == (1, "John Doe", "john@example.com")
        assert user.created_at == user.updated_at > NOW
        assert await old.GetUser(user_pb2.GetUserRequest(user_id=1)) == user
        changed = await old.UpdateUser(user_pb2.UpdateUserRequest(user_id=1, name="John Smith"))
        assert (changed.name, changed.email, changed.created_at) == ("John Smith", user.email, user.created_at)
        changed = await old.UpdateUser(user_pb2.UpdateUserRequest(user_id=1, email="smith@example.com"))
        assert (changed.name, changed.email) == ("John Smith", "smith@example.com")
        assert await old.UpdateUser(user_pb2.UpdateUserRequest(user_id=1)) == user_pb2.User(
            id=1,
            name=changed.name,
            email=changed.email,
            created_at=user.created_at,
            updated_at=(await old.GetUser(user_pb2.GetUserRequest(user_id=1))).updated_at,
        )
        response = await old.DeleteUser(user_pb2.DeleteUserRequest(user_id=1))
        assert (response.success, response.message) == (True, "User 1 deleted successfully")
        # A number is never used again.
        assert (await create(old, "Bob")).id == 2


async def test_an_unknown_user(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        old = server.old
        for number, calls in {
            999: (
                old.GetUser(user_pb2.GetUserRequest(user_id=999)),
                old.UpdateUser(user_pb2.UpdateUserRequest(user_id=999, name="Ann")),
                old.DeleteUser(user_pb2.DeleteUserRequest(user_id=999)),
                old.WatchUser(user_pb2.WatchUserRequest(user_id=999)).read(),
            ),
            0: (old.DeleteUser(user_pb2.DeleteUserRequest()),),
            -1: (old.WatchUser(user_pb2.WatchUserRequest(user_id=-1)).read(),),
        }.items():
            for call in calls:
                failure = await failure_of(call, client_aio)
                assert (failure.code, failure.message) == ("NOT_FOUND", f"User with ID {number} not found")
                assert failure.detail(ErrorInfo).reason == "USER_NOT_FOUND"
                assert failure.detail(ResourceInfo).resource_name == str(number)
        for number in (0, -7):
            failure = await failure_of(old.GetUser(user_pb2.GetUserRequest(user_id=number)), client_aio)
            assert (failure.code, failure.message) == ("INVALID_ARGUMENT", "Valid user ID is required")
            assert failure.violations == {"user_id": "must be above zero"}


@pytest.mark.parametrize(
    ("name", "email", "message", "fields"),
    [
        ("", "", "Name and email are required", {"name", "email"}),
        ("", "ann@example.com", "Name and email are required", {"name"}),
        ("Ann", "", "Name and email are required", {"email"}),
        (" ", "ann@example.com", "Name is required and cannot be empty", {"name"}),
        ("Ann", "ann", "Valid email is required", {"email"}),
        ("Ann", "ann@example", "Valid email is required", {"email"}),
        (
            "A" * 201,
            "ann@example.com",
            TOO_LONG,
            {"name"},
        ),
    ],
)
async def test_a_user_that_can_not_be_created(name: str, email: str, message: str, fields: set[str]) -> None:
    async with running(support.aio) as server:
        call = server.old.CreateUser(user_pb2.CreateUserRequest(name=name, email=email))
        failure = await failure_of(call, support.aio)
        assert (failure.code, failure.message) == ("INVALID_ARGUMENT", message)
        assert failure.violations.keys() == fields


async def test_a_change_that_is_refused(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.old)
        for given, message in (
            ({"name": "\t"}, "Name is required and cannot be empty"),
            ({"email": "ann"}, "Valid email is required"),
            ({"name": "a\0b"}, "Validation failed for field 'name': must not contain control characters"),
        ):
            call = server.old.UpdateUser(user_pb2.UpdateUserRequest(user_id=user.id, **given))
            failure = await failure_of(call, client_aio)
            assert (failure.code, failure.message) == ("INVALID_ARGUMENT", message)
        assert await server.old.GetUser(user_pb2.GetUserRequest(user_id=user.id)) == user


async def test_an_address_that_is_taken(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann, bob = await create(server.old, "Ann"), await create(server.old, "Bob")
        for call in (
            server.old.CreateUser(user_pb2.CreateUserRequest(name="Ann", email="ANN@example.com")),
            server.old.UpdateUser(user_pb2.UpdateUserRequest(user_id=bob.id, email="ANN@example.com")),
        ):
            failure = await failure_of(call, client_aio)
            assert (failure.code, failure.message) == ("ALREADY_EXISTS", "Email already exists")
            assert failure.detail(ErrorInfo).metadata == {"existing_user_id": str(ann.id)}
            assert failure.detail(ResourceInfo).resource_name == "ANN@example.com"


async def test_lists(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(page_size=205)) as server:
        old = server.old

        async def numbers(**request: int) -> list[int]:
            return [user.id for user in await all_of(old.ListUsers(user_pb2.ListUsersRequest(**request)))]

        assert await numbers() == []
        requests = [user_pb2.CreateUserRequest(name="n", email=f"n{number}@example.com") for number in range(1, 211)]
        await old.CreateMultipleUsers(iter(requests) if client_aio is not support.aio else requests)
        assert await numbers() == list(range(1, 11))
        assert await numbers(page_size=3, offset=4) == [5, 6, 7]
        assert await numbers(page_size=5, offset=208) == [209, 210]
        assert await numbers(offset=300) == []
        assert await numbers(page_size=200) == list(range(1, 201))
        assert await numbers(page_size=1000, offset=2) == list(range(3, 208))
        for request in (user_pb2.ListUsersRequest(page_size=-1), user_pb2.ListUsersRequest(offset=-1)):
            failure = await failure_of(all_of(old.ListUsers(request)), client_aio)
            assert failure.code == "INVALID_ARGUMENT"


async def test_a_watch_sees_the_changes_of_both_contracts(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.old)
        stored = (await all_of(server.stub.ListUsers(v1.ListUsersRequest())))[0]
        call = server.old.WatchUser(user_pb2.WatchUserRequest(user_id=user.id))
        first = await call.read()
        assert (first.event_type, first.user) == ("initial", user)
        assert first.timestamp > NOW
        await server.old.UpdateUser(user_pb2.UpdateUserRequest(user_id=user.id, name="Anna"))
        await server.stub.UpdateUser(v1.UpdateUserRequest(id=stored.id, name="Annette"))
        await server.old.DeleteUser(user_pb2.DeleteUserRequest(user_id=user.id))
        rest = [await call.read() for _ in range(3)]
        assert await call.read() is client_aio.EOF
        assert [(event.event_type, event.user.id, event.user.name) for event in rest] == [
            ("updated", 1, "Anna"),
            ("updated", 1, "Annette"),
            ("deleted", 1, "Annette"),
        ]


async def test_a_watch_that_is_cancelled(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await create(server.old)
        call = server.old.WatchUser(user_pb2.WatchUserRequest(user_id=1))
        await call.read()
        assert server.service.events.watchers == 1
        call.cancel()
        await until(lambda: not server.service.events.watchers)


async def test_many_users_at_once(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await create(server.old, "Alice")

        def requests() -> Iterator[user_pb2.CreateUserRequest]:
            for name, email in (
                ("Bob", "bob@example.com"),
                ("", "nobody@example.com"),
                ("Alice", "Alice@example.com"),
                ("Carl", "carl"),
                ("Bob", "bob@example.com"),
                ("Diana", "diana@example.com"),
                ("x" * 300, "x@example.com"),
            ):
                yield user_pb2.CreateUserRequest(name=name, email=email)

        response = await server.old.CreateMultipleUsers(requests())
        assert (response.created_count, list(response.user_ids)) == (2, [2, 3])
        assert list(response.errors) == [
            'Invalid user data: name="", email="nobody@example.com"',
            "Email already exists: Alice@example.com",
            'Invalid user data: name="Carl", email="carl"',
            "Email already exists: bob@example.com",
            f'Invalid user data: name="{"x" * 64}", email="x@example.com"',
        ]
        assert await server.old.CreateMultipleUsers(iter(())) == user_pb2.CreateMultipleUsersResponse()


async def test_too_many_users_at_once(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(batch_size=1)) as server:
        requests = [user_pb2.CreateUserRequest(name=name, email=f"{name}@example.com") for name in ("a", "b")]
        failure = await failure_of(server.old.CreateMultipleUsers(iter(requests)), client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "a batch may have up to 1 users")
        assert await all_of(server.old.ListUsers(user_pb2.ListUsersRequest())) == []


async def chatting(stub: Any) -> Any:
    call = stub.ChatWithUsers()
    welcome = await call.read()
    assert (welcome.user_id, welcome.username, welcome.message) == (0, "System", "Welcome to the chat!")
    assert welcome.timestamp > NOW
    return call


async def test_a_chat_of_both_contracts(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann, bob = await chatting(server.old), await chatting(server.old)
        new_one = server.stub.UserChat()
        assert (await new_one.read()).user_id == "system"
        await ann.write(user_pb2.ChatMessage(user_id=7, username="Ann", message="Hello everyone!", timestamp=5))
        heard = await bob.read()
        assert (heard.user_id, heard.username, heard.message) == (7, "Ann", "Hello everyone!")
        assert heard.timestamp > NOW
        heard = await new_one.read()
        assert (heard.user_id, heard.content) == ("Ann", "Hello everyone!")
        await new_one.write(v1.ChatMessage(user_id="cid", content="Hi"))
        assert (await new_one.read()).content == "Echo: Hi"
        # The sender hears the others, and not itself.
        for each in (ann, bob):
            heard = await each.read()
            assert (heard.user_id, heard.username, heard.message) == (0, "cid", "Hi")
        await bob.write(user_pb2.ChatMessage(user_id=9, message="no name"))
        heard = await ann.read()
        assert (heard.user_id, heard.username, heard.message) == (9, "9", "no name")
        assert (await new_one.read()).user_id == "9"
        for call in (ann, bob, new_one):
            await call.done_writing()
            assert await call.read() is client_aio.EOF
            assert (await call.code()).name == "OK"
        await until(lambda: server.service.chat.members == 0)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (user_pb2.ChatMessage(username="SYSTEM", message="hello"), {"username"}),
        (user_pb2.ChatMessage(username="Ann"), {"message"}),
        (user_pb2.ChatMessage(username="A" * 201, message="hello"), {"username"}),
    ],
)
async def test_words_that_are_refused(message: user_pb2.ChatMessage, fields: set[str]) -> None:
    async with running(support.aio) as server:
        call = await chatting(server.old)
        await call.write(message)
        failure = await failure_of(call.read(), support.aio)
        assert failure.code == "INVALID_ARGUMENT" and failure.violations.keys() == fields


async def test_the_chat_and_the_watches_end_with_the_server(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await create(server.old)
        chat = await chatting(server.old)
        watch = server.old.WatchUser(user_pb2.WatchUserRequest(user_id=1))
        await watch.read()
        server.service.shut_down()
        for call in (chat, watch):
            failure = await failure_of(call.read(), client_aio)
            assert (failure.code, failure.message) == ("UNAVAILABLE", "the server is shutting down")


async def test_users_of_the_other_contract_have_numbers(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await support.create(server.stub, "Ann", password="secret", tags=["x"])
        user = await server.old.GetUser(user_pb2.GetUserRequest(user_id=1))
        assert (user.name, user.email) == ("Ann", "ann@example.com")
        await server.old.UpdateUser(user_pb2.UpdateUserRequest(user_id=1, name="Anna"))
        (same,) = await all_of(server.stub.ListUsers(v1.ListUsersRequest()))
        # What this contract doesn't know stays as it is.
        assert (same.name, list(same.tags), same.role) == ("Anna", ["x"], v1.ROLE_USER)


async def test_a_user_that_is_removed_while_it_is_changed(client_aio: ModuleType) -> None:
    class Removing:
        """A store in which a user goes as soon as it has been found."""

        def __init__(self, store: DatabaseUserStore) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def get_numbered(self, number: int) -> Any:
            found = await self._store.get_numbered(number)
            await self._store.delete(found.user.id)
            return found

    async with running(client_aio, wrap=Removing) as server:  # type: ignore[arg-type]
        for number, call in enumerate(
            (
                lambda: server.old.UpdateUser(user_pb2.UpdateUserRequest(user_id=1, name="Anna")),
                lambda: server.old.DeleteUser(user_pb2.DeleteUserRequest(user_id=2)),
                lambda: server.old.WatchUser(user_pb2.WatchUserRequest(user_id=3)).read(),
            ),
            1,
        ):
            await create(server.old)
            failure = await failure_of(call(), client_aio)
            assert (failure.code, failure.message) == ("NOT_FOUND", f"User with ID {number} not found")


async def test_numbers_grow_and_are_not_used_again(database: str) -> None:
    async with opened(database) as store:
        ann, bob = await stored(store, new("Ann"), new("Bob"))
        assert await store.numbers([bob.id, ann.id, "nobody"]) == {ann.id: 1, bob.id: 2}
        assert (await store.get_numbered(2)).user == bob
        await store.delete(bob.id)
        with pytest.raises(UserNotFound, match="2"):
            await store.get_numbered(2)
        [cid] = await stored(store, new("Cid"))
        assert await store.numbers([ann.id, bob.id, cid.id]) == {ann.id: 1, cid.id: 3}
        assert await store.numbers([]) == {}
        many = await stored(store, *(new(f"n{number}") for number in range(1001)))
        assert sorted((await store.numbers([user.id for user in many])).values()) == list(range(4, 1005))


async def test_users_of_an_older_database_get_numbers(shared_database: str) -> None:
    async with opened(shared_database) as store:
        ann, bob = await stored(store, new("Ann"), new("Bob"))
        async with store._write() as connection:
            for table in set(metadata.tables) - {"users"}:
                await connection.execute(text(f"DROP TABLE {table}"))
            await connection.execute(text("UPDATE schema_version SET version = 1"))
    assert "user_numbers" in MIGRATIONS[1][0]
    async with opened(shared_database) as store:
        assert await store.numbers([ann.id, bob.id]) == {ann.id: 1, bob.id: 2}


async def test_two_clients_create_at_once(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        users = await asyncio.gather(*(create(server.old, f"user{number}") for number in range(20)))
        assert sorted(user.id for user in users) == list(range(1, 21))


def test_the_contract_is_served_whole() -> None:
    methods = user_pb2.DESCRIPTOR.services_by_name["UserService"].methods
    assert all(method.name in vars(UnversionedUserService) for method in methods)


def test_the_contract_field_for_field() -> None:
    fields = {
        message.name: [(field.number, field.name, field.type, field.is_repeated) for field in message.fields]
        for message in user_pb2.DESCRIPTOR.message_types_by_name.values()
    }
    text, int64, int32, bool_, message = 9, 3, 5, 8, 11
    user_id = (1, "user_id", int32, False)
    assert fields == {
        "User": [
            (1, "id", int32, False),
            (2, "name", text, False),
            (3, "email", text, False),
            (4, "created_at", int64, False),
            (5, "updated_at", int64, False),
        ],
        "GetUserRequest": [user_id],
        "CreateUserRequest": [(1, "name", text, False), (2, "email", text, False)],
        "UpdateUserRequest": [user_id, (2, "name", text, False), (3, "email", text, False)],
        "DeleteUserRequest": [user_id],
        "DeleteUserResponse": [(1, "success", bool_, False), (2, "message", text, False)],
        "ListUsersRequest": [(1, "page_size", int32, False), (2, "offset", int32, False)],
        "WatchUserRequest": [user_id],
        "UserEvent": [
            (1, "event_type", text, False),
            (2, "user", message, False),
            (3, "timestamp", int64, False),
        ],
        "CreateMultipleUsersResponse": [
            (1, "created_count", int32, False),
            (2, "user_ids", int32, True),
            (3, "errors", text, True),
        ],
        "ChatMessage": [
            user_id,
            (2, "username", text, False),
            (3, "message", text, False),
            (4, "timestamp", int64, False),
        ],
    }
    methods = {
        method.name: (method.client_streaming, method.server_streaming)
        for method in user_pb2.DESCRIPTOR.services_by_name["UserService"].methods
    }
    assert methods == {
        "GetUser": (False, False),
        "CreateUser": (False, False),
        "UpdateUser": (False, False),
        "DeleteUser": (False, False),
        "ListUsers": (False, True),
        "WatchUser": (False, True),
        "CreateMultipleUsers": (True, False),
        "ChatWithUsers": (True, True),
    }
