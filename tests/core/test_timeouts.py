"""The grpc-timeout header (PROTOCOL-HTTP2.md, "Timeout")."""

import math

import pytest

from pygrpc.core.timeouts import decode_timeout, encode_timeout


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "1n"),
        (0.0, "1n"),
        (1e-12, "1n"),
        (1e-9, "1n"),
        (0.00005, "50000n"),
        (0.0001, "100u"),
        (0.05, "50000u"),
        (0.099999, "99999u"),
        (0.1, "100m"),
        (1.0, "1000m"),
        (29.99987, "30000m"),
        (99.9990001, "100S"),
        (100.5, "101S"),
        (99_999.0, "99999S"),
        (100_000.0, "1667M"),
        (60.0 * 99_999, "99999M"),
        (60.0 * 99_999_999 + 60, "1666667H"),
        (3600.0 * 99_999_999, "99999999H"),
        (1e30, "99999999H"),
        (math.inf, "99999999H"),
    ],
)
def test_the_finest_unit_that_fits_is_sent(seconds: float, text: str) -> None:
    assert encode_timeout(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("3S", 3.0),
        ("4m", 0.004),
        ("5u", 5e-6),
        ("6n", 6e-9),
        ("0S", 0.0),
        ("007S", 7.0),
        ("99999999H", 99_999_999 * 3600.0),
        ("123456789m", 123_456.789),
        ("1234567890123456789n", 1_234_567_890.123456789),
    ],
)
def test_every_unit_is_read(text: str, seconds: float) -> None:
    assert decode_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", " 1S", "1S ", "1 S", "1SS", "S1", "1_0S", "0x1S"),
        *("\u0661S", "\u00b2S", "9" * 20 + "S", "n\n", "1n\n", "nan", "infS"),
    ],
    ids=repr,
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="grpc-timeout must be digits followed by one of H M S m u n"):
        decode_timeout(text)
