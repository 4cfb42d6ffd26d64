import errno
import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pygrpc.sync import io_thread
from pygrpc.sync.io_thread import READ, WRITE, IoThread
from tests.sync.peers import BOUND, wait


@pytest.fixture
def io() -> Iterator[IoThread]:
    made = IoThread("pygrpc-test")
    made.start()
    yield made
    made.post(made.end)
    for thread in threading.enumerate():
        if thread.name == "pygrpc-test":
            thread.join(BOUND)
            assert not thread.is_alive()


def test_posted_work_runs_in_the_thread(io: IoThread) -> None:
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    assert not io.is_current
    io.post(lambda: seen.put((threading.current_thread().name, io.is_current)))
    io.post(lambda: io.post(lambda: seen.put("nested")))
    assert seen.get(timeout=BOUND) == ("pygrpc-test", True)
    assert seen.get(timeout=BOUND) == "nested"


def test_an_error_is_logged_and_ends_nothing(io: IoThread, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    io.post(lambda: 1 / 0)
    io.post(done.set)
    wait(done)
    assert "an internal error in a server" in caplog.text


def test_timers_run_in_order(io: IoThread) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    now = time.monotonic()
    for delay in (3, 1, 2):
        io.post(lambda delay=delay: io.call_at(now + delay / 100, lambda: seen.put(delay)))
    assert [seen.get(timeout=BOUND) for _ in range(3)] == [1, 2, 3]


def test_a_timer_of_another_thread(io: IoThread) -> None:
    done = threading.Event()
    io.call_at(time.monotonic() + 0.01, done.set)
    wait(done)


def test_a_timer_that_is_cancelled_does_not_run(io: IoThread) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    now = time.monotonic()
    io.cancel(io.call_at(now + 0.01, lambda: seen.put("cancelled")))
    io.call_at(now + 0.02, lambda: seen.put("kept"))
    assert seen.get(timeout=BOUND) == "kept"
    assert seen.empty()


def test_timers_that_are_cancelled_are_not_collected(io: IoThread) -> None:
    counts: queue.SimpleQueue[int] = queue.SimpleQueue()
    later = time.monotonic() + 3600

    def work() -> None:
        kept = [io.call_at(later, list) for _ in range(10)]
        for _ in range(10_000):
            io.cancel(io.call_at(later, list))
        counts.put(len(io._timers))
        counts.put(sum(entry[2] in kept for entry in io._timers))

    io.post(work)
    assert counts.get(timeout=BOUND) <= 64
    assert counts.get(timeout=BOUND) == 10


def test_a_socket_that_another_thread_takes_over(io: IoThread) -> None:
    if not io.can_pause:
        pytest.skip("not on this system")
    here, there = socket.socketpair()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    io.post(lambda: (io.register(here, READ, lambda mask: seen.put(here.recv(10))), seen.put("registered")))
    assert seen.get(timeout=BOUND) == "registered"
    io.pause(here.fileno())
    there.send(b"a")
    for _ in range(3):
        # Each time the thread looks at its sockets first.
        io.post(lambda: seen.put("looked"))
        assert seen.get(timeout=BOUND) == "looked"
    io.resume(here.fileno(), READ)
    assert seen.get(timeout=BOUND) == b"a"
    io.post(lambda: (io.unregister(here), seen.put("unregistered")))
    assert seen.get(timeout=BOUND) == "unregistered"
    here.close()
    there.close()


def test_sockets(io: IoThread) -> None:
    here, there = socket.socketpair()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handle(mask: int) -> None:
        if mask & READ:
            seen.put(here.recv(10))
        if mask & WRITE:
            io.modify(here, READ)
            io.modify(here, READ)
            seen.put("writable")

    io.post(lambda: io.register(here, READ | WRITE, handle))
    assert seen.get(timeout=BOUND) == "writable"
    there.send(b"a")
    assert seen.get(timeout=BOUND) == b"a"
    io.post(lambda: (io.unregister(here), seen.put("unregistered")))
    assert seen.get(timeout=BOUND) == "unregistered"
    here.close()
    there.close()


def test_connections_are_accepted(io: IoThread) -> None:
    accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname(), timeout=BOUND) for _ in range(80)]
        io.post(lambda: io.listen(listener, accepted.put))
        for sock in [accepted.get(timeout=BOUND) for _ in clients]:
            assert sock.getblocking() is False
            sock.close()
        done = threading.Event()
        io.post(lambda: (io.unregister(listener), done.set()))
        wait(done)
        for client in clients:
            client.close()


class NoRoom:
    """A listener that can't accept until there is room again."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.refusals = 3

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()


def test_no_room_for_a_connection_is_no_busy_loop(
    io: IoThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(io_thread, "_NO_ROOM_DELAY", 0.01)
    accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        full: Any = NoRoom(listener)
        with socket.create_connection(listener.getsockname(), timeout=BOUND), caplog.at_level(logging.ERROR):
            io.post(lambda: io.listen(full, accepted.put))
            accepted.get(timeout=BOUND).close()
        assert [record.message for record in caplog.records] == [
            f"a server can't accept connections: [Errno {errno.EMFILE}] Too many open files"
        ] * 3
        done = threading.Event()
        io.post(lambda: (io.unregister(full), done.set()))
        wait(done)


def test_it_can_be_closed_before_it_starts() -> None:
    made = IoThread("never")
    made.post(lambda: None)
    made.close()
