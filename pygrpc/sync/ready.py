"""The future that tells when a channel is ready."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.interfaces import Channel, Future, FutureCancelledError, FutureTimeoutError

_LOGGER = logging.getLogger("pygrpc")


class _ChannelReadyFuture(Future):
    """Ends when a channel has been READY for the first time since this was made; its result is None."""

    def __init__(self, channel: Channel) -> None:
        """Makes a future; ``begin`` starts it."""
        self._channel = channel
        self._condition = threading.Condition()
        self._ready = False
        self._cancelled = False
        self._callbacks: list[Callable[[Any], None]] = []

    def begin(self) -> None:
        """Begins to watch the channel, which connects if it is idle."""
        self._channel.subscribe(self._update, try_to_connect=True)

    def _update(self, state: ChannelConnectivity) -> None:
        if state is ChannelConnectivity.READY:
            self._end(cancelled=False)

    def _end(self, cancelled: bool) -> bool:
        with self._condition:
            if self._ready or self._cancelled:
                return False
            self._ready, self._cancelled = not cancelled, cancelled
            callbacks, self._callbacks = self._callbacks, []
            self._condition.notify_all()
        self._channel.unsubscribe(self._update)
        for callback in callbacks:
            self._call(callback)
        return True

    def _call(self, callback: Callable[[Any], None]) -> None:
        try:
            callback(self)
        except Exception:
            _LOGGER.exception('Exception calling connectivity future "done" callback!')

    def cancel(self) -> bool:
        return self._end(cancelled=True)

    def cancelled(self) -> bool:
        return self._cancelled

    def running(self) -> bool:
        return not self.done()

    def done(self) -> bool:
        return self._ready or self._cancelled

    def result(self, timeout: float | None = None) -> None:
        ends = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while not self.done():
                left = None if ends is None else min(ends - time.monotonic(), threading.TIMEOUT_MAX)
                if left is not None and left <= 0:
                    raise FutureTimeoutError()
                self._condition.wait(left)
            if self._cancelled:
                raise FutureCancelledError()

    def exception(self, timeout: float | None = None) -> Exception | None:
        self.result(timeout)
        return None

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        self.result(timeout)
        return None

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        with self._condition:
            if not self.done():
                self._callbacks.append(fn)
                return
        self._call(fn)


def channel_ready_future(channel: Channel) -> Future:
    """Makes a future that ends when a channel is ready; an idle channel connects.

    Args:
        channel: A channel, of this library or around one of it.

    Returns:
        A future whose result is None. To cancel it ends the watch, and changes nothing for the channel.
    """
    future = _ChannelReadyFuture(channel)
    future.begin()
    return future
