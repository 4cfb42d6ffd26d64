"""Calls that are made before the service config is known, because a resolver of the user's own may have one.

Such a call waits until the target is resolved; then it gets the timeout, the limits, the policy and the rest that the
service config has for it, and begins. Only channels to a target with such a resolver make them, and only until it has
answered.
"""

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import REPLAY_LIMIT, ClientCallListener, RequestHeaders
from pygrpc.core.retry import RetryThrottle
from pygrpc.core.retrying_call import RetryHost, RetryingCall
from pygrpc.core.service_config import HedgingPolicy, MethodConfig, RetryPolicy

_ONE_ATTEMPT = RetryPolicy(1, 0.0, 0.0, 1.0, frozenset())


class DeferredCall(RetryingCall):
    """A call that knows its service config only when it begins."""

    #: What the user says; None for what the service config says.
    wait_for_ready: bool | None = None

    def __init__(
        self,
        listener: ClientCallListener,
        request_headers: RequestHeaders,
        *,
        response_streaming: bool,
        deadline: float | None,
        limits: MessageLimits,
        send_encoding: bytes | None,
        host: RetryHost,
        buffer_limit: int | None,
        path: str,
        now: float,
    ) -> None:
        """Makes a call that has not begun.

        Args:
            listener: Who is told what happens.
            request_headers: Makes the header block of the request.
            response_streaming: Whether any number of responses is right; otherwise exactly one is.
            deadline: When the user wants the call to end, in monotonic seconds, or None.
            limits: The sizes of messages that the user allows.
            send_encoding: The encoding for requests, or None for identity.
            host: The channel.
            buffer_limit: Bytes of requests that are kept for further attempts; None if there shall be none.
            path: ``/service/method``.
            now: Monotonic time in seconds.
        """
        super().__init__(
            listener,
            request_headers,
            response_streaming=response_streaming,
            deadline=deadline,
            limits=limits,
            send_encoding=send_encoding,
            policy=_ONE_ATTEMPT,
            throttle=None,
            host=host,
            buffer_limit=REPLAY_LIMIT if buffer_limit is None else buffer_limit,
        )
        self.path = path
        self._made_at = now
        self._kept_if_refused = buffer_limit is not None

    @property
    def limits(self) -> MessageLimits:
        """The sizes of messages allowed."""
        return self._limits

    def configure(
        self,
        config: MethodConfig,
        limits: MessageLimits,
        policy: RetryPolicy | HedgingPolicy | None,
        throttle: RetryThrottle | None,
    ) -> None:
        """Takes what the service config says of the call, which is to begin.

        Args:
            config: What holds for its method.
            limits: The sizes of messages allowed from now on.
            policy: When it is tried again, or None.
            throttle: The tokens of the channel, or None.
        """
        if config.timeout is not None:
            # It counts from the beginning of the call, as the user's own timeout does.
            deadline = self._made_at + config.timeout
            self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)
        if self.wait_for_ready is None:
            self.wait_for_ready = bool(config.wait_for_ready)
        self._limits = limits
        if policy is not None:
            self._policy, self._throttle = policy, throttle

    def begin(self) -> None:
        """Makes the first attempt."""
        super().begin()
        # Who writes may wait since before that.
        self._listener.on_writable()

    @property
    def backlogged(self) -> bool:
        """Whether a writer should wait for its ``writable`` notice before it writes more."""
        return super().backlogged if self._begun else self._requests_size >= self._buffer_limit
