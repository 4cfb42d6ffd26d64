"""The HTTP/2 engine behind its seam: what it reports, what it answers, what it refuses (RFC 9113)."""

from typing import Any

import hpack
import pytest
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from pygrpc.core.http2 import ErrorCode, Http2Engine, Http2Settings, create_engine
from pygrpc.core.http2.engine import DEFAULT_WINDOW, LocalProtocolError, StreamsExhausted
from pygrpc.core.http2.h2_engine import H2Engine
from tests.core.pair import PREFACE, REQUEST, RESPONSE, Cut, RawPeer, cut

pytestmark = pytest.mark.usefixtures("each_engine")


class Recorder:
    """Writes down what an engine reports."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.events.append((name, *arguments))

    def take(self) -> list[tuple[Any, ...]]:
        events, self.events = self.events, []
        return events


class Bench:
    """An engine before a hand-made peer."""

    def __init__(self, *, client: bool, greet: bool = True, peer: dict[int, int] | None = None, **settings: Any):
        self.client = client
        self.recorder = Recorder()
        self.engine: Http2Engine = create_engine(self.recorder, Http2Settings(**settings), client)
        self.engine.start()
        self._fed: Cut = None
        self.peer = RawPeer(self, is_client=not client, greet=greet, settings=peer)  # type: ignore[arg-type]
        if greet:
            self.recorder.take()

    # What RawPeer needs of a core.

    def receive_data(self, data: bytes, now: float) -> None:
        for piece in cut(data, self._fed):
            self.engine.receive_data(piece)

    def data_to_send(self) -> bytes:
        return self.engine.data_to_send()

    def feed(self, *frames: Frame) -> list[tuple[Any, ...]]:
        """Sends frames of the peer; returns what the engine reports."""
        self.peer.send(*frames)
        return self.recorder.take()

    def answers(self, kind: type[Frame] = Frame) -> list[Any]:
        return [frame for frame in self.peer.receive() if isinstance(frame, kind)]

    def open(self, *, end: bool = False) -> int:
        """Opens the next stream from the client's side."""
        if self.client:
            stream_id = self.engine.open_stream(REQUEST, end)
            self.peer.receive()
            return stream_id
        stream_id = self.engine.last_peer_stream_id + 2 if self.engine.last_peer_stream_id else 1
        self.feed(self.peer.headers(stream_id, REQUEST, end))
        return stream_id


def failures(events: list[tuple[Any, ...]]) -> list[int]:
    return [event[1] for event in events if event[0] == "connection_failed"]


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


# MAX_CONCURRENT_STREAMS.


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_streams_over_the_limit_are_refused(limit: int) -> None:
    bench = Bench(client=False, max_concurrent_streams=limit)
    for number in range(limit):
        bench.open()
        assert bench.answers() == [], number
    over = 2 * limit + 1
    assert bench.feed(bench.peer.headers(over, REQUEST)) == []
    bench.peer.receive()
    assert bench.peer.resets() == {over: ErrorCode.REFUSED_STREAM}


@pytest.mark.parametrize("how", ["reset by the peer", "reset by us", "both ended"])
def test_a_closed_stream_makes_room(how: str) -> None:
    bench = Bench(client=False, max_concurrent_streams=1)
    bench.open()
    if how == "reset by the peer":
        bench.feed(bench.peer.reset(1, 8))
    elif how == "reset by us":
        bench.engine.reset_stream(1, 0)
    else:
        bench.engine.send_headers(1, RESPONSE, True)
        bench.feed(bench.peer.data(1, b"", True))
    assert bench.feed(bench.peer.headers(3, REQUEST)) == [("headers_received", 3, REQUEST, False)]


# Flow control.


def test_the_window_is_the_smaller_of_both_levels() -> None:
    bench = Bench(client=True, peer={SettingsFrame.INITIAL_WINDOW_SIZE: 1000})
    bench.open()
    assert bench.engine.send_window(1) == 1000
    assert bench.feed(bench.peer.window(1, 200_000)) == [("window_opened", 1)]
    assert bench.engine.send_window(1) == DEFAULT_WINDOW
    assert bench.feed(bench.peer.window(0, 1)) == [("window_opened", 0)]
    assert bench.engine.send_window(1) == DEFAULT_WINDOW + 1
    bench.engine.send_data(1, b"x" * 100, False)
    assert bench.engine.send_window(1) == DEFAULT_WINDOW - 99
    assert bench.engine.send_window(99) == 0


