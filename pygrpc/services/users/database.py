"""Users in a database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import json_format
from sqlalchemy import Row, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pygrpc.services.database import DatabaseStore
from pygrpc.services.dialects import Dialect
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.schema import MIGRATIONS, changes, user_numbers, users
from pygrpc.services.users.store import (
    Change,
    EmailTaken,
    NewUser,
    Position,
    StoredUser,
    UserNotFound,
    email_key,
)

# The most ids in one query: databases bound the number of parameters.
_PIECE = 500
CREATED = user_pb2.USER_EVENT_TYPE_CREATED
UPDATED = user_pb2.USER_EVENT_TYPE_UPDATED
DELETED = user_pb2.USER_EVENT_TYPE_DELETED
# The log keeps so many changes, and the old ones are removed once for so many new ones.
_KEEP = 10_000
_PRUNE_EVERY = 1000
_DETAILS = ("profile", "tags", "metadata", "phone", "phone_number", "slack_id")


class DatabaseUserStore(DatabaseStore):
    """A UserStore in one database. Use `open` to make one."""

    title = "user database"
    migrations = MIGRATIONS
    version_table = "schema_version"

    def __init__(self, dialect: Dialect, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        """For `open`, which also sees to the tables."""
        super().__init__(dialect, engine, clock)
        self._latest = 0

    async def create(self, users: Sequence[NewUser]) -> list[user_pb2.User | EmailTaken]:
        """See UserStore."""
        return await self._finish(self._create(users))

    async def get(self, user_id: str) -> StoredUser:
        """See UserStore."""
        return await self._finish(self._get(user_id))

    async def update(self, user_id: str, change: Callable[[user_pb2.User], None]) -> user_pb2.User:
        """See UserStore."""
        return await self._finish(self._update(user_id, change))

    async def delete(self, user_id: str) -> None:
        """See UserStore."""
        await self._finish(self._delete(user_id))

    async def page(
        self, *, limit: int, after: Position | None = None, offset: int = 0, status: int = 0
    ) -> list[user_pb2.User]:
        """See UserStore."""
        return await self._finish(self._page(limit, after, offset, status))

    async def numbers(self, user_ids: Sequence[str]) -> dict[str, int]:
        """See UserStore."""
        return await self._finish(self._numbers(user_ids))

    async def get_numbered(self, number: int) -> StoredUser:
        """See UserStore."""
        return await self._finish(self._get_numbered(number))

    async def after(self, position: int, limit: int) -> list[Change]:
        """See UserStore."""
        return await self._finish(self._after(position, limit))

    async def latest(self) -> int:
        """See UserStore."""
        return await self._finish(self._last())

    async def _create(self, new_users: Sequence[NewUser]) -> list[user_pb2.User | EmailTaken]:
        results: list[user_pb2.User | EmailTaken] = []
        events = []
        async with self._write() as connection:
            for new in new_users:
                taken = await _address_taken(connection, new.user)
                if taken is not None:
                    results.append(taken)
                    continue
                now = self._next_time()
                user = user_pb2.User()
                user.CopyFrom(new.user)
                user.id = str(uuid.uuid4())
                user.created_at.FromMicroseconds(now)
                user.updated_at.FromMicroseconds(now)
                row = _columns(user) | {"id": user.id, "created_at": now, "password_hash": new.password_hash}
                await connection.execute(insert(users).values(row | {"updated_at": now, "revision": 1}))
                await connection.execute(insert(user_numbers).values(user_id=user.id))
                results.append(user)
                events.append((user_pb2.UserEvent(event_type=CREATED, user=user, timestamp=user.created_at), 1))
            await self._add(connection, events)
        return results

    async def _get(self, user_id: str) -> StoredUser:
        async with self._read() as connection:
            return await _fetch(connection, user_id)

    async def _update(self, user_id: str, change: Callable[[user_pb2.User], None]) -> user_pb2.User:
        async with self._write() as connection:
            user, revision = await _fetch(connection, user_id)
            before, address = user.updated_at.ToMicroseconds(), user.email
            change(user)
            if user.email != address:
                taken = await _address_taken(connection, user)
                if taken is not None:
                    raise taken
            now = max(self._clock(), before + 1)
            user.updated_at.FromMicroseconds(now)
            row = _columns(user) | {"updated_at": now, "revision": revision + 1}
            await connection.execute(update(users).where(users.c.id == user_id).values(row))
            event = user_pb2.UserEvent(event_type=UPDATED, user=user, timestamp=user.updated_at)
            await self._add(connection, [(event, revision + 1)])
        return user

    async def _delete(self, user_id: str) -> None:
        async with self._write() as connection:
            user, revision = await _fetch(connection, user_id)
            await connection.execute(delete(users).where(users.c.id == user_id))
            await connection.execute(delete(user_numbers).where(user_numbers.c.user_id == user_id))
            event = user_pb2.UserEvent(event_type=DELETED, user=user)
            event.timestamp.FromMicroseconds(self._clock())
            await self._add(connection, [(event, revision + 1)])

    async def _page(self, limit: int, after: Position | None, offset: int, status: int) -> list[user_pb2.User]:
        query = select(users).order_by(users.c.created_at, users.c.id).limit(limit).offset(offset)
        if after is not None:
            query = query.where(tuple_(users.c.created_at, users.c.id) > tuple_(after.created_at, after.user_id))
        if status:
            query = query.where(users.c.status == status)
        async with self._read() as connection:
            return [_user(row) for row in await connection.execute(query)]

    async def _numbers(self, user_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        async with self._read() as connection:
            for start in range(0, len(user_ids), _PIECE):
                piece = user_ids[start : start + _PIECE]
                query = select(user_numbers).where(user_numbers.c.user_id.in_(piece))
                found |= {row.user_id: row.number for row in await connection.execute(query)}
        return found

    async def _get_numbered(self, number: int) -> StoredUser:
        query = select(users).join(user_numbers, user_numbers.c.user_id == users.c.id)
        async with self._read() as connection:
            row = (await connection.execute(query.where(user_numbers.c.number == number))).one_or_none()
        if row is None:
            raise UserNotFound(str(number))
        return StoredUser(_user(row), row.revision)

    async def _add(self, connection: AsyncConnection, events: Sequence[tuple[user_pb2.UserEvent, int]]) -> None:
        """Adds events, each with the new revision of its user, to the log of changes."""
        if not events:
            return
        rows = [{"revision": revision, "event": event.SerializeToString()} for event, revision in events]
        # The last change is never removed, so that positions go on from it.
        next_one = select(func.coalesce(func.max(changes.c.position), 0) + 1).scalar_subquery()
        first_row = insert(changes).values(position=next_one, **rows[0]).returning(changes.c.position)
        first = (await connection.execute(first_row)).scalar_one()
        rest = [{"position": first + number, **row} for number, row in enumerate(rows[1:], 1)]
        if rest:
            await connection.execute(insert(changes), rest)
        last = first + len(rest)
        if last // _PRUNE_EVERY > (first - 1) // _PRUNE_EVERY:
            await connection.execute(delete(changes).where(changes.c.position <= last - _KEEP))
        self._tell([Change(event, revision, first + number) for number, (event, revision) in enumerate(events)])

    async def _after(self, position: int, limit: int) -> list[Change]:
        query = select(changes).where(changes.c.position > position).order_by(changes.c.position).limit(limit)
        async with self._read() as connection:
            return [
                Change(user_pb2.UserEvent.FromString(row.event), row.revision, row.position)
                for row in await connection.execute(query)
            ]

    async def _last(self) -> int:
        async with self._read() as connection:
            return (await connection.execute(select(func.max(changes.c.position)))).scalar_one() or 0

    def _next_time(self) -> int:
        """Returns the time of a creation: each one is later than the last, so that lists keep the order of creation."""
        self._latest = max(self._clock(), self._latest + 1)
        return self._latest


async def _fetch(connection: AsyncConnection, user_id: str) -> StoredUser:
    row = (await connection.execute(select(users).where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise UserNotFound(user_id)
    return StoredUser(_user(row), row.revision)


async def _address_taken(connection: AsyncConnection, user: user_pb2.User) -> EmailTaken | None:
    query = select(users.c.id).where(users.c.email_key == email_key(user.email), users.c.id != user.id)
    holder = (await connection.execute(query)).scalar_one_or_none()
    return None if holder is None else EmailTaken(user.email, holder)


def _columns(user: user_pb2.User) -> dict[str, object]:
    """Returns the columns that a change may touch, apart from the time and the revision."""
    details = user_pb2.User()
    details.CopyFrom(user)
    for field in user_pb2.User.DESCRIPTOR.fields:
        if field.name not in _DETAILS:
            details.ClearField(field.name)
    return {
        "name": user.name,
        "email": user.email,
        "email_key": email_key(user.email),
        "status": user.status,
        "role": user.role,
        "details": json_format.MessageToJson(details, preserving_proto_field_name=True, indent=None),
    }


def _user(row: Row[Any]) -> user_pb2.User:
    user = user_pb2.User()
    json_format.Parse(row.details, user, ignore_unknown_fields=True)
    user.id, user.name, user.email = row.id, row.name, row.email
    user.status, user.role = row.status, row.role
    user.created_at.FromMicroseconds(row.created_at)
    user.updated_at.FromMicroseconds(row.updated_at)
    return user
