"""A service's tables in one database, SQLite or PostgreSQL, through SQLAlchemy's asyncio API.

A store is written once, in SQLAlchemy Core; what differs between the databases is in pygrpc.services.dialects.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Self, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pygrpc.services.dialects import Dialect, dialect_of
from pygrpc.services.errors import StoreError

_T = TypeVar("_T")


def microseconds_now() -> int:
    """Returns the wall clock in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class DatabaseStore:
    """The base of the stores, for one database. Use `open` to make one.

    Each operation runs in a task of its own that the caller's cancellation does not reach. A write must be finished,
    with its listeners told, once it has begun. And SQLAlchemy throws away a connection whose operation was cancelled,
    which for an SQLite database in memory would be the database.

    Integers of tables are BigInteger: PostgreSQL has an Integer of 32 bits. Statements are those that both databases
    understand; as the writes of a store follow each other, a row can be looked for before it is written, and no
    statement needs to tell what to do when it is there already.

    Attributes:
        title: What the database is called in a sentence.
        migrations: The steps that make the tables; entry n brings a database from version n to version n + 1. Entries
            are never changed, only added. They are written for SQLite, with the types INTEGER, TEXT and BLOB and maybe
            a column `INTEGER PRIMARY KEY AUTOINCREMENT`; see Dialect.table_sql.
        version_table: The table that holds the version. Stores that may share a database have different ones.
    """

    title: ClassVar[str]
    migrations: ClassVar[tuple[tuple[str, ...], ...]]
    version_table: ClassVar[str]

    def __init__(self, dialect: Dialect, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        """For `open`, which also sees to the tables."""
        self._dialect = dialect
        self._engine = engine
        self._reader = dialect.for_reads(engine)
        self._writer = dialect.for_writes(engine, self.version_table)
        self._clock = clock
        # Held from the begin of a write until its listeners have been told, so that they hear of the changes in the
        # order of the commits. The databases themselves have but one write of a store at a time.
        self._turn = asyncio.Lock()
        self._news: list[Any] = []
        self._listeners: list[Callable[[list[Any]], None]] = []
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, database: str, *, clock: Callable[[], int] = microseconds_now) -> Self:
        """Opens a database, creating its tables or bringing them up to date. SQLite files are created too.

        Args:
            database: A path, `:memory:`, or a URL: `sqlite:///path`, `postgresql://user:password@host:port/name`.
            clock: Gives the time in microseconds since 1970-01-01 UTC.

        Raises:
            StoreError: The database cannot be used; the text says which one and why, without the password.
        """
        dialect = dialect_of(database, cls.title)
        engine = dialect.make_engine()
        store = cls(dialect, engine, clock)
        try:
            with _storage_errors():
                await dialect.probe(engine)
            async with store._write() as connection:
                await migrate(connection, dialect, cls.migrations, cls.version_table)
        except StoreError as error:
            await store.close()
            raise StoreError(f'the {cls.title} "{dialect.name}" cannot be used: {error}') from error
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def shared(self) -> bool:
        """Whether other processes may write to the database."""
        return self._dialect.shared

    def listen(self, listener: Callable[[list[Any]], None]) -> None:
        """Calls `listener` with the news of each commit of this store, after it and in the order of the commits."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Waits for the operations that were begun, and lets go of the database."""
        if self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()

    async def check(self) -> None:
        """Returns if the database works at the moment. May be cancelled.

        Raises:
            StoreError: It does not; the text says why.
        """
        self._dialect.look()
        # A database in memory works as long as its process does; and a check that is cancelled would throw it away.
        if self.shared:
            async with self._read() as connection:
                await connection.execute(text(f"SELECT version FROM {self.version_table}"))

    async def _finish(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Runs an operation to its end, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(operation)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Otherwise asyncio would report an error for which the caller, who was cancelled, did not wait.
            task.exception()

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        """Is a transaction that writes, the only one of this store in all processes. It is not to be nested."""
        async with self._turn:
            self._news = []
            with _storage_errors():
                async with self._writer.begin() as connection:
                    yield connection
            if self._news:
                for listener in self._listeners:
                    listener(self._news)

    def _tell(self, news: Sequence[Any]) -> None:
        """Lets the listeners hear of something when the running write is committed."""
        self._news.extend(news)

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        """Is a connection for reading. Each statement sees what is committed when it begins."""
        with _storage_errors():
            async with self._reader.connect() as connection:
                yield connection


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        # Not "from error": what drivers add to the text may be the values of a row.
        raise StoreError(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return "the connection to the database was lost"
    said = getattr(error, "orig", None) or error
    return str(said.args[0] if len(said.args) == 1 else said) or repr(said)


async def migrate(
    connection: AsyncConnection, dialect: Dialect, migrations: tuple[tuple[str, ...], ...], table: str
) -> None:
    """Creates the tables or brings them up to date, within the caller's write transaction.

    Args:
        connection: Has a transaction that holds the write lock, so that two servers which open a new database together
            do not both create the tables.
        dialect: The database's.
        migrations: The steps, from an empty database on.
        table: Holds the version that the database has.

    Raises:
        StoreError: A newer version of this program has written the database.
    """
    create = f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL)"
    await connection.execute(text(dialect.table_sql(create)))
    version = (await connection.execute(text(f"SELECT version FROM {table}"))).scalar_one_or_none()
    if version is None:
        await connection.execute(text(f"INSERT INTO {table} (version) VALUES (0)"))
        version = 0
    if version > len(migrations):
        raise StoreError(f"its schema has version {version}, and this program knows only up to {len(migrations)}")
    for statements in migrations[version:]:
        for statement in statements:
            await connection.execute(text(dialect.table_sql(statement)))
    await connection.execute(text(f"UPDATE {table} SET version = :version"), {"version": len(migrations)})
