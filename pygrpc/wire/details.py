"""The lines below an entry of the conversation."""

import enum
from typing import NamedTuple


class DetailKind(enum.Enum):
    """What a line is, for a printer that colours it."""

    HEADER = "header"
    #: A value with a name that is no header, such as a setting.
    FIELD = "field"
    #: The status that a call ended with.
    STATUS = "status"
    PREFIX = "prefix"
    TITLE = "title"
    MESSAGE = "message"
    NOTE = "note"
    PROBLEM = "problem"
    RAW = "raw"


class Detail(NamedTuple):
    """One line below an entry.

    Attributes:
        kind: What it is.
        text: The line, or the value if there is a label. It may hold any character; the printer escapes.
        label: The name of a header or field.
        note: What the value means, for people.
    """

    kind: DetailKind
    text: str
    label: str = ""
    note: str = ""
