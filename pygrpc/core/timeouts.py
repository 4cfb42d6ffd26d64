"""The ``grpc-timeout`` header: a positive decimal of at most eight digits and a unit (PROTOCOL-HTTP2.md, "Timeout")."""

import math

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
#: From the finest unit to the coarsest: the number of units in a second, and the unit.
_SCALES = ((1e9, "n"), (1e6, "u"), (1e3, "m"), (1.0, "S"), (1 / 60, "M"), (1 / 3600, "H"))
_LARGEST = 99_999_999
#: A precision of 1 percent at worst is enough. So the same timeout looks the same in each call, however much later than
#: its deadline was set it is written, and header compression makes a byte of it.
_PRECISE_ENOUGH = 99_999
#: What a sender can say at most, about 11,400 years; a longer timeout is as good as none.
_LONGEST = f"{_LARGEST}H"
#: Nobody sends more digits than this; it bounds the work of parsing, not the protocol.
_MAX_LENGTH = 20


def encode_timeout(seconds: float) -> str:
    """Writes a timeout, rounded up, in the finest unit that keeps it within five digits, or else eight.

    Args:
        seconds: The time that is left; zero and less become one nanosecond, since the value must be positive.
    """
    if seconds <= 1e-9:
        return "1n"
    for per_second, unit in _SCALES:
        value = seconds * per_second
        if value <= _PRECISE_ENOUGH:
            return f"{math.ceil(value)}{unit}"
    return f"{math.ceil(value)}{unit}" if value <= _LARGEST else _LONGEST


def decode_timeout(text: str) -> float:
    """Reads a ``grpc-timeout`` value.

    More than eight digits are accepted, as other implementations send them now and then.

    Returns:
        The timeout in seconds.

    Raises:
        ValueError: The text is not a number and a unit.
    """
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not digits or len(text) > _MAX_LENGTH or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"grpc-timeout must be digits followed by one of H M S m u n, not {text[:32]!r}")
    return int(digits) * _UNITS[unit]
