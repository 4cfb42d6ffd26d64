"""Notes of uploads that are not finished."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pygrpc.services.clients.commands.notes import UploadNote, UploadNotes

ANN = (("user-id", "ann"),)


def path_of(folder: Path) -> Path:
    path = folder / "data"
    path.write_bytes(b"data")
    return path


def test_a_note_is_there_until_it_is_removed(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    note = UploadNotes(tmp_path / "notes").of("server", ANN, path)
    assert note.read() == ""
    note.write("id-1")
    assert UploadNotes(tmp_path / "notes").of("server", ANN, path).read() == "id-1"
    note.remove()
    note.remove()
    assert note.read() == ""


def test_another_upload_has_another_note(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    notes = UploadNotes(tmp_path / "notes")
    notes.of("server", ANN, path).write("id-1")
    assert notes.of("other", ANN, path).read() == ""
    assert notes.of("server", (), path).read() == ""
    os.utime(path, (1, 1))
    assert notes.of("server", ANN, path).read() == ""


def test_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    UploadNotes().of("server", ANN, path_of(tmp_path)).write("id-1")
    assert len(list((tmp_path / "state" / "pygrpc" / "uploads").iterdir())) == 1


def test_notes_that_can_not_be_kept_or_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    note = UploadNote(tmp_path / "file" / "note")
    note.write("id-1")
    assert note.read() == ""
    note.remove()
    assert UploadNote(tmp_path / "file").read() == ""
