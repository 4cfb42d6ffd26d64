"""The kinds of values that settings have, and how each is read from text or from TOML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_T_co = TypeVar("_T_co", covariant=True)

_ON = frozenset({"true", "on", "yes", "1"})
_OFF = frozenset({"false", "off", "no", "0"})
_SIZE = re.compile(r"(\d{1,18})\s*([KMG]?)(?:iB)?", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: What is between the user and the host of a URL; as much as possible, as it may hold unquoted @ and / by mistake.
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):.*(?=@)")
#: What some drivers take as a parameter of a URL.
_PASSWORD_PARAMETER = re.compile(r"([?&][a-z_]*(?:password|secret|token)[a-z_]*=)[^&]*", re.IGNORECASE)
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Kind(Generic[_T_co]):
    """What a setting may hold.

    Attributes:
        name: What it is, in a word or two.
        rule: What a value has to be, behind "must be".
        read: Turns text, or a value of TOML, into a value; raises ValueError if it can't.
        switch: Whether it is on or off, so that the option needs no value.
    """

    name: str
    rule: str
    read: Callable[[object], _T_co]
    switch: bool = False


def whole(least: int, most: int) -> Kind[int]:
    """Makes the kind of whole numbers from the least to the most."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError
        return number

    return Kind("number", f"a whole number from {least} to {most}", read)


def seconds(least: float) -> Kind[float]:
    """Makes the kind of lengths of time that are not shorter than the least, in seconds."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        length = float(value)
        if not least <= length < math.inf:
            raise ValueError
        return length

    return Kind("seconds", f"a number of seconds, {least:g} or more", read)


def choice(*names: str) -> Kind[str]:
    """Makes the kind of one of some words, in small or capital letters."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in names:
            raise ValueError
        return value.lower()

    return Kind("word", f"one of {', '.join(names)}", read)


def words(*names: str) -> Kind[tuple[str, ...]]:
    """Makes the kind of some of the words, at least one: with commas between, or a list in TOML."""

    def read(value: object) -> tuple[str, ...]:
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts or not all(part in names for part in parts):
            raise ValueError
        return tuple(name for name in names if name in parts)

    return Kind("names", f"some of {', '.join(names)}, with commas between", read)


def _read_text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def _read_required(value: object) -> str:
    if not value:
        raise ValueError
    return _read_text(value)


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _ON | _OFF:
        return value.lower() in _ON
    raise ValueError


def _read_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or (size := int(match[1]) * _UNITS[match[2]]) > 0x7FFFFFFF:
        raise ValueError
    return size


#: What may be empty, for none.
PATH = Kind("path", "a path", _read_text)
URL = Kind("URL", "a URL", _read_text)
#: What may not.
HOST = Kind("host", "a name or an address", _read_required)
PLACE = Kind("path or URL", "a path or a URL", _read_required)
SWITCH = Kind("on or off", "on or off (true or false)", _read_switch, switch=True)
SIZE = Kind("bytes", "a number of bytes below 2 GiB, such as 65536, 64K or 4M", _read_size)
PORT = whole(0, 65535)


def without_passwords(value: str) -> str:
    """Returns a URL as it may be shown: with the password of the user, and those among the parameters, replaced."""
    return _PASSWORD_PARAMETER.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1:{HIDDEN}", value))
