"""Numbers of HTTP/2 (RFC 9113, section 7)."""

import pytest

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode, error_name


def test_the_codes_have_their_numbers() -> None:
    assert [code.value for code in ErrorCode] == list(range(14))
    assert ErrorCode.REFUSED_STREAM == 7
    assert ErrorCode.ENHANCE_YOUR_CALM == 11
    assert MAX_STREAM_ID == 0x7FFFFFFF


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, "NO_ERROR"), (8, "CANCEL"), (13, "HTTP_1_1_REQUIRED"), (14, "0xe"), (2**32 - 1, "0xffffffff")],
)
def test_a_code_has_a_name_or_its_number(code: int, name: str) -> None:
    assert error_name(code) == name
