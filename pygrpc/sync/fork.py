"""What forks: objects with sockets and threads, which the child of ``os.fork`` must not use."""

import logging
import os
import weakref
from typing import Protocol

_LOGGER = logging.getLogger("pygrpc")


class Forkable(Protocol):
    """Something that belongs to the process that made it."""

    def after_fork(self) -> None:
        """Called in the child, which has only the thread that forked, before anything else runs there."""


_registered: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def register(thing: Forkable) -> None:
    """Has a thing told of forks for as long as it lives."""
    _registered.add(thing)


def _after_fork_in_child() -> None:
    for thing in list(_registered):
        try:
            thing.after_fork()
        except Exception:
            _LOGGER.exception("%r could not be reset in the child of a fork", thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
