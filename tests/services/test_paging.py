from __future__ import annotations

import base64
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users.paging import decode_token, encode_token
from pygrpc.services.users.store import Position, position_of

POSITION = Position(1_700_000_000_123_456, "0b0ffb4e-55ce-4d4a-9d6e-3a4e3f1f5f3a")
POSITIONS = st.builds(Position, st.integers(0, 2**62), st.uuids().map(str))
STATUSES = st.sampled_from(user_pb2.UserStatus.values())


@given(position=POSITIONS, status=STATUSES)
def test_a_token_comes_back_as_its_position(position: Position, status: int) -> None:
    token = encode_token(position, status)
    assert decode_token(token, status) == position
    assert token.isascii()
    assert all(char.isalnum() or char in "-_" for char in token)


@given(position=POSITIONS, status=STATUSES, index=st.integers(0, 29), bit=st.integers(0, 7))
def test_a_changed_token_is_refused(position: Position, status: int, index: int, bit: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(encode_token(position, status)))
    data[index] ^= 1 << bit
    with pytest.raises(ValueError, match="not a page token"):
        decode_token(base64.urlsafe_b64encode(bytes(data)).decode(), status)


@given(token=st.text())
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a page token"):
        decode_token(token, 0)


def test_a_token_belongs_to_its_filter() -> None:
    with pytest.raises(ValueError, match="another status_filter"):
        decode_token(encode_token(POSITION, user_pb2.USER_STATUS_ACTIVE), 0)


def test_a_token_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    token = encode_token(POSITION, 0)
    monkeypatch.setattr("pygrpc.services.users.paging._VERSION", 2)
    with pytest.raises(ValueError, match="not a page token"):
        decode_token(token, 0)


def test_the_position_of_a_user_is_just_after_it() -> None:
    user = user_pb2.User(id=str(uuid.uuid4()))
    user.created_at.FromMicroseconds(POSITION.created_at)
    assert position_of(user) == Position(POSITION.created_at, user.id)
