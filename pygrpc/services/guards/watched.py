"""Files with secrets and keys, which may be replaced while the server runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pygrpc.services.guards.calls import GuardError

_log = logging.getLogger(__name__)

T = TypeVar("T")

# Far more than any set of keys has; a mistaken path shall not fill the memory.
_LARGEST = 1 << 20


class WatchedFile(Generic[T]):
    """What a file says, read again when the file has changed.

    The file is looked at when somebody asks, and not more often than `interval` says. One that can't be read or
    understood any more changes nothing but the log, which gets one line for each such version.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[bytes], T],
        *,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the file.

        Args:
            path: Of the file.
            parse: Understands its bytes; raises ValueError with the end of a sentence: "has no key".
            interval: Seconds between two looks at the file.
            clock: Gives the time in seconds.

        Raises:
            GuardError: The file can't be read or understood.
        """
        self._path = Path(path)
        self._parse = parse
        self._interval = interval
        self._clock = clock
        self._looked_at = clock()
        try:
            self._version = self._look()
            self._value = self._read()
        except (OSError, ValueError) as error:
            raise GuardError(self._sentence(error)) from error

    def value(self) -> T:
        """Returns what the file says, or what it said as long as it could be read."""
        now = self._clock()
        if now - self._looked_at >= self._interval:
            self._looked_at = now
            self._refresh()
        return self._value

    def _refresh(self) -> None:
        try:
            version = self._look()
        except OSError as error:
            version = (error.errno or 0,)
        if version == self._version:
            return
        self._version = version
        try:
            self._value = self._read()
        except (OSError, ValueError) as error:
            _log.error("%s; what it said before still counts", self._sentence(error))
        else:
            _log.info("%s has changed and was read again", self._path)

    def _look(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        with self._path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"is larger than {_LARGEST} bytes")
        return self._parse(content)

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"{self._path} cannot be read: {error.strerror or error}"
        return f"{self._path} {error}"
