"""A call that is tried more than once: retries and hedging (gRFC A6).

To its user and to the shells it is a ``ClientCall``. It is on no connection itself: each attempt is a call of its own,
and sends what the user has sent so far. As soon as the response headers of an attempt arrive, the call is *committed*
to it: the other attempts are cancelled, and from then on this one is the call. Messages are kept for further attempts
until then; when they exceed the limit, the call commits as well.
"""

from collections.abc import Callable
from typing import Protocol

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import CANCELLED_LOCALLY, ClientCall, ClientCallListener, ClientState, RequestHeaders
from pygrpc.core.deadlines import Appointment
from pygrpc.core.metadata import Header
from pygrpc.core.retry import PREVIOUS_ATTEMPTS, RetryThrottle, backoff, pushback
from pygrpc.core.service_config import HedgingPolicy, RetryPolicy
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_ANOTHER_WON = Status(StatusCode.CANCELLED, "another attempt of the call was faster")


class RetryHost(Protocol):
    """The channel, as far as a call needs it that is tried again."""

    @property
    def now(self) -> float:
        """Monotonic time in seconds."""

    @property
    def random(self) -> Callable[[], float]:
        """Returns numbers from 0 to 1, 1 excluded."""

    def start(self, call: ClientCall, now: float) -> None:
        """Gives an attempt to a connection."""

    def call_at(self, when: float, action: Callable[[], object]) -> Appointment:
        """Has something done later."""


class _Attempt:
    """One attempt: its call, and what the call tells."""

    def __init__(self, owner: "RetryingCall", headers: RequestHeaders) -> None:
        self._owner = owner
        limits, encoding = owner._limits, owner._send_encoding
        self.call = ClientCall(
            self,
            headers,
            response_streaming=owner._response_streaming,
            deadline=owner.deadline,
            limits=limits,
            send_encoding=encoding,
        )
        self.call.wait_for_ready = owner.wait_for_ready
        if not owner._kept_if_refused:
            self.call.keep_nothing()

    def on_started(self) -> None:
        self._owner._attempt_started()

    def on_initial_metadata(self) -> None:
        # Told at the end, too, if there were no headers; that is no reason to commit.
        if self.call.state is ClientState.RECEIVING:
            self._owner._commit(self)
            self._owner._attempt_answered()

    def on_message(self) -> None:
        self._owner._listener.on_message()

    def on_writable(self) -> None:
        self._owner._listener.on_writable()

    def on_done(self) -> None:
        self._owner._attempt_over(self)


