"""The one thread that does the reading of a server: listeners, connections, timers, whatever their number.

Other threads write to connections too, under the connection's lock. What only this thread may do, such as to change the
selector or to close a socket, they hand over with ``post``.
"""

import errno
import heapq
import itertools
import logging
import os
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pygrpc.sync.poller import WakeUp

_LOGGER = logging.getLogger("pygrpc")

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

#: Connections that are accepted before others get their turn.
_ACCEPTS = 64
#: Errors of accept that say that the process or the system has no room for one more, and seconds to wait then.
_NO_ROOM = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
_NO_ROOM_DELAY = 1.0

#: Timers from which on those that were cancelled are sought out.
_COMPACT_FROM = 64

Handler = Callable[[int], None]


class Timer:
    """Something to be run at a time, unless it is cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], object]) -> None:
        """Makes one that nobody has set."""
        self.action: Callable[[], object] | None = action


class IoThread:
    """A selector with a thread, timers, and work that other threads hand over."""

    def __init__(self, name: str) -> None:
        """Makes one that has no thread and no descriptor yet.

        Args:
            name: The name of the thread.
        """
        self._name = name
        self._selector: selectors.BaseSelector | None = None
        #: The selector's own epoll, which any thread may change while this one waits; None on systems without.
        self._epoll: Any = None
        self._wake_up: WakeUp | None = None
        self._ident: int | None = None
        self._posted: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._compact_at = _COMPACT_FROM
        self._count = itertools.count()
        self._running = False

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return threading.get_ident() == self._ident

    def start(self) -> None:
        """Starts the thread."""
        self._selector = selectors.DefaultSelector()
        if isinstance(self._selector, getattr(selectors, "EpollSelector", ())):
            self._epoll = select.epoll.fromfd(os.dup(self._selector.fileno()))
        wake_up = self._wake_up = WakeUp()
        self._selector.register(wake_up.fileno(), READ, lambda _: wake_up.clear())
        self._running = True
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def post(self, action: Callable[[], object]) -> None:
        """Has this thread run something soon; safe from any thread, from signal handlers and from destructors."""
        self._posted.append(action)
        if not self.is_current and self._wake_up is not None:
            self._wake_up.set()

    def call_at(self, when: float, action: Callable[[], object]) -> Timer:
        """Runs something in this thread at a time, in monotonic seconds; safe from any thread, which wakes this one."""
        timer = Timer(action)
        if self.is_current:
            self._add(when, timer)
        else:
            self.post(lambda: self._add(when, timer))
        return timer

    def _add(self, when: float, timer: Timer) -> None:
        heapq.heappush(self._timers, (when, next(self._count), timer))
        if len(self._timers) > self._compact_at:
            # A server that sees many connections go would collect their timers, which are set hours ahead.
            self._timers = [entry for entry in self._timers if entry[2].action is not None]
            heapq.heapify(self._timers)
            self._compact_at = max(_COMPACT_FROM, 2 * len(self._timers))

    @staticmethod
    def cancel(timer: Timer) -> None:
        """Has something not run, and not kept, that ``call_at`` was called for; safe from any thread."""
        timer.action = None

    @property
    def can_pause(self) -> bool:
        """Whether other threads can take over a socket for a while."""
        return self._epoll is not None

    def pause(self, fd: int) -> None:
        """Stops to watch a descriptor that is registered; safe from any thread."""
        self._epoll.modify(fd, 0)

    def resume(self, fd: int, mask: int) -> None:
        """Watches it again; safe from any thread."""
        self._epoll.modify(fd, (select.EPOLLIN if mask & READ else 0) | (select.EPOLLOUT if mask & WRITE else 0))

    # For the thread itself.

    def end(self) -> None:
        """Ends the thread behind what has been posted so far."""
        self._running = False

    def register(self, sock: socket.socket, mask: int, handler: Handler) -> None:
        """Watches a socket; the handler gets the events."""
        assert self._selector is not None
        self._selector.register(sock, mask, handler)

    def modify(self, sock: socket.socket, mask: int) -> None:
        """Changes what a socket is watched for."""
        assert self._selector is not None
        key = self._selector.get_key(sock)
        if key.events != mask:
            self._selector.modify(sock, mask, key.data)

    def unregister(self, sock: socket.socket) -> None:
        """Watches a socket no more; to be called before it is closed."""
        assert self._selector is not None
        self._selector.unregister(sock)

    def listen(self, listener: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        """Accepts the connections of a listening socket."""
        self.register(listener, READ, lambda _: self._accept(listener, accepted))

    def _accept(self, listener: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _LOGGER.error("a server can't accept connections: %s", error)
                if error.errno in _NO_ROOM:
                    # The listener stays readable, so without a pause this would be a busy loop.
                    self.unregister(listener)
                    self.call_at(time.monotonic() + _NO_ROOM_DELAY, lambda: self._listen_again(listener, accepted))
                return
            sock.setblocking(False)
            accepted(sock)

    def _listen_again(self, listener: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        if listener.fileno() >= 0:
            self.listen(listener, accepted)

    def _run(self) -> None:
        self._ident = threading.get_ident()
        selector = self._selector
        assert selector is not None
        try:
            while self._running or self._posted:
                for key, mask in selector.select(self._timeout()):
                    _guard(key.data, mask)
                while self._posted:
                    _guard(self._posted.popleft())
                if self._timers:
                    self._run_timers()
        finally:
            self.close()

    def _timeout(self) -> float | None:
        if self._posted:
            return 0.0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                _guard(action)

    def close(self) -> None:
        """Closes the descriptors: at the end of the thread, or in the child of a fork, which has no such thread."""
        self._running = False
        if self._selector is not None:
            self._selector.close()
        if self._epoll is not None:
            self._epoll.close()
        if self._wake_up is not None:
            self._wake_up.close()


def _guard(action: Callable[..., object], *arguments: object) -> None:
    """Runs one thing; an error in it must not end the service of all the others."""
    try:
        action(*arguments)
    except Exception:
        _LOGGER.exception("an internal error in a server")
