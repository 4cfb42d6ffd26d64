"""Statuses and how they travel (statuscodes.md, PROTOCOL-HTTP2.md, http-grpc-status-mapping.md)."""

import pytest

from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.status import (
    Status,
    decode_message,
    decode_status,
    encode_message,
    status_from_http,
    status_from_reset,
)
from pygrpc.status import CODES, StatusCode


def test_the_codes_have_their_numbers() -> None:
    assert [code.value[0] for code in CODES] == list(range(17))
    assert CODES[5] is StatusCode.NOT_FOUND
    assert StatusCode.DEADLINE_EXCEEDED.value == (4, "deadline exceeded")


def test_a_status_is_little_by_itself() -> None:
    assert Status(StatusCode.OK, "") == (StatusCode.OK, "", (), "")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", b""),
        ("plain ~", b"plain ~"),
        ("100%", b"100%25"),
        ("a\nb\tc", b"a%0Ab%09c"),
        ("\0\x7f", b"%00%7F"),
        ("caf\u00e9", b"caf%C3%A9"),
        ("\U0001f600", b"%F0%9F%98%80"),
        ("\ud800", b"?"),
    ],
    ids=ascii,
)
def test_a_message_is_percent_encoded(text: str, encoded: bytes) -> None:
    assert encode_message(text) == encoded


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b"a%0Ab", "a\nb"),
        (b"%c3%a9", "\u00e9"),
        (b"100%25", "100%"),
        (b"100%", "100%"),
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%zz", "%zz"),
        (b"%%41", "%A"),
        (b"%ff", "\ufffd"),
        (b"\xff", "\ufffd"),
        (b"\xc3\xa9", "\u00e9"),
        (b"+", "+"),
    ],
    ids=repr,
)
def test_a_message_is_decoded_whatever_it_holds(encoded: bytes, text: str) -> None:
    assert decode_message(encoded) == text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"0", StatusCode.OK),
        (b"16", StatusCode.UNAUTHENTICATED),
        (b"05", StatusCode.NOT_FOUND),
        (b"17", StatusCode.UNKNOWN),
        (b"99", StatusCode.UNKNOWN),
        (b"4294967295", StatusCode.UNKNOWN),
    ],
)
def test_a_number_is_a_status(value: bytes, code: StatusCode) -> None:
    assert decode_status(value) is code


@pytest.mark.parametrize("value", [b"", b"abc", b"-1", b"+1", b" 0", b"0 ", b"1.0", b"9" * 11, b"\xb2"], ids=repr)
def test_what_is_no_number_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="grpc-status must be a number"):
        decode_status(value)


@pytest.mark.parametrize(
    ("http", "code"),
    [
        (b"400", StatusCode.INTERNAL),
        (b"401", StatusCode.UNAUTHENTICATED),
        (b"403", StatusCode.PERMISSION_DENIED),
        (b"404", StatusCode.UNIMPLEMENTED),
        (b"429", StatusCode.UNAVAILABLE),
        (b"502", StatusCode.UNAVAILABLE),
        (b"503", StatusCode.UNAVAILABLE),
        (b"504", StatusCode.UNAVAILABLE),
        (b"200", StatusCode.UNKNOWN),
        (b"302", StatusCode.UNKNOWN),
        (b"405", StatusCode.UNKNOWN),
        (b"415", StatusCode.UNKNOWN),
        (b"500", StatusCode.UNKNOWN),
    ],
)
def test_http_statuses_are_mapped(http: bytes, code: StatusCode) -> None:
    status = status_from_http(http)
    assert status.code is code
    assert http.decode() in status.details


@pytest.mark.parametrize("reset", [*ErrorCode, 0x99, 0xFFFFFFFF])
def test_resets_are_mapped(reset: int) -> None:
    expected = {
        ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
        ErrorCode.CANCEL: StatusCode.CANCELLED,
        ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
        ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
    }
    status = status_from_reset(reset)
    assert status.code is expected.get(reset, StatusCode.INTERNAL)
    assert str(int(reset)) in status.details
