"""What an engine refuses: errors of the connection and of streams (RFC 9113, section 5.4)."""

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
)

from pygrpc.core.http2 import ErrorCode
from tests.core.engine_bench import Bench, failures, raw
from tests.core.pair import REQUEST, RESPONSE

pytestmark = pytest.mark.usefixtures("each_engine")


# Connection errors.


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
