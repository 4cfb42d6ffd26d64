"""A PostgreSQL server of the test run's own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tests.services import servers

PASSWORD = "s3cret-of-the-tests"
_USER = "pygrpc"
_INSTALLED = Path("/usr/lib/postgresql")
_ATTEMPTS = 5
# Ends the server when the test run has ended, in whatever way: then nobody holds the other end of its standard input.
_UNTIL_EOF = '"$@" </dev/null & read -r line; kill -INT $!; wait $!'


def programs() -> Path:
    """Returns the folder of the newest server that is installed; leaves the test out if there is none."""
    folders = sorted(_INSTALLED.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for path in (*folders, *map(Path, os.get_exec_path())):
        if (path / "postgres").exists() and (path / "initdb").exists():
            return path
    servers.leave_out("PostgreSQL is not installed (Debian package postgresql)")


class PostgresqlServer:
    """A server with one user; `fsync` and all else that makes it durable are as PostgreSQL has them."""

    def __init__(self) -> None:
        """Makes the cluster in a new folder; to be started."""
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="pygrpc-postgresql-"))
        self._data = self._folder / "data"
        self._identity = _identity()
        if self._identity:
            os.chown(self._folder, self._identity["user"], self._identity["group"])
        (self._folder / "password").write_text(PASSWORD)
        (self._folder / "password").chmod(0o644)
        initdb: list[object] = [self._programs / "initdb", "-D", self._data, "-U", _USER, "--auth=scram-sha-256"]
        # Only the new cluster is not synced; what the server writes later is.
        initdb += ["--no-sync", f"--pwfile={self._folder / 'password'}", "--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run([*map(str, initdb)], cwd="/", capture_output=True, text=True, **self._identity)
        assert done.returncode == 0, done.stderr
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts the server on the port that it had before, on a free one at first."""
        for _ in range(_ATTEMPTS):
            port = self.port or servers.free_port()
            if self._start(port):
                self.port = port
                return
        raise AssertionError("PostgreSQL finds no port that stays free")

    def _start(self, port: int) -> bool:
        postgres: list[object] = [self._programs / "postgres", "-D", self._data, "-p", port, "-h", "127.0.0.1"]
        postgres += ["-k", "", "-c", "max_connections=100"]
        self._process = subprocess.Popen(
            ["sh", "-c", _UNTIL_EOF, "sh", *map(str, postgres)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            **self._identity,
        )
        assert self._process.stderr is not None
        last: deque[str] = deque(maxlen=20)
        for line in self._process.stderr:
            last.append(line)
            if "ready to accept connections" in line:
                self._drain(last)
                return True
            if "could not create any TCP/IP sockets" in line:
                self._drain(last)
                self.stop()
                return False
        raise AssertionError("".join(last))

    def _drain(self, last: deque[str]) -> None:
        """Keeps reading what the server says, which would fill the pipe otherwise."""
        assert self._process is not None
        self._draining = threading.Thread(target=last.extend, args=(self._process.stderr,), daemon=True)
        self._draining.start()

    def stop(self) -> None:
        """Stops the server, which closes its connections."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(servers.BOUND)
            self._draining.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Is without the server, which has closed its connections, while the context is open."""
        await asyncio.to_thread(self.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(self.start)

    def remove(self) -> None:
        """Stops the server and removes all of it."""
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, name: str, *, user: str = _USER, password: str = PASSWORD) -> str:
        """Returns the URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{name}"

    def emptied(self) -> str:
        """Returns the URL of a database, after everything in it was removed: that is quicker than a new one."""
        self.execute("SET lock_timeout = '20s'; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.url("postgres")

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Runs a statement outside of an event loop; returns its rows."""
        return asyncio.run(query(url or self.url("postgres"), statement))


async def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Runs a statement on a connection of its own; returns its rows."""
    connection = await asyncpg.connect(url)
    try:
        if ";" in statement:
            await connection.execute(statement)
            return []
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def _identity() -> dict[str, Any]:
    """Returns as whom to run the server, which refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise AssertionError("there is no user to run PostgreSQL as")
