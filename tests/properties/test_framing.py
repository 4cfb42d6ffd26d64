"""Length-prefixed messages: any messages, any split, the same messages."""

from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.framing import PREFIX_SIZE, MalformedMessage, MessageReader, MessageTooLarge, frame_message
from tests.properties.strategies import pieces, splits

messages = st.lists(st.tuples(st.booleans(), st.binary(max_size=400)), max_size=12)


@given(messages, splits)
def test_messages_come_back_from_any_split(sent: list[tuple[bool, bytes]], sizes: list[int]) -> None:
    stream = b"".join(frame_message(payload, compressed) for compressed, payload in sent)
    reader = MessageReader(-1)
    assert [message for piece in pieces(stream, sizes) for message in reader.feed(piece)] == sent
    assert not reader.mid_message
    assert reader.buffered == 0


@given(messages, splits, st.integers(0, 400), st.binary(max_size=30))
def test_never_more_than_the_limit_is_kept(
    sent: list[tuple[bool, bytes]], sizes: list[int], limit: int, tail: bytes
) -> None:
    stream = b"".join(frame_message(payload, compressed) for compressed, payload in sent) + tail
    reader = MessageReader(limit)
    got: list[tuple[bool, bytes]] = []
    try:
        for piece in pieces(stream, sizes):
            for message in reader.feed(piece):
                got.append(message)
                assert len(message[1]) <= limit
            assert reader.buffered <= max(limit, PREFIX_SIZE)
    except MessageTooLarge as error:
        assert error.size > limit == error.limit
    except MalformedMessage:
        assert tail
    fitting = []
    for message in sent:
        if len(message[1]) > limit:
            break
        fitting.append(message)
    assert got[: len(fitting)] == fitting


@given(st.binary(max_size=200), splits)
def test_any_bytes_give_the_same_in_any_split(stream: bytes, sizes: list[int]) -> None:
    assert outcome([stream]) == outcome(list(pieces(stream, sizes)))


def outcome(chunks: list[bytes]) -> tuple[list[tuple[bool, bytes]], str | None, bool]:
    reader = MessageReader(100)
    got: list[tuple[bool, bytes]] = []
    try:
        for chunk in chunks:
            for message in reader.feed(chunk):
                got.append(message)
    except (MessageTooLarge, MalformedMessage) as error:
        return got, str(error), True
    return got, None, reader.mid_message
