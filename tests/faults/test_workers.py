"""Servers in several processes on one port, and who watches over them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pygrpc
from pygrpc import workers
from tests.faults.load import loaded, options
from tests.faults.servers import PATIENCE, ROOT, method


class Supervised:
    """A program with workers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.process = process
        self.out, self.err = process.stdout, process.stderr
        self.address = ""
        self._log = ""

    def worker(self) -> int:
        """Waits until one more worker has its port; returns its process."""
        line = self.out.readline()
        assert line, f"the program has ended: {self.err.read()}"
        pid, address = line.split()
        assert address == (self.address or address)
        self.address = address
        return int(pid)

    def workers(self, count: int = 2) -> list[int]:
        """Waits until all workers serve; returns their processes."""
        pids = [self.worker() for _ in range(count)]
        while not self._log.endswith("all workers serve\n"):
            line = self.err.readline()
            assert line, f"the program has ended: {self._log}"
            self._log += line
        return pids

    def end(self) -> tuple[int, str, str]:
        """Waits for the end of the program; returns its exit code and what it has printed."""
        out, err = self.out.read(), self.err.read()
        return self.process.wait(PATIENCE), out, self._log + err


@contextlib.contextmanager
def supervised(
    way: str,
    start_method: str = "fork",
    *,
    address: str = "127.0.0.1:0",
    count: int = 2,
    grace: float = PATIENCE,
    **environment: str,
) -> Iterator[Supervised]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.supervised", way, start_method, address, str(count), str(grace)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    # What waits for lines of a program that hangs comes to an end with it.
    bound = threading.Timer(PATIENCE, kill)
    bound.start()
    try:
        yield Supervised(process)
    finally:
        bound.cancel()
        kill()
        with process:
            pass


def answered_by(address: str, expected: set[int]) -> None:
    """Makes connections until each of the processes has answered one."""
    seen: set[int] = set()
    for _ in range(500):
        with pygrpc.insecure_channel(address, options=options()) as channel:
            seen.add(int(method(channel, "uu")(b"", timeout=PATIENCE, wait_for_ready=True)))
        if seen >= expected:
            return
    raise AssertionError(f"answers came from {seen} only, not from {expected}")


