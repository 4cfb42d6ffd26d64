"""Service configs: what a service's owner tells its clients about timeouts, retries and balancing.

The format is JSON (doc/service_config.md in the grpc repository, and gRFCs A2, A6, A17, A21, A24, A62). Reading one is
strict about the fields that are known, as those documents ask, and passes over others.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pygrpc.core.balancing import Balancer, InvalidConfig, find
from pygrpc.core.balancing.config import JsonObject, parse_policy, shown
from pygrpc.status import CODES, StatusCode

#: gRFC A6: the attempts of a call are never more than this.
MAX_ATTEMPTS = 5


class InvalidServiceConfig(InvalidConfig):
    """A service config can't be understood; the text names the field."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often a call is tried again (gRFC A6); times in seconds.

    Attributes:
        max_attempts: How often it is tried at most, the first time included.
        initial_backoff: The longest delay before the second attempt.
        max_backoff: The longest delay before any.
        backoff_multiplier: What the delay is multiplied by each time.
        retryable_codes: The status codes that lead to another attempt.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    backoff_multiplier: float
    retryable_codes: frozenset[StatusCode]


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """How a call is tried several times at once (gRFC A6); times in seconds.

    Attributes:
        max_attempts: How often it is tried at most.
        hedging_delay: The time after which the next attempt begins.
        non_fatal_codes: The status codes that don't end the call while other attempts may go well.
    """

    max_attempts: int
    hedging_delay: float
    non_fatal_codes: frozenset[StatusCode]


@dataclass(frozen=True, slots=True)
class RetryThrottling:
    """When a server is spared retries and hedging (gRFC A6); in thousandths of a token, so that the sums are exact.

    Attributes:
        max_tokens: What there is at first, and at most.
        token_ratio: What a call that went well adds; one that failed takes a thousand.
    """

    max_tokens: int
    token_ratio: int


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """What holds for the calls of a method.

    Attributes:
        timeout: The longest time that a call may have, in seconds, or None.
        wait_for_ready: Whether calls wait for ready that don't say themselves; None for the default.
        max_request_bytes: The largest request message, or None.
        max_response_bytes: The largest response message, or None.
        retry: When calls are tried again, or None.
        hedging: How they are tried several times at once, or None.
    """

    timeout: float | None = None
    wait_for_ready: bool | None = None
    max_request_bytes: int | None = None
    max_response_bytes: int | None = None
    retry: RetryPolicy | None = None
    hedging: HedgingPolicy | None = None


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """A service config that has been read.

    Attributes:
        methods: By path: ``/service/method``, ``/service/`` for the other methods of a service, empty for all others.
        policy: The load balancing policy and its configuration, or None for the default.
        throttling: When retries are given up, or None.
        health_service: The service whose health decides whether a backend gets calls, or None.
        max_connections: Connections to one address at most.
    """

    methods: Mapping[str, MethodConfig] = field(default_factory=dict)
    policy: tuple[type[Balancer], Any] | None = None
    throttling: RetryThrottling | None = None
    health_service: str | None = None
    max_connections: int = 1

    def method(self, path: str) -> MethodConfig | None:
        """What holds for a method, by the most specific name.

        Args:
            path: ``/service/method``.
        """
        methods = self.methods
        if not methods:
            return None
        return methods.get(path) or methods.get(path[: path.rfind("/") + 1]) or methods.get("")


