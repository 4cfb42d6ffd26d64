"""The passive frame reader: what it says of frames, of nonsense, and that it doesn't depend on how bytes are cut."""

import struct
from itertools import pairwise

import hpack
import pytest
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
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
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc.core.http2.frames import PREFACE
from pygrpc.core.http2.observed import (
    CutOff,
    Data,
    GoAway,
    HeaderBlock,
    Item,
    NotHttp2,
    ObservedFrame,
    Opaque,
    Ping,
    Preface,
    Priority,
    RawBytes,
    Reset,
    Settings,
    WindowUpdate,
)
from pygrpc.core.http2.reader import FrameReader

EMPTY_SETTINGS = SettingsFrame(0).serialize()
REQUEST = ((b":method", b"POST"), (b":path", b"/a.B/C"), (b"te", b"trailers"), (b"x", b"\xff\x00"))


def read(*frames: Frame | bytes, **options: int) -> list[Item]:
    """Reads what a client sends: the preface, an empty SETTINGS frame, and the frames; returns the items of these."""
    reader = FrameReader(from_client=True, **options)
    items = reader.feed(PREFACE + EMPTY_SETTINGS + joined(*frames)) + reader.close()
    assert items[0] == Preface(PREFACE)
    assert isinstance(items[1], ObservedFrame)
    assert items[1].name == "SETTINGS"
    return items[2:]


def joined(*frames: Frame | bytes) -> bytes:
    return b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)


def only(items: list[Item]) -> ObservedFrame:
    [item] = items
    assert isinstance(item, ObservedFrame)
    return item


def headers(stream_id: int, block: bytes, *flags: str) -> HeadersFrame:
    return HeadersFrame(stream_id, block, flags=list(flags))


