"""Servers of others that the services are tested against, each started on loopback with a temporary folder of its own.

The tests of a server that is not installed are left out, which the terminal summary says.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import pytest

#: Seconds for a server to start or to stop.
BOUND = 60.0

_left_out: Counter[str] = Counter()


def leave_out(reason: str) -> NoReturn:
    """Skips a test because a server is not there."""
    _left_out[reason] += 1
    pytest.skip(reason)


def summary() -> list[str]:
    """Returns a line for each reason why tests were left out."""
    return [f"{count} tests were left out: {reason}" for reason, count in sorted(_left_out.items())]


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


def started(command: list[str], ready: Callable[[str], bool]) -> subprocess.Popen[str]:
    """Starts a server and waits for the line of its output that says that it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            return process
    stop(process)
    raise AssertionError(f"{command[0]} has not started: {''.join(lines)}")


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a server."""
    process.terminate()
    try:
        process.communicate(timeout=BOUND)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
