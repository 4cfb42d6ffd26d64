"""The HTTP/2 engine behind its seam: what it reports and what it answers (RFC 9113)."""

from typing import Any

import pytest
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from pygrpc.core.http2 import ErrorCode, Http2Engine, Http2Settings
from pygrpc.core.http2.engine import DEFAULT_WINDOW, LocalProtocolError, StreamsExhausted
from pygrpc.core.http2.h2_engine import H2Engine
from tests.core.engine_bench import Bench, failures, raw
from tests.core.pair import PREFACE, REQUEST, RESPONSE

pytestmark = pytest.mark.usefixtures("each_engine")


# Beginning.


def test_a_client_begins_with_preface_settings_and_window() -> None:
    bench = Bench(client=True, greet=False, stream_window=100_000, connection_window=1_000_000, max_frame_size=20_000)
    settings, window = bench.answers()
    assert settings.settings == {
        SettingsFrame.ENABLE_PUSH: 0,
        SettingsFrame.MAX_CONCURRENT_STREAMS: 0,
        SettingsFrame.INITIAL_WINDOW_SIZE: 100_000,
        SettingsFrame.MAX_FRAME_SIZE: 20_000,
        SettingsFrame.MAX_HEADER_LIST_SIZE: 16_384,
    } | {key: value for key, value in settings.settings.items() if key in (1, 8)}
    assert (window.stream_id, window.window_increment) == (0, 1_000_000 - DEFAULT_WINDOW)


@pytest.mark.parametrize("limit", [None, 0, 7])
def test_a_server_announces_its_limit_of_streams(limit: int | None) -> None:
    bench = Bench(client=False, greet=False, max_concurrent_streams=limit)
    settings = bench.answers(SettingsFrame)[0].settings
    assert settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS) == limit
    assert settings.get(SettingsFrame.ENABLE_PUSH, 0) == 0


@pytest.mark.parametrize(("stream", "connection"), [(1, 1 << 20), (1 << 20, 8 << 20), (2**31 - 1, 2**31 - 1)])
def test_the_window_of_a_connection_follows_that_of_a_stream(stream: int, connection: int) -> None:
    assert Http2Settings(stream_window=stream).connection_window == connection


def test_the_default_window_needs_no_update() -> None:
    bench = Bench(client=False, greet=False, connection_window=DEFAULT_WINDOW)
    assert bench.answers(WindowUpdateFrame) == []


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_settings_are_reported_and_acknowledged(chunk: int | None) -> None:
    bench = Bench(client=False, greet=False)
    bench._fed = chunk
    bench.peer.receive()
    bench.peer.send_bytes(PREFACE + SettingsFrame(0, settings={3: 5, 5: 30_000}).serialize())
    assert bench.recorder.take() == [("settings_received",)]
    (answer,) = bench.answers()
    assert isinstance(answer, SettingsFrame)
    assert answer.flags == {"ACK"}
    assert bench.engine.peer_max_concurrent_streams == 5
    assert bench.engine.peer_max_frame_size == 30_000


def test_a_peer_without_limits_has_the_defaults_of_the_rfc() -> None:
    bench = Bench(client=True)
    assert bench.engine.peer_max_concurrent_streams > 2**30
    assert bench.engine.peer_max_frame_size == 16_384


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize(
    "first", [PingFrame(0, b"12345678"), SettingsFrame(0, flags=["ACK"]), WindowUpdateFrame(0, window_increment=1)]
)
def test_the_first_frame_is_settings(client: bool, first: Frame) -> None:
    # RFC 9113, section 3.4.
    bench = Bench(client=client, greet=False)
    bench.peer.send_bytes((b"" if client else PREFACE) + first.serialize())
    assert failures(bench.recorder.take()) == [ErrorCode.PROTOCOL_ERROR]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", b"\x16\x03\x01\0\0"])
@pytest.mark.parametrize("chunk", [None, 1])
def test_a_client_that_speaks_something_else_fails(data: bytes, chunk: int | None) -> None:
    bench = Bench(client=False, greet=False)
    bench.peer.send_bytes(data, chunk)
    assert failures(bench.recorder.take()) == [ErrorCode.PROTOCOL_ERROR]


# Streams.


def test_a_request_is_reported() -> None:
    bench = Bench(client=False)
    events = bench.feed(bench.peer.headers(1, REQUEST), bench.peer.data(1, b"abc"), bench.peer.data(1, b"", True))
    assert events == [
        ("headers_received", 1, REQUEST, False),
        ("data_received", 1, b"abc", 3, False),
        ("data_received", 1, b"", 0, True),
    ]
    assert bench.engine.last_peer_stream_id == 1


def test_the_end_of_a_stream_is_part_of_what_carries_it() -> None:
    bench = Bench(client=False)
    assert bench.feed(bench.peer.headers(1, REQUEST, True)) == [("headers_received", 1, REQUEST, True)]
    assert bench.feed(bench.peer.headers(3, REQUEST), bench.peer.headers(3, [(b"k", b"v")], True)) == [
        ("headers_received", 3, REQUEST, False),
        ("headers_received", 3, [(b"k", b"v")], True),
    ]


