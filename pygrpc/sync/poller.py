"""Waiting for sockets, and waking those who wait.

``select.poll`` is looked up when it is needed, so that gevent can replace it. Where a system has none,
``select.select`` does the work.
"""

import contextlib
import math
import os
import select
import socket
from typing import Protocol

READ: int = getattr(select, "POLLIN", 1)
WRITE: int = getattr(select, "POLLOUT", 4)


class Poller(Protocol):
    """What this package uses of ``select.poll``."""

    def register(self, fd: int, eventmask: int, /) -> object:
        """Watches a descriptor."""

    def modify(self, fd: int, eventmask: int, /) -> object:
        """Changes what a descriptor is watched for."""

    def unregister(self, fd: int, /) -> object:
        """Watches a descriptor no more."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Waits for events, at most so many milliseconds."""


class SelectPoller:
    """``select.poll`` made of ``select.select``."""

    def __init__(self) -> None:
        """Watches nothing yet."""
        self._masks: dict[int, int] = {}

    def register(self, fd: int, eventmask: int, /) -> None:  # noqa: D102 - the contract is in Poller
        self._masks[fd] = eventmask

    def modify(self, fd: int, eventmask: int, /) -> None:  # noqa: D102
        self._masks[fd] = eventmask

    def unregister(self, fd: int, /) -> None:  # noqa: D102
        del self._masks[fd]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:  # noqa: D102
        masks = dict(self._masks)
        readers = [fd for fd, mask in masks.items() if mask & READ]
        writers = [fd for fd, mask in masks.items() if mask & WRITE]
        seconds = None if timeout is None else timeout / 1e3
        # On Windows a failed connect shows as an exceptional condition, not as writable.
        readable, writable, broken = select.select(readers, writers, writers, seconds)
        events: dict[int, int] = dict.fromkeys(readable, READ)
        for fd in {*writable, *broken}:
            events[fd] = events.get(fd, 0) | WRITE
        return list(events.items())


def create_poller() -> Poller:
    """Makes the best poller that there is."""
    if not hasattr(select, "poll"):
        return SelectPoller()
    poller: Poller = select.poll()
    return poller


def milliseconds(seconds: float) -> int:
    """A time for ``Poller.poll``, never shorter than asked for: nobody should wake up just before something is due."""
    return max(0, min(math.ceil(seconds * 1000), 2**31 - 1))


class WakeUp:
    """Ends the wait of whoever polls it; an eventfd where there is one, since that takes one descriptor, not two."""

    def __init__(self) -> None:
        """Opens it."""
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if hasattr(os, "eventfd"):
            self._fd: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self._fd = self._pair[0].fileno()

    def fileno(self) -> int:
        """What to poll for READ."""
        return self._fd

    def set(self) -> None:
        """Wakes whoever polls; safe from any thread and from a signal handler."""
        # One that is full wakes as well as one more would, and one that is closed has nobody to wake.
        with contextlib.suppress(OSError, ValueError):
            if self._pair is None:
                os.eventfd_write(self._fd, 1)
            else:
                self._pair[1].send(b"\0")

    def clear(self) -> None:
        """Takes back all wake-ups so far."""
        with contextlib.suppress(OSError):
            if self._pair is None:
                os.eventfd_read(self._fd)
            else:
                while self._pair[0].recv(4096):
                    pass

    def close(self) -> None:
        """Closes it; doing so again does nothing."""
        if self._pair is not None:
            for end in self._pair:
                end.close()
        elif self._fd >= 0:
            # Number -1 is nobody's, and a late ``set`` must not write to whoever gets the number next.
            fd, self._fd = self._fd, -1
            os.close(fd)


class Seat:
    """A place to poll from, for one thread at a time: a poller, and what wakes whoever sits there."""

    def __init__(self) -> None:
        """Makes a seat without descriptors."""
        self._poller = create_poller()
        self._wake_up: WakeUp | None = None
        #: Whether somebody polls now.
        self.taken = False

    def register(self, fd: int, mask: int) -> None:
        """Watches a descriptor."""
        self._poller.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Changes what a descriptor is watched for."""
        self._poller.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Watches a descriptor no more."""
        self._poller.unregister(fd)

    def sit_down(self) -> None:
        """Announces ``poll``; from now on ``interrupt`` works."""
        if self._wake_up is None:
            self._wake_up = WakeUp()
            self._poller.register(self._wake_up.fileno(), READ)
        self.taken = True

    def poll(self, seconds: float | None) -> list[tuple[int, int]]:
        """Waits for events, at most so long."""
        return self._poller.poll(None if seconds is None else milliseconds(seconds))

    def get_up(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Takes back interrupts; returns the events of other descriptors."""
        self.taken = False
        wake_up = self._wake_up
        if wake_up is not None:
            for event in events:
                if event[0] == wake_up.fileno():
                    wake_up.clear()
                    return [other for other in events if other is not event]
        return events

    def interrupt(self) -> None:
        """Ends the wait of whoever polls."""
        if self.taken and self._wake_up is not None:
            self._wake_up.set()

    def close(self) -> None:
        """Closes the seat; only while nobody polls."""
        if self._wake_up is not None:
            self._wake_up.close()
            self._wake_up = None
