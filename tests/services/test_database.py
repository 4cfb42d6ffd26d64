"""Opening databases: new, older, newer, and what is none; and losing them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, inspect, text

from pygrpc.services.chat import DatabaseChatStore
from pygrpc.services.chat import schema as chat_schema
from pygrpc.services.database import DatabaseStore, microseconds_now, migrate
from pygrpc.services.errors import StoreError
from pygrpc.services.files import DatabaseCatalog
from pygrpc.services.files import schema as files_schema
from pygrpc.services.users import schema
from pygrpc.services.users.database import DatabaseUserStore
from pygrpc.services.users.store import EmailTaken
from tests.services.servers.postgresql import PASSWORD, PostgresqlServer, query
from tests.services.stores import create, new, opened, rename


async def failure_of_opening(database: str) -> str:
    with pytest.raises(StoreError) as raised:
        await DatabaseUserStore.open(database)
    sentence = str(raised.value)
    assert PASSWORD not in sentence + repr(raised.value.__cause__)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("{tmp}/missing/users.db", 'the user database "{tmp}/missing/users.db" cannot be used: unable to open'),
        ("{tmp}", "unable to open database file"),
        ("{tmp}/text", "file is not a database"),
        ("sqlite:///file:{tmp}/old?mode=ro&uri=true", "attempt to write a readonly database"),
        ("{tmp}/newer", "its schema has version 99, and this program knows only up to "),
    ],
)
async def test_a_file_that_cannot_be_used(tmp_path: Path, database: str, reason: str) -> None:
    (tmp_path / "text").write_text("This is a text and not a database, and it is long enough to tell. " * 20)
    with closing(sqlite3.connect(tmp_path / "old")) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    with closing(sqlite3.connect(tmp_path / "newer")) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (99)")
        connection.commit()
    assert reason.format(tmp=tmp_path) in await failure_of_opening(database.format(tmp=tmp_path))


async def test_a_postgresql_that_cannot_be_used(postgresql: str, postgresql_server: PostgresqlServer) -> None:
    server = f"127.0.0.1:{postgresql_server.port}"
    reasons = {
        postgresql_server.url("nothing"): 'database "nothing" does not exist',
        postgresql_server.url("postgres", password="wrong"): 'password authentication failed for user "pygrpc"',
        postgresql_server.url("postgres", user="nobody"): 'password authentication failed for user "nobody"',
        f"{postgresql}?password={PASSWORD}&sslmode=x": "the parameters of its URL are not those of PostgreSQL",
        f"{postgresql}?sslmode=require": f"no connection to the PostgreSQL server at 127.0.0.1: PostgreSQL server at "
        f'"{server}" rejected SSL upgrade',
        f"{postgresql}?colour=red": 'unrecognized configuration parameter "colour"',
    }
    for database, reason in reasons.items():
        name = database.partition("@")[2].partition("?")[0]
        user = database.removeprefix("postgresql://").partition(":")[0]
        sentence = await failure_of_opening(database)
        assert sentence == f'the user database "postgresql://{user}@{name}" cannot be used: {reason}'
    await query(postgresql, "CREATE TABLE schema_version (version BIGINT); INSERT INTO schema_version VALUES (99)")
    assert "its schema has version 99, and this program knows only up to" in await failure_of_opening(postgresql)


async def test_a_postgresql_that_is_not_there() -> None:
    sentence = await failure_of_opening(f"postgresql://ann:{PASSWORD}@127.0.0.1:1/users")
    assert sentence == (
        'the user database "postgresql://ann@127.0.0.1:1/users" cannot be used: '
        "no connection to the PostgreSQL server at 127.0.0.1: Connection refused"
    )
    sentence = await failure_of_opening("postgresql:///users?host=/no/such/folder")
    assert sentence.endswith("no connection to the PostgreSQL server at /no/such/folder: No such file or directory")


async def test_a_database_of_another_encoding(postgresql_server: PostgresqlServer) -> None:
    administrator = postgresql_server.url("postgres")
    await query(administrator, "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    sentence = await failure_of_opening(postgresql_server.url("latin"))
    assert sentence.endswith("its encoding is LATIN1, and it must be UTF8")
    await query(administrator, "DROP DATABASE latin")


async def test_two_stores_open_a_new_database_at_once(shared_database: str) -> None:
    stores = await asyncio.gather(*(DatabaseUserStore.open(shared_database) for _ in range(3)))
    [user] = await create(stores[0], new("Ann"))
    assert (await stores[1].get(user.id)).user == user
    [taken] = await stores[2].create([new("Ann")])
    assert isinstance(taken, EmailTaken)
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("kind", "tables"),
    [
        (DatabaseUserStore, schema.metadata),
        (DatabaseChatStore, chat_schema.metadata),
        (DatabaseCatalog, files_schema.metadata),
    ],
)
async def test_the_migrations_make_the_tables_that_are_used(
    database: str, kind: type[DatabaseStore], tables: MetaData
) -> None:
    store = await kind.open(database)
    async with store._read() as connection:
        for table in tables.sorted_tables:
            columns = await connection.run_sync(lambda sync, name=table.name: inspect(sync).get_columns(name))
            assert [column["name"] for column in columns] == [column.name for column in table.columns]
            assert not any(column["nullable"] for column in columns if not column.get("primary_key"))
    await store.close()


async def test_pages_are_read_along_an_index(tmp_path: Path, rows: sqlite3.Connection) -> None:
    async with opened(str(tmp_path / "users.db")):
        pass
    plan = rows.execute("EXPLAIN QUERY PLAN SELECT * FROM users ORDER BY created_at, id").fetchall()
    steps = " ".join(map(str, plan))
    assert "users_by_creation" in steps
    assert "TEMP B-TREE" not in steps


async def test_an_older_database_is_brought_up_to_date_once(database: str) -> None:
    async with opened(database) as store:
        [user] = await create(store, new("Ann"))
        longer = (*schema.MIGRATIONS, ("ALTER TABLE users ADD COLUMN nickname TEXT NOT NULL DEFAULT ''",))
        for _ in range(2):
            async with store._write() as connection:
                await migrate(connection, store._dialect, longer, "schema_version")
        assert (await store.get(user.id)).user == user
        async with store._read() as connection:
            version = (await connection.execute(text("SELECT version FROM schema_version"))).scalars().all()
            found = (await connection.execute(text("SELECT name, nickname FROM users"))).all()
    assert (version, found) == ([len(longer)], [("Ann", "")])


async def test_a_failed_migration_leaves_the_database_as_it_was(database: str) -> None:
    async with opened(database) as store:
        broken = (*schema.MIGRATIONS, ("CREATE TABLE extra (id TEXT)", "CREATE NONSENSE"))
        with pytest.raises(StoreError, match="syntax error"):
            async with store._write() as connection:
                await migrate(connection, store._dialect, broken, "schema_version")
        async with store._read() as connection:
            version = (await connection.execute(text("SELECT version FROM schema_version"))).scalars().all()
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert version == [len(schema.MIGRATIONS)]
    assert "extra" not in tables


async def test_a_store_comes_back_with_its_server(postgresql_server: PostgresqlServer, postgresql: str) -> None:
    async with opened(postgresql) as store:
        [user] = await create(store, new("Ann"))
        await asyncio.gather(*(store.get(user.id) for _ in range(4)))
        async with postgresql_server.away():
            for operation in (store.get(user.id), store.update(user.id, rename("Bob"))):
                with pytest.raises(StoreError, match="no connection to the PostgreSQL server at"):
                    await operation
        assert (await store.get(user.id)).user == user
        assert (await store.update(user.id, rename("Cid"))).name == "Cid"


async def test_a_statement_that_finds_its_connection_cut(postgresql: str) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'pygrpc'"
    async with opened(postgresql) as store:
        with pytest.raises(StoreError, match="the connection to the database was lost"):
            async with store._write() as connection:
                await query(postgresql, cut)
                await connection.execute(text("SELECT 1"))
        await create(store, new("Ann"))


async def test_errors_of_the_database_do_not_carry_the_row(postgresql: str) -> None:
    async with opened(postgresql) as store:
        await query(postgresql, "ALTER TABLE users ADD CONSTRAINT no_hash CHECK (password_hash = '')")
        with pytest.raises(StoreError, match="no_hash") as raised:
            await store.create([new("Ann", password_hash="$argon2id$hash")])
    assert "argon2id" not in str(raised.value) + str(raised.value.__cause__)


async def test_a_write_that_waits_too_long_for_its_turn(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pygrpc.services.dialects._LOCK_TIMEOUT_MS", 50)
    async with opened(postgresql) as first, opened(postgresql) as second:
        async with first._write():
            with pytest.raises(StoreError, match="lock timeout"):
                await second.create([new("Ann")])
        await create(second, new("Ann"))


def test_the_default_clock_counts_microseconds() -> None:
    year_2020, year_2200 = 1_577_836_800_000_000, 7_258_118_400_000_000
    assert year_2020 < microseconds_now() < year_2200
