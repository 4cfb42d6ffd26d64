"""Stores for the tests, and users to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.database import DatabaseUserStore
from pygrpc.services.users.store import NewUser


class Clock:
    """Stands still unless it is set."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def opened(database: str, clock: Clock | None = None) -> AsyncIterator[DatabaseUserStore]:
    store = await DatabaseUserStore.open(database, clock=clock or Clock())
    try:
        yield store
    finally:
        await store.close()


def new(name: str, email: str | None = None, password_hash: str = "", **given: Any) -> NewUser:
    user = user_pb2.User(
        name=name,
        email=email or f"{name.lower()}@example.com",
        status=user_pb2.USER_STATUS_ACTIVE,
        role=user_pb2.ROLE_USER,
    )
    user.MergeFrom(user_pb2.User(**given))
    return NewUser(user, password_hash)


async def create(store: DatabaseUserStore, *users: NewUser) -> list[user_pb2.User]:
    created = [user for user in await store.create(users) if isinstance(user, user_pb2.User)]
    assert len(created) == len(users)
    return created


def rename(name: str) -> Callable[[user_pb2.User], None]:
    return lambda user: setattr(user, "name", name)
