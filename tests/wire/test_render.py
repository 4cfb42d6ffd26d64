"""Printing for terminals: layout, width, colour, and bytes from the wire that must not control the terminal."""

from __future__ import annotations

import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.wire.annotate import Entry
from pygrpc.wire.details import Detail, DetailKind
from pygrpc.wire.recording import Direction
from pygrpc.wire.render import Printer, Style, columns, printable, shorten, wants_colour, width_of

HEADERS = Entry(
    time=1.2345,
    connection=1,
    direction=Direction.SERVER_TO_CLIENT,
    name="HEADERS",
    stream_id=1,
    flags=("END_STREAM", "END_HEADERS"),
    summary="trailers, 30 bytes",
    details=(Detail(DetailKind.STATUS, "0", "grpc-status", "OK"), Detail(DetailKind.HEADER, "x" * 200, "key")),
)
DATA = Entry(
    time=1.2,
    connection=1,
    direction=Direction.CLIENT_TO_SERVER,
    name="DATA",
    stream_id=1,
    summary="7 bytes",
    details=(
        Detail(DetailKind.PREFIX, "00 00 00 00 02", "prefix", "not compressed, 2 bytes"),
        Detail(DetailKind.TITLE, "own.Ask", note=""),
        Detail(DetailKind.MESSAGE, "seconds: 5"),
        Detail(DetailKind.NOTE, "a note"),
        Detail(DetailKind.PROBLEM, "a problem"),
        Detail(DetailKind.RAW, "raw"),
    ),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class AsciiStream(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")


def printed(*entries: Entry, width: int = 100, colour: bool = False, max_lines: int = 40) -> str:
    stream = io.StringIO()
    printer = Printer(stream, width=width, colour=colour, origin=1.0, max_lines=max_lines)
    for entry in entries:
        printer.print(entry)
    return stream.getvalue()


def test_layout() -> None:
    assert printed(DATA, HEADERS) == (
        "  200.0 ms  client --> server  DATA           stream 1   7 bytes\n"
        "            prefix: 00 00 00 00 02  (not compressed, 2 bytes)\n"
        "            own.Ask\n"
        "              seconds: 5\n"
        "              a note\n"
        "            ! a problem\n"
        "            raw\n"
        "  234.5 ms  client <-- server  HEADERS        stream 1   END_STREAM END_HEADERS  trailers, 30 bytes\n"
        "            grpc-status: 0  (OK)\n"
        "            key: " + "x" * 80 + "...\n"
    )


def test_a_summary_that_does_not_fit_goes_to_the_next_line() -> None:
    assert printed(HEADERS, width=95).splitlines()[:2] == [
        "  234.5 ms  client <-- server  HEADERS        stream 1   END_STREAM END_HEADERS",
        "            trailers, 30 bytes",
    ]


def test_what_happens_to_a_connection_has_no_arrow_and_no_stream() -> None:
    entry = Entry(1.0, 1, None, "UNREACHABLE", problem="out of reach")
    assert printed(entry) == "    0.0 ms" + " " * 21 + "UNREACHABLE\n            ! out of reach\n"


def test_a_note_is_kept_when_the_value_is_shortened() -> None:
    entry = HEADERS._replace(details=(Detail(DetailKind.HEADER, "x" * 200, "key", "note"),))
    [_, line] = printed(entry).splitlines()
    assert len(line) == 100
    assert line.endswith("xxx...  (note)")


def test_long_messages_are_cut() -> None:
    details = [Detail(DetailKind.MESSAGE, str(number)) for number in range(9)]
    entry = DATA._replace(details=(*details, Detail(DetailKind.NOTE, "after"), *details[:2]))
    lines = [line.strip() for line in printed(entry, max_lines=3).splitlines()[1:]]
    assert lines == ["0", "1", "2", "... 6 more lines", "after", "0", "1"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    entry = HEADERS._replace(summary="s" * 300, problem="p" * 300, flags=("F" * 90,))
    details = tuple(Detail(kind, "漢" * 100, "label" * 9, "note" * 9) for kind in DetailKind)
    for line in printed(entry, entry._replace(details=details), width=width).splitlines():
        assert columns(line) <= width


def test_colour_changes_nothing_but_the_escape_sequences() -> None:
    plain, coloured = printed(DATA, HEADERS), printed(DATA, HEADERS, colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b")


@pytest.mark.parametrize(("status", "style"), [("0", Style.GREEN), ("5", Style.RED)])
def test_a_status_is_green_or_red(status: str, style: Style) -> None:
    entry = HEADERS._replace(details=(Detail(DetailKind.STATUS, status, "grpc-status"),))
    assert f"{style}{status}" in printed(entry, colour=True)


def test_a_line_of_the_callers_own() -> None:
    stream = io.StringIO()
    Printer(stream, colour=True, width=10).line(("a\x1b", Style.PLAIN), ("b" * 20, Style.BOLD))
    assert stream.getvalue() == "a\\x1b\x1b[1mbb...\x1b[0m\n"


@pytest.mark.parametrize("bad", ["\x1b[2J", "\r", "\n", "\x9b", "\u202e", "\x00"])
def test_control_characters_from_the_wire_are_escaped(bad: str) -> None:
    entry = HEADERS._replace(
        name=bad, summary=bad, problem=bad, details=tuple(Detail(kind, bad, bad, bad) for kind in DetailKind)
    )
    assert not set(bad[:1]) & set(printed(entry, width=1000).replace("\n", ""))
    assert len(printed(entry, width=1000).splitlines()) == 2 + len(DetailKind)


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@given(st.text(), st.integers(0, 20))
def test_shortened_text_fits(text: str, room: int) -> None:
    assert columns(shorten(printable(text), room)) <= room


def test_shorten() -> None:
    assert shorten("hello", 5) == "hello"
    assert shorten("hello!", 5) == "he..."
    assert shorten("漢字漢字", 7) == "漢字..."
    assert shorten("hello", 2) == ".."


def test_columns_counts_wide_and_combining_characters() -> None:
    assert [columns(text) for text in ("abc", "漢", "e\u0301")] == [3, 2, 1]


def test_a_stream_that_knows_only_ascii_gets_escapes() -> None:
    stream = AsciiStream()
    Printer(stream).line(("é", Style.PLAIN))
    stream.seek(0)
    assert stream.read() == "\\xe9\n"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())


@pytest.mark.parametrize(("terminal", "expected"), [("72", 72), ("20", 60)])
def test_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch, terminal: str, expected: int) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", terminal)
    assert width_of(Terminal()) == expected
    assert width_of(io.StringIO()) == 100
    assert Printer(Terminal()).width == expected
