"""Makes the calls of a channel as its service config wants them: limits, timeouts, retries."""

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall, ClientCallListener, RequestHeaders
from pygrpc.core.deferred_call import DeferredCall
from pygrpc.core.retry import RetryThrottle
from pygrpc.core.retrying_call import RetryHost, RetryingCall
from pygrpc.core.service_config import MethodConfig, ServiceConfig

_NOTHING_SAID = MethodConfig()


class CallFactory:
    """The calls of one channel."""

    def __init__(self, host: RetryHost, config: ServiceConfig, retry_buffer: int | None) -> None:
        """Makes calls as a service config wants them.

        Args:
            host: The channel.
            config: The service config.
            retry_buffer: Bytes of requests that a call with a policy keeps for further attempts; None if nothing is to
                be tried again.
        """
        self.config = ServiceConfig()
        self._host = host
        self._retry_buffer = retry_buffer
        self._throttle: RetryThrottle | None = None
        self.configure(config)

    def configure(self, config: ServiceConfig) -> None:
        """Takes another service config; calls that exist stay as they are, and so do the tokens if they may."""
        if config.throttling != self.config.throttling:
            self._throttle = None if config.throttling is None else RetryThrottle(config.throttling)
        self.config = config

    def make(
        self,
        listener: ClientCallListener,
        path: str,
        request_headers: RequestHeaders,
        *,
        response_streaming: bool,
        timeout: float | None,
        limits: MessageLimits,
        send_encoding: bytes | None,
        now: float,
    ) -> ClientCall:
        """Makes a call, which is to be started. It waits for ready if the service config says so.

        Args:
            listener: Who is told what happens.
            path: ``/service/method``.
            request_headers: Makes the header block of the request.
            response_streaming: Whether any number of responses is right; otherwise exactly one is.
            timeout: The seconds that the user gives it, or None.
            limits: The sizes of messages that the user allows.
            send_encoding: The encoding for requests, or None for identity.
            now: Monotonic time in seconds.
        """
        config = self.config.method(path)
        if config is None:
            config = _NOTHING_SAID
        else:
            timeout = _least(timeout, config.timeout)
            limits = _limits(limits, config)
        deadline = None if timeout is None else now + timeout
        policy = config.retry or config.hedging
        if policy is None or self._retry_buffer is None:
            call = ClientCall(
                listener,
                request_headers,
                response_streaming=response_streaming,
                deadline=deadline,
                limits=limits,
                send_encoding=send_encoding,
            )
            if self._retry_buffer is None:
                call.keep_nothing()
        else:
            call = RetryingCall(
                listener,
                request_headers,
                response_streaming=response_streaming,
                deadline=deadline,
                limits=limits,
                send_encoding=send_encoding,
                policy=policy,
                throttle=self._throttle,
                host=self._host,
                buffer_limit=self._retry_buffer,
            )
        if config.wait_for_ready:
            call.wait_for_ready = True
        return call

    def configure_call(self, call: DeferredCall) -> None:
        """Gives a call what the service config, which is known now, says of it."""
        config = self.config.method(call.path) or _NOTHING_SAID
        policy = None if self._retry_buffer is None else config.retry or config.hedging
        call.configure(config, _limits(call.limits, config), policy, self._throttle)


class DeferringFactory:
    """Makes calls that wait for the service config."""

    def __init__(self, host: RetryHost, retry_buffer: int | None) -> None:
        """Makes calls for a channel; the arguments are those of ``CallFactory``."""
        self._host = host
        self._retry_buffer = retry_buffer

    def make(
        self,
        listener: ClientCallListener,
        path: str,
        request_headers: RequestHeaders,
        *,
        response_streaming: bool,
        timeout: float | None,
        limits: MessageLimits,
        send_encoding: bytes | None,
        now: float,
    ) -> DeferredCall:
        """Makes a call before the service config is known; the arguments are those of ``CallFactory.make``."""
        return DeferredCall(
            listener,
            request_headers,
            response_streaming=response_streaming,
            deadline=None if timeout is None else now + timeout,
            limits=limits,
            send_encoding=send_encoding,
            host=self._host,
            buffer_limit=self._retry_buffer,
            path=path,
            now=now,
        )


#: Makes the calls of a channel.
Calls = CallFactory | DeferringFactory


def _least(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return first if second is None else second
    return min(first, second)


def _lower(limit: int, other: int | None) -> int:
    """The lower one of two limits; -1 and None are none."""
    if other is None:
        return limit
    return other if limit < 0 else min(limit, other)


def _limits(limits: MessageLimits, config: MethodConfig) -> MessageLimits:
    receive, send = config.max_response_bytes, config.max_request_bytes
    return MessageLimits(_lower(limits.receive, receive), _lower(limits.send, send), limits.metadata, limits.encodings)