def parse_service_config(text: str | bytes) -> ServiceConfig:
    """Reads a service config.

    Raises:
        InvalidServiceConfig: It is no JSON, or a field of it is wrong; the text says which, and what it should be.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InvalidServiceConfig(f"the service config is no JSON: {error}") from None
    try:
        return _service_config(JsonObject(config, "the service config", root=True))
    except InvalidConfig as error:
        raise InvalidServiceConfig(str(error)) from None


def _service_config(config: JsonObject) -> ServiceConfig:
    return ServiceConfig(
        methods=_methods(config),
        policy=parse_policy(config, "loadBalancingConfig") or _older_policy(config),
        throttling=config.object("retryThrottling", _throttling),
        health_service=config.object("healthCheckConfig", lambda health: health.get("serviceName", str)),
        max_connections=config.object("connectionScaling", _max_connections) or 1,
    )


def _max_connections(scaling: JsonObject) -> int:
    return scaling.whole("maxConnectionsPerSubchannel", 1, 0, 2**32 - 1)


def _older_policy(config: JsonObject) -> tuple[type[Balancer], Any] | None:
    # The older field, a name in capitals.
    name = config.get("loadBalancingPolicy", str)
    if name is None:
        return None
    policy = find(name.lower())
    if policy is None:
        raise config.error("loadBalancingPolicy", "the name of a policy that is known")
    return policy, policy.parse_config({})


def _methods(config: JsonObject) -> dict[str, MethodConfig]:
    methods: dict[str, MethodConfig] = {}
    for entry in config.objects("methodConfig"):
        parsed = _method(entry)
        for name in entry.objects("name"):
            service, method = name.get("service", str) or "", name.get("method", str) or ""
            if method and not service:
                raise name.error("service", f"given with the method {method!r}")
            path = f"/{service}/{method}" if service else ""
            if path in methods:
                raise InvalidConfig(f"{entry.place('name')} repeats {path or 'the default'}")
            methods[path] = parsed
    return methods


def _method(entry: JsonObject) -> MethodConfig:
    if entry.has("retryPolicy") and entry.has("hedgingPolicy"):
        raise InvalidConfig(f"{entry.place('retryPolicy')} and hedgingPolicy exclude each other")
    return MethodConfig(
        timeout=entry.duration("timeout"),
        wait_for_ready=entry.get("waitForReady", bool),
        max_request_bytes=entry.size("maxRequestMessageBytes"),
        max_response_bytes=entry.size("maxResponseMessageBytes"),
        retry=entry.object("retryPolicy", _retry),
        hedging=entry.object("hedgingPolicy", _hedging),
    )


def _retry(policy: JsonObject) -> RetryPolicy:
    codes = _codes(policy, "retryableStatusCodes")
    if not codes:
        raise policy.error("retryableStatusCodes", "a list of status codes")
    return RetryPolicy(
        max_attempts=_attempts(policy),
        initial_backoff=policy.positive_duration("initialBackoff"),
        max_backoff=policy.positive_duration("maxBackoff"),
        backoff_multiplier=policy.number("backoffMultiplier"),
        retryable_codes=codes,
    )


def _hedging(policy: JsonObject) -> HedgingPolicy:
    delay = policy.duration("hedgingDelay") or 0.0
    return HedgingPolicy(_attempts(policy), delay, _codes(policy, "nonFatalStatusCodes"))


def _throttling(throttling: JsonObject) -> RetryThrottling:
    tokens = throttling.number("maxTokens")
    if tokens > 1000:
        raise throttling.error("maxTokens", "a number up to 1000")
    # gRFC A6: three decimals count, further ones are dropped.
    ratio = int(throttling.number("tokenRatio") * 1000 + 1e-9)
    if not ratio:
        raise throttling.error("tokenRatio", "at least 0.001")
    return RetryThrottling(int(tokens * 1000), ratio)


def _attempts(policy: JsonObject) -> int:
    attempts = policy.whole("maxAttempts", 0, 2)
    if not attempts:
        raise policy.error("maxAttempts", "a whole number above 1")
    return min(attempts, MAX_ATTEMPTS)


def _codes(policy: JsonObject, name: str) -> frozenset[StatusCode]:
    found = set()
    for value in policy.get(name, list) or ():
        code = None
        if isinstance(value, str):
            code = StatusCode.__members__.get(value.upper())
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(CODES):
            code = CODES[value]
        if code is None:
            raise InvalidConfig(f"{policy.place(name)} has {shown(value)}, which is no status code")
        found.add(code)
    return frozenset(found)
