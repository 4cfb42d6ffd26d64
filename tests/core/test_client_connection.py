"""The client's end of a connection: the limit of streams, GOAWAY, peers that speak something else."""

import pytest

from pygrpc.core.client_call import REPLAY_LIMIT, ClientState
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.http2.engine import StreamsExhausted
from pygrpc.status import StatusCode
from tests.core.pair import RESPONSE, ClientEnd, Pair, RawPeer, raw_server

pytestmark = pytest.mark.usefixtures("each_engine")

OK_ANSWER = [*RESPONSE, (b"grpc-status", b"0")]
MAX_CONCURRENT_STREAMS = 3


def start(core: "Pair | object", count: int, again: bool = True) -> list[ClientEnd]:
    """Starts calls, which may be started again or not."""
    ends = [ClientEnd() for _ in range(count)]
    for end in ends:
        if not again:
            end.call.keep_nothing()
        core.start(end.call)  # type: ignore[attr-defined]
        end.send(b"x")
    return ends


def answer(peer: RawPeer, *stream_ids: int) -> None:
    for stream_id in stream_ids:
        peer.send(peer.headers(stream_id, OK_ANSWER, True))


# Getting ready.


def test_the_owner_hears_of_the_first_settings_only() -> None:
    peer, owner, core = raw_server(greet=False)
    assert not core.ready
    peer.send(peer.settings({}))
    peer.send(peer.settings({}))
    assert core.ready
    assert owner.ready == 1


def test_a_call_may_start_before_the_settings_are_here() -> None:
    pair = Pair(connect=False)
    client = pair.start(b"x")
    assert client.events == ["started"]
    pair.exchange()
    assert pair.server_owner.calls[0].read() == [b"x"]


# MAX_CONCURRENT_STREAMS.


def test_calls_beyond_the_limit_wait_in_order() -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 2})
    ends = start(core, 5)
    assert [end.call.stream_id for end in ends] == [1, 3, 0, 0, 0]
    assert ends[2].call.state is ClientState.IDLE
    assert core.all_calls() == [end.call for end in ends]
    peer.receive()
    answer(peer, 3)
    assert [end.call.stream_id for end in ends] == [1, 3, 5, 0, 0]
    peer.receive()
    answer(peer, 1, 5)
    assert [end.call.stream_id for end in ends] == [1, 3, 5, 7, 9]
    peer.receive()
    answer(peer, 7, 9)
    assert [end.code for end in ends] == [StatusCode.OK] * 5
    assert [peer.messages(number) for number in (1, 3, 5, 7, 9)] == [[b"x"]] * 5


def test_a_server_may_raise_and_lower_the_limit() -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 0})
    ends = start(core, 4)
    assert not core.calls
    peer.send(peer.settings({MAX_CONCURRENT_STREAMS: 3}))
    assert len(core.calls) == 3
    peer.send(peer.settings({MAX_CONCURRENT_STREAMS: 1}))
    answer(peer, 1, 3)
    assert ends[3].call.state is ClientState.IDLE
    answer(peer, 5)
    assert ends[3].call.stream_id == 7


@pytest.mark.parametrize("how", ["cancel", "reset", "status"])
def test_whatever_ends_a_call_makes_room(how: str) -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 1})
    first, second = start(core, 2)
    if how == "cancel":
        first.call.cancel()
    elif how == "reset":
        peer.send(peer.reset(1, ErrorCode.CANCEL))
    else:
        answer(peer, 1)
    assert first.code is not None
    assert second.call.stream_id == 3


def test_a_call_that_waits_can_be_cancelled() -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 1})
    first, second, third = start(core, 3)
    assert second.call.cancel()
    assert second.code is StatusCode.CANCELLED
    assert "started" not in second.events
    answer(peer, 1)
    assert (second.call.stream_id, third.call.stream_id) == (0, 3)
    assert core.all_calls() == [third.call]
    assert first.code is StatusCode.OK


def test_the_timeout_of_a_call_that_waited_is_what_is_left() -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 1})
    (first,) = start(core, 1)
    waiting = ClientEnd(deadline=10.0)
    core.start(waiting.call)
    peer.now = 4.0
    answer(peer, 1)
    assert first.code is StatusCode.OK
    assert waiting.timeouts == [6.0]


def test_new_calls_do_not_overtake() -> None:
    peer, _, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 1})
    first, second = start(core, 2)
    taken: list[ClientEnd] = []
    # A user who starts a call as soon as one ends comes behind those who wait.
    first.on_done = lambda: taken.extend(start(core, 1))  # type: ignore[method-assign]
    answer(peer, 1)
    assert second.call.stream_id == 3
    assert taken[0].call.stream_id == 0


