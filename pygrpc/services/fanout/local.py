"""What services need of a fan-out, and the one that stays in its process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)


class Fanout(Protocol):
    """Passes hints on. All but `open` and `close` is quick, never waits and never raises.

    One instance belongs to one event loop, in which the listeners are called.
    """

    @property
    def shared(self) -> bool:
        """Whether hints go to other processes, and come from them."""

    @property
    def healthy(self) -> bool:
        """Whether hints are passed on at the moment. While they are not, readers have to look by themselves."""

    def publish(self, topic: str) -> None:
        """Says that there is something new under a topic, which is committed. Several hints may arrive as one."""

    def listen(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Has a listener called when there is, or may be, something new under a topic.

        It is also called when `healthy` has changed: then hints may have been lost.

        Args:
            topic: Any text.
            listener: Must be quick, and may be called without need.

        Returns:
            What ends that; harmless when called again.
        """

    async def open(self) -> None:
        """Begins to pass hints on.

        Raises:
            StoreError: That is not possible; the text says why.
        """

    async def close(self) -> None:
        """Stops for good. What has not been passed on yet is dropped."""


class LocalFanout:
    """A Fanout within one process."""

    def __init__(self) -> None:
        """Makes it without listeners."""
        # By an identity of their own, as the same function may listen twice.
        self._listeners: dict[str, dict[object, Callable[[], None]]] = {}

    @property
    def shared(self) -> bool:
        """See Fanout."""
        return False

    @property
    def healthy(self) -> bool:
        """See Fanout."""
        return True

    def publish(self, topic: str) -> None:
        """See Fanout."""
        self._tell(topic)

    def listen(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """See Fanout."""
        key = object()
        self._listeners.setdefault(topic, {})[key] = listener

        def stop() -> None:
            listeners = self._listeners.get(topic, {})
            if listeners.pop(key, None) is not None and not listeners:
                del self._listeners[topic]

        return stop

    async def open(self) -> None:
        """See Fanout."""

    async def close(self) -> None:
        """See Fanout."""

    def _tell(self, topic: str) -> None:
        for listener in tuple(self._listeners.get(topic, {}).values()):
            try:
                listener()
            except Exception:
                # Its own defect, and none of whoever has published.
                _log.exception('A listener of the topic "%s" failed.', topic)
