"""When windows grow: the estimate, and what a connection makes of it, on either engine."""

from typing import Any

import pytest
from hyperframe.frame import PingFrame, SettingsFrame, WindowUpdateFrame

from pygrpc.core.bandwidth import LARGEST_WINDOW, BandwidthProbe
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import Http2Settings
from tests.core.pair import REQUEST, Pair, RawPeer, ServerOwner, raw_client

WINDOW = 100_000

# The estimate.


def measure(probe: BandwidthProbe, size: int, seconds: float, now: float) -> bool:
    assert probe.begin(5000, now)
    return probe.end(5000 + size, now + seconds)


def test_a_window_that_was_filled_doubles() -> None:
    probe = BandwidthProbe(WINDOW)
    assert measure(probe, WINDOW, 0.1, 0.0)
    assert probe.window == 2 * WINDOW


def test_what_came_is_the_new_window_if_that_is_more() -> None:
    probe = BandwidthProbe(WINDOW)
    assert measure(probe, 5 * WINDOW, 0.1, 0.0)
    assert probe.window == 5 * WINDOW


def test_a_window_that_was_not_filled_stays() -> None:
    probe = BandwidthProbe(WINDOW)
    assert not measure(probe, WINDOW * 2 // 3, 0.1, 0.0)
    assert probe.window == WINDOW


def test_a_window_that_brings_no_more_stays() -> None:
    probe = BandwidthProbe(WINDOW)
    assert measure(probe, WINDOW, 0.25, 0.0)
    assert not measure(probe, 2 * WINDOW, 0.5, 1.0)
    assert measure(probe, 2 * WINDOW, 0.25, 2.0)
    assert probe.window == 4 * WINDOW


def test_a_clock_that_stands_still_shows_nothing() -> None:
    probe = BandwidthProbe(WINDOW)
    assert not measure(probe, WINDOW, 0.0, 0.0)


def test_windows_grow_up_to_a_limit() -> None:
    probe = BandwidthProbe(LARGEST_WINDOW - 1)
    assert measure(probe, LARGEST_WINDOW, 0.1, 0.0)
    assert probe.window == LARGEST_WINDOW
    assert not probe.begin(0, 100.0)


def test_one_probe_at_a_time() -> None:
    probe = BandwidthProbe(WINDOW)
    assert probe.begin(0, 0.0)
    assert not probe.begin(0, 1000.0)
    assert not probe.end(0, 1001.0)
    assert not probe.end(10 * WINDOW, 1002.0)


def test_probes_that_show_nothing_become_rare() -> None:
    probe = BandwidthProbe(WINDOW)
    now, waits = 0.0, []
    for _ in range(9):
        started = now
        while not probe.begin(0, now):
            now += 0.0625
        waits.append(now - started)
        assert not probe.end(0, now)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.0, 10.0)


# The connection.


@pytest.fixture(autouse=True)
def engine(each_engine: Any) -> None:
    """On both engines."""


def receive(peer: RawPeer, owner: ServerOwner, size: int) -> list[Any]:
    """Lets the client send so much, which is read; returns the answers."""
    first = len(peer.frames)
    for _ in range(size // 10_000):
        peer.send(peer.data(1, frame_message(bytes(9995))))
        owner.calls[0].read()
        peer.receive()
    return peer.frames[first:]


def answer(peer: RawPeer, core: Any, ping: PingFrame, now: float) -> list[Any]:
    first = len(peer.frames)
    core.receive_data(PingFrame(0, ping.opaque_data, flags=["ACK"]).serialize(), now)
    peer.receive()
    return peer.frames[first:]


def test_the_windows_of_a_busy_connection_grow() -> None:
    peer, owner, core = raw_client(Http2Settings(stream_window=WINDOW, connection_window=4 * WINDOW))
    peer.send(peer.headers(1, REQUEST))
    (ping,) = [frame for frame in receive(peer, owner, WINDOW + 10_000) if isinstance(frame, PingFrame)]
    receive(peer, owner, 9 * WINDOW - 10_000)
    settings, update = answer(peer, core, ping, 0.5)
    assert isinstance(settings, SettingsFrame)
    assert settings.settings == {SettingsFrame.INITIAL_WINDOW_SIZE: 9 * WINDOW}
    assert isinstance(update, WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (0, 5 * WINDOW)
    # Credit goes by the new window from here on.
    peer.send(SettingsFrame(0, flags=["ACK"]))
    updates = [frame for frame in receive(peer, owner, 9 * WINDOW) if isinstance(frame, WindowUpdateFrame)]
    assert {frame.stream_id for frame in updates} == {0, 1}
    assert all(frame.window_increment >= 2 * WINDOW for frame in updates if frame.stream_id)
    assert core.failure is None


def test_a_quiet_connection_is_not_measured() -> None:
    peer, owner, _ = raw_client(Http2Settings(stream_window=WINDOW, connection_window=4 * WINDOW))
    peer.send(peer.headers(1, REQUEST))
    assert not [frame for frame in receive(peer, owner, WINDOW) if isinstance(frame, PingFrame)]


def test_measuring_can_be_turned_off() -> None:
    settings = Http2Settings(stream_window=WINDOW, connection_window=4 * WINDOW, bdp_probe=False)
    peer, owner, _ = raw_client(settings)
    peer.send(peer.headers(1, REQUEST))
    assert not [frame for frame in receive(peer, owner, 20 * WINDOW) if isinstance(frame, PingFrame)]


def test_messages_arrive_while_windows_grow() -> None:
    pair = Pair(server=Http2Settings(stream_window=WINDOW))
    client, server = pair.open(end=False)
    for number in range(100):
        client.send(bytes([number]) * 200_000, end=number == 99)
        while client.call.pending_bytes:
            # A round trip takes a tenth of a second.
            pair.now += 0.1
            pair.to_server()
            pair.to_client()
        assert server.read() == [bytes([number]) * 200_000]
    assert pair.server._probe is not None
    assert pair.server._probe.window > WINDOW
    assert pair.server.failure is None
    assert pair.client.failure is None
