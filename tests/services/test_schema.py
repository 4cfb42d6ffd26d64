"""Opening databases: new, older, newer, and what is none."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from pygrpc.services.errors import StoreError
from pygrpc.services.sqlite import migrate
from pygrpc.services.users import schema
from pygrpc.services.users.sqlite import SqliteUserStore
from pygrpc.services.users.store import EmailTaken
from tests.services.stores import create, new, opened


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("{tmp}/missing/users.db", 'the user database "{tmp}/missing/users.db" cannot be used: unable to open'),
        ("{tmp}", "unable to open database file"),
        ("{tmp}/text", "file is not a database"),
        ("sqlite:///file:{tmp}/old?mode=ro&uri=true", "attempt to write a readonly database"),
        ("{tmp}/newer", "its schema has version 99, and this program knows only up to 1"),
        ("postgresql://localhost/users", 'the user database must be SQLite, not "postgresql"'),
        ("nonsense://", 'the user database must be SQLite, not "nonsense"'),
        ("://x", '"://x" is not a database URL'),
    ],
)
async def test_a_database_that_cannot_be_used(tmp_path: Path, database: str, reason: str) -> None:
    (tmp_path / "text").write_text("This is a text and not a database, and it is long enough to tell. " * 20)
    with closing(sqlite3.connect(tmp_path / "old")) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    with closing(sqlite3.connect(tmp_path / "newer")) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (99)")
        connection.commit()
    with pytest.raises(StoreError) as raised:
        await SqliteUserStore.open(database.format(tmp=tmp_path))
    assert reason.format(tmp=tmp_path) in str(raised.value)


async def test_two_stores_open_a_new_file_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "users.db")
    first, second = await asyncio.gather(SqliteUserStore.open(path), SqliteUserStore.open(path))
    [user] = await create(first, new("Ann"))
    assert (await second.get(user.id)).user == user
    [taken] = await second.create([new("Ann")])
    assert isinstance(taken, EmailTaken)
    await first.close()
    await second.close()


async def test_the_migrations_make_the_table_that_is_used(tmp_path: Path) -> None:
    path = str(tmp_path / "users.db")
    async with opened(path):
        pass
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.connect() as connection:
        columns = await connection.run_sync(lambda sync: inspect(sync).get_columns("users"))
        plan = await connection.exec_driver_sql("EXPLAIN QUERY PLAN SELECT * FROM users ORDER BY created_at, id")
        steps = " ".join(str(row) for row in plan)
    await engine.dispose()
    assert [column["name"] for column in columns] == [column.name for column in schema.users.columns]
    assert not any(column["nullable"] for column in columns)
    assert "users_by_creation" in steps
    assert "TEMP B-TREE" not in steps


async def test_an_older_database_is_brought_up_to_date_once(tmp_path: Path, rows: sqlite3.Connection) -> None:
    path = str(tmp_path / "users.db")
    async with opened(path) as store:
        [user] = await create(store, new("Ann"))
        longer = (*schema.MIGRATIONS, ("ALTER TABLE users ADD COLUMN nickname TEXT NOT NULL DEFAULT ''",))
        for _ in range(2):
            async with store._write() as connection:
                await migrate(connection, longer, "schema_version")
        assert (await store.get(user.id)).user == user
    assert rows.execute("SELECT version FROM schema_version").fetchall() == [(2,)]
    assert rows.execute("SELECT name, nickname FROM users").fetchall() == [("Ann", "")]


async def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path, rows: sqlite3.Connection) -> None:
    async with opened(str(tmp_path / "users.db")) as store:
        broken = (*schema.MIGRATIONS, ("CREATE TABLE extra (id TEXT)", "CREATE NONSENSE"))
        with pytest.raises(StoreError, match="syntax error"):
            async with store._write() as connection:
                await migrate(connection, broken, "schema_version")
    assert rows.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    assert rows.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)
