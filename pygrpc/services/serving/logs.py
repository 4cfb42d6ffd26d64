"""How the log looks."""

from __future__ import annotations

import json
import logging

from pygrpc.services.guards import JsonFormatter
from pygrpc.services.serving.configuration import Configuration


class TextFormatter(logging.Formatter):
    """Writes records as lines for people; those of calls end with what is known of the call."""

    def __init__(self) -> None:
        """Begins lines with the time."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line, without an exception."""
        line = super().formatMessage(record)
        call = getattr(record, "call", None)
        if isinstance(call, dict):
            given = (f"{key}={_word(value)}" for key, value in call.items() if key not in ("method", "code"))
            line = " ".join((line, *given))
        return line


def set_up(configuration: Configuration) -> None:
    """Logs to standard error, in the format and from the level of the configuration on."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter_of(configuration))
    logging.basicConfig(level=configuration.log_level.upper(), handlers=[handler])


def formatter_of(configuration: Configuration) -> logging.Formatter:
    """Returns what writes the lines."""
    return JsonFormatter() if configuration.log_format == "json" else TextFormatter()


def _word(value: object) -> str:
    """Writes a value without blanks, or in quotes."""
    text = "" if value is None else str(value)
    return json.dumps(text) if " " in text else text
