"""Users in SQLite, through SQLAlchemy's asyncio API and aiosqlite.

A file is used in WAL mode with synchronous=FULL: a commit returns after the log is on the disk, so what was
acknowledged survives a killed process and a power cut, and readers do not wait for the writer.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import URL, Row, delete, event, insert, make_url, select, tuple_, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.schema import migrate, users
from pygrpc.services.users.store import (
    Change,
    EmailTaken,
    NewUser,
    Position,
    StoredUser,
    StoreError,
    UserNotFound,
    email_key,
)

_T = TypeVar("_T")

_FILE_CONNECTIONS = 4
_BUSY_TIMEOUT_MS = 5000
_DETAILS = ("profile", "tags", "metadata", "phone", "phone_number", "slack_id")


def microseconds_now() -> int:
    """Returns the wall clock in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class SqliteUserStore:
    """A UserStore in one SQLite database. Use `open` to make one.

    Each operation runs in a task of its own that the caller's cancellation does not reach. A write must be finished,
    with its listeners told, once it has begun. And SQLAlchemy throws away a connection whose operation was cancelled,
    which for a database in memory would be the database.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        """For `open`, which also sees to the tables."""
        self._engine = engine
        self._writer = engine.execution_options(begin_immediate=True)
        self._clock = clock
        self._latest = 0
        self._listeners: list[Callable[[Change], None]] = []
        # Held from the begin of a write until its listeners have been told, so that they hear of the changes in the
        # order of the commits. SQLite itself has but one writer at a time.
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, database: str, *, clock: Callable[[], int] = microseconds_now) -> SqliteUserStore:
        """Opens a database, creating it or bringing its tables up to date.

        Args:
            database: A path, an SQLAlchemy URL (`sqlite:///path`), or `:memory:`.
            clock: Gives the time in microseconds since 1970-01-01 UTC.

        Raises:
            StoreError: The database cannot be used; the text says which one and why.
        """
        url = _url_of(database)
        engine = _engine_for(url)
        store = cls(engine, clock)
        try:
            with _storage_errors():
                await asyncio.to_thread(_probe, engine)
            async with store._write() as connection:
                await migrate(connection)
        except StoreError as error:
            await store.close()
            raise StoreError(f'the user database "{url.database or ":memory:"}" cannot be used: {error}') from error
        except BaseException:
            await store.close()
            raise
        return store

    def listen(self, listener: Callable[[Change], None]) -> None:
        """See UserStore."""
        self._listeners.append(listener)

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

    async def close(self) -> None:
        """See UserStore."""
        if self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()

    async def _finish(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Runs an operation to its end, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(operation)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _create(self, new_users: Sequence[NewUser]) -> list[user_pb2.User | EmailTaken]:
        results: list[user_pb2.User | EmailTaken] = []
        changes = []
        async with self._writing:
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
                    results.append(user)
                    changes.append(_change(user_pb2.USER_EVENT_TYPE_CREATED, user, user.created_at, 1))
            self._tell(changes)
        return results

    async def _get(self, user_id: str) -> StoredUser:
        async with self._read() as connection:
            return await _fetch(connection, user_id)

    async def _update(self, user_id: str, change: Callable[[user_pb2.User], None]) -> user_pb2.User:
        async with self._writing:
            async with self._write() as connection:
                user, revision = await _fetch(connection, user_id)
                before = user.updated_at.ToMicroseconds()
                change(user)
                taken = await _address_taken(connection, user)
                if taken is not None:
                    raise taken
                now = max(self._clock(), before + 1)
                user.updated_at.FromMicroseconds(now)
                row = _columns(user) | {"updated_at": now, "revision": revision + 1}
                await connection.execute(update(users).where(users.c.id == user_id).values(row))
            self._tell([_change(user_pb2.USER_EVENT_TYPE_UPDATED, user, user.updated_at, revision + 1)])
        return user

    async def _delete(self, user_id: str) -> None:
        async with self._writing:
            async with self._write() as connection:
                user, revision = await _fetch(connection, user_id)
                await connection.execute(delete(users).where(users.c.id == user_id))
            now = Timestamp()
            now.FromMicroseconds(self._clock())
            self._tell([_change(user_pb2.USER_EVENT_TYPE_DELETED, user, now, revision + 1)])

    async def _page(self, limit: int, after: Position | None, offset: int, status: int) -> list[user_pb2.User]:
        query = select(users).order_by(users.c.created_at, users.c.id).limit(limit).offset(offset)
        if after is not None:
            query = query.where(tuple_(users.c.created_at, users.c.id) > tuple_(after.created_at, after.user_id))
        if status:
            query = query.where(users.c.status == status)
        async with self._read() as connection:
            return [_user(row) for row in await connection.execute(query)]

    def _next_time(self) -> int:
        """Returns the time of a creation: each one is later than the last, so that lists keep the order of creation."""
        self._latest = max(self._clock(), self._latest + 1)
        return self._latest

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            for listener in self._listeners:
                listener(change)

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        with _storage_errors():
            async with self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        with _storage_errors():
            async with self._engine.connect() as connection:
                yield connection


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(str(getattr(error, "orig", None) or error)) from error


def _url_of(database: str) -> URL:
    if database == ":memory:":
        return URL.create("sqlite+aiosqlite")
    if "://" not in database:
        return URL.create("sqlite+aiosqlite", database=database)
    try:
        url = make_url(database)
    except ArgumentError:
        raise StoreError(f'"{database}" is not a database URL') from None
    if url.get_backend_name() != "sqlite":
        raise StoreError(f'the user database must be SQLite, not "{url.get_backend_name()}"')
    return url.set(drivername="sqlite+aiosqlite")


def _engine_for(url: URL) -> AsyncEngine:
    # A database in memory belongs to its connection, so there is exactly one, which the operations use in turn.
    in_memory = not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if in_memory else _FILE_CONNECTIONS,
        max_overflow=0,
        # Otherwise an error's text would carry the values of the statement, the password hash among them.
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


def _probe(engine: AsyncEngine) -> None:
    """Opens the database once without aiosqlite, whose thread outlives an attempt to connect that fails.

    That thread reports to the event loop, and would print a traceback if the loop was closed because of the failure.
    """
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    arguments, options = engine.dialect.create_connect_args(engine.url)
    with closing(connect(*arguments, **options)) as connection:
        _on_connect(connection, None)


def _on_connect(connection: Any, record: object) -> None:
    # The transactions are begun by _on_begin and not by the sqlite3 module, which would begin one only at the first
    # statement that writes, after what the transaction has read.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Any) -> None:
    # A write takes the lock before it reads, so that what it has read still holds when it writes. A read is a single
    # statement and needs no transaction.
    if connection.get_execution_options().get("begin_immediate"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


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


def _change(kind: user_pb2.UserEventType, user: user_pb2.User, at: Timestamp, revision: int) -> Change:
    return Change(user_pb2.UserEvent(event_type=kind, user=user, timestamp=at), revision)
