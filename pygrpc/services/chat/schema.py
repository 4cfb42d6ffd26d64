"""The tables of the chat, and the steps that bring an older file up to date."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

metadata = MetaData()

rooms = Table(
    "chat_rooms",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("created_by", String, nullable=False),
    # Microseconds since 1970-01-01 UTC, here and below.
    Column("created_at", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
)

messages = Table(
    "chat_messages",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("room_id", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("user_id", String, nullable=False),
    Column("username", String, nullable=False),
    Column("content", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", BigInteger, nullable=False),
    # Unique for a user in a room unless it is empty.
    Column("key", String, nullable=False),
)

sessions = Table(
    "chat_sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("server_id", String, nullable=False),
    Column("room_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("username", String, nullable=False),
)

# The processes that serve the sessions, and when they were last known to live.
servers = Table(
    "chat_servers",
    metadata,
    Column("id", String, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE chat_rooms (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            description TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            last_sequence INTEGER NOT NULL
        )
        """,
        # A position is never used again, also when the last message has been removed: those who follow the messages
        # would miss the next one.
        """
        CREATE TABLE chat_messages (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            room_id TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            user_id TEXT NOT NULL,
            username TEXT NOT NULL,
            content TEXT NOT NULL,
            at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            UNIQUE (room_id, sequence)
        )
        """,
        """
        CREATE TABLE chat_sessions (
            id TEXT NOT NULL PRIMARY KEY,
            server_id TEXT NOT NULL,
            room_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            username TEXT NOT NULL
        )
        """,
        "CREATE INDEX chat_sessions_by_room ON chat_sessions (room_id, user_id)",
        "CREATE INDEX chat_sessions_by_server ON chat_sessions (server_id)",
        "CREATE TABLE chat_servers (id TEXT NOT NULL PRIMARY KEY, seen_at INTEGER NOT NULL)",
    ),
    (
        "ALTER TABLE chat_messages ADD COLUMN key TEXT NOT NULL DEFAULT ''",
        "CREATE UNIQUE INDEX chat_messages_by_key ON chat_messages (room_id, user_id, key) WHERE key <> ''",
    ),
)
