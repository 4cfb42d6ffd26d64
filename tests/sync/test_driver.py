"""Leader, followers and watcher, with work that is only a socket."""

from __future__ import annotations

import gc
import os
import queue
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygrpc.sync import driver as driver_module
from pygrpc.sync.driver import Driver
from pygrpc.sync.poller import READ
from tests.sync.peers import BOUND, wait


class Inbox:
    """Work for a driver: bytes that come on a socket, each of which is a message."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.messages: list[int] = []
        self.readers: list[str] = []
        self.waiters: list[Any] = []
        self.due: float | None = None
        self.expired = threading.Event()
        self.flushed = 0
        self.driver = Driver(self)
        with self.driver.lock:
            self.driver.register(self.here.fileno(), READ, self.receive)

    def receive(self, mask: int, now: float) -> None:
        self.readers.append(threading.current_thread().name)
        self.messages += self.here.recv(100)
        self.driver.notify(self.waiters)

    def next_time(self) -> float | None:
        return self.due

    def on_time(self, now: float) -> None:
        self.due = None
        self.expired.set()
        self.driver.notify(self.waiters)

    def flush(self) -> None:
        self.flushed += 1

    def send(self, *messages: int) -> None:
        self.there.sendall(bytes(messages))

    def take(self, ready: Callable[[], bool], timeout: float = BOUND) -> bool:
        with self.driver.lock:
            return self.driver.wait(self.waiters, ready, time.monotonic() + timeout)

    def take_any(self, timeout: float = BOUND) -> int | None:
        with self.driver.lock:
            if self.driver.wait(self.waiters, lambda: bool(self.messages), time.monotonic() + timeout):
                return self.messages.pop(0)
        return None

    def close(self) -> None:
        with self.driver.lock:
            self.driver.unregister(self.here.fileno())
            self.driver.close()
        self.here.close()
        self.there.close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def watcher_of(inbox: Inbox) -> threading.Thread:
    thread = inbox.driver._watcher
    assert thread is not None
    return thread


def run(*targets: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()


def test_a_lone_waiter_reads_for_itself(inbox: Inbox) -> None:
    inbox.send(1)
    assert inbox.take_any() == 1
    assert inbox.readers == [threading.current_thread().name]
    assert inbox.driver._leader is None


def test_what_is_ready_needs_no_wait(inbox: Inbox) -> None:
    assert inbox.take(lambda: True)
    assert inbox.readers == []


def test_a_wait_ends_in_time(inbox: Inbox) -> None:
    assert not inbox.take(lambda: False, timeout=0.01)
    assert not inbox.take(lambda: False, timeout=-1)


def test_what_has_come_counts_even_when_the_time_is_up(inbox: Inbox) -> None:
    inbox.send(1)
    assert inbox.take_any(timeout=-1) == 1


def test_output_is_written_before_a_wait_and_behind_a_section(inbox: Inbox) -> None:
    before = inbox.flushed
    with inbox.driver.lock:
        inbox.driver.settle()
    assert inbox.flushed == before + 1
    inbox.take(lambda: False, timeout=0)
    assert inbox.flushed >= before + 3


def test_followers_get_what_the_leader_reads(inbox: Inbox) -> None:
    taken: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    threads = run(*[lambda: taken.put(inbox.take_any())] * 5)
    inbox.send(1, 2, 3, 4, 5)
    assert sorted(taken.get(timeout=BOUND) or 0 for _ in threads) == [1, 2, 3, 4, 5]
    join(threads)
    assert inbox.driver._leader is None
    assert not inbox.driver._followers
    assert not inbox.waiters


def test_the_lead_goes_to_somebody_who_still_waits(inbox: Inbox) -> None:
    taken: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
    # Each waits for its own number: whoever leads hands on when it has come, and nobody is left behind.
    threads = run(*[lambda n=n: taken.put((n, inbox.take(lambda: n in inbox.messages))) for n in range(10)])
    for number in range(10):
        inbox.send(number)
        assert taken.get(timeout=BOUND) == (number, True)
    join(threads)


def test_a_follower_whose_time_is_up_leaves(inbox: Inbox) -> None:
    leads = threading.Event()

    def lead() -> bool:
        leads.set()
        return 1 in inbox.messages

    threads = run(lambda: inbox.take(lead))
    wait(leads)
    assert not inbox.take(lambda: 2 in inbox.messages, timeout=0.01)
    inbox.send(1)
    join(threads)


def test_notify_wakes_a_leader_that_polls(inbox: Inbox) -> None:
    done = threading.Event()
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threads = run(lambda: answers.put(inbox.take(done.is_set)))
    until_polling(inbox)
    done.set()
    with inbox.driver.lock:
        inbox.driver.notify(inbox.waiters)
    assert answers.get(timeout=BOUND) is True
    join(threads)


def until_polling(inbox: Inbox) -> None:
    """Waits until somebody polls."""
    ends = time.monotonic() + BOUND
    while inbox.driver._polls_for is None:
        assert time.monotonic() < ends


def test_what_is_registered_meanwhile_is_polled_too(inbox: Inbox) -> None:
    here, there = socket.socketpair()
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    threads = run(lambda: inbox.take(lambda: 1 in inbox.messages))
    until_polling(inbox)
    with inbox.driver.lock:
        inbox.driver.register(here.fileno(), READ, lambda mask, now: seen.put(here.recv(1)[0]))
    there.send(b"\7")
    assert seen.get(timeout=BOUND) == 7
    with inbox.driver.lock:
        inbox.driver.modify(here.fileno(), READ)
        inbox.driver.unregister(here.fileno())
        inbox.driver.unregister(here.fileno())
    inbox.send(1)
    join(threads)
    here.close()
    there.close()


def test_times_are_kept_by_whoever_leads(inbox: Inbox) -> None:
    threads = run(lambda: inbox.take(inbox.expired.is_set))
    until_polling(inbox)
    with inbox.driver.lock:
        inbox.due = time.monotonic() + 0.01
        inbox.driver.time_set(inbox.due)
    join(threads)


def test_look_takes_what_is_there(inbox: Inbox) -> None:
    inbox.send(1)
    with inbox.driver.lock:
        inbox.driver.look(time.monotonic(), since=3600.0 * 24 * 365 * 1000)
        assert inbox.messages == []
        inbox.driver.look(time.monotonic())
    assert inbox.messages == [1]


# The watcher.


def test_who_leads_does_not_wait_for_itself(inbox: Inbox) -> None:
    # As a signal handler would that interrupts the leader.
    def ready() -> bool:
        if inbox.messages:
            inbox.driver.wait([], bool, None)
        return False

    inbox.send(1)
    with pytest.raises(RuntimeError, match="a signal handler can't wait"):
        inbox.take(ready)
    # The lead is free again.
    assert inbox.take_any() == 1


def test_the_watcher_takes_over_when_nobody_waits(inbox: Inbox) -> None:
    with inbox.driver.lock:
        inbox.driver.ensure_watcher()
        inbox.driver.ensure_watcher()
    inbox.due = time.monotonic()
    wait(inbox.expired)
    inbox.send(1)
    ends = time.monotonic() + BOUND
    while not inbox.messages:
        assert time.monotonic() < ends
    assert inbox.readers == ["pygrpc-watcher"]


def test_the_watcher_can_be_robbed(inbox: Inbox) -> None:
    thing = object()
    with inbox.driver.lock:
        inbox.driver.add_urgent(thing)
    until_polling(inbox)
    for number in range(20):
        threads = run(lambda number=number: inbox.send(number))
        assert inbox.take_any() == number
        join(threads)
    with inbox.driver.lock:
        inbox.driver.remove_urgent(thing)
        inbox.driver.remove_urgent(thing)


def test_a_leader_that_leaves_something_urgent_calls_the_watcher(inbox: Inbox) -> None:
    with inbox.driver.lock:
        inbox.driver.ensure_watcher()
    thing = object()
    threads = run(lambda: inbox.take(lambda: 1 in inbox.messages))
    until_polling(inbox)
    with inbox.driver.lock:
        inbox.driver.add_urgent(thing)
    inbox.send(1)
    join(threads)
    inbox.due = time.monotonic()
    with inbox.driver.lock:
        inbox.driver.time_set(inbox.due)
    wait(inbox.expired)


def test_callbacks_run_in_the_watcher_without_the_lock(inbox: Inbox) -> None:
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with inbox.driver.lock:
        inbox.driver.post(lambda: seen.put(threading.current_thread().name))
        inbox.driver.post(lambda: 1 / 0)
        inbox.driver.post(lambda: seen.put(inbox.driver.lock._is_owned()))
        inbox.driver.post(lambda: (inbox.send(5), seen.put(inbox.take_any())))
    assert [seen.get(timeout=BOUND) for _ in range(3)] == ["pygrpc-watcher", False, 5]


def test_a_callback_that_takes_long_holds_up_no_waiter(inbox: Inbox) -> None:
    leave = threading.Event()
    entered = threading.Event()
    with inbox.driver.lock:
        inbox.driver.add_urgent(inbox)
        inbox.driver.post(lambda: (entered.set(), wait(leave)))
    wait(entered)
    inbox.send(1)
    assert inbox.take_any() == 1
    leave.set()


def test_a_driver_keeps_no_work_alive() -> None:
    inbox = Inbox()
    with inbox.driver.lock:
        inbox.driver.unregister(inbox.here.fileno())
        inbox.driver.add_urgent(object())
    until_polling(inbox)
    driver, reference = inbox.driver, weakref.ref(inbox)
    inbox.here.close()
    inbox.there.close()
    del inbox
    gc.collect()
    assert reference() is None
    watcher = driver._watcher
    with driver.lock:
        driver.close()
    assert watcher is not None
    watcher.join(BOUND)
    assert not watcher.is_alive()


def test_closing_runs_what_is_posted() -> None:
    inbox = Inbox()
    seen = threading.Event()
    with inbox.driver.lock:
        inbox.driver.post(seen.set)
        watcher = watcher_of(inbox)
    inbox.close()
    wait(seen)
    watcher.join(BOUND)
    assert not watcher.is_alive()
    with inbox.driver.lock:
        inbox.driver.ensure_watcher()
    assert inbox.driver._watcher is None


# Interruptions.


def test_an_action_of_the_thread_that_holds_the_lock_is_put_off(inbox: Inbox) -> None:
    done: list[str] = []
    with inbox.driver.lock:
        inbox.driver.act(lambda: done.append("act"))
        inbox.driver.act_without_waiting(lambda: done.append("act_without_waiting"))
        assert done == []
        inbox.driver.settle()
    assert done == ["act", "act_without_waiting"]
    inbox.driver.act(lambda: done.append("again"))
    inbox.driver.act_without_waiting(lambda: done.append("at once"))
    assert done[2:] == ["again", "at once"]


def test_an_action_is_left_to_the_thread_that_holds_the_lock(inbox: Inbox) -> None:
    done = threading.Event()
    with inbox.driver.lock:
        join(run(lambda: inbox.driver.act_without_waiting(done.set)))
        assert not done.is_set()
        inbox.driver.settle()
    assert done.is_set()


def test_an_action_that_comes_behind_the_holder_is_left_to_the_watcher(inbox: Inbox) -> None:
    done = threading.Event()
    with inbox.driver.lock:
        inbox.driver.ensure_watcher()
        inbox.driver.settle()
        join(run(lambda: inbox.driver.act_without_waiting(done.set)))
        assert not done.is_set()
    wait(done)


def test_an_action_behind_settling_is_left_to_the_watcher(inbox: Inbox) -> None:
    done = threading.Event()
    with inbox.driver.lock:
        inbox.driver.ensure_watcher()
        inbox.driver.settle()
        # As a signal handler would.
        inbox.driver.act(done.set)
    wait(done)


def test_an_action_that_comes_just_before_the_poll_is_done(inbox: Inbox) -> None:
    done = threading.Event()
    seat = inbox.driver._leader_seat
    sit_down = seat.sit_down

    def too_late_to_settle() -> None:
        if not done.is_set():
            join(run(lambda: inbox.driver.act_without_waiting(done.set)))
        sit_down()

    seat.sit_down = too_late_to_settle  # type: ignore[method-assign]
    assert inbox.take(done.is_set)


def test_a_waiter_looks_up_even_if_nobody_wakes_it(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_PATIENCE", 0.001)
    looks: queue.SimpleQueue[str] = queue.SimpleQueue()
    done = threading.Event()

    def ready() -> bool:
        looks.put(threading.current_thread().name)
        return done.is_set()

    # One leads and the other follows.
    threads = run(lambda: inbox.take(ready), lambda: inbox.take(ready))
    seen = [looks.get(timeout=BOUND) for _ in range(20)]
    while len(set(seen)) < 2 or min(map(seen.count, set(seen))) < 5:
        seen.append(looks.get(timeout=BOUND))
        assert len(seen) < 10_000
    done.set()
    join(threads)


def test_an_action_is_done_by_the_leader(inbox: Inbox) -> None:
    done = threading.Event()
    threads = run(lambda: inbox.take(done.is_set))
    until_polling(inbox)
    inbox.driver.act_without_waiting(lambda: (done.set(), inbox.driver.notify(inbox.waiters)))
    join(threads)


class Interrupted(Exception):
    pass


def interrupt(signum: int, frame: Any) -> None:
    raise Interrupted


@pytest.fixture
def interrupting() -> Iterator[Callable[[], None]]:
    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    assert main is not None
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_interrupts_a_leader(inbox: Inbox, interrupting: Callable[[], None]) -> None:
    threads = run(lambda: (until_polling(inbox), interrupting()))
    with pytest.raises(Interrupted):
        inbox.take(lambda: False)
    join(threads)
    assert inbox.driver._leader is None
    inbox.send(1)
    assert inbox.take_any() == 1


def test_a_signal_interrupts_a_follower(inbox: Inbox, interrupting: Callable[[], None]) -> None:
    threads = run(lambda: inbox.take(lambda: 1 in inbox.messages))
    until_polling(inbox)

    def interrupt_follower() -> None:
        ends = time.monotonic() + BOUND
        while not inbox.driver._followers:
            assert time.monotonic() < ends
        interrupting()

    threads += run(interrupt_follower)
    with pytest.raises(Interrupted):
        inbox.take(lambda: False)
    assert not inbox.driver._followers
    inbox.send(1)
    join(threads)


def test_a_signal_handler_that_returns_changes_nothing(inbox: Inbox) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: seen.append(signum))
    threads = run(lambda: (until_polling(inbox), os.kill(os.getpid(), signal.SIGUSR2), inbox.send(1)))
    assert inbox.take_any() == 1
    join(threads)
    signal.signal(signal.SIGUSR2, before)
    assert seen == [signal.SIGUSR2]


def test_the_delay_of_the_watcher() -> None:
    assert 0.1 <= driver_module.WATCH_DELAY <= 1.0
