import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pygrpc.sync import poller
from pygrpc.sync.poller import READ, WRITE, Poller, Seat, SelectPoller, WakeUp, create_poller, milliseconds
from tests.sync.peers import BOUND


@pytest.fixture(params=[create_poller, SelectPoller])
def made(request: pytest.FixtureRequest) -> Poller:
    poller: Poller = request.param()
    return poller


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


def test_events(made: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    fd = here.fileno()
    made.register(fd, READ)
    assert made.poll(0) == []
    made.modify(fd, READ | WRITE)
    assert made.poll(0) == [(fd, WRITE)]
    there.send(b"a")
    assert made.poll(None) == [(fd, READ | WRITE)]
    made.modify(fd, READ)
    assert made.poll(1) == [(fd, READ)]
    made.unregister(fd)
    assert made.poll(0) == []


def test_a_system_without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(create_poller(), SelectPoller)
    monkeypatch.delattr(select, "poll")
    assert isinstance(create_poller(), SelectPoller)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-1.0, 0), (0.0, 0), (0.0001, 1), (1.0, 1000), (1.0001, 1001), (9e18, 2**31 - 1)]
)
def test_milliseconds(seconds: float, expected: int) -> None:
    assert milliseconds(seconds) == expected


@pytest.mark.parametrize("eventfd", [True, False])
def test_a_wake_up(eventfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not eventfd:
        monkeypatch.delattr(poller.os, "eventfd", raising=False)
    wake_up = WakeUp()
    watching = create_poller()
    watching.register(wake_up.fileno(), READ)
    assert watching.poll(0) == []
    for _ in range(100_000):
        # As often as one likes, and it never waits.
        wake_up.set()
    assert watching.poll(0) == [(wake_up.fileno(), READ)]
    wake_up.clear()
    assert watching.poll(0) == []
    wake_up.clear()
    wake_up.close()
    wake_up.close()
    wake_up.set()


def test_a_seat_is_interrupted_only_while_somebody_sits_there(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    seat = Seat()
    seat.register(here.fileno(), READ)
    seat.interrupt()
    seat.sit_down()
    assert seat.taken
    thread = threading.Thread(target=seat.interrupt)
    thread.start()
    assert seat.get_up(seat.poll(BOUND)) == []
    thread.join(BOUND)
    assert not seat.taken
    seat.interrupt()
    seat.sit_down()
    assert seat.poll(0) == []
    seat.interrupt()
    there.send(b"a")
    assert seat.get_up(seat.poll(None)) == [(here.fileno(), READ)]
    seat.modify(here.fileno(), READ | WRITE)
    seat.unregister(here.fileno())
    seat.sit_down()
    assert seat.get_up(seat.poll(0)) == []
    seat.close()
    seat.close()


def test_a_seat_without_a_wake_up_passes_events_on() -> None:
    seat = Seat()
    assert seat.get_up([(7, READ)]) == [(7, READ)]
    started = time.monotonic()
    assert seat.poll(0.001) == []
    assert time.monotonic() - started >= 0.001
