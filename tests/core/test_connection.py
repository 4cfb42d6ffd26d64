"""What both ends of a connection do: turns, pauses, abuse, failure."""

import pytest

from pygrpc.core.connection import AbuseLimits, Connection
from pygrpc.core.connection_ages import AgeSettings
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.keepalive import KeepaliveSettings, PingLimits
from pygrpc.core.server_connection import Upkeep
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, RESPONSE, ClientEnd, Pair, raw_client, raw_server

pytestmark = pytest.mark.usefixtures("each_engine")


# Sending.


def test_output_is_announced() -> None:
    pair = Pair()
    announced: list[int] = []
    pair.client.on_output = lambda: announced.append(1)
    client = pair.start(b"x", end=False)
    assert announced
    pair.client.data_to_send()
    announced.clear()
    client.send(b"y", end=False)
    assert announced
    announced.clear()
    client.call.half_close()
    assert announced


def test_a_pause_stops_data_and_nothing_else() -> None:
    pair = Pair()
    client, server = pair.open(b"first", end=False)
    pair.client.sending_paused = True
    client.send(b"second", end=False)
    assert pair.client.data_to_send() == b""
    # Headers, and answers to the peer, still go out.
    other = pair.start(b"x")
    pair.to_server()
    assert len(pair.server_owner.calls) == 2
    assert client.call.pending_bytes and other.call.pending_bytes
    pair.server.engine.send_ping(b"12345678")
    pair.to_client()
    assert pair.client.data_to_send() != b""
    pair.client.sending_paused = False
    pair.exchange()
    assert server.read() == [b"first", b"second"]
    assert pair.server_owner.calls[1].read() == [b"x"]


def test_a_pause_makes_a_writer_wait() -> None:
    pair = Pair()
    pair.client.sending_paused = True
    client = pair.start(bytes(100_000), end=False)
    pair.exchange()
    assert client.call.backlogged
    pair.client.sending_paused = False
    pair.exchange()
    assert not client.call.backlogged
    assert client.events.count("writable") == 1


def test_data_comes_in_portions_for_a_shell_to_write() -> None:
    size = 4 << 20
    pair = Pair(server=Http2Settings(stream_window=8 << 20, connection_window=8 << 20))
    client, _ = pair.open(bytes(size), end=False)
    client.send(bytes(size), end=False)
    portions = []
    while data := pair.client.data_to_send():
        portions.append(len(data))
    assert len(portions) > 3
    # The burst, and one frame that began within it.
    assert max(portions) < 262_144 + 131_072 + 1000


def test_a_shell_has_no_timers_to_keep_when_nothing_is_due() -> None:
    pair = Pair()
    for connection in (pair.client, pair.server):
        assert connection.wakeup is None
        connection.handle_timeout(5.0)
        assert connection.now == 5.0


# Abuse.

LIMITS = AbuseLimits(burst=10, per_second=2.0)


def flood(what: str, count: int) -> tuple[Connection, list[int]]:
    """A client that does something again and again; returns the server and the codes of its GOAWAY frames."""
    peer, _, core = raw_client(abuse=LIMITS)
    stream_id = 1
    for _ in range(count):
        if what == "PING":
            peer.send(peer.ping())
        elif what == "SETTINGS":
            peer.send(peer.settings({}))
        elif what == "RST_STREAM":
            peer.send(peer.headers(stream_id, REQUEST), peer.reset(stream_id, ErrorCode.CANCEL))
        elif what == "WINDOW_UPDATE that overflows":
            peer.send(peer.headers(stream_id, REQUEST), peer.window(stream_id, 2**31 - 1))
        elif what == "DATA behind the end":
            peer.send(peer.headers(stream_id, REQUEST, True), peer.data(stream_id, b"x"))
        else:
            peer.send(peer.headers(stream_id, REQUEST), peer.headers(stream_id, [(b"Key", b"")], True))
        stream_id += 2
    peer.receive()
    return core, [frame.error_code for frame in peer.goaways()]


FLOODS = ["PING", "SETTINGS", "RST_STREAM", "WINDOW_UPDATE that overflows", "DATA behind the end", "malformed trailers"]


@pytest.mark.parametrize("what", FLOODS)
def test_what_costs_us_work_is_limited(what: str) -> None:
    # The SETTINGS of the greeting are the first of the burst.
    core, codes = flood(what, 9)
    assert core.failure is None
    core, codes = flood(what, 10)
    assert core.failure is not None
    assert core.closing
    assert codes == [ErrorCode.ENHANCE_YOUR_CALM]
    assert core.failure.code is StatusCode.UNAVAILABLE
    assert "too many" in core.failure.details


def test_the_limit_grows_back_with_time() -> None:
    peer, _, core = raw_client(abuse=LIMITS)
    for second in range(50):
        peer.now = float(second)
        peer.send(peer.ping(), peer.ping())
    assert core.failure is None
    for _ in range(11):
        peer.send(peer.ping())
    assert core.failure is not None


def test_a_long_silence_allows_no_more_than_the_burst() -> None:
    peer, _, core = raw_client(abuse=LIMITS)
    peer.now = 1e6
    for _ in range(10):
        peer.send(peer.ping())
    assert core.failure is None
    peer.send(peer.ping())
    assert core.failure is not None


def test_a_client_bears_no_flood_either() -> None:
    peer, _, core = raw_server(abuse=LIMITS)
    call = ClientEnd()
    core.start(call.call)
    for _ in range(10):
        peer.send(peer.ping())
    assert call.code is StatusCode.UNAVAILABLE
    peer.receive()
    assert [frame.error_code for frame in peer.goaways()] == [ErrorCode.ENHANCE_YOUR_CALM]