def test_a_refused_stream_is_handed_back_once() -> None:
    pair = Pair(server=Http2Settings(max_concurrent_streams=1), connect=False)
    # Before the server's SETTINGS are here nobody knows its limit.
    first, second = pair.start(b"1"), pair.start(b"2")
    pair.exchange()
    assert (first.code, second.code) == (None, None)
    assert pair.client_owner.unsent == [second.call]
    assert len(pair.server_owner.calls) == 1
    peer, _, core = raw_server()
    core.start(second.call)
    peer.receive()
    assert peer.messages(1) == [b"2"]
    peer.send(peer.reset(1, ErrorCode.REFUSED_STREAM))
    assert second.code is StatusCode.UNAVAILABLE


def test_a_refused_stream_is_unavailable_if_it_may_not_be_started_again() -> None:
    peer, owner, core = raw_server()
    (end,) = start(core, 1, again=False)
    peer.send(peer.reset(1, ErrorCode.REFUSED_STREAM))
    assert end.code is StatusCode.UNAVAILABLE
    assert owner.unsent == []


def test_a_call_with_too_much_to_keep_is_not_started_again() -> None:
    peer, owner, core = raw_server()
    end = ClientEnd()
    core.start(end.call)
    end.send(bytes(REPLAY_LIMIT // 2), bytes(REPLAY_LIMIT // 2), b"x")
    peer.send(peer.reset(1, ErrorCode.REFUSED_STREAM))
    assert end.code is StatusCode.UNAVAILABLE
    assert owner.unsent == []


def test_a_call_that_has_been_answered_is_not_started_again() -> None:
    peer, owner, core = raw_server()
    (end,) = start(core, 1)
    peer.send(peer.headers(1, RESPONSE), peer.reset(1, ErrorCode.REFUSED_STREAM))
    assert end.code is StatusCode.UNAVAILABLE
    assert owner.unsent == []


# GOAWAY.


def test_goaway_lets_calls_finish_and_hands_back_those_that_wait() -> None:
    peer, owner, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 2})
    ends = start(core, 4)
    peer.send(peer.goaway(3))
    assert core.draining
    assert not core.closing
    assert owner.unsent == [ends[2].call, ends[3].call]
    assert [end.code for end in ends] == [None] * 4
    peer.send(peer.headers(1, RESPONSE), peer.data(1, frame_message(b"late")))
    assert ends[0].read() == [b"late"]
    peer.send(peer.headers(1, [(b"grpc-status", b"0")], True))
    assert not core.closing
    answer(peer, 3)
    assert [end.code for end in ends] == [StatusCode.OK, StatusCode.OK, None, None]
    assert core.closing
    assert core.failure is None


def test_a_call_that_was_handed_back_goes_to_another_connection() -> None:
    peer, owner, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 0})
    (end,) = start(core, 1)
    peer.send(peer.goaway(0))
    other, _, second = raw_server()
    assert owner.unsent == [end.call]
    assert end.call.stop_waiting is None
    second.start(end.call)
    other.receive()
    assert other.messages(1) == [b"x"]
    answer(other, 1)
    assert end.code is StatusCode.OK
    assert core.closing


def test_streams_above_the_last_one_are_handed_back() -> None:
    peer, owner, core = raw_server()
    ends = start(core, 3)
    peer.send(peer.goaway(1))
    assert owner.unsent == [ends[1].call, ends[2].call]
    assert [end.code for end in ends] == [None] * 3
    assert core.all_calls() == [ends[0].call]
    assert ends[1].events == ["started"]


def test_streams_above_the_last_one_are_unavailable_if_they_may_not_be_started_again() -> None:
    peer, owner, core = raw_server()
    ends = start(core, 3, again=False)
    peer.send(peer.goaway(1, ErrorCode.NO_ERROR, b"max_age"))
    assert [end.code for end in ends] == [None, StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE]
    assert "max_age" in ends[1].details
    assert "NO_ERROR" in ends[1].details
    assert owner.drained == 1
    answer(peer, 1)
    assert ends[0].code is StatusCode.OK
    assert core.closing


def test_a_graceful_goodbye_has_two_steps() -> None:
    # RFC 9113, section 6.8.
    peer, owner, core = raw_server()
    ends = start(core, 2, again=False)
    peer.send(peer.goaway(2**31 - 1), peer.ping(b"draining"))
    assert [end.code for end in ends] == [None, None]
    assert any(frame.type == 6 and "ACK" in frame.flags for frame in peer.receive())
    peer.send(peer.goaway(1))
    assert [end.code for end in ends] == [None, StatusCode.UNAVAILABLE]
    assert owner.drained == 1


