"""What the frame engine remembers of closed streams, in bounded memory."""

from __future__ import annotations

import pytest

from pygrpc.core.http2.streams import ClosedStreams, Closing


def test_a_stream_that_is_not_known_has_ended() -> None:
    assert ClosedStreams().how(1) is Closing.ENDED


@pytest.mark.parametrize("how", [Closing.RESET_BY_US, Closing.RESET_BY_PEER])
def test_resets_are_remembered(how: Closing) -> None:
    closed = ClosedStreams()
    closed.reset(3, how)
    assert [closed.how(stream_id) for stream_id in (1, 3, 5)] == [Closing.ENDED, how, Closing.ENDED]


def test_gaps_are_remembered() -> None:
    closed = ClosedStreams()
    closed.skipped(3, 9)
    ways = [closed.how(stream_id) for stream_id in (1, 3, 5, 7, 9)]
    assert ways == [Closing.ENDED, Closing.SKIPPED, Closing.SKIPPED, Closing.SKIPPED, Closing.ENDED]
    closed.skipped(11, 2**31 - 1)
    assert closed.how(2**30 + 1) is Closing.SKIPPED


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    closed = ClosedStreams()
    last = 20_001
    for stream_id in range(1, last + 2, 2):
        closed.reset(stream_id, Closing.RESET_BY_US)
        closed.skipped(stream_id + 1, stream_id + 2)
    assert len(closed._younger) + len(closed._older) <= 2048
    assert len(closed._skipped) <= 16
    recent = [closed.how(stream_id) for stream_id in range(last - 2000, last + 1, 2)]
    assert recent == [Closing.RESET_BY_US] * 1001
    assert closed.how(1) is Closing.FORGOTTEN
    assert closed.how(last + 2) is Closing.ENDED


def test_what_lies_between_forgotten_resets_may_have_been_one() -> None:
    closed = ClosedStreams()
    for stream_id in range(1, 20_000, 4):
        closed.reset(stream_id, Closing.RESET_BY_PEER)
    assert closed.how(3) is Closing.FORGOTTEN
    assert closed.how(19_999) is Closing.ENDED


def test_resets_in_any_order_are_forgotten_up_to_the_highest() -> None:
    closed = ClosedStreams()
    closed.reset(1_000_001, Closing.RESET_BY_US)
    for stream_id in range(1, 3 * 2048, 2):
        closed.reset(stream_id, Closing.RESET_BY_US)
    assert closed.how(1_000_001) is Closing.FORGOTTEN
    assert closed.how(1_000_003) is Closing.ENDED
