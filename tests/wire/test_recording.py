"""The bound of a recording."""

from pygrpc.wire.recording import Direction, Event, EventKind, Recording


def data(connection: int, size: int) -> Event:
    return Event(0.0, connection, EventKind.DATA, Direction.CLIENT_TO_SERVER, bytes(size))


def test_events_are_kept_in_order_within_the_limit() -> None:
    recording = Recording(10_000)
    events = [Event(0.0, 1, EventKind.OPENED), data(1, 5000), Event(0.1, 1, EventKind.CLOSED)]
    for event in events:
        recording.add(event)
    assert recording.events == events


def test_a_full_recording_says_so_once() -> None:
    recording = Recording(1000)
    first = data(1, 500)
    for event in (first, data(1, 500), data(1, 1), Event(0.0, 1, EventKind.CLOSED), Event(0.0, 2, EventKind.OPENED)):
        recording.add(event)
    assert recording.events == [first, Event(0.0, 1, EventKind.FULL)]


def test_many_tiny_pieces_are_bounded_too() -> None:
    recording = Recording(1000 * Recording.EVENT_COST)
    for _ in range(10_000):
        recording.add(data(1, 0))
    assert len(recording.events) == 1001


def test_a_limit_of_zero_keeps_nothing() -> None:
    recording = Recording(0)
    recording.add(data(1, 10))
    assert recording.events == []
