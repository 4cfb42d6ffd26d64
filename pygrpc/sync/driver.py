"""Who reads: the threads of one channel take turns (leader/follower).

A channel has no thread of its own that reads its sockets. Whoever waits for something does: the first of them, the
*leader*, polls the sockets, feeds the core and wakes the others, the *followers*, when what they wait for has come.
When its own wait is over it makes one follower the leader. So a lone caller needs no other thread, and no switch.

When nobody waits, PING, GOAWAY and the end of a connection must still be noticed. That is the work of the *watcher*, a
daemon thread. It becomes the leader when nobody has led for ``WATCH_DELAY`` seconds, or at once when something is
urgent: a call with callbacks, an attempt to connect. Then it polls for as long as nothing happens. Anybody who begins
to wait robs it of the lead; it notices when its poll returns, and goes to sleep. Callbacks of users run in the watcher.

One lock guards the core, the sockets and all of this. The house rules:

- Methods say when they require the lock. Whoever takes it calls ``settle`` before it is given back, which writes what
  the core has queued: ``with driver.lock: ...; driver.settle()``. The lock is taken by a bare ``with``, since nothing
  written in Python can be sure to give it back when a signal handler raises.
- Only the leader handles events. Leader and watcher poll from seats of their own, since a robbed watcher still sits.
- Nothing that a user wrote runs while the lock is held. A signal handler or a destructor may still interrupt a thread
  that holds it; what these do goes through ``act``, which puts it off in that case.
"""

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from pygrpc.sync.poller import Seat

_LOGGER = logging.getLogger("pygrpc")

#: Seconds without a leader after which the watcher takes the lead.
WATCH_DELAY = 0.2

#: Seconds that a thread waits at most before it looks up. A signal that comes between CPython's last look at signals
#: and the system call doesn't end that, so a wait without an end would never hear of it.
_PATIENCE = 2.0

#: What ``_leader`` is while a thread leads that waits for something, and while the watcher does. A sleeper stands for a
#: follower that has been given the lead and does not know yet.
_WAITER = object()
_WATCHER = object()

_ABOVE_ITSELF = (
    "a signal handler can't wait for a call of a channel on which the thread that it has interrupted waits itself;"
    " let it cancel a call, raise, or set an event for another thread"
)


class Work(Protocol):
    """Whose sockets a driver polls; all methods are called with the lock held."""

    def next_time(self) -> float | None:
        """When ``on_time`` is to be called, in monotonic seconds, or None."""

    def on_time(self, now: float) -> None:
        """Does what is due."""

    def flush(self) -> None:
        """Writes what is queued."""


