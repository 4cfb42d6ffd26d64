"""A service's tables in one SQLite database, through SQLAlchemy's asyncio API and aiosqlite.

A file is used in WAL mode with synchronous=FULL: a commit returns after the log is on the disk, so what was
acknowledged survives a killed process and a power cut, and readers do not wait for the writer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any, ClassVar, Self, TypeVar

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from pygrpc.services.errors import StoreError

_T = TypeVar("_T")

_FILE_CONNECTIONS = 4
_BUSY_TIMEOUT_MS = 5000


def microseconds_now() -> int:
    """Returns the wall clock in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class SqliteStore:
    """The base of the stores, for one database. Use `open` to make one.

    Each operation runs in a task of its own that the caller's cancellation does not reach. A write must be finished,
    with its listeners told, once it has begun. And SQLAlchemy throws away a connection whose operation was cancelled,
    which for a database in memory would be the database.

    Attributes:
        title: What the database is called in a sentence.
        migrations: The steps that make the tables; entry n brings a database from version n to version n + 1. Entries
            are never changed, only added.
        version_table: The table that holds the version. Stores that may share a file have different ones.
    """

    title: ClassVar[str]
    migrations: ClassVar[tuple[tuple[str, ...], ...]]
    version_table: ClassVar[str]

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        """For `open`, which also sees to the tables."""
        self._engine = engine
        self._writer = engine.execution_options(begin_immediate=True)
        self._clock = clock
        # Held from the begin of a write until its listeners have been told, so that they hear of the changes in the
        # order of the commits. SQLite itself has but one writer at a time.
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, database: str, *, clock: Callable[[], int] = microseconds_now) -> Self:
        """Opens a database, creating it or bringing its tables up to date.

        Args:
            database: A path, an SQLAlchemy URL (`sqlite:///path`), or `:memory:`.
            clock: Gives the time in microseconds since 1970-01-01 UTC.

        Raises:
            StoreError: The database cannot be used; the text says which one and why.
        """
        url = _url_of(database, cls.title)
        engine = _engine_for(url)
        store = cls(engine, clock)
        try:
            with _storage_errors():
                await asyncio.to_thread(_probe, engine)
            async with store._write() as connection:
                await migrate(connection, cls.migrations, cls.version_table)
        except StoreError as error:
            await store.close()
            raise StoreError(f'the {cls.title} "{url.database or ":memory:"}" cannot be used: {error}') from error
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Waits for the writes that were begun, and lets go of the database."""
        if self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()

    async def check(self) -> None:
        """Returns if the database works at the moment. May be cancelled.

        Raises:
            StoreError: It does not; the text says why.
        """
        url = self._engine.url
        if is_in_memory(url):
            # It works as long as this process does; and a check that is cancelled would throw it away.
            return
        if not os.path.exists(url.database or ""):
            # Connections that are open would go on with a file that nobody can find any more.
            raise StoreError(f'there is no file "{url.database}" any more')
        async with self._read() as connection:
            await connection.execute(text(f"SELECT version FROM {self.version_table}"))

    async def _finish(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Runs an operation to its end, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(operation)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

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


def _url_of(database: str, title: str) -> URL:
    if database == ":memory:":
        return URL.create("sqlite+aiosqlite")
    if "://" not in database:
        return URL.create("sqlite+aiosqlite", database=database)
    try:
        url = make_url(database)
    except ArgumentError:
        raise StoreError(f'"{database}" is not a database URL') from None
    if url.get_backend_name() != "sqlite":
        raise StoreError(f'the {title} must be SQLite, not "{url.get_backend_name()}"')
    return url.set(drivername="sqlite+aiosqlite")


def is_in_memory(url: URL) -> bool:
    """Tells whether a database is in the memory of its process."""
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"


def _engine_for(url: URL) -> AsyncEngine:
    # A database in memory belongs to its connection, so there is exactly one, which the operations use in turn.
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if is_in_memory(url) else _FILE_CONNECTIONS,
        max_overflow=0,
        # Otherwise an error's text would carry the values of the statement, a password hash among them.
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


async def migrate(connection: AsyncConnection, migrations: tuple[tuple[str, ...], ...], table: str) -> None:
    """Creates the tables or brings them up to date, within the caller's write transaction.

    Args:
        connection: Has a transaction that holds the write lock, so that two servers which open a new file together do
            not both create the tables.
        migrations: The steps, from an empty database on.
        table: Holds the version that the database has.

    Raises:
        StoreError: A newer version of this program has written the database.
    """
    await connection.execute(text(f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL)"))
    version = (await connection.execute(text(f"SELECT version FROM {table}"))).scalar_one_or_none()
    if version is None:
        await connection.execute(text(f"INSERT INTO {table} (version) VALUES (0)"))
        version = 0
    if version > len(migrations):
        raise StoreError(f"its schema has version {version}, and this program knows only up to {len(migrations)}")
    for statements in migrations[version:]:
        for statement in statements:
            await connection.execute(text(statement))
    await connection.execute(text(f"UPDATE {table} SET version = :version"), {"version": len(migrations)})
