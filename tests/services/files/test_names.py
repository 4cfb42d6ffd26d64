"""Names of files: nothing that a client sends leads out of a folder, here or where the file is saved again."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc.services.files.service import content_type_of
from pygrpc.services.files.validation import Limits, check_id, check_name, clean_name

LIMITS = Limits()


def problems(filename: str) -> list[str]:
    return [violation.description for violation in check_name(filename, LIMITS)]


@pytest.mark.parametrize(
    "filename",
    [
        "a",
        "a.txt",
        ".profile",
        "a b (1).tar.gz",
        "..a",
        "a..b",
        "caf\u00e9",
        "cafe\u0301",
        "\u65e5\u672c\u8a9e.txt",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
        "10:30 screenshot.png",
        "CON",
        "~",
        "%2e%2e%2f",
        "x" * 255,
        "\u00e9" * 127,
    ],
)
def test_a_good_name(filename: str) -> None:
    assert problems(filename) == []


PATH = "must be a name and not a path"
DOTS = "must not consist of dots"
UNSEEN = "must not contain control or invisible characters"
LONG = "must not be longer than 255 bytes"
EMPTY = "must not be empty"


@pytest.mark.parametrize(
    ("filename", "problem"),
    [
        ("", EMPTY),
        ("  ", EMPTY),
        (".", DOTS),
        ("..", DOTS),
        (". .", DOTS),
        ("\u2025", DOTS),
        ("\u2024\u2024", DOTS),
        ("\uff0e\uff0e", DOTS),
        ("../a", PATH),
        ("/etc/passwd", PATH),
        ("a/", PATH),
        ("..\\a", PATH),
        ("C:a", PATH),
        ("0:", PATH),
        ("\uff23\uff1aa", PATH),
        ("..\uff0fa", PATH),
        ("a\uff3cb", PATH),
        ("\u2100", PATH),
        ("a\0b", UNSEEN),
        ("a\nb", UNSEEN),
        ("a\u202etxt.exe", UNSEEN),
        ("a\u200bb", UNSEEN),
        ("a\u2028b", UNSEEN),
        ("\ufeffa", UNSEEN),
        (" a", "must not begin or end with white space"),
        ("a\u00a0", "must not begin or end with white space"),
        ("x" * 256, LONG),
        ("\u00e9" * 128, LONG),
        ("\U0001d160" * 30, LONG),
    ],
)
def test_a_bad_name(filename: str, problem: str) -> None:
    assert problems(filename) == [problem]


parts = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "a",
        " ",
        ":",
        "\0",
        "\u2024",
        "\uff0e",
        "\uff0f",
        "\uff3c",
        "\u2025",
        "\u202e",
        "~",
        "C:",
        "\u0301",
    ]
)


@given(st.one_of(st.text(), st.lists(parts).map("".join)))
@example("\u1e9b\u0323" * 40)
def test_what_is_accepted_is_a_single_name(filename: str) -> None:
    if problems(filename):
        return
    for form in (filename, clean_name(filename), unicodedata.normalize("NFKC", filename)):
        assert PurePosixPath(form).name == form
        assert PureWindowsPath("X:/folder", form).parent == PureWindowsPath("X:/folder")
        assert os.path.normpath(os.path.join("/folder", form)) == f"/folder/{form}"
        assert "\0" not in form
    assert len(clean_name(filename).encode()) <= 255
    assert clean_name(clean_name(filename)) == clean_name(filename)
    assert problems(clean_name(filename)) == []


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\:"), min_size=1, max_size=20))
def test_an_accepted_name_can_be_used_on_disk(tmp_path_factory: pytest.TempPathFactory, filename: str) -> None:
    if problems(filename):
        return
    folder = Path(tmp_path_factory.getbasetemp())
    path = folder / clean_name(filename)
    path.touch()
    assert path.parent == folder
    path.unlink()


@given(st.text())
def test_an_id_is_ascii_and_no_path(file_id: str) -> None:
    if not list(check_id(file_id)):
        assert file_id.isascii()
        assert PureWindowsPath(file_id).name == PurePosixPath(file_id).name == file_id


@pytest.mark.parametrize("file_id", ["", ".", "..", ".a", "a/b", "a\\b", "a\n", "\u0660", "a" * 65, "a b"])
def test_a_bad_id(file_id: str) -> None:
    assert [violation.field for violation in check_id(file_id)] == ["file_id"]


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("a.TXT", "text/plain"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_of_a_name(filename: str, content_type: str) -> None:
    assert content_type_of(filename) == content_type
