"""A channel's way to a connection: its state, the calls that wait, when to try (doc/connectivity-semantics-and-api.md).

    IDLE --wanted--> CONNECTING --ready--> READY --connection left--> IDLE
                       |      ^
                 failed|      |delay is over, and a call waits for ready
                       v      |
                    TRANSIENT_FAILURE --ready--> READY

Every state goes to SHUTDOWN, and stays there. A shell makes the attempts, one at a time: it asks ``attempt_at`` when
the next one is due, calls ``attempt_begins`` and then ``attempt_failed`` or ``connected``. Once a connection has been
wanted the attempts go on until one works, with growing delays (doc/connection-backoff.md).

While nothing is connected, calls wait here. A failed attempt fails those that do not wait for ready, and in
TRANSIENT_FAILURE such calls fail at once (doc/wait-for-ready.md).
"""

from collections.abc import Callable

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff
from pygrpc.core.client_call import ClientCall
from pygrpc.core.status import Status
from pygrpc.status import StatusCode


class Connectivity:
    """The state of one channel and the calls that wait for it to be ready."""

    def __init__(self, backoff: Backoff, on_change: Callable[[ChannelConnectivity], None]) -> None:
        """Starts in IDLE.

        Args:
            backoff: The delays between attempts.
            on_change: Told each new state.
        """
        self.state = ChannelConnectivity.IDLE
        #: Why the last attempt failed, for people.
        self.last_error = "not connected"
        self._backoff = backoff
        self._on_change = on_change
        #: Calls that wait for a connection, in order, with whether they wait for ready.
        self._waiting: dict[ClientCall, bool] = {}
        self._wanted = False
        self._attempting = False
        self._attempt_began = 0.0
        self._retry_at = 0.0

    @property
    def waiting(self) -> list[ClientCall]:
        """The calls that wait for a connection."""
        return list(self._waiting)

    @property
    def attempting(self) -> bool:
        """Whether an attempt to connect is under way."""
        return self._attempting

    def _move(self, state: ChannelConnectivity) -> None:
        if state is not self.state and self.state is not ChannelConnectivity.SHUTDOWN:
            self.state = state
            self._on_change(state)

    # What users want.

    def want(self) -> None:
        """Somebody wants the channel to connect if it is idle."""
        if self.state is ChannelConnectivity.IDLE:
            self._wanted = True

    def admit(self, call: ClientCall, wait_for_ready: bool) -> None:
        """Takes a call that finds no connection: it waits for one, or fails at once."""
        if self.state is ChannelConnectivity.TRANSIENT_FAILURE and not wait_for_ready:
            call.cancel(Status(StatusCode.UNAVAILABLE, self.last_error))
        else:
            self._wait(call, wait_for_ready)

    def _wait(self, call: ClientCall, wait_for_ready: bool) -> None:
        self._waiting[call] = wait_for_ready
        self._wanted = True
        call.stop_waiting = lambda: self._waiting.pop(call, None)

    # Attempts.

    def attempt_at(self) -> float | None:
        """When the next attempt is due, in monotonic seconds, which may be past; None while none is to be made."""
        if self._attempting or not self._wanted or self.state is ChannelConnectivity.SHUTDOWN:
            return None
        return self._retry_at

    def attempt_begins(self, now: float) -> None:
        """The shell begins to connect."""
        self._attempting = True
        self._attempt_began = now
        if self.state is not ChannelConnectivity.TRANSIENT_FAILURE or any(self._waiting.values()):
            self._move(ChannelConnectivity.CONNECTING)

    def attempt_failed(self, reason: str) -> None:
        """No address of the target could be reached."""
        self._attempting = False
        self.last_error = reason
        self._retry_at = self._attempt_began + self._backoff.next_delay()
        if self.state is ChannelConnectivity.SHUTDOWN:
            return
        for call, wait_for_ready in list(self._waiting.items()):
            if not wait_for_ready:
                call.cancel(Status(StatusCode.UNAVAILABLE, reason))
        self._move(ChannelConnectivity.TRANSIENT_FAILURE)

    def connected(self) -> list[tuple[ClientCall, bool]]:
        """A connection is ready.

        Returns:
            The calls that waited for it, with whether they wait for ready; they are to be started now, in order.
        """
        self._attempting = False
        self._wanted = False
        self._retry_at = 0.0
        self._backoff.reset()
        self._move(ChannelConnectivity.READY)
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.stop_waiting = None
        return list(waiting.items())

    # The end of a connection.

    def connection_left(self) -> None:
        """The connection that was ready takes no more calls."""
        if self.state is not ChannelConnectivity.SHUTDOWN:
            self._move(ChannelConnectivity.IDLE)

    def shut_down(self) -> None:
        """The channel is closed; the calls that wait are the shell's to cancel."""
        self._wanted = False
        self._move(ChannelConnectivity.SHUTDOWN)