@pytest.mark.parametrize("last", [0, 1, 2**31 - 1])
def test_goaway_with_an_error_says_why(last: int) -> None:
    peer, _, core = raw_server()
    (end,) = start(core, 1, again=False)
    peer.send(peer.goaway(last, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
    if last == 0:
        assert end.code is StatusCode.UNAVAILABLE
        assert "ENHANCE_YOUR_CALM, too_many_pings" in end.details
        assert core.failure is not None
        assert "too_many_pings" in core.failure.details
    else:
        assert end.code is None
        answer(peer, 1)
        assert end.code is StatusCode.OK
    assert core.closing


def test_goaway_when_idle_closes() -> None:
    peer, owner, core = raw_server()
    peer.send(peer.goaway(0, 0, b"max_idle"))
    assert core.closing
    assert owner.drained == 1
    assert owner.unsent == []


def test_debug_data_may_be_anything() -> None:
    peer, _, core = raw_server()
    (end,) = start(core, 1, again=False)
    peer.send(peer.goaway(0, 0x77, b"\xff" * 1000))
    assert end.code is StatusCode.UNAVAILABLE
    assert "0x77" in end.details
    assert len(end.details) < 400


def test_we_leave_behind_our_last_call() -> None:
    pair = Pair()
    client, server = pair.open(b"x")
    pair.client.drain()
    pair.client.drain()
    assert not pair.client.closing
    assert pair.client_owner.drained == 1
    server.finish()
    pair.exchange()
    assert client.code is StatusCode.OK
    assert pair.client.closing


def test_identifiers_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, owner, core = raw_server()
    first = start(core, 1)[0]

    def exhausted(*arguments: object, **more: object) -> int:
        raise StreamsExhausted

    monkeypatch.setattr(type(core.engine), "open_stream", exhausted)
    second = ClientEnd()
    core.start(second.call)
    assert owner.unsent == [second.call]
    assert second.code is None
    answer(peer, 1)
    assert first.code is StatusCode.OK
    assert core.closing


# Failure.


def test_calls_that_wait_are_handed_back_when_the_connection_fails() -> None:
    _, owner, core = raw_server(peer_settings={MAX_CONCURRENT_STREAMS: 1})
    first, second = start(core, 2)
    core.lost("gone")
    assert first.code is StatusCode.UNAVAILABLE
    assert second.code is None
    assert owner.unsent == [second.call]


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_an_http1_server_is_told_apart(chunk: int | None) -> None:
    peer, _, core = raw_server(greet=False)
    (end,) = start(core, 1)
    peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", chunk)
    assert end.code is StatusCode.UNAVAILABLE
    assert "it speaks HTTP/1, not HTTP/2" in end.details
    if chunk is None:
        assert "'HTTP/1.1 400 Bad Request'" in end.details
    assert core.closing


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"220 mail ESMTP\r\n", bytes(20)], ids=repr
)
def test_a_server_that_speaks_something_else_is_told_apart(data: bytes, chunk: int | None) -> None:
    peer, _, core = raw_server(greet=False)
    (end,) = start(core, 1)
    peer.send_bytes(data, chunk)
    assert end.code is StatusCode.UNAVAILABLE
    assert "does not speak HTTP/2" in end.details
    assert core.closing


def test_a_server_that_breaks_http2_is_told_so() -> None:
    peer, _, core = raw_server()
    (end,) = start(core, 1)
    peer.send(peer.data(99, b"x"))
    assert end.code is StatusCode.UNAVAILABLE
    assert "the peer broke HTTP/2 (PROTOCOL_ERROR)" in end.details
    peer.receive()
    assert [frame.error_code for frame in peer.goaways()] == [ErrorCode.PROTOCOL_ERROR]
    assert core.closing


def test_metadata_beyond_the_servers_limit_end_the_call() -> None:
    peer, _, core = raw_server(peer_settings={6: 1000})
    large = ClientEnd(metadata=[(b"k", b"v" * 1000)])
    large.send(b"x", end=True)
    core.start(large.call)
    assert large.code is StatusCode.RESOURCE_EXHAUSTED
    assert large.details.startswith("the metadata to be sent exceed the server's limit: ")
    assert large.details.endswith(" vs. 1000 bytes")
    assert not core.calls
    small = ClientEnd()
    core.start(small.call)
    assert small.call.stream_id == 1
    peer.receive()
    assert [frame.stream_id for frame in peer.frames if frame.type == 1] == [1]
