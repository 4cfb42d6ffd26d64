"""The tables of the user database, and the steps that bring an older file up to date."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("email", String, nullable=False),
    # The address as it is compared; see store.email_key.
    Column("email_key", String, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("role", BigInteger, nullable=False),
    # Microseconds since 1970-01-01 UTC.
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    # The rest of the message, in protobuf's JSON mapping: nothing is looked up by it.
    Column("details", String, nullable=False),
    # Empty for a user without a password.
    Column("password_hash", String, nullable=False),
)

# The numbers that clients of the unversioned contract know users by.
user_numbers = Table(
    "user_numbers",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("user_id", String, nullable=False),
)

# The last changes, for those who watch users.
changes = Table(
    "user_changes",
    metadata,
    # Without gaps, in the order of the commits.
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    # A UserEvent, serialized.
    Column("event", LargeBinary, nullable=False),
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
    (
        "CREATE TABLE user_numbers (number INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL UNIQUE)",
        "INSERT INTO user_numbers (user_id) SELECT id FROM users ORDER BY created_at, id",
    ),
    (
        """
        CREATE TABLE user_changes (
            position INTEGER NOT NULL PRIMARY KEY,
            revision INTEGER NOT NULL,
            event BLOB NOT NULL
        )
        """,
    ),
)
