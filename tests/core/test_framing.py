"""Length-prefixed messages (PROTOCOL-HTTP2.md, "Length-Prefixed-Message")."""

import tracemalloc

import pytest

from pygrpc.core.framing import (
    PREFIX_SIZE,
    Compressed,
    MalformedMessage,
    Message,
    MessageReader,
    MessageTooLarge,
    frame_message,
    message_prefix,
    only_message,
)
from tests.core.framed import feed


def read(*chunks: bytes, limit: int = -1) -> list[tuple[bytes, bool]]:
    reader = MessageReader(limit)
    return [message for chunk in chunks for message in feed(reader, chunk)]


@pytest.mark.parametrize(
    ("payload", "compressed", "framed"),
    [
        (b"", False, b"\0\0\0\0\0"),
        (b"abc", False, b"\0\0\0\0\3abc"),
        (b"abc", True, b"\1\0\0\0\3abc"),
        (b"x" * 0x10203, False, b"\0\0\1\2\3" + b"x" * 0x10203),
    ],
    ids=["empty", "plain", "compressed", "big-endian"],
)
def test_a_message_is_framed(payload: bytes, compressed: bool, framed: bytes) -> None:
    assert frame_message(payload, compressed) == framed
    assert message_prefix(len(payload), compressed) + payload == framed
    assert read(framed) == [(payload, compressed)]


@pytest.mark.parametrize("size", range(1, 14))
def test_the_boundaries_of_chunks_mean_nothing(size: int) -> None:
    stream = frame_message(b"") + frame_message(b"a") + frame_message(b"bcdefghij", True) + frame_message(b"")
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(*chunks) == [(b"", False), (b"a", False), (b"bcdefghij", True), (b"", False)]


def test_a_message_comes_as_soon_as_its_last_byte() -> None:
    reader = MessageReader(-1)
    framed = frame_message(b"abc")
    assert feed(reader, framed[:-1]) == []
    assert feed(reader, framed[-1:]) == [(b"abc", False)]


def test_an_empty_message_comes_as_soon_as_its_prefix() -> None:
    reader = MessageReader(-1)
    assert feed(reader, b"\0\0\0\0") == []
    assert feed(reader, b"\0") == [(b"", False)]
    assert not reader.mid_message


def test_no_bytes_give_no_messages() -> None:
    reader = MessageReader(-1)
    assert feed(reader, b"") == []
    assert not reader.mid_message


@pytest.mark.parametrize(
    ("fed", "buffered", "taken", "inside"),
    [
        (b"", 0, 0, False),
        (b"\0", 1, 1, True),
        (b"\0\0\0\0", 4, 4, True),
        (b"\0\0\0\0\3", 0, 5, True),
        (b"\0\0\0\0\3ab", 2, 7, True),
        (b"\0\0\0\0\3abc", 0, 0, False),
        (b"\0\0\0\0\3abc\1", 1, 1, True),
    ],
    ids=["nothing", "one byte", "four bytes", "the prefix", "part of a message", "a message", "a message and a byte"],
)
def test_a_truncated_stream_is_seen(fed: bytes, buffered: int, taken: int, inside: bool) -> None:
    reader = MessageReader(-1)
    feed(reader, fed)
    assert (reader.buffered, reader.taken, reader.mid_message) == (buffered, taken, inside)


@pytest.mark.parametrize("flag", [2, 3, 127, 128, 255])
@pytest.mark.parametrize("size", [1, PREFIX_SIZE, 100])
def test_a_flag_byte_is_0_or_1(flag: int, size: int) -> None:
    stream = bytes([flag]) + b"\0\0\0\1x"
    with pytest.raises(MalformedMessage, match=f"0 or 1, not {flag}"):
        read(*(stream[start : start + size] for start in range(0, len(stream), size)))


def test_a_size_is_refused_on_the_prefix() -> None:
    reader = MessageReader(limit=10)
    with pytest.raises(MessageTooLarge) as caught:
        feed(reader, b"\0\0\0\0\x0b")
    assert (caught.value.size, caught.value.limit) == (11, 10)
    assert reader.buffered == 0


@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_before_one_that_is_too_large_are_given(size: int) -> None:
    reader = MessageReader(limit=3)
    stream = frame_message(b"abc") + frame_message(b"abcd")
    messages: list[Message] = []
    with pytest.raises(MessageTooLarge):
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size], messages)
    assert messages == [b"abc"]


@pytest.mark.parametrize(("limit", "size", "fits"), [(0, 0, True), (0, 1, False), (5, 5, True), (5, 6, False)])
def test_the_limit_itself_is_accepted(limit: int, size: int, fits: bool) -> None:
    framed = frame_message(b"x" * size)
    if fits:
        assert read(framed, limit=limit) == [(b"x" * size, False)]
    else:
        with pytest.raises(MessageTooLarge):
            read(framed, limit=limit)


def test_without_a_limit_any_size_is_awaited() -> None:
    reader = MessageReader(-1)
    assert feed(reader, b"\0\xff\xff\xff\xff") == []
    assert reader.mid_message


def test_many_small_pieces_cost_little_more_than_their_bytes() -> None:
    reader = MessageReader(-1)
    size = 200_000
    framed = frame_message(bytes(range(250)) * (size // 250))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, len(framed) - 2, 2):
            assert feed(reader, framed[start : start + 2]) == []
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 2 * size
    rest = framed[2 * ((len(framed) - 1) // 2) :]
    assert feed(reader, rest) == [(framed[PREFIX_SIZE:], False)]


@pytest.mark.parametrize("limit", [-1, 3])
def test_bytes_that_are_one_message_need_no_reader(limit: int) -> None:
    assert only_message(frame_message(b"abc"), limit) == b"abc"
    assert only_message(frame_message(b"abc", compressed=True), limit) == Compressed(b"abc")
    assert only_message(frame_message(b""), limit) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\0",
        frame_message(b"abc")[:-1],
        frame_message(b"abc") + b"\0",
        2 * frame_message(b"a"),
        b"\2\0\0\0\1x",
        frame_message(b"abcd"),
    ],
    ids=["nothing", "no prefix", "too little", "too much", "two", "a wrong flag", "over the limit"],
)
def test_anything_else_is_left_to_the_reader(data: bytes) -> None:
    assert only_message(data, 3) is None


def test_a_message_is_no_more_than_its_bytes() -> None:
    messages: list[Message] = []
    MessageReader(-1).feed(1000 * frame_message(b""), messages)
    assert messages == 1000 * [b""]
    assert len(set(map(id, messages))) == 1
