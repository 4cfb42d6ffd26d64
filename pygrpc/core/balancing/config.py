"""Reading the JSON objects of service configs, and of policies within them, with errors that name the field."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from pygrpc.core.balancing.policy import Balancer, InvalidConfig, find

_LOGGER = logging.getLogger("pygrpc")
_DURATION = re.compile(r"(-?[0-9]{1,12})(\.[0-9]{1,9})?s")
_NUMBERS = re.compile(r"[0-9]{1,18}")
_UNDERSCORE = re.compile(r"_([a-z])")
_KINDS = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}


class JsonObject:
    """A JSON object, and where it is, for error messages."""

    def __init__(self, value: Any, where: str, root: bool = False) -> None:
        """Takes an object.

        Args:
            value: What JSON made of it.
            where: How error messages call it.
            root: Whether its fields are named without it in error messages.

        Raises:
            InvalidConfig: It is no object.
        """
        if not isinstance(value, dict):
            raise InvalidConfig(f"{where} must be an object, not {shown(value)}")
        self._value: dict[str, Any] = value
        self._where = where
        self._root = root

    def place(self, name: str) -> str:
        """How error messages call a field."""
        return name if self._root else f"{self._where}.{name}"

    def error(self, name: str, rule: str) -> InvalidConfig:
        """The error that a field is not what it must be."""
        return InvalidConfig(f"{self.place(name)} must be {rule}, not {shown(self._value.get(name))}")

    def has(self, name: str) -> bool:
        """Whether a field is there, and not null."""
        return self._value.get(name) is not None

    def get(self, name: str, kind: type) -> Any:
        """The value of a field, or None; the kind is str, bool, list or dict."""
        value = self._value.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.error(name, _KINDS[kind])
        return value

    def object(self, name: str, read: "Callable[[JsonObject], Any]") -> Any:
        """What an object becomes, or None."""
        return read(JsonObject(self._value[name], self.place(name))) if self.has(name) else None

    def objects(self, name: str) -> "list[JsonObject]":
        """The objects of a list; empty if there is none."""
        found = self.get(name, list) or ()
        return [JsonObject(each, f"{self.place(name)}[{index}]") for index, each in enumerate(found)]

    def only_key(self) -> str:
        """The key of an object that may have one only: the name of a policy."""
        if len(self._value) != 1:
            keys = ", ".join(self._value) or "none"
            raise InvalidConfig(f"{self._where} must have one key, the policy's name, not {keys}")
        return next(iter(self._value))

    def duration(self, name: str) -> float | None:
        """A time in seconds, such as ``1.5s``."""
        value = self._value.get(name)
        if value is None:
            return None
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None or value.startswith("-"):
            raise self.error(name, 'a time in seconds such as "1.5s"')
        return float(value[:-1])

    def positive_duration(self, name: str) -> float:
        """A time in seconds that has to be there, and above zero."""
        seconds = self.duration(name)
        if not seconds:
            raise self.error(name, 'a time above zero, such as "0.1s"')
        return seconds

    def size(self, name: str) -> int | None:
        """A number of bytes, as a number or, like all 64-bit numbers in proto3's JSON, as a string."""
        value = self._value.get(name)
        if isinstance(value, str) and _NUMBERS.fullmatch(value):
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        raise self.error(name, "a number of bytes")

    def number(self, name: str) -> float:
        """A number above zero that has to be there."""
        value = self._value.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
            raise self.error(name, "a number above zero")
        return value

    def number_or(self, name: str, default: float) -> float:
        """A number that is zero or above, or a default."""
        value = self._value.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
            raise self.error(name, "a number, zero or above")
        return value

    def whole(self, name: str, default: int, low: int, high: int | None = None) -> int:
        """A whole number within bounds, or a default; also one that proto3's JSON writes as a string."""
        value = self._value.get(name)
        if value is None:
            return default
        if isinstance(value, str) and _NUMBERS.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            above = f"a whole number above {low - 1}"
            raise self.error(name, above if high is None else f"a whole number from {low} to {high}")
        return value


def policy_fields(config: Mapping[str, Any]) -> JsonObject:
    """The configuration of a policy; as in proto3's JSON, its fields may be ``fooBar`` or ``foo_bar``."""
    fields = {_UNDERSCORE.sub(lambda match: match[1].upper(), name): value for name, value in config.items()}
    return JsonObject(fields, "the configuration", root=True)


def shown(value: Any) -> str:
    """A JSON value for an error message, cut if it is long."""
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_policy(config: JsonObject, name: str) -> tuple[type[Balancer], Any] | None:
    """Reads a list of load balancing policies (gRFC A24).

    Args:
        config: The service config, or the configuration of a policy that has policies of its own.
        name: The field with the list.

    Returns:
        The first policy of the list that is known, with its configuration; None without a list.

    Raises:
        InvalidConfig: No policy is known, or the configuration of one is wrong.
    """
    unknown = []
    for entry in config.objects(name):
        key = entry.only_key()
        policy = find(key)
        if policy is not None:
            return policy, _parse_config(policy, entry.get(key, dict) or {}, entry.place(key))
        unknown.append(key)
    if unknown:
        raise InvalidConfig(f"{config.place(name)} names no policy that is known: {', '.join(unknown)}")
    return None


def _parse_config(policy: type[Balancer], config: Mapping[str, Any], where: str) -> Any:
    try:
        return policy.parse_config(config)
    except InvalidConfig as error:
        raise InvalidConfig(f"{where}: {error}") from None
    except Exception as error:
        _LOGGER.exception("parse_config of the load balancing policy %r raised", policy.name)
        raise InvalidConfig(f"{where}: {type(error).__name__}: {error}") from None