class RetryingCall(ClientCall):
    """A call with a retry or a hedging policy."""

    #: Whether an attempt that the server refuses unseen is started again.
    _kept_if_refused = True

    def __init__(
        self,
        listener: ClientCallListener,
        request_headers: RequestHeaders,
        *,
        response_streaming: bool,
        deadline: float | None,
        limits: MessageLimits,
        send_encoding: bytes | None = None,
        policy: RetryPolicy | HedgingPolicy,
        throttle: RetryThrottle | None,
        host: RetryHost,
        buffer_limit: int,
    ) -> None:
        """Makes a call that has not begun.

        Args:
            listener: Who is told what happens.
            request_headers: Makes the header block of the request.
            response_streaming: Whether any number of responses is right; otherwise exactly one is.
            deadline: When the call has to end with all its attempts, in monotonic seconds, or None.
            limits: The sizes of messages allowed.
            send_encoding: The encoding for requests, or None for identity.
            policy: When it is tried again.
            throttle: The tokens of the channel, or None.
            host: The channel.
            buffer_limit: Bytes of requests that are kept for further attempts.
        """
        super().__init__(
            listener,
            request_headers,
            response_streaming=response_streaming,
            deadline=deadline,
            limits=limits,
            send_encoding=send_encoding,
        )
        self._policy = policy
        self._throttle = throttle
        self._host = host
        self._buffer_limit = buffer_limit
        self._begun = False
        self._made = 0
        #: Whether the first attempt is the only one, because there is too much to keep.
        self._only_once = False
        #: Delays since the server last said how long to wait.
        self._delays = 0
        #: The attempts that go on; the only one once the call is committed.
        self._attempts: list[_Attempt] = []
        self._committed: _Attempt | None = None
        self._requests: list[tuple[bytes, bool]] = []
        self._requests_size = 0
        self._half_closed = False
        #: When the next attempt is due, if it is known.
        self._appointment: Appointment | None = None
        #: How the last attempt ended.
        self._last_status = CANCELLED_LOCALLY

    # What the user does.

    def send_message(self, payload: bytes, compress: bool = True) -> bool:
        """Queues a request message; returns False if the call has ended, or ends because of the message's size."""
        if self.state in (ClientState.DRAINING, ClientState.DONE):
            return False
        if self._committed is not None:
            return self._committed.call.send_message(payload, compress)
        if not self._within_limit(payload):
            return False
        self._requests.append((payload, compress))
        self._requests_size += len(payload)
        for attempt in list(self._attempts):
            attempt.call.send_message(payload, compress)
        if self._requests_size > self._buffer_limit:
            self._commit_to_best()
        return not self.ended

    def half_close(self) -> None:
        """No more requests follow."""
        if not self._half_closed:
            self._half_closed = True
            for attempt in list(self._attempts):
                attempt.call.half_close()

    def cancel(self, status: Status = CANCELLED_LOCALLY) -> bool:
        """Ends the call and all its attempts; returns False if it had ended before."""
        if self.state is ClientState.DONE:
            return False
        if self.stop_waiting is not None:
            stop_waiting, self.stop_waiting = self.stop_waiting, None
            stop_waiting()
        self._cancel_attempts(status)
        self._finish(status)
        return True

    @property
    def has_message(self) -> bool:
        """Whether read_message would return a message."""
        return self._committed is not None and self._committed.call.has_message

    def read_message(self) -> bytes | None:
        """Takes the next response, or None if none is waiting; the last one may complete the call."""
        return None if self._committed is None else self._committed.call.read_message()

    @property
    def backlogged(self) -> bool:
        """Whether a writer should wait for its ``writable`` notice before it writes more."""
        return any(attempt.call.backlogged for attempt in self._attempts)

    # Attempts.

    def begin(self) -> None:
        """Makes the first attempt."""
        if not self._begun:
            self._begun = True
            self._try()

    def _now(self) -> float:
        # What an attempt tells comes from its connection, whose clock is ahead of the channel's then.
        return max(self._host.now, *(each.call.connection.now for each in self._attempts if each.call.connection), 0.0)

    def _headers(self) -> RequestHeaders:
        previous = self._made
        build = self.request_headers
        if not previous:
            return build

        def with_count(timeout: float | None) -> list[Header]:
            return [*build(timeout), (PREVIOUS_ATTEMPTS, b"%d" % previous)]

        return with_count

    def _try(self) -> None:
        """Makes the next attempt."""
        attempt = _Attempt(self, self._headers())
        now = self._now()
        self._made += 1
        self._attempts.append(attempt)
        if isinstance(self._policy, HedgingPolicy) and self._made < self._most_attempts():
            self._appoint(now + self._policy.hedging_delay)
        self._host.start(attempt.call, now)
        for payload, compress in self._requests:
            attempt.call.send_message(payload, compress)
        if self._half_closed:
            attempt.call.half_close()

    def _appoint(self, when: float) -> None:
        self._cancel_appointment()
        self._appointment = self._host.call_at(when, self._on_appointment)

    def _cancel_appointment(self) -> None:
        if self._appointment is not None:
            self._appointment.cancel()
            self._appointment = None

    def _on_appointment(self) -> None:
        self._appointment = None
        if not self._attempts or self._may_go_on():
            self._try()

    def _most_attempts(self) -> int:
        return 1 if self._only_once else self._policy.max_attempts

    def _may_go_on(self) -> bool:
        return self._throttle is None or self._throttle.allows

    # What attempts tell.

    def _attempt_started(self) -> None:
        if self.state is ClientState.IDLE:
            self.started()

    def _attempt_answered(self) -> None:
        assert self._committed is not None
        if self.state is ClientState.AWAITING_HEADERS:
            self.state = ClientState.RECEIVING
        self.initial_metadata = self._committed.call.initial_metadata
        self._listener.on_initial_metadata()

    def _attempt_over(self, attempt: _Attempt) -> None:
        if attempt not in self._attempts:
            return
        now = self._now()
        self._attempts.remove(attempt)
        status = attempt.call.status
        assert status is not None
        self._last_status = status
        delay = self._delay(status)
        if attempt is self._committed or delay is None:
            self._cancel_attempts(_ANOTHER_WON)
            self._finish(status)
        elif delay >= 0:
            self._appoint(now + delay)
        elif not self._attempts and self._appointment is None:
            self._finish(status)

    def _delay(self, status: Status) -> float | None:
        """What follows from the end of an attempt.

        Returns:
            None if that is the end of the call, a delay in seconds if there is to be another attempt because of it, and
            a negative number if that depends on other attempts.
        """
        policy = self._policy
        if status.code is StatusCode.OK:
            if self._throttle is not None:
                self._throttle.succeeded()
            return None
        hedging = isinstance(policy, HedgingPolicy)
        codes = policy.non_fatal_codes if isinstance(policy, HedgingPolicy) else policy.retryable_codes
        wanted = pushback(status.metadata)
        if self._throttle is not None and (status.code in codes or (wanted is not None and wanted < 0)):
            self._throttle.failed()
        if status.code not in codes:
            return None
        if wanted is not None and wanted < 0:
            self._made = policy.max_attempts
            self._cancel_appointment()
        if self._made >= self._most_attempts() or not self._may_go_on():
            if hedging and not self._may_go_on():
                self._cancel_appointment()
            return -1.0 if hedging else None
        if wanted is not None:
            self._delays = 0
            return wanted
        if isinstance(policy, HedgingPolicy):
            return 0.0
        self._delays += 1
        return backoff(policy, self._delays - 1, self._host.random)

    def _fail(self, status: Status) -> None:
        self.cancel(status)

    # Commitment and end.

    def _commit(self, attempt: _Attempt) -> None:
        if self._committed is None:
            self._committed = attempt
            self._requests = []
            self._cancel_appointment()
            self._cancel_attempts(_ANOTHER_WON, keep=attempt)

    def _commit_to_best(self) -> None:
        """The kept messages are too many: the attempt that is ahead becomes the call."""
        if self._attempts:
            self._commit(min(self._attempts, key=lambda attempt: attempt.call.pending_bytes))
        elif self._begun:
            self._finish(self._last_status)
        else:
            # Nothing is under way yet.
            self._only_once = True

    def _cancel_attempts(self, status: Status, keep: _Attempt | None = None) -> None:
        attempts, self._attempts = self._attempts, [keep] if keep is not None else []
        for attempt in attempts:
            if attempt is not keep:
                attempt.call.cancel(status)

    def _finish(self, status: Status) -> None:
        """Ends the call for the user, who has read all messages."""
        self._cancel_appointment()
        self._requests = []
        if self.state in (ClientState.DRAINING, ClientState.DONE):
            return
        if self._committed is not None and self.initial_metadata is None:
            self.initial_metadata = self._committed.call.initial_metadata
        self._committed = None
        self._conclude(status)
