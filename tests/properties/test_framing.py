"""Length-prefixed messages: any messages, any split, the same messages."""

from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.framing import PREFIX_SIZE, MalformedMessage, Message, MessageReader, MessageTooLarge, frame_message
from tests.core.framed import feed, parts
from tests.properties.strategies import pieces, splits

messages = st.lists(st.tuples(st.binary(max_size=400), st.booleans()), max_size=12)


@given(messages, splits)
def test_messages_come_back_from_any_split(sent: list[tuple[bytes, bool]], sizes: list[int]) -> None:
    stream = b"".join(frame_message(payload, compressed) for payload, compressed in sent)
    reader = MessageReader(-1)
    assert [message for piece in pieces(stream, sizes) for message in feed(reader, piece)] == sent
    assert not reader.mid_message
    assert reader.buffered == 0


@given(messages, splits, st.integers(0, 400), st.binary(max_size=30))
def test_never_more_than_the_limit_is_kept(
    sent: list[tuple[bytes, bool]], sizes: list[int], limit: int, tail: bytes
) -> None:
    stream = b"".join(frame_message(payload, compressed) for payload, compressed in sent) + tail
    reader = MessageReader(limit)
    got: list[Message] = []
    try:
        for piece in pieces(stream, sizes):
            reader.feed(piece, got)
            assert reader.buffered <= max(limit, PREFIX_SIZE)
    except MessageTooLarge as error:
        assert error.size > limit == error.limit
    except MalformedMessage:
        assert tail
    fitting = []
    for message in sent:
        if len(message[0]) > limit:
            break
        fitting.append(message)
    received = [parts(message) for message in got]
    assert all(len(payload) <= limit for payload, _ in received)
    assert received[: len(fitting)] == fitting


@given(st.binary(max_size=200), splits)
def test_any_bytes_give_the_same_in_any_split(stream: bytes, sizes: list[int]) -> None:
    assert outcome([stream]) == outcome(list(pieces(stream, sizes)))


def outcome(chunks: list[bytes]) -> tuple[list[Message], str | None, bool]:
    reader = MessageReader(100)
    got: list[Message] = []
    try:
        for chunk in chunks:
            reader.feed(chunk, got)
    except (MessageTooLarge, MalformedMessage) as error:
        return got, str(error), True
    return got, None, reader.mid_message
