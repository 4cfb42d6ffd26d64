"""What forks: objects with sockets and threads, which the child of ``os.fork`` must not use.

The thread that forks first takes the locks of all of them, so that the child, where no other thread goes on, does not
find anything half done.
"""

import logging
import os
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any, Protocol

_LOGGER = logging.getLogger("pygrpc")


class Forkable(Protocol):
    """Something that belongs to the process that made it."""

    @property
    def fork_lock(self) -> AbstractContextManager[Any]:
        """The lock that nobody else may hold while the process forks."""

    def after_fork(self) -> None:
        """Called in the child, which has only the thread that forked, before anything else runs there.

        The lock is held then, and will not be given back.
        """


_registered: "weakref.WeakSet[Forkable]" = weakref.WeakSet()

#: For two threads that fork at once: they would take the locks in different orders.
_forking = threading.RLock()
_held: list[AbstractContextManager[Any]] = []


def register(thing: Forkable) -> None:
    """Has a thing told of forks for as long as it lives."""
    _registered.add(thing)


def _before_fork() -> None:
    _forking.acquire()
    for thing in list(_registered):
        lock = thing.fork_lock
        lock.__enter__()
        _held.append(lock)


def _after_fork_in_parent() -> None:
    try:
        while _held:
            _held.pop().__exit__(None, None, None)
    finally:
        _forking.release()


def _after_fork_in_child() -> None:
    _held.clear()
    _forking.release()
    for thing in list(_registered):
        try:
            thing.after_fork()
        except Exception:
            _LOGGER.exception("%r could not be reset in the child of a fork", thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
