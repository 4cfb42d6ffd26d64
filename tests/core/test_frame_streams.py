"""The frame engine's streams: their states, priorities, padding and windows (RFC 9113, sections 5 and 6)."""

from __future__ import annotations

import pytest

from pygrpc.core.http2 import ErrorCode
from pygrpc.core.http2.engine import DEFAULT_WINDOW, LocalProtocolError
from tests.core import wire
from tests.core.frame_bench import MAX_WINDOW, REQUEST, RESPONSE, End, credits, failure, resets

# 5.1: closed streams.


def test_late_frames_on_a_stream_that_we_reset_say_nothing_and_are_not_answered() -> None:
    end = End()
    end.request(1)
    end.engine.reset_stream(1, ErrorCode.CANCEL)
    end.frames()
    late = [
        wire.data(1, b"late"),
        wire.window_update(1, 5),
        wire.priority(1),
        wire.rst_stream(1),
        wire.data(1, b"", True),
    ]
    assert end.feed(*late) == []
    assert end.request(1, (b"counts", b"for HPACK"), end=True) == []
    assert end.frames() == []
    # The block was decoded, or the next one would be wrong.
    assert end.request(3, (b"counts", b"for HPACK")) == [
        ("headers_received", 3, [*REQUEST, (b"counts", b"for HPACK")], False)
    ]


def test_late_frames_on_a_call_that_a_client_cancelled_long_ago() -> None:
    # A server may take longer to hear of a cancellation than we remember it.
    end = End(client_side=True)
    for _ in range(5000):
        end.engine.reset_stream(end.engine.open_stream(REQUEST, True), ErrorCode.CANCEL)
    end.frames()
    assert end.response(1) == end.feed(wire.data(1, b"late")) == end.response(9999, end=True) == []
    assert end.frames() == []


def test_a_client_takes_no_frames_on_a_call_that_has_ended() -> None:
    end = End(client_side=True)
    end.open(end=True)
    end.response(1, end=True)
    assert end.feed(wire.window_update(1, 1), wire.rst_stream(1)) == []
    assert end.frames() == []
    assert end.feed(wire.data(1, b"x")) == []
    assert resets(end.frames()) == [(1, ErrorCode.STREAM_CLOSED)]
    assert failure(end.response(1)) == ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize("client_side", [False, True])
def test_frames_behind_the_peers_reset(client_side: bool) -> None:
    end = End(client_side)
    if client_side:
        end.open()
    else:
        end.request(1)
    assert end.feed(wire.rst_stream(1, 7)) == [("stream_reset", 1, 7, True)]
    assert end.feed(wire.data(1, b"x"), wire.window_update(1, 1), wire.rst_stream(1)) == []
    assert end.response(1) == []
    assert resets(end.frames()) == [(1, ErrorCode.STREAM_CLOSED)] * 2


@pytest.mark.parametrize("stream_id", [0, 2, 4])
@pytest.mark.parametrize("client_side", [False, True])
def test_streams_that_the_peer_cannot_open(client_side: bool, stream_id: int) -> None:
    end = End(client_side)
    assert failure(end.response(stream_id)) == ErrorCode.PROTOCOL_ERROR


def test_a_client_opens_its_streams_itself() -> None:
    end = End(client_side=True)
    end.open()
    assert failure(end.response(3)) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("frame", [wire.data(3, b"x"), wire.window_update(3, 1), wire.rst_stream(3)])
def test_frames_on_a_stream_that_the_client_has_not_opened(frame: bytes) -> None:
    end = End(client_side=True)
    end.open()
    assert failure(end.feed(frame)) == ErrorCode.PROTOCOL_ERROR


# 5.1.1, 5.1.2: stream identifiers and concurrency.


def test_a_skipped_stream_is_closed_for_good() -> None:
    end = End()
    end.request(7, end=True)
    assert end.feed(wire.window_update(3, 1), wire.rst_stream(5)) == []
    assert failure(end.request(5)) == ErrorCode.PROTOCOL_ERROR


def test_a_refused_stream_counts_and_its_block_is_decoded() -> None:
    end = End(max_concurrent_streams=1)
    end.request(1)
    assert end.request(3, (b"a", b"b")) == []
    assert resets(end.frames()) == [(3, ErrorCode.REFUSED_STREAM)]
    assert end.engine.last_peer_stream_id == 3
    assert end.feed(wire.data(3, b"in flight", end=True)) == []
    assert end.frames() == []
    end.engine.reset_stream(1, ErrorCode.NO_ERROR)
    assert end.request(5, (b"a", b"b")) == [("headers_received", 5, [*REQUEST, (b"a", b"b")], False)]