def test_settings_change_the_windows_of_open_streams_even_below_zero() -> None:
    # RFC 9113, section 6.9.2.
    bench = Bench(client=True)
    bench.open()
    bench.engine.send_data(1, b"x" * 1000, False)
    bench.feed(bench.peer.settings({SettingsFrame.INITIAL_WINDOW_SIZE: 400}))
    assert bench.engine.send_window(1) == -600
    events = bench.feed(bench.peer.settings({SettingsFrame.INITIAL_WINDOW_SIZE: 5000}))
    assert events == [("settings_received",), ("window_opened", 0)]
    assert bench.engine.send_window(1) == 4000


def test_we_send_no_more_than_the_window_and_the_frame_size() -> None:
    bench = Bench(client=True, peer={SettingsFrame.INITIAL_WINDOW_SIZE: 20_000})
    bench.open()
    with pytest.raises(LocalProtocolError):
        bench.engine.send_data(1, b"x" * 16_385, False)
    bench.engine.send_data(1, b"x" * 16_384, False)
    with pytest.raises(LocalProtocolError):
        bench.engine.send_data(1, b"x" * 4000, False)
    bench.engine.send_data(1, memoryview(b"x" * 3616), True)
    assert [len(frame.data) for frame in bench.answers(DataFrame)] == [16_384, 3616]


def test_data_may_come_in_pieces() -> None:
    bench = Bench(client=True)
    bench.open()
    bench.engine.send_data_parts(1, [b"ab", memoryview(b"cd"), b""], 4, False)
    bench.engine.send_data_parts(1, [], 0, True)
    assert [(frame.data, sorted(frame.flags)) for frame in bench.answers(DataFrame)] == [
        (b"abcd", []),
        (b"", ["END_STREAM"]),
    ]


def test_a_whole_response_keeps_to_the_windows() -> None:
    bench = Bench(client=False, peer={SettingsFrame.INITIAL_WINDOW_SIZE: 20_000})
    head, tail = tuple(RESPONSE), ((b"grpc-status", b"0"),)
    for stream_id in (1, 3, 5):
        bench.feed(bench.peer.headers(stream_id, REQUEST, True))
    assert not bench.engine.send_response(1, head, b"x" * 16_385, tail)
    assert not bench.engine.send_response(99, head, b"x", tail)
    for stream_id in (1, 3, 5):
        assert bench.engine.send_response(stream_id, head, b"x" * 16_384, tail)
        assert bench.engine.send_window(stream_id) == 0
    bench.feed(bench.peer.headers(7, REQUEST, True))
    assert bench.engine.send_window(7) == DEFAULT_WINDOW - 3 * 16_384
    assert not bench.engine.send_response(7, head, b"x" * (DEFAULT_WINDOW - 3 * 16_384 + 1), tail)
    bench.feed(bench.peer.settings({SettingsFrame.INITIAL_WINDOW_SIZE: 5}))
    assert not bench.engine.send_response(7, head, b"x" * 6, tail)
    assert bench.engine.send_response(7, head, b"x" * 5, tail)


@pytest.mark.parametrize("windows", [{"stream_window": 100}, {"connection_window": DEFAULT_WINDOW}], ids=str)
def test_a_peer_that_exceeds_a_window_fails(windows: dict[str, int]) -> None:
    bench = Bench(client=False, **windows)
    bench.open()
    events = []
    for _ in range(5):
        events += bench.feed(bench.peer.data(1, b"x" * 16_384))
    errors = failures(events) + [event[2] for event in events if event[0] == "stream_reset"]
    # RFC 9113, section 6.9.1: a stream error or a connection error.
    assert errors == [ErrorCode.FLOW_CONTROL_ERROR]
    taken = sum(event[3] for event in events if event[0] == "data_received")
    assert taken <= windows.get("stream_window", DEFAULT_WINDOW)


