"""The servers of others that the tests start."""

from __future__ import annotations

import sys

import pytest

from tests.services import servers
from tests.services.servers import Process


def test_a_server_runs_until_it_is_stopped() -> None:
    waits = "import signal; print('ready', flush=True); print('x' * 1_000_000, flush=True); signal.pause()"
    process = Process([sys.executable, "-c", waits], lambda line: line == "ready\n")
    assert process._process.poll() is None
    process.stop()
    assert process._process.returncode is not None


def test_a_server_that_does_not_start() -> None:
    with pytest.raises(AssertionError, match="has not started: first\nsecond\n"):
        Process([sys.executable, "-c", "print('first'); print('second')"], lambda line: False)


def test_what_was_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_reasons", set())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.skip.Exception) as skipped:
        servers.program("redis-server", "redis-server")
    reason = "redis-server is not installed (Debian package redis-server)"
    assert str(skipped.value) == reason

    def report(text: str) -> pytest.TestReport:
        where = ("file.py", 1, f"Skipped: {text}")
        return pytest.TestReport("test", ("file.py", 1, "test"), {}, "skipped", where, "setup")

    reports = [report(reason), report("another reason"), report(reason)]
    assert servers.summary(reports) == [f"2 tests were left out: {reason}"]
