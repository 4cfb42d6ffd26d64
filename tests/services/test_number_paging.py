from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.paging import decode_token, encode_token


@given(st.integers(0, 2**63 - 1), st.text())
def test_a_token_leads_back_to_its_place_in_its_list(number: int, of: str) -> None:
    token = encode_token(number, of)
    assert token.isascii()
    assert decode_token(token, of) == number
    with pytest.raises(ValueError, match="page token"):
        decode_token(token, of + "x")


@given(st.text(min_size=1))
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(ValueError, match="is not a page token of this list"):
        decode_token(token, "list")


def test_without_a_token_a_list_begins_at_its_begin() -> None:
    assert decode_token("", "list") == 0


def test_a_number_that_no_database_has() -> None:
    with pytest.raises(ValueError, match="page token"):
        decode_token(encode_token(2**63, "list"), "list")