def test_credit_is_what_we_give() -> None:
    bench = Bench(client=False)
    bench.open()
    bench.engine.increment_window(1, 5)
    bench.engine.increment_window(0, 7)
    bench.engine.increment_window(1, 0)
    bench.engine.increment_window(99, 5)
    assert [(frame.stream_id, frame.window_increment) for frame in bench.answers()] == [(1, 5), (0, 7)]


def test_data_that_nobody_hears_of_is_credited_by_the_engine() -> None:
    bench = Bench(client=False, connection_window=DEFAULT_WINDOW)
    bench.open()
    bench.engine.reset_stream(1, ErrorCode.CANCEL)
    for _ in range(40):
        assert bench.feed(bench.peer.data(1, b"x" * 16_000)) == []
    assert sum(frame.window_increment for frame in bench.answers(WindowUpdateFrame)) > 600_000


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


# Connection errors.


def raw(kind: int, stream_id: int, body: bytes, flags: int = 0) -> ExtensionFrame:
    """Any frame, also one that hyperframe would not make."""
    frame = ExtensionFrame(kind, stream_id, flags, body)
    frame.body_len = len(body)
    return frame


CONNECTION_ERRORS: dict[str, tuple[Frame, ErrorCode]] = {
    "DATA on stream 0": (raw(0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on an idle stream": (raw(0, 5, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on stream 0": (raw(1, 0, b"\x82", 4), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a stream of the server": (raw(1, 2, b"\x82", 4), ErrorCode.PROTOCOL_ERROR),
    "an undecodable block": (raw(1, 3, b"\xff\xff\xff\xff\xff\xff", 4), ErrorCode.COMPRESSION_ERROR),
    "padding larger than the frame": (raw(0, 1, b"\xffabc", 8), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of the wrong size": (raw(3, 1, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "RST_STREAM on stream 0": (raw(3, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (raw(3, 9, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream of ours": (raw(3, 2, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS on a stream": (raw(4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of the wrong size": (raw(4, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS ACK with content": (raw(4, 0, bytes(6), 1), ErrorCode.FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (raw(4, 0, b"\0\2\0\0\0\2"), ErrorCode.PROTOCOL_ERROR),
    "a window beyond 2^31-1": (raw(4, 0, b"\0\4\x80\0\0\0"), ErrorCode.FLOW_CONTROL_ERROR),
    "a frame size below 2^14": (raw(4, 0, b"\0\5\0\0\1\0"), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE by a client": (raw(5, 1, b"\0\0\0\2\x82", 4), ErrorCode.PROTOCOL_ERROR),
    "PING of the wrong size": (raw(6, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "PING on a stream": (raw(6, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY on a stream": (raw(7, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0 for the connection": (raw(8, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2^31-1": (raw(8, 0, b"\x7f\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE on an idle stream": (raw(8, 9, b"\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION without HEADERS": (raw(9, 1, b"\x82", 4), ErrorCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize(("frame", "code"), CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS)
def test_a_connection_error(frame: Frame, code: ErrorCode, chunk: int | None) -> None:
    bench = Bench(client=False)
    bench.open()
    bench._fed = chunk
    assert failures(bench.feed(frame)) == [code]
    (goaway,) = bench.answers(GoAwayFrame)
    assert goaway.error_code == code


def test_a_pushed_stream_is_refused() -> None:
    bench = Bench(client=True)
    bench.open()
    promise = PushPromiseFrame(1, 2, bench.peer.encoder.encode(REQUEST), flags=["END_HEADERS"])
    assert failures(bench.feed(promise)) == [ErrorCode.PROTOCOL_ERROR]


def test_another_frame_within_a_header_block_fails() -> None:
    bench = Bench(client=False)
    begun = HeadersFrame(1, bench.peer.encoder.encode(REQUEST))
    assert failures(bench.feed(begun, bench.peer.ping())) == [ErrorCode.PROTOCOL_ERROR]


def test_a_frame_is_refused_on_its_length() -> None:
    bench = Bench(client=False, max_frame_size=20_000)
    bench.peer.send_bytes((20_001).to_bytes(3, "big") + bytes(6))
    assert failures(bench.recorder.take()) == [ErrorCode.FRAME_SIZE_ERROR]


def test_a_header_list_beyond_the_hard_limit_fails() -> None:
    bench = Bench(client=False, max_header_list_size=1000, hard_header_list_size=5000)
    events = bench.feed(bench.peer.headers(1, [*REQUEST, (b"k", b"x" * 4000)]))
    assert [event[0] for event in events] == ["headers_received"]
    events = bench.feed(bench.peer.headers(3, [*REQUEST, (b"k", b"x" * 6000)]))
    assert failures(events) == [ErrorCode.ENHANCE_YOUR_CALM]


def test_a_header_list_that_is_asked_for_is_no_error() -> None:
    bench = Bench(client=False, max_header_list_size=1 << 20)
    long = [*REQUEST, (b"k", b"x" * 500_000)]
    block = bench.peer.encoder.encode(long, huffman=False)
    frames: list[Frame] = [HeadersFrame(1, block[:100_000])]
    frames += [ContinuationFrame(1, block[start : start + 100_000]) for start in range(100_000, len(block), 100_000)]
    frames[-1].flags.add("END_HEADERS")
    assert bench.feed(*frames) == [("headers_received", 1, long, False)]


def test_a_header_bomb_fails() -> None:
    # One entry of the dynamic table, named again and again.
    bench = Bench(client=False)
    encoder = hpack.Encoder()
    bomb = encoder.encode([(b"k", b"x" * 3900)]) + b"\xbe" * 2000
    assert failures(bench.feed(HeadersFrame(1, bomb, flags=["END_HEADERS"]))) == [ErrorCode.ENHANCE_YOUR_CALM]


def test_endless_continuation_fails() -> None:
    bench = Bench(client=False)
    events = bench.feed(HeadersFrame(1, b""), *(ContinuationFrame(1, b"") for _ in range(1000)))
    assert len(failures(events)) == 1


def test_nothing_counts_after_a_connection_error() -> None:
    bench = Bench(client=False)
    bench.open()
    bench.open()
    assert failures(bench.feed(raw(8, 0, bytes(4)), bench.peer.headers(5, REQUEST))) == [ErrorCode.PROTOCOL_ERROR]
    bench.peer.receive()
    assert bench.feed(bench.peer.headers(7, REQUEST), bench.peer.ping()) == []
    engine = bench.engine
    engine.send_headers(1, RESPONSE, False)
    engine.send_data(1, b"x", True)
    engine.reset_stream(3, ErrorCode.CANCEL)
    engine.increment_window(0, 5)
    engine.increment_window(1, 5)
    engine.send_ping(b"12345678")
    assert engine.queued == 0


# Stream errors.


def test_a_window_that_overflows_resets_the_stream() -> None:
    # RFC 9113, section 6.9.1: a stream error, where it is a stream's window.
    bench = Bench(client=False)
    bench.open()
    assert bench.feed(bench.peer.window(1, 2**31 - 1)) == [("stream_reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]
    bench.peer.receive()
    assert bench.peer.resets() == {1: ErrorCode.FLOW_CONTROL_ERROR}


@pytest.mark.parametrize(
    ("length", "sent"),
    [(b"3", 5), (b"5", 3), (b"abc", 3), (b"-1", 3), (b"3", 0)],
    ids=["more", "less", "text", "sign", "0"],
)
def test_a_content_length_that_is_not_kept_is_an_error(length: bytes, sent: int) -> None:
    # RFC 9113, section 8.1.1. It should be an error of the stream; h2 makes one of the connection.
    bench = Bench(client=False)
    events = bench.feed(
        bench.peer.headers(1, [*REQUEST, (b"content-length", length)]), bench.peer.data(1, b"x" * sent, True)
    )
    bench.peer.receive()
    assert failures(events) == [ErrorCode.PROTOCOL_ERROR] or bench.peer.resets() == {1: ErrorCode.PROTOCOL_ERROR}
    assert ("data_received", 1, b"x" * sent, sent, True) not in events


def test_a_content_length_that_is_kept_is_fine() -> None:
    bench = Bench(client=False)
    events = bench.feed(bench.peer.headers(1, [*REQUEST, (b"content-length", b"3")]), bench.peer.data(1, b"abc", True))
    assert events[-1] == ("data_received", 1, b"abc", 3, True)


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
