"""Where handlers run: the user's executor, and workers that read on before they go back to it.

To hand a call from the I/O thread to a worker takes longer than most handlers do. So a worker that is about to send a
response takes over the connection for a moment: a client that makes one call after the other will soon send the next
one. Then the same worker reads it and runs its handler, and no other thread has to wake up. The house rules:

- Only for a client that makes one call after the other; where many are under way, the I/O thread reads them in bulk.
- Only in a plain ThreadPoolExecutor: others may count on being asked for each call.
- Only while another worker is free for whatever else comes, and while nothing else goes on on the connection.
- Only so many calls in a row, so that an executor can be shut down although its clients go on.
"""

import logging
import threading
from concurrent import futures
from typing import Any

from pygrpc.status import StatusCode
from pygrpc.sync.servicer import ServicerContext, serve

_LOGGER = logging.getLogger("pygrpc")

#: Calls that a worker serves before it goes back to the executor.
_IN_A_ROW = 200


class Workers:
    """The executor of a server, and how many calls it may serve at a time."""

    def __init__(self, executor: Any, maximum: int | None) -> None:
        """Starts without calls.

        Args:
            executor: Where handlers run.
            maximum: The number of calls above which new ones are refused, or None.
        """
        self._executor = executor
        self._maximum = maximum
        #: How many workers may be busy when one more stays with its connection: all but that one and a free one.
        self._busy_limit = executor._max_workers - 2 if type(executor) is futures.ThreadPoolExecutor else -1
        self._active = 0
        self._lingering = 0
        self._lock = threading.Lock()

    def admit(self) -> bool:
        """Counts one more call, unless there are as many as allowed; returns whether there was room."""
        with self._lock:
            if self._maximum is not None and self._active >= self._maximum:
                return False
            self._active += 1
            return True

    def finished(self) -> None:
        """One of the calls that were admitted is over."""
        with self._lock:
            self._active -= 1

    def submit(self, context: ServicerContext) -> None:
        """Has the executor run the handler of a call."""
        own = _executor_of(context)
        try:
            if own is None:
                self._executor.submit(self._work, context)
            else:
                own.submit(context.variables.run, serve, context)
        except Exception as error:
            _LOGGER.exception("the executor of a server takes no work")
            context.fail(StatusCode.UNAVAILABLE, f"the server's executor takes no work: {error}")
            context.finished()

    def _work(self, context: ServicerContext) -> None:
        """Serves a call, and those that follow it on its connection; in the executor."""
        for _ in range(_IN_A_ROW):
            context.worker = self
            try:
                context.variables.run(serve, context)
            except BaseException:
                if context.connection_is_ours:
                    context.transport.give_back()
                    self._count_lingering(-1)
                raise
            if not context.connection_is_ours:
                return
            try:
                ready = context.transport.linger()
            finally:
                self._count_lingering(-1)
            following = self._pick(ready)
            if following is None:
                return
            context = following
        self.submit(context)

    def take_over(self, context: ServicerContext) -> None:
        """Lets this worker read the connection behind the call that it serves, if that is of use."""
        transport = context.transport
        # The call itself is one of the active ones. Without the lock this is a guess, and good enough.
        if (
            not transport.may_be_taken_over
            or self._active + self._lingering > self._busy_limit + 1
            or not transport.take_over()
        ):
            return
        context.connection_is_ours = True
        self._count_lingering(1)

    def _count_lingering(self, change: int) -> None:
        with self._lock:
            self._lingering += change

    def _pick(self, ready: list[ServicerContext]) -> ServicerContext | None:
        """Picks the call to serve next; several at once are for the executor, as they would be without us."""
        if len(ready) == 1 and _executor_of(ready[0]) is None:
            return ready[0]
        for context in ready:
            self.submit(context)
        return None


def _executor_of(context: ServicerContext) -> futures.ThreadPoolExecutor | None:
    """The executor that a method has for itself, or None."""
    executor = getattr(context.behavior, "experimental_thread_pool", None)
    return executor if isinstance(executor, futures.ThreadPoolExecutor) else None