@pytest.mark.parametrize("start_method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("way", ["sync", "aio"])
def test_workers_share_a_port_and_end_together(way: str, start_method: str) -> None:
    with supervised(way, start_method) as program:
        pids = set(program.workers())
        answered_by(program.address, pids)
        program.process.send_signal(signal.SIGTERM)
        code, out, err = program.end()
    assert (code, out) == (0, "over\n"), err
    assert f"2 workers on {program.address}" in err


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_a_worker_that_dies_is_started_again(start_method: str) -> None:
    with supervised("sync", start_method) as program:
        first, second = program.workers()
        with loaded(pygrpc, program.address, options(retry=True), callers=2) as outcome:
            outcome.wait_for_answers(10)
            os.kill(first, signal.SIGKILL)
            third = program.worker()
            outcome.wait_for_answers(10)
            # One that an operator stops is replaced too.
            os.kill(second, signal.SIGTERM)
            fourth = program.worker()
            outcome.wait_for_answers(10)
        assert not outcome.failures, str(outcome)
        answered_by(program.address, {third, fourth})
        program.process.send_signal(signal.SIGINT)
        code, out, err = program.end()
    assert (code, out) == (0, "over\n"), err
    assert f"(process {first}) ended with exit code -9" in err
    assert f"(process {second}) ended with exit code 0" in err


class Conversation:
    """A call in flight at one of the workers."""

    def __init__(self, channel: Any) -> None:
        self._go_on = threading.Event()
        self._call = method(channel, "ss")(self._requests(), timeout=PATIENCE)
        assert next(self._call) == b"first"

    def _requests(self) -> Iterator[bytes]:
        yield b"first"
        self._go_on.wait(PATIENCE)
        yield b"last"

    def finish(self) -> list[bytes]:
        self._go_on.set()
        return list(self._call)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", ["sync", "aio"])
def test_calls_in_flight_finish_at_the_end(way: str, number: signal.Signals) -> None:
    with supervised(way) as program:
        program.workers()
        with pygrpc.insecure_channel(program.address, options=options()) as channel:
            conversation = Conversation(channel)
            states: list[Any] = []
            left = threading.Event()
            channel.subscribe(lambda state: (states.append(state), len(states) > 1 and left.set()))
            # As a terminal does it: Ctrl-C reaches the workers too.
            os.killpg(program.process.pid, number)
            assert left.wait(PATIENCE), "the server did not say goodbye"
            assert conversation.finish() == [b"last"]
        code, out, err = program.end()
    assert (code, out) == (0, "over\n"), err


@pytest.mark.parametrize("way", ["sync", "aio"])
def test_a_second_signal_ends_all_at_once(way: str) -> None:
    with supervised(way) as program:
        program.workers()
        with pygrpc.insecure_channel(program.address, options=options()) as channel:
            call = method(channel, "us")(b"", timeout=PATIENCE)
            next(call)
            left = threading.Event()
            channel.subscribe(lambda state: state is not pygrpc.ChannelConnectivity.READY and left.set())
            program.process.send_signal(signal.SIGTERM)
            assert left.wait(PATIENCE), "the server did not say goodbye"
            program.process.send_signal(signal.SIGTERM)
            code, out, err = program.end()
            assert call.code() is pygrpc.StatusCode.UNAVAILABLE
    assert (code, out) == (0, "over\n"), err
    assert "did not stop in time and is killed" in err


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_workers_end_without_their_supervisor(start_method: str) -> None:
    with supervised("sync", start_method) as program:
        program.workers()
        program.process.kill()
        # The end of its output says that nobody is left who could write to it.
        assert program.out.read() == ""


@pytest.mark.parametrize(
    ("way", "start_method", "text"),
    [
        ("raises", "spawn", "could not start: ValueError: no such database"),
        ("raises", "fork", "could not start: ValueError: no such database"),
        ("dies", "fork", "ended with exit code -9 before it served"),
        ("forgets", "fork", "could not start: TypeError: serve must return a server, not None"),
        ("started", "fork", "could not start: ValueError: Cannot start already-started server!"),
        ("plain_aio", "fork", "one of pygrpc.aio needs an async function"),
        ("sync_in_a_coroutine", "fork", "serve must return a server made by pygrpc.aio.server()"),
    ],
)
def test_a_worker_that_cannot_start_ends_the_program_with_a_sentence(way: str, start_method: str, text: str) -> None:
    with supervised(way, start_method) as program:
        code, _, err = program.end()
    assert code == 1
    assert err.splitlines()[-1].startswith("run_workers: worker ")
    assert text in err.splitlines()[-1]


def test_a_port_that_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RuntimeError, match=f"Failed to bind to address {address}: Address already in use"):
            workers.run_workers(print, address)
        with supervised("taken", TAKEN=address) as program:
            code, _, err = program.end()
    assert code == 1
    assert err.splitlines()[-1].endswith(f"RuntimeError: Failed to bind to address {address}: Address already in use")


@pytest.mark.parametrize("way", ["refuses", "refuses_to_start"])
def test_a_worker_that_says_why_it_cannot_start_has_no_traceback(way: str) -> None:
    with supervised(way, "fork") as program:
        code, out, err = program.end()
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert re.fullmatch(r"run_workers: worker \d \(process \d+\) could not start: no such database", last)


def test_a_worker_that_cannot_start_again_is_tried_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with supervised("fails_later", count=1, MARK=str(mark)) as program:
        os.kill(program.workers(1)[0], signal.SIGKILL)
        assert program.out.readline() == "failed\n"
        mark.unlink()
        while (line := program.out.readline()) == "failed\n":
            pass
        pid, _, address = line.partition(" ")
        answered_by(address.strip(), {int(pid)})
        program.process.send_signal(signal.SIGTERM)
        code, _, err = program.end()
    assert code == 0
    assert "could not start: ValueError: not now" in err


def test_a_function_that_cannot_be_pickled() -> None:
    with supervised("nothing", "spawn") as program:
        code, _, err = program.end()
    assert code == 1
    assert "TypeError: serve must be a function that can be pickled, at the top of a module" in err


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"workers": 0}, ValueError, "workers must be 1 or more, not 0"),
        ({"grace": -1.0}, ValueError, "grace must be 0 seconds or more, not -1.0"),
        ({"start_method": "magic"}, ValueError, "cannot find context for 'magic'"),
        ({"address": "unix:/tmp/socket"}, RuntimeError, "processes can't share a Unix socket"),
        ({"address": "nonsense:x"}, RuntimeError, "Failed to bind to address nonsense:x"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        pygrpc.run_workers(print, **{"address": "127.0.0.1:0", **arguments})


def test_only_the_main_thread_may_supervise() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            pygrpc.run_workers(print, "127.0.0.1:0")
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert "the main thread has to call it" in str(errors[0])
