"""What the processes of the demo agree on: the lines that the client tells the stage, as JSON, and a metadata key."""

from __future__ import annotations

import enum
import json
from typing import NamedTuple

#: The server tells of calls of WatchUser that have this metadata.
STEP_KEY = "demo-step"


class LineKind(enum.StrEnum):
    """What a line is."""

    #: A call begins or goes on; the label is the name of the RPC.
    CALL = "call"
    REQUEST = "request"
    RESPONSE = "response"
    #: How the call ended; the label is the name of the status code.
    STATUS = "status"
    #: More about the line before.
    DETAIL = "detail"
    #: The step is over.
    END = "end"
    #: The step went wrong; the text is one sentence that says how.
    FAILED = "failed"


class Line(NamedTuple):
    """One line.

    Attributes:
        kind: What it is.
        text: The line itself.
        label: A name that goes before it.
    """

    kind: LineKind
    text: str = ""
    label: str = ""

    def encode(self) -> str:
        """Writes the line as JSON, without a line break."""
        return json.dumps(self)

    @classmethod
    def decode(cls, encoded: str) -> Line:
        """Reads what ``encode`` wrote.

        Raises:
            ValueError: It is something else.
        """
        kind, text, label = json.loads(encoded)
        return cls(LineKind(kind), text, label)
