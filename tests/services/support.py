"""A user service on a real socket with a client of either library, and what the tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from pygrpc import aio
from pygrpc.services.protos.user import user_pb2_grpc as old_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.users import DatabaseUserStore, Limits, Passwords, UnversionedUserService, UserService, UserStore

M = TypeVar("M", bound=Message)


def cheap_passwords() -> Passwords:
    """Returns a hasher whose hashes cost next to nothing."""
    return Passwords(time_cost=1, memory_cost=8, parallelism=1, threads=1)


@dataclass(frozen=True)
class Running:
    """A server in this process with both contracts, and a client connected to it."""

    stub: Any
    old: Any
    service: UserService
    store: UserStore
    server: Any
    address: str


@asynccontextmanager
async def running(
    client_aio: ModuleType,
    *,
    limits: Limits | None = None,
    queue_limit: int = 256,
    database: str = ":memory:",
    wrap: Callable[[UserStore], UserStore] = lambda store: store,
) -> AsyncIterator[Running]:
    """Runs the user service on a free port."""
    store = wrap(await DatabaseUserStore.open(database))
    passwords = cheap_passwords()
    service = UserService(store, passwords, limits=limits, queue_limit=queue_limit)
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    user_pb2_grpc.add_UserServiceServicer_to_server(service, server)
    old = UnversionedUserService(store, service.events, service.chat, limits=limits)
    old_grpc.add_UserServiceServicer_to_server(old, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with client_aio.insecure_channel(address) as channel:
            stub, old_stub = user_pb2_grpc.UserServiceStub(channel), old_grpc.UserServiceStub(channel)
            yield Running(stub, old_stub, service, store, server, address)
    finally:
        await server.stop(None)
        passwords.close()
        await store.close()


@dataclass(frozen=True)
class Failure:
    """How a call failed, seen from the client."""

    code: str
    message: str
    status: Status

    def detail(self, kind: type[M]) -> M:
        """Returns the one detail of a type."""
        found = kind()
        [packed] = [detail for detail in self.status.details if detail.Is(kind.DESCRIPTOR)]
        packed.Unpack(found)
        return found

    @property
    def violations(self) -> dict[str, str]:
        """The broken rules, by field."""
        return {entry.field: entry.description for entry in self.detail(BadRequest).field_violations}


async def failure_of(call: Awaitable[Any], client_aio: ModuleType) -> Failure:
    """Awaits a call that has to fail, and checks that its status and its details agree."""
    try:
        result = await call
    except client_aio.AioRpcError as error:
        return failed(error)
    raise AssertionError(f"the call did not fail: {result!r}")


def failed(error: Any) -> Failure:
    """Reads the error of a call."""
    [details] = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    status = Status.FromString(details)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    return Failure(error.code().name, error.details(), status)


async def all_of(call: AsyncIterator[M]) -> list[M]:
    """Reads a stream to its end."""
    return [message async for message in call]


async def create(stub: Any, name: str = "Ann", email: str | None = None, **given: Any) -> user_pb2.User:
    """Creates a user."""
    request = user_pb2.CreateUserRequest(name=name, email=email or f"{name.lower()}@example.com", **given)
    response: user_pb2.CreateUserResponse = await stub.CreateUser(request)
    return response.user


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something has happened; the bound of the test ends it if it never does."""
    while not condition():
        await asyncio.sleep(0)


def names(users: Iterable[user_pb2.User]) -> list[str]:
    """Returns the names of users."""
    return [user.name for user in users]
