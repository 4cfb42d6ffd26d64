"""Whether and when a call is tried again (gRFC A6); what carries that out is in ``retrying_call``."""

from collections.abc import Callable

from pygrpc.core.metadata import RawMetadata
from pygrpc.core.service_config import RetryPolicy, RetryThrottling

#: The trailer by which a server says how long to wait before the next attempt, in milliseconds.
PUSHBACK = b"grpc-retry-pushback-ms"
#: The request header that counts the attempts before this one.
PREVIOUS_ATTEMPTS = b"grpc-previous-rpc-attempts"

#: The share of a delay by which it is varied at random, both ways.
_JITTER = 0.2
_LONGEST_PUSHBACK = 2**31


class RetryThrottle:
    """The tokens of one channel: with half of them gone, nothing is tried again until calls go well."""

    def __init__(self, throttling: RetryThrottling) -> None:
        """Starts with all tokens."""
        self._throttling = throttling
        self._tokens = throttling.max_tokens

    @property
    def allows(self) -> bool:
        """Whether another attempt may be made."""
        return 2 * self._tokens > self._throttling.max_tokens

    def failed(self) -> None:
        """An attempt failed in a way that could lead to another one."""
        self._tokens = max(self._tokens - 1000, 0)

    def succeeded(self) -> None:
        """A call went well."""
        self._tokens = min(self._tokens + self._throttling.token_ratio, self._throttling.max_tokens)


def pushback(trailers: RawMetadata) -> float | None:
    """What the server says of the next attempt.

    Returns:
        The delay in seconds; a negative one if there shall be none; None if it says nothing.
    """
    values = [value for key, value in trailers if key == PUSHBACK.decode()]
    if not values:
        return None
    value = values[0]
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    # What can't be read is a no, by the gRFC.
    if len(values) > 1 or not (text.isascii() and text.isdigit()) or int(text[:12]) >= _LONGEST_PUSHBACK:
        return -1.0
    return int(text) / 1000.0


def backoff(policy: RetryPolicy, retries: int, random: Callable[[], float]) -> float:
    """The delay before an attempt, in seconds.

    Args:
        policy: The policy of the call.
        retries: How many delays there were since the server last said how long to wait.
        random: Returns numbers from 0 to 1.
    """
    delay = min(policy.initial_backoff * policy.backoff_multiplier**retries, policy.max_backoff)
    return delay * (1 + _JITTER * (2 * random() - 1))