def raw_frame(type_: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([type_, flags]) + stream_id.to_bytes(4, "big") + payload


# What frames say


def test_settings_have_names_and_values() -> None:
    payload = struct.pack(">HLHLHL", 0x4, 65535, 0xFE03, 1, 0xABCD, 7)
    frame = only(read(raw_frame(0x4, 0, 0, payload)))
    expected = (
        (4, "INITIAL_WINDOW_SIZE", 65535),
        (0xFE03, "GRPC_ALLOW_TRUE_BINARY_METADATA", 1),
        (0xABCD, "0xabcd", 7),
    )
    assert frame == ObservedFrame(4, "SETTINGS", 0, (), 18, Settings(expected))


def test_settings_acknowledgement() -> None:
    assert only(read(SettingsFrame(0, flags=["ACK"]))) == ObservedFrame(4, "SETTINGS", 0, ("ACK",), 0, Settings(()))


def test_headers_are_decoded_as_bytes() -> None:
    block = hpack.Encoder().encode(REQUEST)
    frame = only(read(headers(1, block, "END_HEADERS", "END_STREAM")))
    assert (frame.name, frame.stream_id, frame.flags) == ("HEADERS", 1, ("END_STREAM", "END_HEADERS"))
    assert frame.payload == HeaderBlock(len(block), REQUEST)


def test_header_compression_carries_over_from_block_to_block() -> None:
    encoder = hpack.Encoder()
    first, second = encoder.encode(REQUEST), encoder.encode(REQUEST)
    assert len(second) < len(first)
    items = read(headers(1, first, "END_HEADERS"), headers(3, second, "END_HEADERS"))
    assert [item.payload.headers for item in items] == [REQUEST, REQUEST]


@pytest.mark.parametrize("size", [0, 100, 65536])
def test_header_table_size_follows_the_updates_in_the_blocks(size: int) -> None:
    encoder = hpack.Encoder()
    blocks = [encoder.encode(REQUEST)]
    encoder.header_table_size = size
    many = [(b"name-%d" % number, b"value" * 20) for number in range(50)]
    blocks += [encoder.encode(many), encoder.encode(many), encoder.encode(REQUEST)]
    items = read(*(headers(1 + 2 * index, block, "END_HEADERS") for index, block in enumerate(blocks)))
    assert [item.payload.headers for item in items] == [REQUEST, tuple(many), tuple(many), REQUEST]


def test_header_block_over_several_frames_is_decoded_where_it_ends() -> None:
    block = hpack.Encoder().encode(REQUEST)
    items = read(
        headers(1, block[:3], "END_STREAM"),
        ContinuationFrame(1, block[3:5]),
        ContinuationFrame(1, block[5:], flags=["END_HEADERS"]),
    )
    assert [item.name for item in items] == ["HEADERS", "CONTINUATION", "CONTINUATION"]
    assert [item.payload.headers for item in items] == [None, None, REQUEST]
    assert [item.payload.size for item in items] == [3, 2, len(block) - 5]
    assert not any(item.problem for item in items)


def test_headers_with_padding_and_priority() -> None:
    block = hpack.Encoder().encode(REQUEST)
    frame = HeadersFrame(5, block, pad_length=7, depends_on=3, flags=["END_HEADERS", "PADDED", "PRIORITY"])
    observed = only(read(frame))
    assert observed.flags == ("END_HEADERS", "PADDED", "PRIORITY")
    assert observed.length == len(block) + 1 + 5 + 7
    assert observed.payload == HeaderBlock(len(block), REQUEST)


def test_push_promise() -> None:
    block = hpack.Encoder().encode(REQUEST)
    frame = only(read(PushPromiseFrame(1, promised_stream_id=2, data=block, flags=["END_HEADERS"])))
    assert frame.payload == HeaderBlock(len(block), REQUEST, 2)


def test_data_without_its_padding() -> None:
    frame = only(read(DataFrame(1, b"hello", pad_length=10, flags=["PADDED", "END_STREAM"])))
    assert (frame.flags, frame.length) == (("END_STREAM", "PADDED"), 16)
    assert frame.payload == Data(b"hello", 5, 10)


@pytest.mark.parametrize(
    ("frame", "payload"),
    [
        (PriorityFrame(3, depends_on=1, stream_weight=15, exclusive=True), Priority(1, 16, True)),
        (RstStreamFrame(3, error_code=8), Reset(8, "CANCEL")),
        (RstStreamFrame(3, error_code=0x77), Reset(0x77, "0x77")),
        (PingFrame(0, b"12345678"), Ping(b"12345678")),
        (
            GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"too_many_pings"),
            GoAway(7, 11, "ENHANCE_YOUR_CALM", b"too_many_pings"),
        ),
        (WindowUpdateFrame(3, 1000), WindowUpdate(1000)),
        (WindowUpdateFrame(0, 1000), WindowUpdate(1000)),
        (AltSvcFrame(0, b"h", b"f"), Opaque(b"\0\1hf")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_frames(frame: Frame, payload: object) -> None:
    observed = only(read(frame))
    assert observed.payload == payload
    assert observed.stream_id == frame.stream_id
    assert not observed.problem


def test_unknown_types_and_flags_show_as_numbers() -> None:
    frame = only(read(raw_frame(0xF0, 0x42, 3, b"body")))
    assert frame == ObservedFrame(0xF0, "0xf0", 3, ("0x42",), 4, Opaque(b"body"))


# What is wrong with frames


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (raw_frame(0x6, 0, 0, b"1234567"), "must have 8 bytes, not 7"),
        (raw_frame(0x3, 0, 1, b"12345"), "must have 4 bytes, not 5"),
        (raw_frame(0x2, 0, 1, b"1234"), "must have 5 bytes, not 4"),
        (raw_frame(0x8, 0, 1, b""), "must have 4 bytes, not 0"),
        (raw_frame(0x8, 0, 1, bytes(4)), "must not be 0"),
        (raw_frame(0x7, 0, 0, bytes(7)), "must have 8 bytes or more, not 7"),
        (raw_frame(0x4, 0, 0, b"12345"), "multiple of 6 bytes, not 5"),
        (raw_frame(0x4, 1, 0, bytes(6)), "acknowledgement has no payload, not 6 bytes"),
        (raw_frame(0x0, 8, 1, b""), "no room for the length of its padding"),
        (raw_frame(0x0, 8, 1, b"\x05abcd"), "padding of 5 bytes is longer than the frame"),
        (raw_frame(0x1, 0x24, 1, b"\0\0\0\0"), "too short for the fields"),
        (raw_frame(0x0, 0, 0, b"x"), "belongs to a stream"),
        (raw_frame(0x6, 0, 1, bytes(8)), "belongs to the connection, not to stream 1"),
        (raw_frame(0x9, 4, 1, b""), "continues a header block that was not begun"),
    ],
)
def test_malformed_frames_say_what_is_wrong_and_reading_goes_on(frame: bytes, problem: str) -> None:
    first, second = read(frame, PingFrame(0, b"12345678"))
    assert problem in first.problem
    assert (second.payload, second.problem) == (Ping(b"12345678"), "")


def test_the_bytes_of_a_malformed_frame_are_kept() -> None:
    assert only(read(raw_frame(0x6, 0, 0, b"1234567"))).payload == Opaque(b"1234567")


def test_a_frame_within_a_header_block_is_pointed_out_and_the_block_still_read() -> None:
    block = hpack.Encoder().encode(REQUEST)
    items = read(
        headers(1, block[:3]), PingFrame(0, b"12345678"), ContinuationFrame(1, block[3:], flags=["END_HEADERS"])
    )
    assert items[1].problem == "the header block of stream 1 is not complete yet"
    assert items[2].payload.headers == REQUEST


def test_an_interrupted_header_block_makes_later_ones_unreadable() -> None:
    block = hpack.Encoder().encode(REQUEST)
    items = read(headers(1, block[:3]), headers(3, block, "END_HEADERS"), DataFrame(3, b"data"))
    assert "is not complete yet" in items[1].problem
    assert items[1].payload == HeaderBlock(len(block), None)
    assert items[2].payload == Data(b"data", 4, 0)


def test_an_undecodable_header_block_makes_later_ones_unreadable() -> None:
    good = hpack.Encoder().encode(REQUEST)
    first, second = read(headers(1, b"\xff\xff\xff\xff", "END_HEADERS"), headers(3, good, "END_HEADERS"))
    assert "a header block can't be decoded" in first.problem
    assert second.problem == first.problem
    assert second.payload == HeaderBlock(len(good), None)


def test_not_a_settings_frame_first_is_not_http2() -> None:
    reader = FrameReader(from_client=False)
    assert reader.feed(PingFrame(0, b"12345678").serialize())[0] == NotHttp2("not HTTP/2")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "not HTTP/2: it looks like HTTP/1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not HTTP/2: it looks like HTTP/1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not HTTP/2 in the clear: it looks like TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28\n\n", "not HTTP/2 in the clear: it looks like TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "not HTTP/2"),
        (b"nonsense\n", "not HTTP/2"),
        (b"short", "not HTTP/2"),
    ],
)
@pytest.mark.parametrize("from_client", [True, False])
def test_other_protocols_are_named_and_shown_raw(data: bytes, reason: str, from_client: bool) -> None:
    reader = FrameReader(from_client=from_client)
    first, *rest = reader.feed(data) + reader.close()
    assert first == NotHttp2(reason)
    assert all(isinstance(item, RawBytes) for item in rest)
    assert b"".join(item.data for item in rest) == data


