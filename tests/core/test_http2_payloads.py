"""Frame headers, names and payloads on their own; the reader's tests see them at work."""

import pytest

from pygrpc.core.http2.frames import DATA, PUSH_PROMISE
from pygrpc.core.http2.observed import CutOff
from pygrpc.core.http2.payloads import (
    FrameHeader,
    Malformed,
    cut_off,
    flag_names,
    header_block_fragment,
    parse_frame_header,
    strip_padding,
    type_name,
)


def test_frame_header_ignores_the_reserved_bit() -> None:
    assert parse_frame_header(b"\x01\x02\x03\x04\x05\xff\xff\xff\xfe") == FrameHeader(0x010203, 4, 5, 0x7FFFFFFE)


@pytest.mark.parametrize(
    ("type_", "flags", "names"),
    [
        (0x0, 0x9, ("END_STREAM", "PADDED")),
        (0x1, 0x25, ("END_STREAM", "END_HEADERS", "PRIORITY")),
        (0x4, 0x3, ("ACK", "0x02")),
        (0x8, 0x1, ("0x01",)),
        (0x9, 0x4, ("END_HEADERS",)),
        (0x6, 0x0, ()),
    ],
)
def test_flags_mean_what_the_type_says(type_: int, flags: int, names: tuple[str, ...]) -> None:
    assert flag_names(type_, flags) == names


def test_types_have_names_or_numbers() -> None:
    assert [type_name(type_) for type_ in (0, 9, 0x10, 0xB)] == ["DATA", "CONTINUATION", "PRIORITY_UPDATE", "0x0b"]


def test_padding_of_which_only_a_part_was_kept() -> None:
    assert strip_padding(FrameHeader(100, DATA, 8, 1), b"\x0aabc") == (b"abc", 89, 10)


def test_padding_that_fills_the_frame() -> None:
    assert strip_padding(FrameHeader(4, DATA, 8, 1), b"\x03\0\0\0") == (b"", 0, 3)


def test_promised_stream_comes_before_the_fragment() -> None:
    header = FrameHeader(7, PUSH_PROMISE, 8, 1)
    assert header_block_fragment(header, b"\x01\x80\x00\x00\x02x\x00") == (b"x", 1, 2)


def test_promise_that_is_too_short() -> None:
    with pytest.raises(Malformed, match="too short"):
        header_block_fragment(FrameHeader(3, PUSH_PROMISE, 0, 1), b"\0\0\0")


def test_a_frame_that_was_cut_off_is_described() -> None:
    reason = "the connection ended inside of a DATA frame of stream 1, after 2 of 9 bytes"
    assert cut_off(FrameHeader(9, DATA, 0, 1), 2, b"ab") == CutOff(reason, b"ab")
