"""Prints a conversation for people: in colour on a terminal, each line within its width."""

import enum
import os
import shutil
import unicodedata
from typing import TextIO

from pygrpc.wire.annotate import Entry
from pygrpc.wire.details import Detail, DetailKind
from pygrpc.wire.recording import Direction


class Style(enum.StrEnum):
    """How a piece of text looks on a terminal with colour; the value is the escape sequence (ECMA-48, SGR)."""

    PLAIN = ""
    BOLD = "\x1b[1m"
    DIM = "\x1b[2m"
    RED = "\x1b[31m"
    GREEN = "\x1b[32m"
    YELLOW = "\x1b[33m"
    BLUE = "\x1b[94m"
    MAGENTA = "\x1b[35m"
    CYAN = "\x1b[36m"


_RESET = "\x1b[0m"
_ARROWS = {
    Direction.CLIENT_TO_SERVER: ("client --> server", Style.CYAN),
    Direction.SERVER_TO_CLIENT: ("client <-- server", Style.MAGENTA),
    None: (" " * 17, Style.PLAIN),
}
_DETAIL_STYLES = {
    DetailKind.HEADER: Style.PLAIN,
    DetailKind.FIELD: Style.PLAIN,
    DetailKind.STATUS: Style.PLAIN,
    DetailKind.PREFIX: Style.YELLOW,
    DetailKind.TITLE: Style.BOLD,
    DetailKind.MESSAGE: Style.GREEN,
    DetailKind.NOTE: Style.DIM,
    DetailKind.PROBLEM: Style.RED,
    DetailKind.RAW: Style.PLAIN,
}
_INDENT = " " * 12
_WIDTH = 100
_NARROWEST = 60
_SHORTEST_VALUE = 16


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that takes colour; NO_COLOR (no-color.org) and TERM=dumb say that it doesn't."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def width_of(stream: TextIO) -> int:
    """The width of a terminal in columns, 100 for anything else."""
    return max(_NARROWEST, shutil.get_terminal_size((_WIDTH, 24)).columns) if stream.isatty() else _WIDTH


class Printer:
    """Writes entries to a stream."""

    def __init__(
        self,
        stream: TextIO,
        *,
        width: int | None = None,
        colour: bool | None = None,
        origin: float = 0.0,
        max_lines: int = 40,
    ) -> None:
        """Makes a printer.

        Args:
            stream: Where to write to.
            width: The longest line in columns; by default that of the terminal.
            colour: Whether to use colour; by default if the stream is a terminal and NO_COLOR isn't set.
            origin: The time that shows as zero, in seconds.
            max_lines: How many lines of one message are shown.
        """
        self._stream = stream
        self._width = width if width is not None else width_of(stream)
        self._colour = wants_colour(stream) if colour is None else colour
        self._origin = origin
        self._max_lines = max_lines

    @property
    def width(self) -> int:
        """The longest line in columns."""
        return self._width

    def print(self, entry: Entry) -> None:
        """Writes one entry and flushes."""
        head = self._head(entry)
        summary = printable(entry.summary)
        room = self._width - sum(columns(text) for text, _ in head)
        if columns(summary) + 2 <= room:
            self._write([*head, (f"  {summary}", Style.PLAIN)])
        else:
            self._write(head)
            self._write([(_INDENT + summary, Style.PLAIN)])
        if entry.problem:
            self._write([(f"{_INDENT}! {printable(entry.problem)}", Style.RED)])
        self._details(entry.details)
        self._stream.flush()

    def line(self, *parts: tuple[str, Style]) -> None:
        """Writes a line of pieces of text, each in its style, and flushes."""
        self._write([(printable(text), style) for text, style in parts])
        self._stream.flush()

    def _head(self, entry: Entry) -> list[tuple[str, Style]]:
        where = "" if entry.stream_id is None else f"stream {entry.stream_id}"
        parts = [
            (f"{(entry.time - self._origin) * 1000:7.1f} ms  ", Style.DIM),
            _ARROWS[entry.direction],
            (f"  {printable(entry.name):<13}", Style.BOLD),
            (f"  {where:<9}", Style.PLAIN),
        ]
        if entry.flags:
            parts.append((f"  {' '.join(entry.flags)}", Style.BLUE))
        return parts

    def _details(self, details: tuple[Detail, ...]) -> None:
        shown = 0
        for index, detail in enumerate(details):
            counted = detail.kind in (DetailKind.MESSAGE, DetailKind.RAW)
            shown = shown + 1 if counted else 0
            if shown == self._max_lines + 1:
                self._write([(f"{_INDENT}  ... {_run(details, index)} more lines", Style.DIM)])
            if shown <= self._max_lines:
                self._write(self._detail(detail))

    def _detail(self, detail: Detail) -> list[tuple[str, Style]]:
        style = _DETAIL_STYLES[detail.kind]
        text = printable(detail.text)
        if detail.kind is DetailKind.STATUS:
            style = Style.GREEN if detail.text == "0" else Style.RED
        if detail.kind is DetailKind.PROBLEM:
            text = "! " + text
        if detail.kind in (DetailKind.MESSAGE, DetailKind.NOTE):
            text = "  " + text
        note = f"  ({printable(detail.note)})" if detail.note else ""
        label = f"{printable(detail.label)}: " if detail.label else ""
        # A long value leaves room for the note that explains it.
        room = self._width - len(_INDENT) - columns(label) - columns(note)
        return [
            (_INDENT, Style.PLAIN),
            (label, Style.BLUE),
            (shorten(text, max(room, _SHORTEST_VALUE)), style),
            (note, Style.DIM if style in (Style.PLAIN, Style.BOLD) else style),
        ]

    def _write(self, parts: list[tuple[str, Style]]) -> None:
        room = self._width
        line = ""
        for text, style in parts:
            text = shorten(text, room)
            room -= columns(text)
            line += f"{style}{text}{_RESET}" if self._colour and style and text else text
        # A terminal that can't show a character must not end the program.
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(line.rstrip().encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _run(details: tuple[Detail, ...], start: int) -> int:
    """How many details from an index on are of the same kind."""
    end = start
    while end < len(details) and details[end].kind is details[start].kind:
        end += 1
    return end - start


def printable(text: str) -> str:
    """Escapes what could move the cursor or hide text; bytes from the wire must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def columns(text: str) -> int:
    """How many columns a terminal needs for a text without control characters."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def shorten(text: str, room: int) -> str:
    """Cuts a text to a number of columns, with three dots at its end if something is missing."""
    if columns(text) <= room:
        return text
    if room <= 3:
        return "..."[: max(room, 0)]
    kept = text[: room - 3]
    while columns(kept) > room - 3:
        kept = kept[:-1]
    return kept + "..."
