"""How much may be on its way: the estimate of the bandwidth-delay product that flow-control windows follow.

A window that is smaller than what fits on the path in one round trip makes the sender stop and wait. So when much is
being received, a PING goes out, and the bytes that come until it is answered are counted: about one round trip's worth.
If they nearly fill a stream's window, and came faster than ever before, the window was what held them up, and it grows.
gRPC's other implementations do the same.
"""

#: How far windows grow on their own, in bytes: 8 MiB for each 100 ms of round trip are 670 Mbit/s.
LARGEST_WINDOW = 8 << 20
#: Seconds between probes: at first and behind one that let the window grow, and at most.
_SHORTEST_DELAY, _LONGEST_DELAY = 0.1, 10.0


class BandwidthProbe:
    """Decides when to measure, and what a measurement means.

    A probe is only worth a PING while much comes, so whoever owns it asks each time when it gives the peer credit for a
    good part of the connection's window.
    """

    __slots__ = ("_best", "_bytes", "_delay", "_next_at", "_sent_at", "window")

    def __init__(self, window: int) -> None:
        """Makes a probe that has measured nothing.

        Args:
            window: The window of a stream, in bytes.
        """
        self.window = window
        #: Bytes per second of the best measurement.
        self._best = 0.0
        #: What had been received when the PING went out that is still to be answered, and when that was.
        self._bytes = 0
        self._sent_at: float | None = None
        self._delay = _SHORTEST_DELAY
        self._next_at = 0.0

    def begin(self, received: int, now: float) -> bool:
        """Returns whether to send a PING now.

        Args:
            received: All bytes of DATA that the connection has received so far.
            now: Monotonic time in seconds.
        """
        if self._sent_at is not None or now < self._next_at or self.window >= LARGEST_WINDOW:
            return False
        self._bytes = received
        self._sent_at = now
        return True

    def end(self, received: int, now: float) -> bool:
        """Takes the answer to the PING; returns whether ``window`` has grown."""
        if self._sent_at is None:
            return False
        sample, elapsed = received - self._bytes, now - self._sent_at
        self._sent_at = None
        if elapsed > 0 and 3 * sample > 2 * self.window and sample / elapsed > self._best:
            self._best = sample / elapsed
            self.window = min(max(2 * self.window, sample), LARGEST_WINDOW)
            self._delay = _SHORTEST_DELAY
            grown = True
        else:
            self._delay = min(2 * self._delay, _LONGEST_DELAY)
            grown = False
        self._next_at = now + self._delay
        return grown
