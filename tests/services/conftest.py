"""The client libraries that the tests of the services are run with, and the database file behind the server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import grpc.aio
import pytest

import pygrpc.aio
from tests.services import servers
from tests.services.servers.postgresql import PostgresqlServer
from tests.services.servers.redis import RedisServer
from tests.services.servers.s3 import CREDENTIALS, S3Server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which tests were left out because a server is not installed."""
    for line in servers.summary(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for all tests, which share it and do not stop it."""
    server = RedisServer(str(tmp_path_factory.mktemp("redis")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server for all tests, which share it and do not stop it."""
    server = PostgresqlServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> str:
    """The URL of an empty database of PostgreSQL."""
    return postgresql_server.emptied()


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return ":memory:" if request.param == "memory" else str(tmp_path / "users.db")


@pytest.fixture(params=["file", "postgresql"])
def shared_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that several processes can use."""
    return str(request.getfixturevalue("postgresql")) if request.param == "postgresql" else str(tmp_path / "users.db")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server for all tests, each of which makes a bucket of its own."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a storage in a new bucket."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return s3_server.new_bucket()


@pytest.fixture(params=[pygrpc.aio, grpc.aio], ids=["pygrpc-client", "grpcio-client"])
def client_aio(request: pytest.FixtureRequest) -> ModuleType:
    """The asyncio API of the client; the server is always pygrpc's."""
    module: ModuleType = request.param
    return module


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The file of the database, read without the store."""
    with closing(sqlite3.connect(tmp_path / "users.db")) as connection:
        yield connection