class Driver:
    """The lock, the lead and the watcher of one channel."""

    def __init__(self, work: Work) -> None:
        """Makes a driver that has no thread and no descriptor yet.

        Args:
            work: The channel. It keeps the driver; the driver, and so the watcher, does not keep the channel.
        """
        self._work = weakref.ref(work)
        # Reentrant, so that it knows its owner: see ``act``.
        self.lock: Any = threading.RLock()
        self._leader: object | None = None
        #: The thread that leads, unless that is the watcher or one that does not know yet.
        self._leading_thread = 0
        #: Threads that wait while somebody else leads, each on a lock of its own; the newest last.
        self._followers: dict[Any, None] = {}
        self._leader_seat = Seat()
        self._watcher_seat = Seat()
        #: What the leader waits for while it polls, and when its poll ends by itself.
        self._polls_for: object | None = None
        self._poll_ends: float | None = None
        #: When somebody has last looked at the sockets.
        self._looked_at = 0.0
        self._handlers: dict[int, Callable[[int, float], None]] = {}
        self._masks: dict[int, int] = {}
        #: What needs a leader even while nobody waits; kept alive by being here.
        self._urgent: set[object] = set()
        #: Polls of leaders so far, the watcher's apart.
        self._turns = 0
        # No deques: these are nearly always empty, and an empty deque takes 760 bytes in each of thousands of channels.
        self._put_off: list[Callable[[], object]] = []
        self._callbacks: list[Callable[[], object]] = []
        self._watcher: threading.Thread | None = None
        self._watcher_sleeper: Any = None
        self._watcher_sleeps_deep = False
        self._closed = False

    # The lock.

    def settle(self) -> None:
        """Does what was put off, and writes what the core has queued; requires the lock."""
        while self._put_off:
            self._put_off.pop(0)()
        work = self._work()
        if work is not None:
            work.flush()

    def _retake(self) -> None:
        """Takes the lock again after a wait.

        A signal handler may raise meanwhile; even then the lock is needed, to leave in order.
        """
        interruption: BaseException | None = None
        while not self.lock._is_owned():
            try:
                self.lock.acquire()
            except BaseException as error:
                interruption = error
        if interruption is not None:
            raise interruption

    def act(self, action: Callable[[], object]) -> None:
        """Runs an action with the lock; later, if this very thread was interrupted while it holds it.

        For what signal handlers and destructors may call.
        """
        if self.lock._is_owned():
            self._put_off.append(action)
            # This thread may have settled already.
            self._wake_everybody()
        else:
            with self.lock:
                action()
                self.settle()

    def act_without_waiting(self, action: Callable[[], object]) -> None:
        """Runs an action with the lock if that is free; else its holder or the next one runs it. Never waits."""
        self._put_off.append(action)
        if not self.lock._is_owned() and self.lock.acquire(blocking=False):
            try:
                self.settle()
            finally:
                self.lock.release()
        else:
            # The holder may have settled already.
            self._wake_everybody()

    def _wake_everybody(self) -> None:
        """Makes the leader and the watcher settle; the lock is not required."""
        self._leader_seat.interrupt()
        self._wake_watcher()

    # Sockets and times; all require the lock.

    def register(self, fd: int, mask: int, handler: Callable[[int, float], None]) -> None:
        """Watches a descriptor; the handler gets the events and the time."""
        self._handlers[fd] = handler
        self._masks[fd] = mask
        self._leader_seat.register(fd, mask)
        self._watcher_seat.register(fd, mask)
        self._interrupt()

    def modify(self, fd: int, mask: int) -> None:
        """Changes what a descriptor is watched for."""
        if self._masks[fd] != mask:
            self._masks[fd] = mask
            self._leader_seat.modify(fd, mask)
            self._watcher_seat.modify(fd, mask)
            self._interrupt()

    def unregister(self, fd: int) -> None:
        """Watches a descriptor no more; to be called before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            del self._masks[fd]
            self._leader_seat.unregister(fd)
            self._watcher_seat.unregister(fd)
            self._interrupt()

    def time_set(self, when: float) -> None:
        """Something is due at a time that the leader may not know."""
        if self._polls_for is not None and (self._poll_ends is None or when < self._poll_ends):
            self._interrupt()

    def _interrupt(self) -> None:
        """Makes the leader look again, if it polls."""
        if self._polls_for is _WATCHER:
            self._watcher_seat.interrupt()
        elif self._polls_for is not None:
            self._leader_seat.interrupt()

    # Waiting.

    def wait(self, waiters: list[Any], ready: Callable[[], bool], until: float | None) -> bool:
        """Waits until something is so; requires the lock, and gives it to others meanwhile.

        Args:
            waiters: The threads that wait for the same; whoever makes it so calls ``notify`` with this list.
            ready: Whether it is so.
            until: When to give up, in monotonic seconds, or None.

        Returns:
            Whether it is so; if not, the time is up.

        Raises:
            RuntimeError: A signal handler has interrupted this very thread while it leads, and waits in its turn.
        """
        leads = False
        try:
            while True:
                self.settle()
                if ready():
                    return True
                may_lead = self._leader is None or self._leader is _WATCHER
                # What has come by then counts, so whoever may read does so once even when the time is up.
                if until is not None and not may_lead and time.monotonic() >= until:
                    return False
                if may_lead:
                    self._leader = _WAITER
                    self._leading_thread = threading.get_ident()
                    leads = True
                if leads:
                    self._turns += 1
                    self._poll(self._leader_seat, waiters, until)
                elif self._leading_thread == threading.get_ident():
                    raise RuntimeError(_ABOVE_ITSELF)
                else:
                    leads = self._follow(waiters, until)
        finally:
            if leads:
                self._hand_on()

    def look(self, now: float, since: float = 0.0) -> None:
        """Handles what has arrived, unless somebody leads; requires the lock.

        Args:
            now: Monotonic time in seconds.
            since: Does nothing if somebody has looked within so many seconds.
        """
        if self._leader is None and self._handlers and now - self._looked_at >= since:
            self._leader = _WAITER
            try:
                self.settle()
                self._poll(self._leader_seat, _WAITER, now)
            finally:
                self._hand_on()

    def notify(self, waiters: list[Any]) -> None:
        """Makes the threads look that wait with this list; requires the lock."""
        for sleeper in waiters:
            # Who is about to leave should not be given the lead; whoever goes on waiting comes back by itself.
            self._followers.pop(sleeper, None)
            if sleeper.locked():
                sleeper.release()
        if self._polls_for is waiters:
            self._interrupt()

    def _follow(self, waiters: list[Any], until: float | None) -> bool:
        """Sleeps until notified, or given the lead, or the time is up; returns whether this thread leads now."""
        sleeper: Any = threading.Lock()
        sleeper.acquire()
        waiters.append(sleeper)
        self._followers[sleeper] = None
        timeout = _PATIENCE if until is None else min(max(0.0, until - time.monotonic()), _PATIENCE)
        interrupted = True
        try:
            self.lock.release()
            sleeper.acquire(timeout=timeout)
            interrupted = False
        finally:
            self._retake()
            waiters.remove(sleeper)
            self._followers.pop(sleeper, None)
            leads = self._leader is sleeper
            if leads:
                self._leader = _WAITER
                self._leading_thread = threading.get_ident()
                if interrupted:
                    self._hand_on()
        return leads

    def _hand_on(self) -> None:
        """Gives up the lead, to the follower that will probably wait longest; requires the lock."""
        self._leader = None
        self._leading_thread = 0
        if self._followers:
            sleeper, _ = self._followers.popitem()
            self._leader = sleeper
            if sleeper.locked():
                sleeper.release()
        elif self._urgent or self._watcher_sleeps_deep:
            self._wake_watcher()

    def _poll(self, seat: Seat, polls_for: object, until: float | None) -> None:
        """Polls once as the leader, and handles the events; the lock is free while it waits."""
        me = self._leader
        work = self._work()
        due = when = work.next_time() if work is not None else None
        # Not to be kept while this waits: the watcher must not keep a channel that nobody uses.
        del work
        if until is not None and (when is None or until < when):
            when = until
        timeout = None if when is None else when - time.monotonic()
        if polls_for is not _WATCHER and (timeout is None or timeout > _PATIENCE):
            timeout = _PATIENCE
        seat.sit_down()
        self._polls_for, self._poll_ends = polls_for, when
        if self._put_off:
            # Put off since this thread has settled, by somebody who found nobody sitting here to interrupt.
            timeout = 0.0
        events: list[tuple[int, int]] = []
        try:
            self.lock.release()
            events = seat.poll(timeout)
        finally:
            self._retake()
            events = seat.get_up(events)
            if self._closed:
                seat.close()
            if self._leader is me:
                self._polls_for = None
        if self._leader is not me:
            return
        now = self._looked_at = time.monotonic()
        for fd, mask in events:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(mask, now)
        work = self._work()
        if due is not None and due <= now and work is not None:
            work.on_time(now)

    # The watcher; all require the lock.

    def add_urgent(self, thing: object) -> None:
        """Something needs a leader from now on, whether or not anybody waits."""
        self._urgent.add(thing)
        self.hurry()

    def remove_urgent(self, thing: object) -> None:
        """It needs none any more."""
        self._urgent.discard(thing)

    def hurry(self) -> None:
        """Makes sure that somebody leads soon."""
        self.ensure_watcher()
        if self._leader is None:
            self._wake_watcher()

    def post(self, callback: Callable[[], object]) -> None:
        """Has a callback of the user run in the watcher."""
        self._callbacks.append(callback)
        self.ensure_watcher()
        self._wake_watcher()

    def ensure_watcher(self) -> None:
        """Starts the watcher if there is none."""
        if self._watcher is None and (not self._closed or self._callbacks):
            self._watcher_sleeper = threading.Lock()
            self._watcher_sleeper.acquire()
            self._watcher = threading.Thread(target=self._watch, name="pygrpc-watcher", daemon=True)
            self._watcher.start()

    def _wake_watcher(self) -> None:
        """Makes the watcher look; the lock is not required."""
        self._watcher_seat.interrupt()
        sleeper = self._watcher_sleeper
        if sleeper is not None and sleeper.locked():
            # Somebody else without the lock may have been faster.
            with contextlib.suppress(RuntimeError):
                sleeper.release()

    def _watch(self) -> None:
        """The watcher's thread; takes the lock by itself."""
        try:
            self._watch_until_closed()
        finally:
            with self.lock:
                self._watcher = None
                if self._leader is _WATCHER:
                    self._hand_on()

    def _watch_until_closed(self) -> None:
        seen_turns = -1
        eager = False
        while True:
            with self.lock:
                self.settle()
                self._watcher_sleeps_deep = False
                callbacks, self._callbacks = self._callbacks, []
                if callbacks:
                    # They may take long, and may wait for calls of this channel.
                    eager = self._leader is _WATCHER
                    if eager:
                        self._hand_on()
                elif self._closed:
                    return
                elif self._may_watch(eager or self._turns == seen_turns):
                    eager = False
                    self._poll(self._watcher_seat, _WATCHER, None)
                    continue
                # One leader, all the time: the next look is due when it leaves.
                deep = self._watcher_sleeps_deep = self._turns == seen_turns and not callbacks
                seen_turns = -1 if deep else self._turns
                sleeper = self._watcher_sleeper
            if callbacks:
                callbacks.reverse()
                while callbacks:
                    # Popped, so that this thread does not keep what has been called.
                    run_callback(callbacks.pop())
            else:
                sleeper.acquire(timeout=-1 if deep else WATCH_DELAY)

    def _may_watch(self, quiet: bool) -> bool:
        """Whether the watcher leads, or takes the lead now."""
        if self._leader is None and (quiet or self._urgent):
            self._leader = _WATCHER
        return self._leader is _WATCHER

    # The end.

    def close(self) -> None:
        """Ends the watcher, behind the callbacks that are left, and closes the descriptors; requires the lock."""
        self._closed = True
        self._urgent.clear()
        for seat in (self._leader_seat, self._watcher_seat):
            seat.interrupt()
            if not seat.taken:
                seat.close()
        self._wake_watcher()

    def abandon(self) -> None:
        """Closes the descriptors in the child of a fork, where the threads of the parent are gone."""
        for seat in (self._leader_seat, self._watcher_seat):
            seat.close()


def run_callback(callback: Callable[[], object]) -> None:
    """Runs a callback of the user; an error in it is logged."""
    try:
        callback()
    except Exception:
        _LOGGER.exception("a callback raised: %r", callback)