# 5.3 of RFC 7540, 6.3: priorities.


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (wire.frame(wire.PRIORITY, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
        (wire.priority(1, depends_on=1), ErrorCode.PROTOCOL_ERROR),
        (wire.priority(1, depends_on=1, exclusive=True), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_wrong_priorities(frame: bytes, code: ErrorCode) -> None:
    # No RST_STREAM for an idle stream (section 6.4), so there it is the connection.
    assert failure(End().feed(frame)) == code
    end = End()
    end.request(1)
    assert end.feed(frame) == [("stream_reset", 1, code, False)]
    assert end.feed(frame) == []
    assert resets(end.frames()) == [(1, code)] * 2


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_request_that_depends_on_itself(pieces: int) -> None:
    end = End()
    block = end.block(REQUEST)
    if pieces == 1:
        events = end.feed(wire.headers(1, block, depends_on=1))
    else:
        events = end.feed(wire.headers(1, block[:5], depends_on=1, complete=False), wire.continuation(1, block[5:]))
    assert events == []
    assert resets(end.frames()) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert end.engine.last_peer_stream_id == 1
    assert end.request(3) == [("headers_received", 3, REQUEST, False)]


def test_a_response_that_depends_on_itself() -> None:
    end = End(client_side=True)
    end.open()
    assert end.feed(wire.headers(1, end.block(RESPONSE), depends_on=1)) == [
        ("stream_reset", 1, ErrorCode.PROTOCOL_ERROR, False)
    ]
    assert end.feed(wire.headers(1, end.block(RESPONSE), depends_on=1)) == []
    assert resets(end.frames()) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert failure(end.feed(wire.headers(3, end.block(RESPONSE), depends_on=3))) == ErrorCode.PROTOCOL_ERROR


def test_a_stream_that_is_closed_cannot_depend_on_itself() -> None:
    end = End()
    end.request(1, end=True)
    end.request(3)
    end.feed(wire.rst_stream(3))
    frames = [wire.headers(stream_id, end.block(REQUEST), depends_on=stream_id) for stream_id in (1, 3)]
    assert end.feed(*frames) == [("stream_reset", 1, ErrorCode.STREAM_CLOSED, False)]
    assert resets(end.frames()) == [(1, ErrorCode.STREAM_CLOSED), (3, ErrorCode.STREAM_CLOSED)]


def test_headers_without_room_for_their_priority() -> None:
    end = End()
    assert failure(end.feed(wire.frame(wire.HEADERS, wire.HAS_PRIORITY | wire.END_HEADERS, 1, bytes(4)))) == (
        ErrorCode.FRAME_SIZE_ERROR
    )


# 6.1, 6.2: padding.


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", ErrorCode.FRAME_SIZE_ERROR),
        (b"\x00\0\0\0\3", ErrorCode.FRAME_SIZE_ERROR),
        (b"\x01\0\0\0\3\0", ErrorCode.PROTOCOL_ERROR),
        (b"\x03\0\0\0\3\0\x82\0", ErrorCode.PROTOCOL_ERROR),
        (b"\xff\0\0\0\3\0\x82\0", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_padding_that_reaches_into_the_priority(payload: bytes, code: ErrorCode) -> None:
    flags = wire.PADDED | wire.HAS_PRIORITY | wire.END_HEADERS
    assert failure(End().feed(wire.frame(wire.HEADERS, flags, 1, payload))) == code


def test_padding_may_fill_the_frame() -> None:
    end = End()
    begun = wire.headers(1, b"", complete=False, padding=9, depends_on=3)
    assert end.feed(begun, wire.continuation(1, end.block(REQUEST))) == [("headers_received", 1, REQUEST, False)]


@pytest.mark.parametrize("kind", [wire.DATA, wire.HEADERS])
def test_padding_without_its_length(kind: int) -> None:
    end = End()
    end.request(1)
    assert failure(end.feed(wire.frame(kind, wire.PADDED | wire.END_HEADERS, 1))) == ErrorCode.FRAME_SIZE_ERROR


def test_padding_counts_for_the_windows() -> None:
    end = End(stream_window=20, connection_window=DEFAULT_WINDOW)
    end.request(1)
    assert end.feed(wire.data(1, b"abc", padding=16)) == [("data_received", 1, b"abc", 20, False)]
    assert end.feed(wire.data(1, b"x")) == [("stream_reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]


# 6.9: flow control.


def test_the_window_of_the_connection() -> None:
    end = End(stream_window=1 << 20, connection_window=100_000)
    end.request(1)
    end.request(3)
    assert len(end.feed(wire.data(1, bytes(50_000)), wire.data(3, bytes(50_000)))) == 2
    end.engine.increment_window(0, 10)
    assert len(end.feed(wire.data(1, bytes(10)))) == 1
    assert failure(end.feed(wire.data(1, b"x"))) == ErrorCode.FLOW_CONTROL_ERROR


def test_data_of_a_stream_error_is_credited() -> None:
    end = End(stream_window=40_000, connection_window=100_000)
    credited = 0
    for stream_id in range(1, 41, 2):
        end.request(stream_id)
        assert end.feed(wire.data(stream_id, bytes(40_001)))[0][:2] == ("stream_reset", stream_id)
        credited += sum(increment for where, increment in credits(end.frames()) if where == 0)
    assert 20 * 40_001 - 25_000 < credited <= 20 * 40_001


def test_a_half_closed_stream_gets_no_credit() -> None:
    end = End()
    end.request(1, end=True)
    end.engine.increment_window(1, 1000)
    assert end.frames() == []


def test_our_windows_do_not_overflow() -> None:
    end = End()
    end.request(1)
    for stream_id in (0, 1):
        with pytest.raises(LocalProtocolError, match="2\\*\\*31"):
            end.engine.increment_window(stream_id, MAX_WINDOW)


def test_empty_data_needs_no_window() -> None:
    end = End(client_side=True)
    end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, 10)))
    end.open()
    end.engine.send_data(1, b"x" * 10, False)
    end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, 5)))
    assert end.engine.send_window(1) == -5
    end.engine.send_data(1, b"", True)
    assert [len(each.payload) for each in end.frames() if each.kind == wire.DATA] == [10, 0]