def test_a_client_opens_odd_streams_in_order() -> None:
    bench = Bench(client=True)
    assert [bench.open() for _ in range(3)] == [1, 3, 5]


def test_a_response_is_reported_and_information_is_not() -> None:
    bench = Bench(client=True)
    bench.open()
    events = bench.feed(
        bench.peer.headers(1, [(b":status", b"100")]),
        bench.peer.headers(1, [(b":status", b"103"), (b"link", b"x")]),
        bench.peer.headers(1, RESPONSE),
        bench.peer.data(1, b"abc"),
        bench.peer.headers(1, [(b"grpc-status", b"0")], True),
    )
    assert events == [
        ("headers_received", 1, RESPONSE, False),
        ("data_received", 1, b"abc", 3, False),
        ("headers_received", 1, [(b"grpc-status", b"0")], True),
    ]


def test_events_come_before_those_of_later_frames_are_known() -> None:
    # A request that is answered while it is reported must not meet a stream that a later frame has closed.
    bench = Bench(client=False)

    def answer(stream_id: int, headers: Any, end: bool) -> None:
        bench.engine.send_headers(stream_id, RESPONSE, False)

    bench.recorder.headers_received = answer
    bench.peer.send(bench.peer.headers(1, REQUEST), bench.peer.reset(1, ErrorCode.CANCEL))
    assert [type(frame) for frame in bench.answers()] == [HeadersFrame]
    assert bench.recorder.take() == [("stream_reset", 1, ErrorCode.CANCEL, True)]


def test_a_header_block_in_pieces_is_one_block() -> None:
    bench = Bench(client=False)
    block = bench.peer.encoder.encode(REQUEST)
    pieces = [block[start : start + 7] for start in range(0, len(block), 7)]
    frames: list[Frame] = [HeadersFrame(1, pieces[0])]
    frames += [ContinuationFrame(1, piece) for piece in pieces[1:]]
    frames[-1].flags.add("END_HEADERS")
    assert bench.feed(*frames[:-1]) == []
    assert bench.feed(frames[-1]) == [("headers_received", 1, REQUEST, False)]


def test_a_long_header_block_is_sent_in_pieces() -> None:
    bench = Bench(client=True)
    long = [*REQUEST, (b"k", b"x" * 40_000)]
    bench.engine.open_stream(long, False)
    frames = bench.answers()
    assert [type(frame) for frame in frames] == [HeadersFrame, ContinuationFrame, ContinuationFrame]
    assert all(len(frame.data) <= 16_384 for frame in frames)
    assert frames[-1].fields == long


def test_padding_and_priority_are_passed_over() -> None:
    bench = Bench(client=False)
    headers = bench.peer.headers(1, REQUEST)
    headers.flags.add("PADDED")
    headers.flags.add("PRIORITY")
    headers.pad_length, headers.depends_on, headers.stream_weight = 9, 0, 15
    events = bench.feed(headers, bench.peer.data(1, b"abc", padding=10), PriorityFrame(1, 3, 200, True))
    assert events == [("headers_received", 1, REQUEST, False), ("data_received", 1, b"abc", 14, False)]


def test_unknown_frames_are_ignored() -> None:
    # RFC 9113, section 4.1.
    bench = Bench(client=False)
    unknown = raw(0xEE, 1, b"whatever", 0xFF)
    assert bench.feed(unknown, AltSvcFrame(0, b"origin", b"field"), bench.peer.headers(1, REQUEST), unknown) == [
        ("headers_received", 1, REQUEST, False)
    ]
    assert bench.answers() == []


def test_stream_identifiers_run_out() -> None:
    bench = Bench(client=True)
    if isinstance(bench.engine, H2Engine):
        bench.engine._h2.highest_outbound_stream_id = 2**31 - 3
    else:
        bench.engine._next_stream_id = 2**31 - 1  # type: ignore[attr-defined]
    assert bench.open() == 2**31 - 1
    with pytest.raises(StreamsExhausted):
        bench.open()


@pytest.mark.parametrize("remote", [True, False])
def test_a_reset_ends_a_stream(remote: bool) -> None:
    bench = Bench(client=False)
    bench.open()
    if remote:
        assert bench.feed(bench.peer.reset(1, 0x99)) == [("stream_reset", 1, 0x99, True)]
    else:
        bench.engine.reset_stream(1, ErrorCode.CANCEL)
        assert [type(frame) for frame in bench.answers()] == [RstStreamFrame]
        assert bench.peer.resets() == {1: ErrorCode.CANCEL}
    bench.engine.reset_stream(1, ErrorCode.CANCEL)
    bench.engine.increment_window(1, 1000)
    assert bench.answers() == []
    assert bench.engine.send_window(1) == 0


def test_a_second_reset_is_not_reported() -> None:
    bench = Bench(client=False)
    bench.open()
    reset = bench.peer.reset(1, ErrorCode.CANCEL)
    assert len(bench.feed(reset, reset, reset)) == 1


