"""Reading protobuf messages without their schema."""

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.wire.schemaless import bytes_literal, decode_fields


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\x08\x96\x01", ["1: 150"]),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ["1: 18446744073709551615"]),
        (b"\x12\x05hello", ['2: "hello"']),
        (b"\x12\x00", ['2: ""']),
        (b'\x12\x04a\n"\\', ['2: "a\\n\\"\\\\"']),
        (b"\x0a\x03\x08\x96\x01", ["1 {", "  1: 150", "}"]),
        (b"\x0a\x02\xff\x00", ['1: "\\xff\\x00"']),
        (b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f", ["1: 0x3ff0000000000000 (1)"]),
        (b"\x0d\x00\x00\x80\xbf", ["1: 0xbf800000 (-1)"]),
        (b"\x0b\x10\x01\x0c", ["1 {", "  2: 1", "}"]),
        ("\x0a\x04né!".encode(), ['1: "né!"']),
        (b"\xf8\xff\xff\xff\x0f\x01", ["536870911: 1"]),
    ],
)
def test_fields_are_written_by_number_and_shape(data: bytes, lines: list[str]) -> None:
    assert decode_fields(data) == lines


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08\x80",
        b"\x08" + b"\xff" * 9 + b"\x02",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x00\x01",
        b"\x80\x80\x80\x80\x10\x01",
        b"\x12\x05hell",
        b"\x09\x00\x00",
        b"\x0d\x00",
        b"\x0b\x10\x01",
        b"\x0b\x14",
        b"\x0c",
        b"\x0f",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    assert decode_fields(data) is None


def test_deep_nesting_is_shown_as_bytes_from_some_depth_on() -> None:
    data = b"\x08\x01"
    for _ in range(100):
        data = (
            b"\x0a" + (bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])) + data
        )
    lines = decode_fields(data)
    assert lines is not None
    assert sum(line.endswith("{") for line in lines) <= 17
    assert any('"' in line for line in lines)


def test_deep_groups_are_refused() -> None:
    assert decode_fields(b"\x0b" * 5000 + b"\x0c" * 5000) is None


def test_a_real_message_is_read() -> None:
    message = descriptor_pb2.FieldDescriptorProto(
        name="id", number=1, options=descriptor_pb2.FieldOptions(deprecated=True)
    )
    assert decode_fields(message.SerializeToString()) == ['1: "id"', "3: 1", "8 {", "  3: 1", "}"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    lines = decode_fields(data)
    assert lines is None or bool(lines) == bool(data)


def test_bytes_literal_escapes_all_but_printable_ascii() -> None:
    assert bytes_literal(b'a"\\\x00\x1b\xff') == '"a\\x22\\x5c\\x00\\x1b\\xff"'
