"""Client-side health checking: asks a server, on a connection that the channel has, how one of its services is.

gRFC A17. The watch is a call ``grpc.health.v1.Health/Watch``, whose two messages are small enough to be read and
written by hand. It begins with the connection and goes on as long as that takes calls. When it ends it begins again,
behind a delay unless the server had answered; a server that doesn't know the method counts as healthy.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core import protowire
from pygrpc.core.backoff import Backoff
from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall, RequestHeaders
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")

#: The method.
WATCH = "/grpc.health.v1.Health/Watch"
#: Bytes of an answer that is read; it has one field.
_LIMITS = MessageLimits(receive=1024, send=-1)
#: ``HealthCheckResponse.ServingStatus``.
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1

#: Runs something as one step of the channel, at a time in monotonic seconds.
Act = Callable[[Callable[[], object], float], None]


class Watched(Protocol):
    """The subchannel whose server is asked."""

    def hold(self, by: object, state: ChannelConnectivity, reason: str) -> None:
        """It is to be taken for something else than ready."""

    def release(self, by: object) -> None:
        """It is to be taken for what it is."""


class WatchCall(ClientCall):
    """A call that the channel makes for itself."""

    internal = True


def request(service: str) -> bytes:
    """The message ``HealthCheckRequest``."""
    return protowire.encode_bytes(1, service.encode()) if service else b""


def serving_status(response: bytes) -> int:
    """The status in a message ``HealthCheckResponse``.

    Raises:
        ValueError: The message breaks the format of protobuf.
    """
    status = 0
    for number, kind, value in protowire.fields(response):
        if number == 1 and kind == protowire.VARINT and isinstance(value, int):
            status = value
    return status


class HealthCheck:
    """The health of one service on one connection at a time."""

    def __init__(self, watched: Watched, service: str, headers: RequestHeaders, backoff: Backoff, act: Act) -> None:
        """Makes a check that has not begun.

        Args:
            watched: The subchannel.
            service: The name of the service; empty for the server as a whole.
            headers: Makes the header block of the watch.
            backoff: The delays between watches that bring nothing.
            act: Runs what a notice of the watch leads to.
        """
        self.service = service
        self._watched = watched
        self._headers = headers
        self._backoff = backoff
        self._act = act
        self._connection: ClientConnection | None = None
        self._call: WatchCall | None = None
        self._answered = False
        self._retry_at: float | None = None

    def begin(self, connection: ClientConnection, now: float) -> None:
        """There is a connection; until the server has answered on it, it is to have no calls."""
        self._stop()
        self._connection = connection
        self._backoff.reset()
        self._watch(now)

    def end(self) -> None:
        """There is no connection any more, or nobody wants to know."""
        self._stop()
        self._watched.release(self)

    def _stop(self) -> None:
        call, self._call = self._call, None
        self._connection = self._retry_at = None
        if call is not None:
            call.cancel()

    def uses(self, connection: ClientConnection) -> bool:
        """Whether it needs another connection when this one takes no more calls."""
        watching = None if self._call is None else self._call.connection
        return connection is self._connection or connection is watching

    def _watch(self, now: float) -> None:
        connection = self._connection
        if connection is None or connection.draining:
            return
        self._watched.hold(self, ChannelConnectivity.CONNECTING, "")
        self._answered = False
        call = self._call = WatchCall(
            _Listener(self, connection),
            self._headers,
            response_streaming=True,
            deadline=None,
            limits=_LIMITS,
        )
        # If the server refuses it there is another one, behind the delay.
        call.keep_nothing()
        call.send_message(request(self.service))
        call.half_close()
        connection.now = now
        connection.start(call)

    # What the watch brings.

    def answer(self, call: ClientCall) -> None:
        """There are messages."""
        while call is self._call and (response := call.read_message()) is not None:
            self._answered = True
            self._backoff.reset()
            try:
                status = serving_status(response)
            except ValueError as error:
                self._unhealthy(f"its answer can't be read: {error}")
                continue
            if status == _SERVING:
                self._watched.release(self)
            else:
                name = _STATUSES[status] if status < len(_STATUSES) else str(status)
                self._unhealthy(f"the service {self.service!r} is {name}")

    def over(self, call: ClientCall, status: Status, now: float) -> None:
        """The watch has ended."""
        if call is not self._call:
            return
        self._call = None
        if status.code is StatusCode.UNIMPLEMENTED:
            _LOGGER.error("%s knows no health checks, and so counts as healthy", self._watched)
            self._watched.release(self)
            return
        self._unhealthy(f"the watch of its health ended with {status.code.name}: {status.details}")
        self._retry_at = now if self._answered else now + self._backoff.next_delay()

    def _unhealthy(self, reason: str) -> None:
        self._watched.hold(self, ChannelConnectivity.TRANSIENT_FAILURE, f"{self._watched}: {reason}")

    def notice(self, action: Callable[[], object], now: float) -> None:
        """The connection has told something, and knows the time."""
        self._act(action, now)

    # Time.

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` is to be called, or None."""
        return self._retry_at

    def handle_timeout(self, now: float) -> None:
        """Watches again, if that is due."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._watch(now)


class _Listener:
    """Passes on what one watch brings."""

    def __init__(self, check: HealthCheck, connection: ClientConnection) -> None:
        self._check = check
        self._connection = connection

    def on_started(self) -> None: ...

    def on_initial_metadata(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_message(self) -> None:
        check, call = self._check, self._check._call
        if call is not None:
            check.notice(lambda: check.answer(call), self._connection.now)

    def on_done(self) -> None:
        check, call, now = self._check, self._check._call, self._connection.now
        if call is not None and call.status is not None:
            status = call.status
            check.notice(lambda: check.over(call, status, now), now)
