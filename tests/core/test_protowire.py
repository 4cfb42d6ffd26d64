"""The core's own protobuf: what it writes it reads, and bad bytes are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core import protowire

NUMBERS = st.integers(1, (1 << 29) - 1)


@given(NUMBERS, st.binary(), st.integers(0, 2**64 - 1), st.floats(allow_nan=False))
def test_what_is_written_is_read(number: int, data: bytes, whole: int, real: float) -> None:
    message = protowire.encode_bytes(number, data) + protowire.encode_double(number, real)
    message += protowire.encode_varint(number << 3) + protowire.encode_varint(whole)
    first, second, third = protowire.fields(message)
    assert first == (number, protowire.BYTES, data)
    assert second[:2] == (number, protowire.FIXED64)
    assert isinstance(second[2], bytes)
    assert protowire.double(second[2]) == real
    assert third == (number, protowire.VARINT, whole)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\x08", "a number goes beyond the end"),
        (b"\x08\xff", "a number goes beyond the end"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than ten bytes"),
        (b"\x00\x00", "a field has the number 0"),
        (b"\x0a\x02a", "the field 1 goes beyond the end"),
        (b"\x09\x00", "the field 1 goes beyond the end"),
        (b"\x0d\x00", "the field 1 goes beyond the end"),
        (b"\x0b", "the field 1 has the wire type 3"),
    ],
)
def test_bad_bytes_are_refused(message: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        list(protowire.fields(message))


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        found = list(protowire.fields(message))
    except ValueError:
        return
    assert all(isinstance(value, int if kind == protowire.VARINT else bytes) for _, kind, value in found)
