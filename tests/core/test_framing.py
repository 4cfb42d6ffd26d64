"""Length-prefixed messages (PROTOCOL-HTTP2.md, "Length-Prefixed-Message")."""

import tracemalloc

import pytest

from pygrpc.core.framing import PREFIX_SIZE, MalformedMessage, MessageReader, MessageTooLarge, frame_message


def read(*chunks: bytes, limit: int = -1) -> list[tuple[bool, bytes]]:
    reader = MessageReader(limit)
    return [message for chunk in chunks for message in reader.feed(chunk)]


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
    assert read(framed) == [(compressed, payload)]


@pytest.mark.parametrize("size", range(1, 14))
def test_the_boundaries_of_chunks_mean_nothing(size: int) -> None:
    stream = frame_message(b"") + frame_message(b"a") + frame_message(b"bcdefghij", True) + frame_message(b"")
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(*chunks) == [(False, b""), (False, b"a"), (True, b"bcdefghij"), (False, b"")]


def test_a_message_comes_as_soon_as_its_last_byte() -> None:
    reader = MessageReader(-1)
    framed = frame_message(b"abc")
    assert list(reader.feed(framed[:-1])) == []
    assert list(reader.feed(framed[-1:])) == [(False, b"abc")]


def test_an_empty_message_comes_as_soon_as_its_prefix() -> None:
    reader = MessageReader(-1)
    assert list(reader.feed(b"\0\0\0\0")) == []
    assert list(reader.feed(b"\0")) == [(False, b"")]
    assert not reader.mid_message


def test_no_bytes_give_no_messages() -> None:
    reader = MessageReader(-1)
    assert list(reader.feed(b"")) == []
    assert not reader.mid_message


@pytest.mark.parametrize(
    ("fed", "buffered", "inside"),
    [
        (b"", 0, False),
        (b"\0", 1, True),
        (b"\0\0\0\0", 4, True),
        (b"\0\0\0\0\3", 0, True),
        (b"\0\0\0\0\3ab", 2, True),
        (b"\0\0\0\0\3abc", 0, False),
        (b"\0\0\0\0\3abc\1", 1, True),
    ],
    ids=["nothing", "one byte", "four bytes", "the prefix", "part of a message", "a message", "a message and a byte"],
)
def test_a_truncated_stream_is_seen(fed: bytes, buffered: int, inside: bool) -> None:
    reader = MessageReader(-1)
    list(reader.feed(fed))
    assert (reader.buffered, reader.mid_message) == (buffered, inside)


@pytest.mark.parametrize("flag", [2, 3, 127, 128, 255])
@pytest.mark.parametrize("size", [1, PREFIX_SIZE, 100])
def test_a_flag_byte_is_0_or_1(flag: int, size: int) -> None:
    stream = bytes([flag]) + b"\0\0\0\1x"
    with pytest.raises(MalformedMessage, match=f"0 or 1, not {flag}"):
        read(*(stream[start : start + size] for start in range(0, len(stream), size)))


def test_a_size_is_refused_on_the_prefix() -> None:
    reader = MessageReader(limit=10)
    with pytest.raises(MessageTooLarge) as caught:
        list(reader.feed(b"\0\0\0\0\x0b"))
    assert (caught.value.size, caught.value.limit) == (11, 10)
    assert reader.buffered == 0


@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_before_one_that_is_too_large_are_given(size: int) -> None:
    reader = MessageReader(limit=3)
    stream = frame_message(b"abc") + frame_message(b"abcd")
    messages = (
        message for start in range(0, len(stream), size) for message in reader.feed(stream[start : start + size])
    )
    assert next(messages) == (False, b"abc")
    with pytest.raises(MessageTooLarge):
        next(messages)


@pytest.mark.parametrize(("limit", "size", "fits"), [(0, 0, True), (0, 1, False), (5, 5, True), (5, 6, False)])
def test_the_limit_itself_is_accepted(limit: int, size: int, fits: bool) -> None:
    framed = frame_message(b"x" * size)
    if fits:
        assert read(framed, limit=limit) == [(False, b"x" * size)]
    else:
        with pytest.raises(MessageTooLarge):
            read(framed, limit=limit)


def test_without_a_limit_any_size_is_awaited() -> None:
    reader = MessageReader(-1)
    assert list(reader.feed(b"\0\xff\xff\xff\xff")) == []
    assert reader.mid_message


def test_many_small_pieces_cost_little_more_than_their_bytes() -> None:
    reader = MessageReader(-1)
    size = 200_000
    framed = frame_message(bytes(range(250)) * (size // 250))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, len(framed) - 2, 2):
            assert list(reader.feed(framed[start : start + 2])) == []
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 2 * size
    rest = framed[2 * ((len(framed) - 1) // 2) :]
    assert list(reader.feed(rest)) == [(False, framed[PREFIX_SIZE:])]