def test_raw_text_comes_line_by_line_without_waiting_for_the_end() -> None:
    reader = FrameReader(from_client=True)
    assert reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX") == [
        NotHttp2("not HTTP/2: it looks like HTTP/1"),
        RawBytes(b"GET / HTTP/1.1\r\n"),
        RawBytes(b"Host: a\r\n"),
    ]


def test_connection_that_ends_inside_of_the_preface() -> None:
    reader = FrameReader(from_client=True)
    assert reader.feed(PREFACE[:12]) == []
    assert reader.close() == [CutOff("the connection ended inside of the preface", PREFACE[:12])]


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (4, "the connection ended inside of a frame header, after 4 of 9 bytes"),
        (12, "the connection ended inside of a DATA frame of stream 1, after 3 of 5 bytes"),
    ],
)
def test_connection_that_ends_inside_of_a_frame(size: int, reason: str) -> None:
    [item] = read(DataFrame(1, b"hello").serialize()[:size])
    assert isinstance(item, CutOff)
    assert item.reason == reason


def test_nothing_is_left_over_of_a_clean_end() -> None:
    assert read() == []
    assert FrameReader(from_client=True).close() == []


# Bounds


def test_a_long_frame_is_kept_up_to_the_cap() -> None:
    items = read(DataFrame(1, b"a" * 1000), PingFrame(0, b"12345678"), max_payload=100)
    assert items[0] == ObservedFrame(0, "DATA", 1, (), 1000, Data(b"a" * 100, 1000, 0), truncated=True)
    assert items[1].payload == Ping(b"12345678")


def test_a_long_padded_frame_knows_its_size() -> None:
    frame = DataFrame(1, b"a" * 1000, pad_length=200, flags=["PADDED"])
    assert only(read(frame, max_payload=100)).payload == Data(b"a" * 99, 1000, 200)


def test_the_rest_of_a_long_frame_costs_no_memory() -> None:
    reader = FrameReader(from_client=True, max_payload=1000)
    reader.feed(PREFACE + EMPTY_SETTINGS + b"\xff\xff\xff" + bytes([0, 0]) + (1).to_bytes(4, "big"))
    left = 0xFFFFFF
    while left > 5000:
        assert reader.feed(bytes(5000)) == []
        assert len(reader._buffer) <= 5000
        left -= 5000
    frame = only(reader.feed(bytes(left)))
    assert (frame.length, len(frame.payload.data), frame.payload.size) == (0xFFFFFF, 1000, 0xFFFFFF)


