"""Logs that programs can read: one line of JSON for each call, and for whatever else is logged."""

from __future__ import annotations

import datetime
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from pygrpc import StatusCode
from pygrpc.services.guards.calls import GuardedCall, Observation, current_request_id
from pygrpc.services.guards.counting import ObservingInterceptor

# The longest text from a client in a line, in characters; the server takes longer ones.
_LONGEST = 256
# For these it is the server that has to be looked at.
_ERRORS = frozenset({StatusCode.UNKNOWN, StatusCode.INTERNAL, StatusCode.DATA_LOSS})

_encode = json.JSONEncoder(default=str).encode


class AccessLog(ObservingInterceptor):
    """Logs one line for each call when it is over: who has called what, how it ended, and how long that took.

    Messages and metadata are not logged, nor is the text of the status, which may have parts of them.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        sample: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Makes the guard.

        Args:
            logger: Gets the lines, at level ERROR for UNKNOWN, INTERNAL and DATA_LOSS, else INFO;
                `pygrpc.services.calls` if it is None. The fields are in the attribute `call` of each record.
            sample: The share of calls with status OK that is logged, from 0 to 1. All others are.
            clock: Gives the time in seconds.
            draw: Gives a random number from 0 to 1.
        """
        super().__init__(clock)
        self._logger = logger or logging.getLogger("pygrpc.services.calls")
        self._sample = sample
        self._draw = draw

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        """Logs the call."""
        code = call.details.code() or StatusCode.UNKNOWN
        level = logging.ERROR if code in _ERRORS else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        if code is StatusCode.OK and self._sample < 1 and self._draw() >= self._sample:
            return
        method = shown(call.details.method)
        fields = {
            "request_id": call.request_id,
            "method": method,
            "peer": shown(call.details.peer()),
            "identity": None if call.identity is None else shown(call.identity.name),
            "code": code.name,
            "duration_ms": round((self.clock() - observation.began) * 1000, 3),
            "requests": call.requests,
            "request_bytes": call.request_bytes,
            "responses": call.responses,
            "response_bytes": call.response_bytes,
        }
        # With a blank in its place a method could end with a code, a caller and the like, in a log of plain lines.
        self._logger.log(level, "%s %s", method.replace(" ", r"\x20"), code.name, extra={"call": fields})


class JsonFormatter(logging.Formatter):
    """Writes each record as one line of JSON in ASCII, so that no text can make a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "call", None)
        if isinstance(fields, dict):
            line |= fields
        elif request_id := current_request_id():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return _encode(line)


def shown(text: str) -> str:
    """Returns a text of a client as it may stand in a log: in printable ASCII, and not too long."""
    if not (text.isascii() and text.isprintable()):
        text = text[:_LONGEST].encode("unicode_escape").decode("ascii")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