def test_ordinary_calls_are_no_abuse() -> None:
    pair = Pair(abuse=LIMITS)
    for _ in range(100):
        _, server = pair.open(b"x")
        server.send(b"y").finish()
        pair.exchange()
    assert pair.server.failure is None


@pytest.mark.parametrize("paused", [True, False])
def test_answers_that_are_not_read_are_limited(paused: bool) -> None:
    peer, _, core = raw_client(abuse=AbuseLimits(burst=10**9))
    core.sending_paused = paused
    ping = peer.ping().serialize()
    for _ in range(70 if paused else 140):
        peer.send_bytes(ping * 1000)
        if not paused:
            core.data_to_send()
    assert core.closing is paused
    if paused:
        peer.receive()
        assert peer.goaways()[-1].error_code == ErrorCode.ENHANCE_YOUR_CALM
        assert core.failure is not None
        assert "doesn't read" in core.failure.details


# Failure.


@pytest.mark.parametrize("how", ["lost", "failed", "broken"])
def test_a_failure_ends_every_call_once(how: str) -> None:
    pair = Pair()
    ends = [pair.open(b"x", end=False) for _ in range(3)]
    if how == "lost":
        pair.lose("gone")
    elif how == "failed":
        for connection in (pair.client, pair.server):
            connection.fail(ErrorCode.INTERNAL_ERROR, "gone")
    else:
        for connection in (pair.client, pair.server):
            connection.receive_data(b"\0\0\1\0\0\0\0\0\0x", 0.0)
    for client, server in ends:
        assert client.code is StatusCode.UNAVAILABLE
        assert client.events.count("done") == 1
        assert server.code is StatusCode.CANCELLED
        assert server.events[-2:] == ["cancelled", "closed"]
    for connection in (pair.client, pair.server):
        assert connection.closing
        assert not connection.calls
        assert connection.unread == 0
    pair.lose("again")
    for client, _ in ends:
        assert client.events.count("done") == 1
    assert pair.client_owner.drained == 1


def test_the_first_reason_for_a_failure_stays() -> None:
    pair = Pair()
    client, _ = pair.open(b"x")
    pair.client.fail(ErrorCode.INTERNAL_ERROR, "first")
    pair.client.fail(ErrorCode.INTERNAL_ERROR, "second")
    pair.client.lost("third")
    assert client.details == "first"


def test_what_comes_behind_a_failure_is_not_read() -> None:
    peer, owner, core = raw_client()
    core.fail(ErrorCode.INTERNAL_ERROR, "gone")
    peer.send(peer.headers(1, REQUEST), peer.ping())
    assert owner.calls == []
    assert [type(frame).__name__ for frame in peer.receive()] == ["GoAwayFrame"]


def test_requests_in_the_same_bytes_as_a_failure_are_refused() -> None:
    peer, owner, _ = raw_client(abuse=AbuseLimits(burst=2, per_second=0.0))
    peer.send(peer.headers(1, REQUEST), peer.ping(), peer.ping(), peer.headers(3, REQUEST))
    assert len(owner.calls) == 1
    assert owner.calls[0].events == ["cancelled", "closed"]


def test_a_call_that_ends_may_end_others() -> None:
    # What a user's code does when it hears that a call ended must not trip over a connection that is just failing.
    peer, _, core = raw_server()
    first, second = ClientEnd(), ClientEnd()
    core.start(first.call)
    core.start(second.call)
    first.on_done = second.call.cancel  # type: ignore[method-assign]
    second.on_done = first.call.cancel  # type: ignore[method-assign]
    peer.send(peer.data(99, b"x"))
    assert (first.code, second.code) == (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)


def test_a_failure_while_much_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    # To give credit back on a connection that has just failed must not raise.
    monkeypatch.setattr("pygrpc.core.connection._UNREAD_LIMIT", 100_000)
    peer, owner, core = raw_client(Http2Settings(stream_window=1 << 20, connection_window=400_000))
    peer.send(peer.headers(1, REQUEST))
    for _ in range(3):
        peer.send(peer.data(1, frame_message(bytes(100_000))))
    assert core.unread > 100_000
    peer.send(peer.data(99, b"x"))
    assert core.failure is not None
    assert core.unread == 0
    assert owner.calls[0].events[-2:] == ["cancelled", "closed"]


def test_messages_that_were_received_can_be_read_behind_a_failure() -> None:
    peer, _, core = raw_server()
    end = ClientEnd()
    core.start(end.call)
    peer.send(peer.headers(1, RESPONSE), *[peer.data(1, frame_message(bytes(10_000))) for _ in range(50)])
    peer.send(peer.headers(1, [(b"grpc-status", b"0")], True), peer.data(99, b"x"))
    assert core.failure is not None
    assert len(end.read()) == 50
    assert end.code is StatusCode.OK
    assert core.unread == 0


def test_frames_for_calls_that_are_gone_are_passed_over() -> None:
    peer, _, core = raw_server()
    end = ClientEnd()
    core.start(end.call)
    peer.receive()
    end.call.cancel()
    peer.send(
        peer.headers(1, RESPONSE),
        peer.data(1, b"x" * 16_000),
        peer.window(1, 5),
        peer.headers(1, [(b"grpc-status", b"0")], True),
        peer.reset(1, 0),
    )
    assert core.failure is None
    assert end.code is StatusCode.CANCELLED


def test_a_connection_has_no_more_attributes_than_cpython_keeps_fast() -> None:
    pair = Pair(keepalive=KeepaliveSettings(10.0), upkeep=Upkeep(KeepaliveSettings(10.0), PingLimits(), AgeSettings()))
    pair.open(b"x")
    assert len(vars(pair.server)) <= 30
    assert len(vars(pair.client)) <= 30
