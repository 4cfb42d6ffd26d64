"""Servers in processes of their own, which can be killed and started again on the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.program import ARITIES, SERVICE
from tests.faults.proxy import BOUND

ROOT = Path(__file__).resolve().parents[2]

#: Seconds that a process has to start on a machine that is busy, and to stop.
PATIENCE = 2 * BOUND


class ServerProcess:
    """A server in another process; see ``program`` for its kinds and its methods.

    Attributes:
        port: Its port, which stays its own while it doesn't run: connections are refused then.
    """

    def __init__(self, kind: str = "pygrpc-sync", port: int = 0, grace: float = 10.0) -> None:
        """Starts a server, and does not wait until it serves.

        Args:
            kind: The package and its API.
            port: The port of another one, which both share then; 0 for one of its own.
            grace: Seconds that calls have when it is stopped.
        """
        self._kind = kind
        self._grace = grace
        # It never listens, so it takes no connection away from the server.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", port))
        self.port: int = self._holder.getsockname()[1]
        self._process: subprocess.Popen[str]
        self.begin()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def name(self) -> bytes:
        """What ``uu`` answers."""
        return str(self._process.pid).encode()

    def begin(self) -> None:
        """Starts it again, and does not wait until it serves."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.program", self._kind, str(self.port), str(self._grace)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Waits until it serves."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == str(self.port), "the server did not start"

    def restart(self) -> None:
        """Starts it again after ``kill`` or ``stop``."""
        self.begin()
        self.ready()

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._process.kill()
        self._wait()

    def terminate(self) -> None:
        """Asks it to stop gracefully, and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stops it gracefully, and waits."""
        self.terminate()
        assert self._wait() == 0, "the server failed"

    def _wait(self) -> int:
        code = self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def close(self) -> None:
        """Ends it for good."""
        if self._process.poll() is None:
            self._process.kill()
        self._wait()
        self._holder.close()


@contextlib.contextmanager
def servers(*kinds: str, shared: bool = False, grace: float = 10.0) -> Iterator[list[ServerProcess]]:
    """Runs servers of these kinds, each on a port of its own unless they are to share one."""
    with contextlib.ExitStack() as stack:
        started: list[ServerProcess] = []
        for kind in kinds:
            port = started[0].port if shared and started else 0
            started.append(ServerProcess(kind, port, grace))
            stack.callback(started[-1].close)
        for server in started:
            server.ready()
        yield started


def target_of(started: list[ServerProcess]) -> str:
    """A target with the addresses of several servers."""
    return "ipv4:" + ",".join(dict.fromkeys(server.target for server in started))


def method(channel: Any, name: str) -> Any:
    """A method of the servers' service."""
    return getattr(channel, ARITIES[name[:2]])(f"/{SERVICE}/{name}")
