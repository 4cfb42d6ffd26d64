"""Which uploads were begun and not finished, so that a later run of the command can go on with them.

A note is a small file in the folder for the state of programs (XDG Base Directory Specification), under a name that
stands for the server, the user, the file and its state: a file that has changed is uploaded anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path


class UploadNotes:
    """The notes of a user of this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        """Makes nothing yet.

        Args:
            folder: Where the notes are; None for the usual place.
        """
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self._folder = folder or Path(state) / "pygrpc" / "uploads"

    def of(self, server: str, metadata: Sequence[tuple[str, str]], path: Path) -> UploadNote:
        """Returns the note of an upload.

        Args:
            server: Where to.
            metadata: What says who uploads it.
            path: The file.

        Raises:
            OSError: There is no such file.
        """
        status = path.stat()
        what = [server, sorted(metadata), str(path.resolve()), status.st_size, status.st_mtime_ns]
        return UploadNote(self._folder / hashlib.sha256(json.dumps(what).encode()).hexdigest())


class UploadNote:
    """The note of one upload: a file that holds the upload's id while it is not finished."""

    def __init__(self, path: Path) -> None:
        """For UploadNotes."""
        self._path = path

    def read(self) -> str:
        """Returns the id of the upload; empty if there is none that is not finished."""
        try:
            return self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def write(self, file_id: str) -> None:
        """Notes that the upload has begun; if that can't be written, a later run begins anew."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(file_id, encoding="ascii")

    def remove(self) -> None:
        """Notes that there is nothing to go on with."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
