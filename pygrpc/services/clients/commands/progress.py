"""How far a transfer is, on a terminal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Self, TextIO

from pygrpc.services.clients.commands.common import plain

_LEAST_INTERVAL = 0.1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_WIDEST_NAME = 24


class ProgressBar:
    """A line that is written over and over, if the file is a terminal; nothing at all otherwise."""

    def __init__(self, name: str, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes a bar that shows nothing yet.

        Args:
            name: What is transferred.
            file: Where to write.
            clock: Gives the time in seconds.
        """
        name = plain(name)
        self._name = name if len(name) <= _WIDEST_NAME else f"{name[: _WIDEST_NAME - 1]}…"
        self._file = file
        self._clock = clock
        self._shown = file.isatty()
        self._done = self._total = 0
        self._begin: tuple[float, int] | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Writes the last state, and ends the line."""
        if self._shown and self._begin is not None:
            self._write()
            self._file.write("\n")
            self._file.flush()

    @property
    def begun(self) -> bool:
        """Whether anything was said about the transfer yet."""
        return self._begin is not None

    @property
    def percent(self) -> int:
        """How much is done, in hundredths; a whole only if nothing is left."""
        return self._done * 100 // self._total if self._total else 0

    def update(self, done: int, total: int) -> None:
        """Takes in how many bytes are done of how many."""
        now = self._clock()
        if self._begin is None:
            self._begin = now, done
        self._done, self._total = done, total
        if self._shown and now >= self._next:
            self._next = now + _LEAST_INTERVAL
            self._write()

    def _write(self) -> None:
        assert self._begin is not None
        at, from_size = self._begin
        speed = (self._done - from_size) / max(self._clock() - at, 1e-3)
        percent = 100 if self._done == self._total else self.percent
        left = f"{self._name} {percent:3} % "
        right = f" {size_in_words(self._done)} of {size_in_words(self._total)}, {size_in_words(speed)}/s"
        room = max(shutil.get_terminal_size().columns - len(left) - len(right) - 3, 0)
        bar = f"[{'#' * (room * percent // 100):<{room}}]" if room >= 5 else ""
        # The end of a longer line from before is erased.
        self._file.write(f"\r{left}{bar}{right}\x1b[K")
        self._file.flush()


def size_in_words(size: float) -> str:
    """Writes a number of bytes with three digits or so."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
