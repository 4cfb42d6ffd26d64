"""The RPCs of one user, and lists of users, over a socket."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc.services.errors import StoreError
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.service import NEXT_PAGE_TOKEN
from pygrpc.services.users.store import UserStore
from pygrpc.services.users.validation import Limits
from tests.services.support import all_of, cheap_passwords, create, failure_of, names, running


def updating(user_id: str, *paths: str, **given: Any) -> user_pb2.UpdateUserRequest:
    request = user_pb2.UpdateUserRequest(id=user_id, **given)
    request.update_mask.paths.extend(paths)
    return request


async def test_a_user_is_created_and_read(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        request = user_pb2.CreateUserRequest(
            name=" Ann ",
            email="Ann@example.com",
            password="secret",
            role=user_pb2.ROLE_ADMIN,
            profile=user_pb2.Profile(bio="b"),
            tags=["x"],
            metadata={"k": "v"},
            phone="+1 555",
            phone_number="+1 777",
        )
        response = await server.stub.CreateUser(request)
        assert isinstance(response, user_pb2.CreateUserResponse)
        user = response.user
        assert (user.name, user.email, user.role) == ("Ann", "Ann@example.com", user_pb2.ROLE_ADMIN)
        assert user.status == user_pb2.USER_STATUS_ACTIVE
        assert user.created_at == user.updated_at
        assert user.created_at.seconds > 0
        assert (user.phone, user.WhichOneof("contact_method")) == ("+1 555", "phone_number")
        read = await server.stub.GetUser(user_pb2.GetUserRequest(id=user.id))
        assert read == user_pb2.GetUserResponse(user=user)


async def test_a_password_is_stored_as_a_hash_and_seen_nowhere(
    client_aio: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "users.db"
    async with running(client_aio, database=str(path)) as server:
        user = await create(server.stub, password="open sesame")
        [listed] = await all_of(server.stub.ListUsers(user_pb2.ListUsersRequest()))
        assert "sesame" not in str(user) + str(listed)
        assert "argon2" not in str(user) + str(listed)
    with closing(sqlite3.connect(path)) as connection:
        [(password_hash,)] = connection.execute("SELECT password_hash FROM users").fetchall()
    passwords = cheap_passwords()
    assert await passwords.verify("open sesame", password_hash)
    passwords.close()
    assert b"sesame" not in path.read_bytes()
    assert "sesame" not in caplog.text


async def test_a_bad_new_user(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        failure = await failure_of(create(server.stub, name="", email="no address"), client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.message == "name must not be empty (and 1 more)"
        assert failure.violations == {
            "name": "must not be empty",
            "email": "must be an e-mail address such as name@example.com",
        }
        assert await all_of(server.stub.ListUsers(user_pb2.ListUsersRequest())) == []


async def test_a_taken_address(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        ann = await create(server.stub, "Ann", "ann@example.com")
        bob = await create(server.stub, "Bob", "bob@example.com")
        creating = create(server.stub, "Other", "ANN@example.com")
        changing = server.stub.UpdateUser(updating(bob.id, "email", email="ANN@example.com"))
        for call in (creating, changing):
            failure = await failure_of(call, client_aio)
            assert failure.code == "ALREADY_EXISTS"
            assert failure.message == 'the e-mail address "ANN@example.com" is already taken'
            info = failure.detail(ErrorInfo)
            assert (info.reason, dict(info.metadata)) == ("EMAIL_TAKEN", {"existing_user_id": ann.id})
            assert failure.detail(ResourceInfo).resource_name == "ANN@example.com"
        assert (await server.stub.GetUser(user_pb2.GetUserRequest(id=bob.id))).user == bob


def calls_for_one_user(stub: Any, user_id: str) -> list[Any]:
    return [
        stub.GetUser(user_pb2.GetUserRequest(id=user_id)),
        stub.UpdateUser(updating(user_id, "name", name="Bob")),
        stub.DeleteUser(user_pb2.DeleteUserRequest(id=user_id)),
        all_of(stub.WatchUser(user_pb2.WatchUserRequest(id=user_id))),
    ]


async def test_a_missing_user(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        for call in calls_for_one_user(server.stub, "nobody"):
            failure = await failure_of(call, client_aio)
            assert (failure.code, failure.message) == ("NOT_FOUND", 'there is no user "nobody"')
            assert failure.detail(ErrorInfo).reason == "USER_NOT_FOUND"
            resource = failure.detail(ResourceInfo)
            assert (resource.resource_type, resource.resource_name) == ("user.v1.User", "nobody")


async def test_a_missing_id(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        for call in calls_for_one_user(server.stub, ""):
            failure = await failure_of(call, client_aio)
            assert failure.code == "INVALID_ARGUMENT"
            assert failure.violations == {"id": "must not be empty"}


async def test_the_fields_of_the_mask_are_changed(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub, tags=["x"], phone="+1 555", slack_id="U1")
        changed = await server.stub.UpdateUser(
            updating(user.id, "status", "tags", "phone", status=user_pb2.USER_STATUS_INACTIVE, name="not this")
        )
        assert isinstance(changed, user_pb2.User)
        assert (changed.name, changed.status) == ("Ann", user_pb2.USER_STATUS_INACTIVE)
        assert changed.tags == []
        assert not changed.HasField("phone")
        assert changed.slack_id == "U1"
        assert changed.updated_at.ToNanoseconds() > user.updated_at.ToNanoseconds()
        assert (await server.stub.GetUser(user_pb2.GetUserRequest(id=user.id))).user == changed


async def test_without_a_mask_the_fields_that_are_set_are_changed(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub, tags=["x"])
        changed = await server.stub.UpdateUser(user_pb2.UpdateUserRequest(id=user.id, name="Bob"))
        assert (changed.name, changed.email, changed.tags) == ("Bob", user.email, ["x"])


async def test_an_unknown_path_of_the_mask_is_named_and_nothing_is_changed(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        call = server.stub.UpdateUser(updating(user.id, "name", "nickname", name="Bob"))
        failure = await failure_of(call, client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.message == 'update_mask "nickname" cannot be updated'
        assert failure.violations == {"update_mask": '"nickname" cannot be updated'}
        assert (await server.stub.GetUser(user_pb2.GetUserRequest(id=user.id))).user == user


@pytest.mark.parametrize("path", ["name", "email", "status", "role"])
async def test_what_cannot_be_cleared(client_aio: ModuleType, path: str) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        failure = await failure_of(server.stub.UpdateUser(updating(user.id, path)), client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert list(failure.violations) == [path]


async def test_changes_at_once_to_different_fields_are_all_kept(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        await asyncio.gather(
            server.stub.UpdateUser(updating(user.id, "name", name="Bob")),
            server.stub.UpdateUser(updating(user.id, "tags", tags=["x"])),
            server.stub.UpdateUser(updating(user.id, "phone", phone="+1 555")),
            server.stub.UpdateUser(updating(user.id, "profile.bio", profile=user_pb2.Profile(bio="b"))),
        )
        final = (await server.stub.GetUser(user_pb2.GetUserRequest(id=user.id))).user
        assert (final.name, final.tags, final.phone, final.profile.bio) == ("Bob", ["x"], "+1 555", "b")


async def test_a_user_is_deleted(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        user = await create(server.stub)
        assert await server.stub.DeleteUser(user_pb2.DeleteUserRequest(id=user.id)) == Empty()
        failure = await failure_of(server.stub.GetUser(user_pb2.GetUserRequest(id=user.id)), client_aio)
        assert failure.code == "NOT_FOUND"
        again = await create(server.stub)
        assert again.id != user.id


async def page(stub: Any, **given: Any) -> tuple[list[str], str]:
    """Reads a page; returns the names and the token of the next page, empty if there is none."""
    call = stub.ListUsers(user_pb2.ListUsersRequest(**given))
    users = await all_of(call)
    tokens = [value for key, value in await call.trailing_metadata() if key == NEXT_PAGE_TOKEN]
    assert len(tokens) <= 1
    return names(users), "".join(tokens)


async def test_pages_follow_one_another(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        everybody = [f"U{number}" for number in range(5)]
        for name in everybody:
            await create(server.stub, name)
        first, token = await page(server.stub, page_size=2)
        await create(server.stub, "U5")
        second, token = await page(server.stub, page_size=2, page_token=token)
        third, end = await page(server.stub, page_size=2, page_token=token)
        assert first + second + third == [*everybody, "U5"]
        assert end == ""


async def test_an_offset_leaves_users_out(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        for number in range(5):
            await create(server.stub, f"U{number}")
        first, token = await page(server.stub, page_size=2, offset=1)
        assert first == ["U1", "U2"]
        assert await page(server.stub, page_token=token, offset=1) == (["U4"], "")
        assert await page(server.stub, offset=5) == ([], "")


async def test_a_filter_keeps_users_of_one_status(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        users = [await create(server.stub, f"U{number}") for number in range(4)]
        for user in users[::2]:
            await server.stub.UpdateUser(updating(user.id, "status", status=user_pb2.USER_STATUS_PENDING))
        pending = user_pb2.USER_STATUS_PENDING
        first, token = await page(server.stub, status_filter=pending, page_size=1)
        assert first == ["U0"]
        assert await page(server.stub, status_filter=pending, page_token=token) == (["U2"], "")
        assert await page(server.stub, status_filter=user_pb2.USER_STATUS_ACTIVE) == (["U1", "U3"], "")
        failure = await failure_of(page(server.stub, page_token=token), client_aio)
        assert failure.violations == {"page_token": "belongs to a list with another status_filter"}


async def fill(stub: Any, count: int) -> None:
    requests = [user_pb2.CreateUserRequest(name=f"U{i:03}", email=f"u{i}@example.com") for i in range(count)]
    assert (await stub.BatchCreateUsers(iter(requests))).success_count == count


async def test_the_size_of_a_page(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(page_size=210)) as server:
        await fill(server.stub, 212)
        everybody = [f"U{number:03}" for number in range(212)]
        default, token = await page(server.stub)
        assert default == everybody[:50]
        assert token
        largest, token = await page(server.stub, page_size=1_000_000)
        assert largest == everybody[:210]
        assert await page(server.stub, page_token=token) == (everybody[210:], "")


@pytest.mark.parametrize("size", [200, 201])
async def test_the_last_page_has_no_token(client_aio: ModuleType, size: int) -> None:
    async with running(client_aio) as server:
        await fill(server.stub, 200)
        assert await page(server.stub, page_size=size) == ([f"U{number:03}" for number in range(200)], "")


@pytest.mark.parametrize("token", ["garbage", "ä", "=" * 40, "A" * 40])
async def test_a_page_token_that_is_none(client_aio: ModuleType, token: str) -> None:
    async with running(client_aio) as server:
        failure = await failure_of(page(server.stub, page_token=token, page_size=-1), client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.violations == {
            "page_size": "must not be negative",
            "page_token": "is not a page token of this service",
        }


async def test_a_client_may_leave_a_list_early(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await fill(server.stub, 20)
        call = server.stub.ListUsers(user_pb2.ListUsersRequest())
        assert (await call.read()).name == "U000"
        call.cancel()
        assert (await call.code()).name == "CANCELLED"
        assert len(await all_of(server.stub.ListUsers(user_pb2.ListUsersRequest()))) == 20


async def test_a_storage_that_fails(client_aio: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        """Has no disk left."""

        def __init__(self, store: UserStore) -> None:
            self.listen = store.listen
            self.close = store.close

        async def get(self, user_id: str) -> None:
            raise StoreError("database or disk is full")

    def wrap(store: UserStore) -> Any:
        return Failing(store)

    async with running(client_aio, wrap=wrap) as server:
        failure = await failure_of(server.stub.GetUser(user_pb2.GetUserRequest(id="1")), client_aio)
        assert failure.code == "UNAVAILABLE"
        assert failure.detail(ErrorInfo).reason == "STORAGE_FAILED"
        assert "disk is full" not in failure.message
    assert "disk is full" in caplog.text
