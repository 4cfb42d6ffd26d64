"""Who is told of a channel's states."""

import logging
import threading
from collections.abc import Callable

from pygrpc.connectivity import ChannelConnectivity

_LOGGER = logging.getLogger("pygrpc")

Observer = Callable[[ChannelConnectivity], None]


class _Subscription:
    """One observer, as often as it subscribes."""

    def __init__(self, callback: Observer) -> None:
        self.callback = callback
        self.active = True


class Observers:
    """Tells observers every state, in order.

    They are called in a thread of their own, which lives for as long as there is something to tell: an observer may
    take its time and hold up nobody but the others.
    """

    def __init__(self) -> None:
        """Nobody observes yet."""
        self._lock = threading.Lock()
        self._subscriptions: list[_Subscription] = []
        self._news: list[tuple[_Subscription, ChannelConnectivity]] = []
        self._telling = False

    def add(self, callback: Observer, state: ChannelConnectivity) -> None:
        """Adds an observer, and tells it the present state."""
        subscription = _Subscription(callback)
        with self._lock:
            self._subscriptions.append(subscription)
            self._news.append((subscription, state))
            self._start()

    def remove(self, callback: Observer) -> None:
        """Removes an observer; it hears no more, except for what it is being told."""
        with self._lock:
            for index, subscription in enumerate(self._subscriptions):
                if subscription.callback == callback:
                    subscription.active = False
                    del self._subscriptions[index]
                    break

    def clear(self) -> None:
        """Removes all observers."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.active = False
            self._subscriptions.clear()

    def tell(self, state: ChannelConnectivity) -> None:
        """Tells everybody a new state."""
        with self._lock:
            self._news.extend((subscription, state) for subscription in self._subscriptions)
            self._start()

    def _start(self) -> None:
        if self._news and not self._telling:
            self._telling = True
            threading.Thread(target=self._tell_all, name="pygrpc-connectivity", daemon=True).start()

    def _tell_all(self) -> None:
        while True:
            with self._lock:
                if not self._news:
                    self._telling = False
                    return
                subscription, state = self._news.pop(0)
            if subscription.active:
                try:
                    subscription.callback(state)
                except Exception:
                    _LOGGER.exception("Exception calling channel subscription callback!")

    def after_fork(self) -> None:
        """Begins anew in the child of a fork, with the same observers."""
        self._lock = threading.Lock()
        self._news.clear()
        self._telling = False
