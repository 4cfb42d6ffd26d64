"""Servers of others that the services are tested against, each started on loopback with a temporary folder of its own.

The tests of a server that is not installed are left out, which the terminal summary says.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NoReturn

import pytest

#: Seconds for a server to start or to stop.
BOUND = 60.0

#: Ends a server when its standard input is closed, also by the end of the test run, in whatever way that ends.
_UNTIL_EOF = 'exec 3<&0; "$@" </dev/null 3<&- & p=$!; (read -r line <&3; kill $p) >/dev/null 2>&1 & wait $p'

_reasons: set[str] = set()


def leave_out(reason: str) -> NoReturn:
    """Skips a test because a server is not there."""
    _reasons.add(reason)
    pytest.skip(reason)


def summary(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """Returns a line for each reason why tests were left out.

    Args:
        skipped: The reports of all tests that were skipped. One of a fixture that several tests share is reported for
            each of them, and calls `leave_out` once.
    """
    texts = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    counts = Counter(text.removeprefix("Skipped: ") for text in texts)
    return [f"{counts[reason]} tests were left out: {reason}" for reason in sorted(_reasons & counts.keys())]


def program(name: str, package: str) -> str:
    """Returns the path of a program; leaves the test out if it is not installed."""
    path = shutil.which(name)
    if path is None:
        leave_out(f"{name} is not installed (Debian package {package})")
    return path


def free_port() -> int:
    """Returns a TCP port that nobody has; below those that the system gives to clients, so that it stays free."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process:
    """A server that is running."""

    def __init__(self, command: list[str], ready: Callable[[str], bool]) -> None:
        """Starts it.

        Args:
            command: The program and its arguments.
            ready: Tells whether a line of its output says that it takes connections.
        """
        self._process = subprocess.Popen(
            ["sh", "-c", _UNTIL_EOF, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self._last: deque[str] = deque(maxlen=50)
        self._reading: threading.Thread | None = None
        for line in self._process.stdout:
            self._last.append(line)
            if ready(line):
                break
        else:
            self.stop()
            raise AssertionError(f"{command[0]} has not started: {''.join(self._last)}")
        # A server that logs much would wait if nobody read that.
        self._reading = threading.Thread(target=self._last.extend, args=(self._process.stdout,), daemon=True)
        self._reading.start()

    def stop(self) -> None:
        """Ends it, and waits for that."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(BOUND)
        if self._reading is not None:
            self._reading.join(BOUND)
        self._process.stdout.close()