def test_frames_for_a_stream_that_we_reset_are_not_reported() -> None:
    bench = Bench(client=False)
    bench.open()
    bench.engine.reset_stream(1, ErrorCode.CANCEL)
    peer = bench.peer
    assert bench.feed(peer.data(1, b"late"), peer.window(1, 5), peer.headers(1, [(b"k", b"v")], True)) == []
    assert bench.feed(peer.headers(3, REQUEST)) == [("headers_received", 3, REQUEST, False)]


def test_late_frames_for_a_stream_that_ended_are_harmless() -> None:
    bench = Bench(client=False)
    bench.open(end=True)
    bench.engine.send_headers(1, RESPONSE, True)
    assert bench.feed(bench.peer.window(1, 5), bench.peer.reset(1, 8), PriorityFrame(1)) == []
    assert bench.feed(bench.peer.headers(3, REQUEST)) == [("headers_received", 3, REQUEST, False)]


def test_data_behind_the_end_resets_the_stream() -> None:
    bench = Bench(client=False)
    bench.open(end=True)
    assert bench.feed(bench.peer.data(1, b"more")) == [("stream_reset", 1, ErrorCode.STREAM_CLOSED, False)]
    assert bench.peer.receive()[-1].error_code == ErrorCode.STREAM_CLOSED


def streams_kept(engine: Http2Engine) -> set[int]:
    if isinstance(engine, H2Engine):
        return set(engine._h2.streams) | engine._peer_streams
    return set(engine._streams)  # type: ignore[attr-defined]


def test_both_ends_close_and_nothing_is_kept() -> None:
    for client in (True, False):
        bench = Bench(client=client)
        for _ in range(20):
            stream_id = bench.open(end=True)
            if client:
                bench.feed(bench.peer.headers(stream_id, RESPONSE, True))
            else:
                bench.engine.send_headers(stream_id, RESPONSE, True)
        assert not streams_kept(bench.engine)


# PING and GOAWAY.


def test_a_ping_is_answered_and_reported() -> None:
    bench = Bench(client=False)
    assert bench.feed(bench.peer.ping(b"8 bytes!")) == [("ping_received",)]
    (answer,) = bench.answers()
    assert (answer.opaque_data, answer.flags) == (b"8 bytes!", {"ACK"})


def test_the_answer_to_our_ping_is_reported() -> None:
    bench = Bench(client=True)
    bench.engine.send_ping(b"8 bytes!")
    (ping,) = bench.answers()
    assert (ping.opaque_data, ping.flags) == (b"8 bytes!", set())
    assert bench.feed(bench.peer.ping(b"8 bytes!", ack=True)) == [("ping_acknowledged", b"8 bytes!")]


def test_goaway_is_reported_and_streams_go_on() -> None:
    # RFC 9113, section 6.8; stock h2 would end here.
    bench = Bench(client=True)
    bench.open()
    assert bench.feed(bench.peer.goaway(1, 0, b"max_age")) == [("goaway_received", 1, 0, b"max_age")]
    bench.engine.send_data(1, b"more", True)
    assert bench.feed(bench.peer.headers(1, RESPONSE), bench.peer.data(1, b"abc", True)) == [
        ("headers_received", 1, RESPONSE, False),
        ("data_received", 1, b"abc", 3, True),
    ]
    assert bench.feed(bench.peer.goaway(1)) == [("goaway_received", 1, 0, b"")]


def test_our_goaway_lets_streams_go_on() -> None:
    bench = Bench(client=False)
    bench.open()
    bench.engine.send_goaway(2**31 - 1, ErrorCode.NO_ERROR, b"debug")
    (frame,) = bench.answers()
    assert (frame.last_stream_id, frame.error_code, frame.additional_data) == (2**31 - 1, 0, b"debug")
    assert bench.feed(bench.peer.data(1, b"abc"), bench.peer.headers(3, REQUEST)) == [
        ("data_received", 1, b"abc", 3, False),
        ("headers_received", 3, REQUEST, False),
    ]
    bench.engine.send_headers(1, RESPONSE, True)
    assert [type(frame) for frame in bench.answers()] == [HeadersFrame]


# Mistakes of ours.


def test_our_mistakes_are_told_from_the_peers() -> None:
    bench = Bench(client=False)
    bench.open()
    bench.engine.send_headers(1, RESPONSE, True)
    for mistake in (
        lambda: bench.engine.send_headers(1, RESPONSE, False),
        lambda: bench.engine.send_data(1, b"x", False),
        lambda: bench.engine.send_headers(99, RESPONSE, False),
    ):
        with pytest.raises(LocalProtocolError):
            mistake()


def test_queued_counts_what_data_to_send_gives() -> None:
    bench = Bench(client=True, greet=False)
    queued = bench.engine.queued
    assert queued > 0
    assert len(bench.engine.data_to_send()) == queued
    assert bench.engine.queued == 0
    assert bench.engine.data_to_send() == b""
