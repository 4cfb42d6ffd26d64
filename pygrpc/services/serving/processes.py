"""What the worker processes of one server share to be counted together."""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE = re.compile(r"gauge_live\w+_(\d+)\.db")


@contextmanager
def counted_together() -> Iterator[None]:
    """Lets the processes that are started meanwhile count calls together.

    prometheus_client does that when it is imported with an environment variable that names a folder. One that is set
    already is left alone.
    """
    if _VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pygrpc-metrics-") as folder:
        os.environ[_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[_VARIABLE]


def is_first_worker() -> bool:
    """Whether this is the first one of `run_workers`, or the one that has taken its place."""
    return multiprocessing.current_process().name == "pygrpc-worker-1"


def forget_the_dead() -> None:
    """Removes what processes that are gone have counted as going on."""
    folder = os.environ.get(_VARIABLE)
    if folder is None:
        return
    for path in Path(folder).glob("gauge_live*.db"):
        match = _FILE.fullmatch(path.name)
        if match and not _lives(int(match[1])):
            mark_process_dead(int(match[1]), folder)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
