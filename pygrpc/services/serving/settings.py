"""What a setting is: one entry of the table that the fields of Configuration make."""

from __future__ import annotations

from dataclasses import Field, dataclass, field
from typing import Any, TypeVar

from pygrpc.services.serving.kinds import HIDDEN, Kind, without_passwords

_T = TypeVar("_T")
_KEY = "setting"


class SettingError(Exception):
    """A setting cannot be used; the text is one sentence that names it, says where it came from, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: The field of Configuration, and the key in a file.
        kind: What it may hold.
        environment: The environment variable.
        help: What it does, in one sentence without a period.
        default: The value if nobody gives one; None leaves it to other settings, as the help says.
        secret: Whether it is never shown.
    """

    name: str
    kind: Kind[Any]
    environment: str
    help: str
    default: Any
    secret: bool

    @property
    def option(self) -> str:
        """The option of the command line."""
        return "--" + self.name.replace("_", "-")

    def read(self, value: object, source: str) -> Any:
        """Reads a value.

        Args:
            value: Text, or a value of TOML.
            source: What gave it, as the sentence about a mistake begins.

        Raises:
            SettingError: The setting may not hold this.
        """
        try:
            return self.kind.read(value)
        except ValueError:
            given = "" if self.secret else f", not {without_passwords(repr(value))}"
            raise SettingError(f"{source} must be {self.kind.rule}{given}") from None

    def shown(self, value: Any) -> str:
        """Writes a value as TOML, without what is secret; empty if there is none."""
        if value is None:
            return ""
        if isinstance(value, str):
            value = HIDDEN if self.secret and value else without_passwords(value)
        return self.kind.show(value)


def setting(default: _T, kind: Kind[_T], environment: str, help: str, *, secret: bool = False) -> _T:
    """Declares a field of Configuration that is a setting.

    Args:
        default: The value if nobody gives one.
        kind: What it may hold.
        environment: The environment variable.
        help: What it does, in one sentence without a period.
        secret: Whether it is never shown.
    """
    metadata = {_KEY: (kind, environment, help, secret)}
    return field(default=default, metadata=metadata)


def setting_of(declared: Field[Any]) -> Setting:
    """Returns the setting that a field declares."""
    kind, environment, help, secret = declared.metadata[_KEY]
    return Setting(declared.name, kind, environment, help, declared.default, secret)
