"""BatchCreateUsers over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.validation import Limits
from tests.services.support import all_of, create, failure_of, names, running


def request(name: str, **given: Any) -> user_pb2.CreateUserRequest:
    return user_pb2.CreateUserRequest(**({"name": name, "email": f"{name}@example.com"} | given))


async def everybody(stub: Any) -> list[str]:
    return names(await all_of(stub.ListUsers(user_pb2.ListUsersRequest(page_size=1000))))


async def test_a_batch_creates_its_users_in_order(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        requests = [request(f"U{number}", password="secret", tags=[str(number)]) for number in range(20)]
        response = await server.stub.BatchCreateUsers(iter(requests))
        assert (response.success_count, response.failure_count, len(response.errors)) == (20, 0, 0)
        assert names(response.users) == [f"U{number}" for number in range(20)]
        assert await all_of(server.stub.ListUsers(user_pb2.ListUsersRequest())) == list(response.users)


async def test_good_and_bad_in_one_batch(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await create(server.stub, "Ann", "ann@example.com")
        response = await server.stub.BatchCreateUsers(
            iter(
                [
                    request("Bob"),
                    request("", email="x"),
                    request("Cid", email="ANN@example.com"),
                    request("Dan"),
                    request("Eve", email="bob@EXAMPLE.com"),
                    request("Fay", tags=[""]),
                ]
            )
        )
        assert names(response.users) == ["Bob", "Dan"]
        assert (response.success_count, response.failure_count) == (2, 4)
        assert [(error.index, error.code, error.message) for error in response.errors] == [
            (1, 3, "name must not be empty (and 1 more)"),
            (2, 6, 'the e-mail address "ANN@example.com" is already taken'),
            (4, 6, 'the e-mail address "bob@EXAMPLE.com" is already taken'),
            (5, 3, "tags[0] must not be empty"),
        ]
        assert await everybody(server.stub) == ["Ann", "Bob", "Dan"]


async def test_an_empty_batch(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        assert await server.stub.BatchCreateUsers(iter([])) == user_pb2.BatchCreateUsersResponse()


async def test_a_batch_of_bad_users_only(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        response = await server.stub.BatchCreateUsers(iter([request(""), request("")]))
        assert (response.success_count, response.failure_count) == (0, 2)


async def test_a_batch_with_too_many_users_is_refused_whole(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(batch_size=3)) as server:
        call = server.stub.BatchCreateUsers(iter([request(f"U{number}") for number in range(4)]))
        failure = await failure_of(call, client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "a batch may have up to 3 users")
        assert failure.detail(ErrorInfo).reason == "BATCH_TOO_LARGE"
        assert await everybody(server.stub) == []
        response = await server.stub.BatchCreateUsers(iter([request(f"U{number}") for number in range(3)]))
        assert response.success_count == 3


async def test_a_batch_with_too_many_bytes_is_refused_whole(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(batch_bytes=100)) as server:
        call = server.stub.BatchCreateUsers(iter([request(f"U{number}") for number in range(10)]))
        failure = await failure_of(call, client_aio)
        assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", "a batch may have up to 100 bytes")
        assert await everybody(server.stub) == []


async def test_a_batch_that_is_cancelled_creates_nobody(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        arrived = asyncio.Event()
        receive = server.service._described

        async def noticed(request: user_pb2.CreateUserRequest) -> Any:
            arrived.set()
            return await receive(request)

        server.service._described = noticed
        call = server.stub.BatchCreateUsers()
        await call.write(request("Ann"))
        await arrived.wait()
        call.cancel()
        assert (await call.code()).name == "CANCELLED"
        assert await everybody(server.stub) == []


async def test_a_batch_that_takes_its_time_holds_up_nobody(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        go_on = asyncio.Event()

        async def requests() -> AsyncIterator[user_pb2.CreateUserRequest]:
            yield request("Ann")
            await go_on.wait()
            yield request("Bob")

        call = server.stub.BatchCreateUsers(requests())
        await create(server.stub, "Cid")
        assert await everybody(server.stub) == ["Cid"]
        go_on.set()
        assert names((await call).users) == ["Ann", "Bob"]
        assert await everybody(server.stub) == ["Cid", "Ann", "Bob"]


async def test_the_largest_batch_is_answered_within_the_default_message_size(client_aio: ModuleType) -> None:
    limits = Limits()
    async with running(client_aio) as server:
        bio = "b" * (limits.batch_bytes // limits.batch_size - 80)
        requests = [request(f"U{i:03}", profile=user_pb2.Profile(bio=bio)) for i in range(limits.batch_size)]
        assert limits.batch_bytes * 0.95 < sum(item.ByteSize() for item in requests) <= limits.batch_bytes
        assert (await server.stub.BatchCreateUsers(iter(requests))).success_count == limits.batch_size
        repeated = await server.stub.BatchCreateUsers(iter(requests))
        assert repeated.failure_count == limits.batch_size
