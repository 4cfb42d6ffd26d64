"""The kinds of values that settings have, and how each is read from text or from TOML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, ItemsView, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Table: TypeAlias = tuple[tuple[str, _T], ...]

_ON = frozenset({"true", "on", "yes", "1"})
_OFF = frozenset({"false", "off", "no", "0"})
_SIZE = re.compile(r"(\d{1,18})\s*([KMG]?)(?:iB)?", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: What is between the user and the host of a URL; as much as possible, as it may hold unquoted @ and / by mistake.
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):.*(?=@)")
#: What some drivers take as a parameter of a URL.
_PASSWORD_PARAMETER = re.compile(r"([?&][a-z_]*(?:password|secret|token)[a-z_]*=)[^&]*", re.IGNORECASE)
HIDDEN = "***"
_METHOD = re.compile(r"\*|/[\w.]+/(\*|\w+)", re.ASCII)
_FASTEST = 1_000_000


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Kind(Generic[_T_co]):
    """What a setting may hold.

    Attributes:
        name: What it is, in a word or two.
        rule: What a value has to be, behind "must be".
        read: Turns text, or a value of TOML, into a value; raises ValueError if it can't.
        switch: Whether it is on or off, so that the option needs no value.
        show: Writes a value as TOML.
    """

    name: str
    rule: str
    read: Callable[[object], _T_co]
    switch: bool = False
    show: Callable[[Any], str] = _show


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


def table(what: str, example: str, read: Callable[[object], _T], show: Callable[[_T], str]) -> Kind[_Table[_T]]:
    """Makes the kind of tables that say something of methods: a table in TOML, elsewhere `METHOD=...; METHOD=...`.

    Args:
        what: What it says of them.
        example: One in text.
        read: Reads what is behind a method, or raises ValueError.
        show: Writes that as TOML.
    """

    def read_table(value: object) -> _Table[_T]:
        if isinstance(value, str):
            entries = [entry.partition("=") for entry in value.split(";") if entry.strip()]
            if not all(separator for _, separator, _ in entries):
                raise ValueError
            value = [(method.strip(), given.strip()) for method, _, given in entries]
        pairs: Any = value.items() if isinstance(value, Mapping) else value
        if not isinstance(pairs, list | tuple | ItemsView):
            raise ValueError
        return tuple((_read_method(method), read(given)) for method, given in pairs)

    def show_table(value: _Table[_T]) -> str:
        shown = ", ".join(f"{_show(method)} = {show(given)}" for method, given in value)
        return f"{{ {shown} }}" if shown else "{}"

    return Kind("table", f'{what} of methods, such as "{example}"', read_table, show=show_table)


def _read_method(value: object) -> str:
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise ValueError
    return value


def _read_methods(value: object) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError
    return tuple(map(_read_method, parts))


def _read_roles(value: object) -> tuple[str, ...]:
    parts = value.split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
        raise ValueError
    return tuple(parts)


def _read_rate(value: object) -> str:
    rate, separator, burst = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not separator or not 0 < float(rate) <= _FASTEST or int(burst) < 1:
        raise ValueError
    return f"{float(rate):g}/{int(burst)}"


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
TEXT = Kind("text", "text", _read_text)
METHODS = Kind("methods", "methods or `*` for all of a service, with commas between", _read_methods)
ROLES = table("the roles", "*=user admin; /user.v1.UserService/DeleteUser=admin", _read_roles, _show)
#: Calls in a second, and how many may come at once.
RATES = table("the rates", "*=100/200; /user.v1.UserService/CreateUser=0.5/5", _read_rate, _show)


def without_passwords(value: str) -> str:
    """Returns a URL as it may be shown: with the password of the user, and those among the parameters, replaced."""
    return _PASSWORD_PARAMETER.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1:{HIDDEN}", value))
