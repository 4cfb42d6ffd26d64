"""Service configs: what a service's owner tells its clients about timeouts, retries and balancing.

The format is JSON (doc/service_config.md in the grpc repository, and gRFCs A2, A6, A17, A21, A24, A62). Reading one is
strict about the fields that are known, as those documents ask, and passes over others.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pygrpc.core.balancing import Balancer, InvalidConfig, find
from pygrpc.status import CODES, StatusCode

#: gRFC A6: the attempts of a call are never more than this.
MAX_ATTEMPTS = 5
_DURATION = re.compile(r"(-?[0-9]{1,12})(\.[0-9]{1,9})?s")
_NUMBERS = re.compile(r"[0-9]{1,18}")


class InvalidServiceConfig(ValueError):
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
    """

    methods: Mapping[str, MethodConfig] = field(default_factory=dict)
    policy: tuple[type[Balancer], Any] | None = None
    throttling: RetryThrottling | None = None
    health_service: str | None = None

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
    reader = _Object(config, "the service config")
    return ServiceConfig(
        methods=_methods(reader),
        policy=parse_policy(reader),
        throttling=reader.object("retryThrottling", _throttling),
        health_service=reader.object("healthCheckConfig", lambda health: health.get("serviceName", str)),
    )


class _Object:
    """A JSON object, and where it is, for error messages."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidServiceConfig(f"{where} must be an object, not {_shown(value)}")
        self._value: dict[str, Any] = value
        self._where = where

    def place(self, name: str) -> str:
        return name if self._where == "the service config" else f"{self._where}.{name}"

    def error(self, name: str, rule: str) -> InvalidServiceConfig:
        return InvalidServiceConfig(f"{self.place(name)} must be {rule}, not {_shown(self._value.get(name))}")

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def get(self, name: str, kind: type) -> Any:
        """The value of a field, or None."""
        value = self._value.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            names = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}
            raise self.error(name, names[kind])
        return value

    def object(self, name: str, read: "Callable[[_Object], Any]") -> Any:
        """What an object becomes, or None."""
        return read(_Object(self._value[name], self.place(name))) if self.has(name) else None

    def objects(self, name: str) -> "list[_Object]":
        """The objects of a list; empty if there is none."""
        return [_Object(each, f"{self.place(name)}[{index}]") for index, each in enumerate(self.get(name, list) or ())]

    def only_key(self) -> str:
        if len(self._value) != 1:
            keys = ", ".join(self._value) or "none"
            raise InvalidServiceConfig(f"{self._where} must have one key, the policy's name, not {keys}")
        return next(iter(self._value))

    def duration(self, name: str) -> float | None:
        """A time in seconds, such as ``1.5s``."""
        value = self._value.get(name)
        if value is None:
            return None
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None or value.startswith("-"):
            raise self.error(name, 'a time in seconds such as "1.5s"')
        return float(value[:-1])

    def positive_duration(self, name: str) -> float:
        seconds = self.duration(name)
        if not seconds:
            raise self.error(name, 'a time above zero, such as "0.1s"')
        return seconds

    def size(self, name: str) -> int | None:
        """A number of bytes, as a number or, like all 64-bit numbers in proto3's JSON, as a string."""
        value = self._value.get(name)
        if isinstance(value, str) and _NUMBERS.fullmatch(value):
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        raise self.error(name, "a number of bytes")

    def number(self, name: str) -> float:
        """A number above zero."""
        value = self._value.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
            raise self.error(name, "a number above zero")
        return value

    def attempts(self) -> int:
        value = self._value.get("maxAttempts")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 2:
            raise self.error("maxAttempts", "a whole number above 1")
        return min(value, MAX_ATTEMPTS)

    def codes(self, name: str) -> frozenset[StatusCode]:
        found = set()
        for value in self.get(name, list) or ():
            code = None
            if isinstance(value, str):
                code = StatusCode.__members__.get(value.upper())
            elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(CODES):
                code = CODES[value]
            if code is None:
                raise InvalidServiceConfig(f"{self.place(name)} has {_shown(value)}, which is no status code")
            found.add(code)
        return frozenset(found)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _methods(config: _Object) -> dict[str, MethodConfig]:
    methods: dict[str, MethodConfig] = {}
    for entry in config.objects("methodConfig"):
        parsed = _method(entry)
        for name in entry.objects("name"):
            service, method = name.get("service", str) or "", name.get("method", str) or ""
            if method and not service:
                raise name.error("service", f"given with the method {method!r}")
            path = f"/{service}/{method}" if service else ""
            if path in methods:
                raise InvalidServiceConfig(f"{entry.place('name')} repeats {path or 'the default'}")
            methods[path] = parsed
    return methods


