"""When the target of a channel is looked up: at first, again when its addresses don't work, and behind failures."""

from collections.abc import Callable

from pygrpc.core.backoff import Backoff


class Resolution:
    """The look-ups of one target. Requests keep a pause between look-ups that went well, failures a growing delay."""

    __slots__ = ("_backoff", "_earliest", "_pause", "_resolve", "due", "under_way")

    def __init__(self, resolve: Callable[[], bool], pause: float, backoff: Backoff) -> None:
        """Looks nothing up yet.

        Args:
            resolve: Begins a look-up; returns False if that may have no outcome (see ``ChannelShell.resolve``).
            pause: Seconds between a look-up that went well and the next one that is requested.
            backoff: The delays behind failures.
        """
        #: Whether an outcome is awaited.
        self.under_way = False
        #: When ``begin`` is to be called next, or None.
        self.due: float | None = None
        self._resolve = resolve
        self._pause = pause
        self._backoff = backoff
        self._earliest = 0.0

    def begin(self, now: float) -> None:
        """Looks the target up, unless that is under way."""
        self.due = None
        if not self.under_way:
            self.under_way = True
            if not self._resolve():
                self.under_way = False
                self._earliest = now + self._pause

    def request(self, now: float) -> None:
        """The addresses don't work: the target is to be looked up as soon as that may be."""
        if not self.under_way and self.due is None:
            self.due = max(self._earliest, now)

    def succeeded(self, now: float) -> None:
        """There are addresses."""
        self.stop()
        self._backoff.reset()
        self._earliest = now + self._pause

    def failed(self, now: float) -> None:
        """There are none."""
        self.under_way = False
        self.due = now + self._backoff.next_delay()

    def reset_backoff(self, now: float) -> None:
        """What is due behind a delay is due now."""
        self._backoff.reset()
        if self.due is not None:
            self.due = now

    def stop(self) -> None:
        """Awaits no outcome any more, and nothing is due."""
        self.under_way = False
        self.due = None
