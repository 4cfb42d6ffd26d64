"""The tables of the user database, and how an older file is brought up to date."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from pygrpc.services.users.store import StoreError

users = Table(
    "users",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("email", String, nullable=False),
    # The address as it is compared; see store.email_key.
    Column("email_key", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("role", Integer, nullable=False),
    # Microseconds since 1970-01-01 UTC.
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    # The rest of the message, in protobuf's JSON mapping: nothing is looked up by it.
    Column("details", String, nullable=False),
    # Empty for a user without a password.
    Column("password_hash", String, nullable=False),
)

# Entry n brings a database from version n to version n + 1. Entries are never changed, only added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE users (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            email TEXT NOT NULL,
            email_key TEXT NOT NULL UNIQUE,
            status INTEGER NOT NULL,
            role INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            details TEXT NOT NULL,
            password_hash TEXT NOT NULL
        )
        """,
        "CREATE INDEX users_by_creation ON users (created_at, id)",
        "CREATE INDEX users_by_status ON users (status, created_at, id)",
    ),
)


async def migrate(connection: AsyncConnection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Creates the tables or brings them up to date, within the caller's write transaction.

    Args:
        connection: Has a transaction that holds the write lock, so that two servers which open a new file together do
            not both create the tables.
        migrations: The steps, from an empty database on.

    Raises:
        StoreError: A newer version of this program has written the database.
    """
    await connection.execute(text("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"))
    version = (await connection.execute(text("SELECT version FROM schema_version"))).scalar_one_or_none()
    if version is None:
        await connection.execute(text("INSERT INTO schema_version (version) VALUES (0)"))
        version = 0
    if version > len(migrations):
        raise StoreError(f"its schema has version {version}, and this program knows only up to {len(migrations)}")
    for statements in migrations[version:]:
        for statement in statements:
            await connection.execute(text(statement))
    await connection.execute(text("UPDATE schema_version SET version = :version"), {"version": len(migrations)})