def _method(entry: _Object) -> MethodConfig:
    if entry.has("retryPolicy") and entry.has("hedgingPolicy"):
        raise InvalidServiceConfig(f"{entry.place('retryPolicy')} and hedgingPolicy exclude each other")
    return MethodConfig(
        timeout=entry.duration("timeout"),
        wait_for_ready=entry.get("waitForReady", bool),
        max_request_bytes=entry.size("maxRequestMessageBytes"),
        max_response_bytes=entry.size("maxResponseMessageBytes"),
        retry=entry.object("retryPolicy", _retry),
        hedging=entry.object("hedgingPolicy", _hedging),
    )


def _retry(policy: _Object) -> RetryPolicy:
    codes = policy.codes("retryableStatusCodes")
    if not codes:
        raise policy.error("retryableStatusCodes", "a list of status codes")
    return RetryPolicy(
        max_attempts=policy.attempts(),
        initial_backoff=policy.positive_duration("initialBackoff"),
        max_backoff=policy.positive_duration("maxBackoff"),
        backoff_multiplier=policy.number("backoffMultiplier"),
        retryable_codes=codes,
    )


def _hedging(policy: _Object) -> HedgingPolicy:
    delay = policy.duration("hedgingDelay") or 0.0
    return HedgingPolicy(policy.attempts(), delay, policy.codes("nonFatalStatusCodes"))


def _throttling(throttling: _Object) -> RetryThrottling:
    tokens = throttling.number("maxTokens")
    if tokens > 1000:
        raise throttling.error("maxTokens", "a number up to 1000")
    # gRFC A6: three decimals count, further ones are dropped.
    ratio = int(throttling.number("tokenRatio") * 1000 + 1e-9)
    if not ratio:
        raise throttling.error("tokenRatio", "at least 0.001")
    return RetryThrottling(int(tokens * 1000), ratio)


def parse_policy(config: Any, where: str = "loadBalancingConfig") -> tuple[type[Balancer], Any] | None:
    """Reads the load balancing policy of a service config, or a list of policies within another's configuration.

    Args:
        config: The service config, or the list.
        where: What the list is called in error messages.

    Returns:
        The first policy of the list that is known, with its configuration; None without a list.

    Raises:
        InvalidServiceConfig: No policy is known, or the configuration of one is wrong.
    """
    if not isinstance(config, _Object):
        config = _Object({where: config}, "the service config")
    entries: Sequence[_Object] = config.objects(where)
    unknown = []
    for entry in entries:
        name = entry.only_key()
        policy = find(name)
        if policy is not None:
            try:
                return policy, policy.parse_config(entry.get(name, dict) or {})
            except InvalidConfig as error:
                raise InvalidServiceConfig(f"{entry.place(name)}: {error}") from None
        unknown.append(name)
    if unknown:
        raise InvalidServiceConfig(f"{config.place(where)} names no policy that is known: {', '.join(unknown)}")
    if where == "loadBalancingConfig" and config.has("loadBalancingPolicy"):
        # The older field, a name in capitals.
        policy = find(config.get("loadBalancingPolicy", str).lower())
        if policy is None:
            raise config.error("loadBalancingPolicy", "the name of a policy that is known")
        return policy, policy.parse_config({})
    return None