def test_a_long_frame_that_is_cut_off() -> None:
    [item] = read(DataFrame(1, b"a" * 1000).serialize()[:-1], max_payload=100)
    assert item == CutOff(
        "the connection ended inside of a DATA frame of stream 1, after 999 of 1000 bytes", b"a" * 100
    )


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_header_block_over_the_cap_is_not_decoded(pieces: int) -> None:
    block = hpack.Encoder().encode([(b"name", b"\xff" * 3000)])
    step = -(-len(block) // pieces)
    frames: list[Frame] = [headers(1, block[:step])]
    frames += [ContinuationFrame(1, block[start : start + step]) for start in range(step, len(block), step)]
    frames[-1].flags.add("END_HEADERS")
    items = read(*frames, max_header_block=2000)
    assert items[-1].problem == "a header block has more than 2000 bytes, so none is decoded"
    assert items[-1].payload.headers is None


def test_a_header_block_as_long_as_the_cap_is_decoded_even_with_padding_and_priority() -> None:
    block = hpack.Encoder().encode([(b"name", b"\xff" * 1500)])
    frame = HeadersFrame(1, block, pad_length=255, depends_on=3, flags=["END_HEADERS", "PADDED", "PRIORITY"])
    observed = only(read(frame, max_header_block=len(block)))
    assert observed.payload.headers == ((b"name", b"\xff" * 1500),)


def test_a_block_that_expands_beyond_the_cap_is_not_decoded() -> None:
    # One entry of the table named again and again: 4000 bytes on the wire, some four megabytes as headers.
    encoder = hpack.Encoder()
    first = encoder.encode([(b"name", b"v" * 1000)])
    reference = encoder.encode([(b"name", b"v" * 1000)])
    assert len(reference) == 1
    items = read(headers(1, first, "END_HEADERS"), headers(3, reference * 4000, "END_HEADERS"))
    assert "can't be decoded" in items[1].problem


# Properties


def conversation() -> bytes:
    encoder = hpack.Encoder()
    block = encoder.encode(REQUEST)
    frames: list[Frame | bytes] = [
        SettingsFrame(0, settings={4: 1 << 20}),
        WindowUpdateFrame(0, 5),
        headers(1, block[:4]),
        ContinuationFrame(1, block[4:], flags=["END_HEADERS"]),
        DataFrame(1, b"\0\0\0\0\5hello", pad_length=3, flags=["PADDED"]),
        DataFrame(1, b"x" * 300, flags=["END_STREAM"]),
        headers(3, encoder.encode(REQUEST), "END_HEADERS", "END_STREAM"),
        RstStreamFrame(3, error_code=8),
        raw_frame(0xF0, 1, 3, b"y" * 200),
        GoAwayFrame(0, last_stream_id=1, error_code=0, additional_data=b"bye"),
    ]
    return joined(*frames)


STARTS = [PREFACE + conversation(), conversation(), b"HTTP/1.1 200 OK\r\n\r\n<html>\n", PREFACE[:20] + b"\r\n"]


def read_in_pieces(data: bytes, cuts: list[int], from_client: bool) -> list[Item]:
    reader = FrameReader(from_client=from_client, max_payload=100, max_header_block=300)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    items: list[Item] = []
    for start, end in pairwise(edges):
        items += reader.feed(data[start:end])
    return items + reader.close()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A conversation with some bytes replaced, or any bytes, or both one after the other."""
    data = bytearray(draw(st.sampled_from([*STARTS, b"", PREFACE, PREFACE + EMPTY_SETTINGS, EMPTY_SETTINGS])))
    for _ in range(draw(st.integers(0, 5)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data) + draw(st.binary(max_size=200))


@given(damaged(), st.lists(st.integers(0, 1500), max_size=20), st.booleans())
@example(STARTS[0], list(range(1500)), True)
@example(STARTS[1], list(range(1500)), False)
@example(STARTS[2], list(range(1500)), True)
def test_any_bytes_in_any_split_give_the_same_items_and_never_raise(
    data: bytes, cuts: list[int], from_client: bool
) -> None:
    assert read_in_pieces(data, cuts, from_client) == read_in_pieces(data, [], from_client)


@given(st.binary(max_size=300))
def test_any_header_block_is_decoded_or_reported(block: bytes) -> None:
    frame = only(read(headers(1, block, "END_HEADERS")))
    assert isinstance(frame.payload, HeaderBlock)
    assert (frame.payload.headers is None) == bool(frame.problem)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255), st.integers(0, 3))
def test_any_frame_is_shown_with_what_is_on_the_wire(payload: bytes, type_: int, flags: int, stream: int) -> None:
    frame = only(read(raw_frame(type_, flags, stream, payload)))
    assert (frame.type, frame.stream_id, frame.length) == (type_, stream, len(payload))
    assert not frame.truncated
