"""What an engine does about windows and the number of streams (RFC 9113, sections 5.1.2 and 6.9)."""

import pytest
from hyperframe.frame import (
    DataFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from pygrpc.core.http2 import ErrorCode
from pygrpc.core.http2.engine import DEFAULT_WINDOW, HeadersTooLarge, LocalProtocolError
from pygrpc.core.metadata import header_list_size
from tests.core.engine_bench import Bench, failures
from tests.core.pair import REQUEST, RESPONSE

pytestmark = pytest.mark.usefixtures("each_engine")


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


def test_header_lists_keep_to_the_peers_limit() -> None:
    bench = Bench(client=True, peer={SettingsFrame.MAX_HEADER_LIST_SIZE: 500})
    assert bench.engine.peer_max_header_list_size == 500
    large = (*REQUEST, (b"k", b"v" * 300))
    for headers in (large, list(large)):
        with pytest.raises(HeadersTooLarge, match="exceeds the peer's limit of 500") as caught:
            bench.engine.open_stream(headers, False)
        assert caught.value.size == header_list_size(headers)
    # Nothing has happened, so the first stream is still to come.
    assert bench.engine.open_stream(REQUEST, False) == 1
    with pytest.raises(HeadersTooLarge):
        bench.engine.send_headers(1, large, True)
    bench.engine.send_data(1, b"still open", True)


def test_a_peer_without_a_limit_gets_all() -> None:
    bench = Bench(client=True, peer={SettingsFrame.INITIAL_WINDOW_SIZE: 20_000})
    assert bench.engine.peer_max_header_list_size == 2**32 - 1
    assert bench.engine.open_stream([*REQUEST, (b"k", b"v" * 100_000)], False) == 1


def test_the_window_of_streams_can_grow() -> None:
    bench = Bench(client=False, stream_window=100_000)
    bench.feed(bench.peer.headers(1, REQUEST), bench.peer.data(1, bytes(16_000)))
    bench.answers()
    bench.engine.grow_stream_window(100_000)
    bench.engine.grow_stream_window(150_000)
    assert [frame.settings for frame in bench.answers(SettingsFrame)] == [
        {SettingsFrame.INITIAL_WINDOW_SIZE: 100_000},
        {SettingsFrame.INITIAL_WINDOW_SIZE: 150_000},
    ]
    acknowledged = SettingsFrame(0, flags=["ACK"])
    bench.feed(acknowledged, acknowledged)
    bench.feed(bench.peer.headers(3, REQUEST))
    # Streams that are open get the difference too (RFC 9113, section 6.9.2).
    for stream_id, window in ((1, 134_000), (3, 150_000)):
        sizes = [16_000] * (window // 16_000) + [window % 16_000]
        events = bench.feed(*[bench.peer.data(stream_id, bytes(size)) for size in sizes])
        assert [event[0] for event in events] == ["data_received"] * len(sizes)
    assert bench.feed(bench.peer.data(3, b"x"))[-1][0] != "data_received"


@pytest.mark.parametrize("window", [99_999, 2**31])
def test_a_window_neither_shrinks_nor_grows_without_bounds(window: int) -> None:
    bench = Bench(client=False, stream_window=100_000)
    with pytest.raises(LocalProtocolError, match="initial window"):
        bench.engine.grow_stream_window(window)
