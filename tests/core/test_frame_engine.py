"""The frame engine, section by section of RFC 9113; what holds for every engine is in test_http2_engine.py."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pygrpc.core.http2 import ENGINE_VARIABLE, ErrorCode, HeaderBlock, Http2Settings, create_engine
from pygrpc.core.http2.engine import LocalProtocolError
from pygrpc.core.http2.frame_engine import FrameEngine
from pygrpc.core.http2.frame_sender import FrameSender
from pygrpc.core.http2.h2_engine import H2Engine
from pygrpc.core.http2.stream_frames import StreamFrames
from pygrpc.core.metadata import Header
from tests.core import wire
from tests.core.frame_bench import MAX_WINDOW, REQUEST, RESPONSE, TRAILERS, End, Event, failure, resets

# The choice of the engine.


@pytest.mark.parametrize(("name", "engine"), [("h2", H2Engine), ("frame", FrameEngine)])
def test_the_environment_chooses(name: str, engine: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, name)
    assert type(create_engine(End(), Http2Settings(), True)) is engine


def test_there_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    assert isinstance(create_engine(End(), Http2Settings(), False), (H2Engine, FrameEngine))


@pytest.mark.parametrize("name", ["", "H2", "nghttp2"])
def test_an_unknown_engine_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, name)
    with pytest.raises(ValueError, match=r"PYGRPC_HTTP2_ENGINE must be one of .*h2.*, not "):
        create_engine(End(), Http2Settings(), False)


def test_the_layers_of_the_engine() -> None:
    assert issubclass(FrameEngine, StreamFrames)
    assert issubclass(StreamFrames, FrameSender)


# Header blocks that come again.


def test_the_same_block_is_the_same_object() -> None:
    end = End()
    reported = [end.request(stream_id, end=True)[0][2] for stream_id in range(1, 13, 2)]
    assert all(isinstance(block, HeaderBlock) and block == REQUEST for block in reported)
    assert reported[3] is reported[4] is reported[5]
    reported[3].parsed = "parsed"
    assert end.request(13)[0][2].parsed == "parsed"
    # A new entry of the dynamic table moves all others, so the bytes are others too, or mean something else.
    assert end.request(15, (b"new", b"entry"))[0][2].parsed is None
    assert end.request(17)[0][2].parsed is None


def test_trailers_may_be_the_same_block_as_headers() -> None:
    end = End()
    for stream_id in (1, 3, 5):
        events = end.request(stream_id) + end.request(stream_id, end=True)
        assert events == [
            ("headers_received", stream_id, REQUEST, False),
            ("headers_received", stream_id, REQUEST, True),
        ]


def test_headers_are_written_as_tuples_or_lists() -> None:
    end = End(client_side=True)
    for number in range(6):
        for headers in (REQUEST, tuple(REQUEST), [*REQUEST, (b"n", b"%d" % number)]):
            end.engine.open_stream(headers, True)
    fields = [each.fields for each in end.frames()]
    assert fields[::3] == fields[1::3] == [tuple(REQUEST)] * 6
    assert [each[-1] for each in fields[2::3]] == [(b"n", b"%d" % number) for number in range(6)]


# 4.1, 4.2: any split of the bytes.


@pytest.mark.parametrize("seed", range(5))
def test_large_frames_arrive_whole_however_they_are_cut(seed: int) -> None:
    source = random.Random(seed)
    end = End(max_frame_size=1 << 20, stream_window=MAX_WINDOW, connection_window=MAX_WINDOW)
    end.request(1)
    payloads = [source.randbytes(size) for size in (0, 1, 8, 9, 300_000, 1 << 20, 5000, 100_000)]
    stream = b"".join(wire.data(1, payload) for payload in payloads)
    events: list[Event] = []
    while stream:
        size = source.choice([1, 5, 9, 100, 4095, 4096, 65_536, 262_144])
        events += end.feed(stream[:size])
        stream = stream[size:]
    assert [event[2] for event in events] == payloads
    assert all(type(event[2]) is bytes for event in events)


def test_an_oversized_frame_is_refused_on_its_head() -> None:
    end = End()
    assert failure(end.feed((2**17 + 1).to_bytes(3, "big") + bytes(6))) == ErrorCode.FRAME_SIZE_ERROR


def test_what_is_kept_of_an_incomplete_frame_is_not_the_whole_read() -> None:
    # A view of a large read would keep all of it in memory for a few bytes.
    end = End()
    end.request(1)
    end.feed(wire.data(1, bytes(100_000)) + wire.data(1, bytes(50))[:20])
    (kept,) = end.engine._chunks
    assert type(kept) is bytes
    assert len(kept) == 11


# 6.5: SETTINGS in flight.


def test_until_our_settings_are_acknowledged_the_default_window_holds() -> None:
    end = End(ack=False, stream_window=100)
    end.request(1)
    assert len(end.feed(wire.data(1, bytes(60_000)))) == 1
    # What was sent before stays sent: the window is negative now (section 6.9.2).
    end.feed(wire.SETTINGS_ACK)
    assert end.feed(wire.data(1, b"")) == [("data_received", 1, b"", 0, False)]
    end.engine.increment_window(1, 59_900)
    assert end.feed(wire.data(1, b"x")) == [("stream_reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]
    end.request(3)
    assert end.feed(wire.data(3, bytes(101))) == [("stream_reset", 3, ErrorCode.FLOW_CONTROL_ERROR, False)]


def test_a_larger_window_holds_at_once() -> None:
    end = End(ack=False, stream_window=200_000, connection_window=1 << 20)
    end.request(1)
    assert len(end.feed(*[wire.data(1, bytes(100_000))] * 2)) == 2
    assert end.feed(wire.data(1, b"x")) == [("stream_reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]


def test_a_server_does_not_enable_push() -> None:
    assert failure(End(client_side=True).feed(wire.settings((wire.ENABLE_PUSH, 1)))) == ErrorCode.PROTOCOL_ERROR
    assert failure(End().feed(wire.settings((wire.ENABLE_PUSH, 1)))) is None


def test_an_initial_window_that_overflows_a_stream() -> None:
    end = End(client_side=True)
    end.open()
    end.feed(wire.window_update(1, 1000))
    assert failure(end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, MAX_WINDOW - 1000)))) is None
    assert (
        failure(end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, MAX_WINDOW - 999)))) == ErrorCode.FLOW_CONTROL_ERROR
    )


def test_the_credit_of_a_stream_that_is_gone_does_not_count() -> None:
    end = End(client_side=True)
    end.open()
    end.open()
    end.feed(wire.window_update(1, 1 << 30), wire.window_update(3, 1000), wire.rst_stream(1))
    assert failure(end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, MAX_WINDOW - 1000)))) is None
    end.engine.send_data(3, bytes(10), False)
    assert failure(end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, MAX_WINDOW - 990)))) is None
    assert (
        failure(end.feed(wire.settings((wire.INITIAL_WINDOW_SIZE, MAX_WINDOW - 989)))) == ErrorCode.FLOW_CONTROL_ERROR
    )


def test_the_peers_table_size_is_kept() -> None:
    end = End(client_side=True)
    for _ in range(3):
        end.open()
    end.feed(wire.settings((wire.HEADER_TABLE_SIZE, 0)))
    end.frames()
    end.engine.open_stream(REQUEST, False)
    (headers,) = end.frames()
    assert headers.payload[0] == 0x20
    assert headers.fields == tuple(REQUEST)


# 6.10, and header blocks without end.


def test_a_block_in_too_many_pieces() -> None:
    end = End()
    block = end.block(REQUEST)
    assert end.feed(wire.headers(1, b"", complete=False), *[wire.continuation(1, b"", False)] * 62) == []
    assert end.feed(wire.continuation(1, block)) == [("headers_received", 1, REQUEST, False)]
    end.feed(wire.headers(3, b"", complete=False), *[wire.continuation(3, b"", False)] * 63)
    assert failure(end.feed(wire.continuation(3, block))) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_that_is_too_large() -> None:
    end = End(max_header_list_size=1000, hard_header_list_size=10_000)
    assert end.feed(wire.headers(1, bytes(10_000), complete=False)) == []
    assert failure(end.feed(wire.continuation(1, b"\0", False))) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_on_stream_0_is_refused_before_its_end() -> None:
    assert failure(End().feed(wire.headers(0, b"", complete=False))) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [16_379, 16_380, 16_384, 40_000, 65_536])
def test_our_long_blocks_are_cut_at_the_peers_frame_size(size: int) -> None:
    end = End(client_side=True)
    stream_id = end.engine.open_stream([(b"k", b"x" * size)], True)
    frames = end.frames()
    assert all(len(each.payload) <= 16_384 and each.stream_id == stream_id for each in frames)
    assert [each.kind for each in frames] == [wire.HEADERS] + [wire.CONTINUATION] * (len(frames) - 1)
    assert [each.flags & wire.END_STREAM for each in frames if each.kind == wire.HEADERS] == [wire.END_STREAM]
    assert frames[-1].fields == ((b"k", b"x" * size),)


# 8.1: messages.


@pytest.mark.parametrize(
    ("fields", "bodies", "valid"),
    [
        ([(b"content-length", b"3")], [b"abc"], True),
        ([(b"content-length", b"3")], [b"a", b"", b"bc"], True),
        ([(b"content-length", b"3")], [b"ab"], False),
        ([(b"content-length", b"3")], [b"abcd"], False),
        ([(b"content-length", b"3"), (b"content-length", b"3")], [b"abc"], True),
        ([(b"content-length", b"3"), (b"content-length", b"4")], [b"abc"], False),
        ([(b"content-length", b"three")], [b"abc"], False),
        ([(b"content-length", b"0")], [b""], True),
    ],
)
@pytest.mark.parametrize("by", ["data", "trailers"])
def test_content_length(fields: list[Header], bodies: list[bytes], valid: bool, by: str) -> None:
    end = End()
    events = end.request(1, *fields)
    for number, body in enumerate(bodies):
        events += end.feed(wire.data(1, body, end=by == "data" and number == len(bodies) - 1))
    if by == "trailers":
        events += end.feed(wire.headers(1, end.block([(b"x", b"y")]), end=True))
    if valid:
        assert b"".join(event[2] for event in events if event[0] == "data_received") == b"".join(bodies)
        assert events[-1][-1] is True
    assert resets(end.frames()) == ([] if valid else [(1, ErrorCode.PROTOCOL_ERROR)])


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ([(b":status", b"200"), (b"content-length", b"0")], True),
        ([(b":status", b"200"), (b"content-length", b"5")], False),
        ([(b":status", b"304"), (b"content-length", b"5")], True),
        ([(b":status", b"204")], True),
    ],
)
def test_content_length_of_a_response_without_content(fields: list[Header], valid: bool) -> None:
    end = End(client_side=True)
    end.open()
    events = end.feed(wire.headers(1, end.block(fields), end=True))
    assert events == [
        ("headers_received", 1, fields, True) if valid else ("stream_reset", 1, ErrorCode.PROTOCOL_ERROR, False)
    ]


@pytest.mark.parametrize(
    "frames",
    [
        lambda end: wire.data(1, b"before the headers"),
        lambda end: wire.headers(1, end.block([(b":status", b"103")]), end=True),
        lambda end: wire.headers(1, end.block(RESPONSE)) + wire.headers(1, end.block([(b"x", b"y")])),
        lambda end: wire.headers(1, end.block(RESPONSE)) + wire.headers(1, end.block([(b":status", b"103")])),
    ],
    ids=["DATA first", "1xx that ends", "trailers that don't end", "1xx behind the response"],
)
def test_malformed_responses(frames: Any) -> None:
    end = End(client_side=True)
    end.open()
    assert end.feed(frames(end))[-1] == ("stream_reset", 1, ErrorCode.PROTOCOL_ERROR, False)
    assert resets(end.frames()) == [(1, ErrorCode.PROTOCOL_ERROR)]


def test_information_comes_before_the_response() -> None:
    end = End(client_side=True)
    end.open()
    early = wire.headers(1, end.block([(b":status", b"103"), (b"link", b"x")]))
    assert end.feed(early, early) == []
    assert end.response(1) == [("headers_received", 1, RESPONSE, False)]


def test_push_is_refused_on_both_sides() -> None:
    for client_side in (False, True):
        end = End(client_side)
        promise = wire.frame(wire.PUSH_PROMISE, wire.END_HEADERS, 1, wire.number(2) + b"\x82")
        assert failure(end.feed(promise)) == ErrorCode.PROTOCOL_ERROR


# From inside of events.


def test_a_stream_is_answered_while_it_is_reported() -> None:
    end = End()

    def answer(name: str, stream_id: int = 0, *rest: Any) -> None:
        if name == "data_received" and rest[-1]:
            end.engine.send_headers(stream_id, RESPONSE, False)
            end.engine.send_data(stream_id, b"answer", False)
            end.engine.send_headers(stream_id, TRAILERS, True)

    end.reaction = answer
    block = end.block(REQUEST)
    end.feed(wire.headers(1, block) + wire.data(1, b"x", end=True) + wire.rst_stream(1) + wire.ping())
    kinds = [each.kind for each in end.frames()]
    assert kinds == [wire.HEADERS, wire.DATA, wire.HEADERS, wire.PING]
    assert not end.engine._streams


def test_a_stream_is_reset_while_it_is_reported() -> None:
    end = End()
    end.reaction = lambda name, *rest: name == "headers_received" and end.engine.reset_stream(rest[0], 7)
    events = end.feed(wire.headers(1, end.block(REQUEST)) + wire.data(1, b"x", end=True) + wire.ping())
    assert [event[0] for event in events] == ["headers_received", "ping_received"]


def test_nothing_is_reported_behind_a_failure() -> None:
    end = End()

    def act(name: str, *rest: Any) -> None:
        if name == "connection_failed":
            end.engine.send_headers(1, RESPONSE, False)
            end.engine.reset_stream(1, 8)
            end.engine.send_ping(b"12345678")
            end.engine.increment_window(0, 5)

    end.request(1)
    end.reaction = act
    events = end.feed(wire.window_update(0, 0) + wire.ping() + wire.rst_stream(1), wire.ping())
    assert [event[0] for event in events] == ["connection_failed"]
    assert [each.kind for each in end.frames()] == [wire.GOAWAY]
    assert end.engine.send_window(1) == 0


def test_a_client_may_open_streams_behind_a_failure() -> None:
    end = End(client_side=True)
    end.feed(wire.window_update(0, 0))
    end.frames()
    assert [end.engine.open_stream(REQUEST, False), end.engine.open_stream(REQUEST, False)] == [1, 3]
    end.engine.send_data(1, b"x", True)
    assert end.frames() == []


def test_goaway_tells_the_last_stream_and_the_reason() -> None:
    end = End()
    end.request(5)
    (event,) = end.feed(wire.window_update(0, 0))
    (goaway,) = end.frames()
    assert goaway.payload[:8] == wire.number(5) + wire.number(ErrorCode.PROTOCOL_ERROR)
    assert goaway.payload[8:].decode() == event[2]


def test_goaway_without_its_eight_bytes() -> None:
    assert failure(End().feed(wire.frame(wire.GOAWAY, 0, 0, bytes(7)))) == ErrorCode.FRAME_SIZE_ERROR


def test_a_server_may_end_a_stream_with_data() -> None:
    end = End()
    end.request(1, end=True)
    end.engine.send_headers(1, RESPONSE, False)
    end.engine.send_data(1, b"the end", True)
    assert [each.flags & wire.END_STREAM for each in end.frames()] == [0, wire.END_STREAM]
    assert not end.engine._streams


# Mistakes of our own.


@pytest.mark.parametrize(
    "mistake",
    [
        lambda engine: engine.open_stream(RESPONSE, False),
        lambda engine: engine.send_ping(b"1234567"),
        lambda engine: engine.send_headers(3, RESPONSE, False),
        lambda engine: engine.send_data(3, b"x", False),
        lambda engine: engine.send_data(1, bytes(65_536), False),
    ],
)
def test_our_mistakes(mistake: Any) -> None:
    end = End()
    end.request(1)
    with pytest.raises(LocalProtocolError):
        mistake(end.engine)
    assert end.frames() == []
