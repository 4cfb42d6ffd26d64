import queue
import threading
from typing import Any

import pytest

from pygrpc import ChannelConnectivity
from pygrpc.sync.observers import Observers
from tests.sync.peers import BOUND, wait

IDLE, CONNECTING, READY = ChannelConnectivity.IDLE, ChannelConnectivity.CONNECTING, ChannelConnectivity.READY


def test_states_come_in_order_in_another_thread() -> None:
    observers = Observers()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    observers.tell(IDLE)
    observers.add(lambda state: seen.put((state, threading.current_thread().name)), IDLE)
    for state in (CONNECTING, READY, IDLE):
        observers.tell(state)
    assert [seen.get(timeout=BOUND) for _ in range(4)] == [
        (state, "pygrpc-connectivity") for state in (IDLE, CONNECTING, READY, IDLE)
    ]


def test_an_observer_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    observers = Observers()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def fail(state: ChannelConnectivity) -> None:
        raise KeyError("broken")

    observers.add(fail, IDLE)
    observers.add(seen.put, IDLE)
    assert seen.get(timeout=BOUND) is IDLE
    assert "Exception calling channel subscription callback!" in caplog.text


def test_who_has_left_hears_nothing() -> None:
    observers = Observers()
    entered, leave = threading.Event(), threading.Event()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    late: list[Any] = []
    observers.add(lambda state: (entered.set(), wait(leave)), IDLE)
    wait(entered)
    observers.add(late.append, IDLE)
    observers.add(seen.put, IDLE)
    observers.remove(late.append)
    observers.remove(late.append)
    leave.set()
    assert seen.get(timeout=BOUND) is IDLE
    assert late == []
    observers.clear()
    observers.tell(READY)
    observers.add(seen.put, CONNECTING)
    assert seen.get(timeout=BOUND) is CONNECTING


def test_one_observer_subscribes_twice() -> None:
    observers = Observers()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    observers.add(seen.put, IDLE)
    observers.add(seen.put, IDLE)
    observers.remove(seen.put)
    observers.tell(READY)
    while seen.get(timeout=BOUND) is not READY:
        pass
    assert seen.empty()


def test_observers_stay_in_the_child_of_a_fork() -> None:
    observers = Observers()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    observers.add(seen.put, IDLE)
    assert seen.get(timeout=BOUND) is IDLE
    observers.after_fork()
    observers.tell(READY)
    assert seen.get(timeout=BOUND) is READY
