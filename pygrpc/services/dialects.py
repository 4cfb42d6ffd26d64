"""All that differs between the databases that a store can be in: how one is named, reached, locked and told of tables.

SQLite is used through aiosqlite. A file is in WAL mode with synchronous=FULL: a commit returns after the log is on the
disk, so what was acknowledged survives a killed process and a power cut, and readers do not wait for the writer.

PostgreSQL is used through asyncpg, which reads the URL, the environment (PGPASSWORD, PGSSLMODE, ...) and the password
file as every PostgreSQL client does. A commit is as durable as the server is configured to make it: by default, it
returns when it is on the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from pygrpc.services.errors import StoreError

# Of one store. Writes follow each other, so all but one of them serve reads.
_CONNECTIONS = 4
_LOCK_TIMEOUT_MS = 5000
_LOCK_RETRY_SECONDS = 0.01
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 30.0
# A server that stops in the middle of a write holds up the others for no longer than this.
_STALLED_WRITE_MS = 60_000


class Dialect(Protocol):
    """One database.

    Attributes:
        name: What the database is called in sentences and logs, without its password.
        shared: Whether other processes may write to it.
    """

    name: str
    shared: bool

    def make_engine(self) -> AsyncEngine:
        """Returns an engine, which has no connection yet."""

    async def probe(self, engine: AsyncEngine) -> None:
        """Raises StoreError or an error of the driver if the database cannot be reached. Once, before it is used."""

    def look(self) -> None:
        """Raises StoreError if the database, although open, cannot be found any more. Does not wait."""

    def for_reads(self, engine: AsyncEngine) -> AsyncEngine:
        """Returns the engine for reading, with the same connections. Each statement sees what is then committed."""

    def for_writes(self, engine: AsyncEngine, store: str) -> AsyncEngine:
        """Returns the engine for the writes of one of the stores in the database, with the same connections.

        A write waits for its turn before it reads anything, so that what it has read still holds when it writes; the
        writes of a store in all processes follow each other.
        """

    def table_sql(self, statement: str) -> str:
        """Returns a statement of a migration, which is written for SQLite, for this database."""


def dialect_of(database: str, title: str) -> Dialect:
    """Returns the dialect of a database.

    Args:
        database: A path, `:memory:`, or a URL: `sqlite:///path`, `postgresql://user:password@host:port/name`.
        title: What the database is for, in a sentence: "user database".

    Raises:
        StoreError: It is none of these. The text does not repeat a URL, which may hold a password.
    """
    if database == ":memory:":
        return SqliteDialect(URL.create("sqlite"))
    if "://" not in database:
        return SqliteDialect(URL.create("sqlite", database=database))
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        raise StoreError(f"the URL of the {title} cannot be read: it must be like {_EXAMPLES}") from None
    match url.get_backend_name():
        case "sqlite":
            return SqliteDialect(url)
        case "postgresql" | "postgres":
            return PostgresqlDialect(url)
        case other:
            raise StoreError(
                f'the {title} must be SQLite or PostgreSQL, not "{other}": its URL must be like {_EXAMPLES}'
            )


_EXAMPLES = "sqlite:///path or postgresql://user:password@host:port/name"


class SqliteDialect:
    """An SQLite file, or a database in memory."""

    def __init__(self, url: URL) -> None:
        """Takes the URL with or without a driver."""
        self._url = url.set(drivername="sqlite+aiosqlite")
        self.name = url.database or ":memory:"
        self.shared = bool(url.database) and ":memory:" not in self.name and url.query.get("mode") != "memory"

    def make_engine(self) -> AsyncEngine:
        """See Dialect."""
        # A database in memory belongs to its connection, so there is exactly one, which the operations use in turn.
        engine = _engine(self._url, pool_size=_CONNECTIONS if self.shared else 1)
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        return engine

    async def probe(self, engine: AsyncEngine) -> None:
        """See Dialect."""
        await asyncio.to_thread(self._probe, engine)

    def _probe(self, engine: AsyncEngine) -> None:
        """Opens the database once without aiosqlite, whose thread outlives an attempt to connect that fails.

        That thread reports to the event loop, and would print a traceback if the loop was closed because of it.
        """
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect
        arguments, options = engine.dialect.create_connect_args(engine.url)
        with closing(connect(*arguments, **options)) as connection:
            _set_up_sqlite(connection, None)
            _use_wal(connection)

    def look(self) -> None:
        """See Dialect. Connections that are open go on with a file that nobody can find any more."""
        if self.shared and "file:" not in self.name and not os.path.exists(self.name):
            raise StoreError(f'there is no file "{self.name}" any more')

    def for_reads(self, engine: AsyncEngine) -> AsyncEngine:
        """See Dialect."""
        return engine

    def for_writes(self, engine: AsyncEngine, store: str) -> AsyncEngine:
        """See Dialect. SQLite has one writer at a time in a database."""
        return _beginning_with(engine, "BEGIN IMMEDIATE")

    def table_sql(self, statement: str) -> str:
        """See Dialect."""
        return statement


def _set_up_sqlite(connection: Any, record: object) -> None:
    # The transactions are begun by _beginning_with and not by the sqlite3 module, which would begin one only at the
    # first statement that writes, after what the transaction has read. A read is a single statement and needs none.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_LOCK_TIMEOUT_MS}",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(connection: sqlite3.Connection) -> None:
    """Puts the file into WAL mode, in which it stays. Blocks.

    Of two that do so at the same moment SQLite refuses one at once, whatever the busy timeout: neither would let go of
    the file.
    """
    end = time.monotonic() + _LOCK_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # The lower byte is the error, the others its kind.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(_LOCK_RETRY_SECONDS)


class PostgresqlDialect:
    """A database of a PostgreSQL server."""

    shared = True

    def __init__(self, url: URL) -> None:
        """Takes the URL with or without a driver. What is not in it comes from the environment, as with libpq."""
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        # The query may hold a password too.
        self.name = str(URL.create("postgresql", url.username, None, url.host, url.port, url.database))
        hosts = url.query.get("host", url.host or "localhost")
        self._host = hosts if isinstance(hosts, str) else ", ".join(hosts)

    def make_engine(self) -> AsyncEngine:
        """See Dialect."""
        try:
            engine = _engine(URL.create("postgresql+asyncpg"), pool_size=_CONNECTIONS, async_creator=self._connect)
        except ModuleNotFoundError as error:
            raise StoreError(f"PostgreSQL needs the package {error.name}: install pygrpc[services]") from None
        event.listen(engine.sync_engine, "checkout", _leave_if_closed)
        return engine

    async def _connect(self) -> Any:
        import asyncpg

        settings = {
            "application_name": "pygrpc",
            "lock_timeout": str(_LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(_STALLED_WRITE_MS),
        }
        try:
            return await asyncpg.connect(
                self._dsn, timeout=_CONNECT_SECONDS, command_timeout=_STATEMENT_SECONDS, server_settings=settings
            )
        except OSError as error:
            raise StoreError(f"no connection to the PostgreSQL server at {self._host}: {_plain(error)}") from None
        except asyncpg.PostgresError as error:
            raise StoreError(str(error.args[0])) from None
        except (asyncpg.InterfaceError, ValueError):
            # The text would repeat parts of the URL.
            raise StoreError("the parameters of its URL are not those of PostgreSQL") from None

    async def probe(self, engine: AsyncEngine) -> None:
        """See Dialect."""
        async with engine.connect() as connection:
            encoding = (await connection.exec_driver_sql("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise StoreError(f"its encoding is {encoding}, and it must be UTF8")

    def look(self) -> None:
        """See Dialect."""

    def for_reads(self, engine: AsyncEngine) -> AsyncEngine:
        """See Dialect."""
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    def for_writes(self, engine: AsyncEngine, store: str) -> AsyncEngine:
        """See Dialect.

        The advisory lock goes with the transaction, after its changes have become visible. Numbers that are drawn while
        it is held are hence seen in their order.
        """
        key = int.from_bytes(hashlib.sha256(store.encode()).digest()[:8], signed=True)
        return _beginning_with(
            engine.execution_options(isolation_level="READ COMMITTED"), f"SELECT pg_advisory_xact_lock({key})"
        )

    def table_sql(self, statement: str) -> str:
        """See Dialect. Integers have 64 bits and texts are compared byte by byte, as they are in SQLite."""
        return _SQLITE_TYPES.sub(lambda found: _POSTGRESQL_TYPES[found[0]], statement)


_POSTGRESQL_TYPES = {
    "INTEGER PRIMARY KEY AUTOINCREMENT": "BIGINT PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY",
    "INTEGER": "BIGINT",
    "TEXT": 'TEXT COLLATE "C"',
    "BLOB": "BYTEA",
}
_SQLITE_TYPES = re.compile(r"\b({})\b".format("|".join(_POSTGRESQL_TYPES)))


def _leave_if_closed(connection: Any, record: object, proxy: object) -> None:
    # The driver has seen it if the server has closed the connection, as it does when it restarts. It costs no question.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _plain(error: OSError) -> str:
    """Returns what the system says, without the addresses that asyncio adds to it."""
    if isinstance(error, TimeoutError):
        return "no answer"
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno or 0) if known else str(error.strerror or error)


def _engine(url: URL, **options: Any) -> AsyncEngine:
    return create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        max_overflow=0,
        # Otherwise an error's text would carry the values of the statement, a password hash among them.
        hide_parameters=True,
        **options,
    )


def _beginning_with(engine: AsyncEngine, statement: str) -> AsyncEngine:
    """Returns the engine whose transactions begin with a statement that waits for the other writers."""
    writer = engine.execution_options()

    def begin(connection: Any) -> None:
        connection.exec_driver_sql(statement)

    event.listen(writer.sync_engine, "begin", begin)
    return writer
