from __future__ import annotations

import pytest

from pygrpc.services.chat import validation
from pygrpc.services.chat.validation import Limits, decode_token, encode_token, sequence_of

LIMITS = Limits()


@pytest.mark.parametrize("number", [0, 1, 12345, (1 << 63) - 1])
def test_a_token_leads_back(number: int) -> None:
    assert decode_token(encode_token(number)) == number


def test_no_token_is_the_start() -> None:
    assert decode_token("") == 0


@pytest.mark.parametrize("token", ["x", "é", "AAAA", encode_token(7)[:-2] + "AA", encode_token(7) + "A"])
def test_a_token_that_was_not_made_here_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="is not a page token of this service"):
        decode_token(token)


@pytest.mark.parametrize(
    ("message_id", "sequence"),
    [("room-1.17", 17), ("room-1.x", None), ("room-2.17", None), ("room-1.", None), ("", None), ("room-1.²", None)],
)
def test_the_sequence_in_the_id_of_a_message(message_id: str, sequence: int | None) -> None:
    assert sequence_of("room-1", message_id) == sequence


def test_a_number_beyond_the_store_is_no_sequence() -> None:
    assert sequence_of("r", "r." + "9" * 30) is None


def test_what_may_be_said() -> None:
    assert validation.check_content("a\nb\tc", LIMITS) == []
    assert [each.description for each in validation.check_content("a\x00", LIMITS)] == [
        "must not contain control characters"
    ]


def test_nobody_is_the_system() -> None:
    found = validation.check_join("r", "System", " SYSTEM ", 0, LIMITS)
    assert [each.field for each in found] == ["user_id", "username"]
    assert validation.check_join("r", "ann", "", -1, LIMITS) == validation.check_not_negative("history_size", -1)
