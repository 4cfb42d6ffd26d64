"""When a stream that broke off is taken up again, and when it is given up.

The channel retries calls that have had no response (see `ClientOptions.service_config`). One that has had some cannot
be repeated blindly: only its client knows where to go on. This is the pace at which clients do so.
"""

from __future__ import annotations

import asyncio
import random

from pygrpc import StatusCode
from pygrpc.services.clients.errors import ServiceError

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
#: The server has ended the call for a reason that is over once the client calls again, or soon after.
_PASSING_REASONS = frozenset(("READER_TOO_SLOW", "UPLOAD_IDLE", "UPLOAD_BUSY", "OFFSET_BEYOND_UPLOAD"))


def passes(error: ServiceError) -> bool:
    """Tells whether it makes sense to take a stream up again that ended with this error."""
    return error.code is StatusCode.UNAVAILABLE or error.retry_after is not None or error.reason in _PASSING_REASONS


class Pacing:
    """The pace of one stream: delays that grow while nothing moves on, up to the end of the client's patience."""

    def __init__(self, patience: float) -> None:
        """Makes the pace of a stream that has not begun: its first failure is final.

        Args:
            patience: How long it may fail without any progress in between, in seconds.
        """
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._delay = _FIRST_DELAY
        self._begun = False
        self._failing_since: float | None = None

    def begin(self) -> None:
        """To be called when the server has taken the call: from now on, a failure is no longer final."""
        self._begun = True

    def progressed(self) -> None:
        """To be called when something has come of the stream."""
        self._begun = True
        self._delay = _FIRST_DELAY
        self._failing_since = None

    async def after(self, error: ServiceError) -> None:
        """Waits until the stream is to be taken up again.

        Args:
            error: How it ended.

        Raises:
            ServiceError: That error, if it is final, or patience is at its end.
        """
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        left = self._failing_since + self._patience - now
        delay = max(self._delay * random.uniform(0.8, 1.2), error.retry_after or 0.0)
        if not self._begun or not passes(error) or delay > left:
            raise error
        self._delay = min(2 * self._delay, _LONGEST_DELAY)
        await asyncio.sleep(delay)
