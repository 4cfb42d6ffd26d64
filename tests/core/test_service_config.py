"""Service configs: what is read, and errors that name the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.balancing import PickFirst, RoundRobin
from pygrpc.core.balancing.config import JsonObject, parse_policy
from pygrpc.core.service_config import (
    HedgingPolicy,
    InvalidServiceConfig,
    MethodConfig,
    RetryPolicy,
    RetryThrottling,
    ServiceConfig,
    parse_service_config,
)
from pygrpc.status import StatusCode

RETRY: dict[str, Any] = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
#: As ``RETRY`` is read.
RETRY_READ = RetryPolicy(3, 0.1, 1.0, 2, frozenset([StatusCode.UNAVAILABLE]))


def parse(config: Any) -> ServiceConfig:
    return parse_service_config(json.dumps(config))


def method(**fields: Any) -> MethodConfig:
    found = parse({"methodConfig": [{"name": [{}], **fields}]}).method("/a.B/C")
    assert found is not None
    return found


def test_an_empty_config_says_nothing() -> None:
    assert parse({}) == ServiceConfig()
    assert parse({"somethingNew": [1]}).method("/a.B/C") is None


def test_all_of_a_method_config_is_read() -> None:
    assert method(
        timeout="1.5s",
        waitForReady=True,
        maxRequestMessageBytes="123",
        maxResponseMessageBytes=456,
        retryPolicy=RETRY,
    ) == MethodConfig(1.5, True, 123, 456, RETRY_READ, None)


def test_the_most_specific_name_wins() -> None:
    config = parse(
        {
            "methodConfig": [
                {"name": [{"service": "a.B", "method": "C"}], "timeout": "1s"},
                {"name": [{"service": "a.B"}, {"service": "a.D"}], "timeout": "2s"},
                {"name": [{}], "timeout": "3s"},
            ]
        }
    )
    paths = ["/a.B/C", "/a.B/D", "/a.D/C", "/a.E/C"]
    assert [found and found.timeout for found in map(config.method, paths)] == [1.0, 2.0, 2.0, 3.0]


def test_attempts_are_bounded() -> None:
    assert method(retryPolicy={**RETRY, "maxAttempts": 100}).retry == RetryPolicy(
        5, 0.1, 1.0, 2, frozenset([StatusCode.UNAVAILABLE])
    )


def test_codes_are_names_in_any_case_or_numbers() -> None:
    retry = method(retryPolicy={**RETRY, "retryableStatusCodes": ["unavailable", 1, "ABORTED"]}).retry
    assert retry is not None
    assert retry.retryable_codes == {StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.ABORTED}


def test_a_hedging_policy_has_defaults() -> None:
    assert method(hedgingPolicy={"maxAttempts": 4}).hedging == HedgingPolicy(4, 0.0, frozenset())
    full = {"maxAttempts": 9, "hedgingDelay": "0.25s", "nonFatalStatusCodes": ["INTERNAL"]}
    assert method(hedgingPolicy=full).hedging == HedgingPolicy(5, 0.25, frozenset([StatusCode.INTERNAL]))


def test_throttling_is_exact_to_three_decimals() -> None:
    config = parse({"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1239}})
    assert config.throttling == RetryThrottling(10_000, 123)
    assert parse({"retryThrottling": {"maxTokens": 0.5, "tokenRatio": 1}}).throttling == RetryThrottling(500, 1_000)


def test_the_health_service_is_read() -> None:
    assert parse({"healthCheckConfig": {"serviceName": "a.B"}}).health_service == "a.B"
    assert parse({"healthCheckConfig": {}}).health_service is None


def test_the_first_policy_that_is_known_is_used() -> None:
    policies = [{"from_the_future": {"x": 1}}, {"round_robin": {}}, {"pick_first": {}}]
    assert parse({"loadBalancingConfig": policies}).policy == (RoundRobin, None)
    assert parse({"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}).policy == (PickFirst, True)
    nested = JsonObject({"childPolicy": [{"round_robin": {}}]}, "the configuration", root=True)
    assert parse_policy(nested, "childPolicy") == (RoundRobin, None)


def test_the_old_field_names_a_policy_in_capitals() -> None:
    assert parse({"loadBalancingPolicy": "ROUND_ROBIN"}).policy == (RoundRobin, None)
    both = {"loadBalancingPolicy": "ROUND_ROBIN", "loadBalancingConfig": [{"pick_first": {}}]}
    assert parse(both).policy == (PickFirst, False)


def in_method(**fields: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{}]}, {"name": [{"service": "a.B"}], **fields}]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], r"the service config must be an object, not \[\]"),
        ({"methodConfig": {}}, r"methodConfig must be a list, not \{\}"),
        ({"methodConfig": [1]}, r"methodConfig\[0\] must be an object, not 1"),
        (in_method(name=[{"method": "C"}]), r"methodConfig\[1\].name\[0\].service must be given with the method 'C'"),
        (in_method(name=[{"service": 1}]), r"methodConfig\[1\].name\[0\].service must be a string, not 1"),
        (in_method(name=[{}]), r"methodConfig\[1\].name repeats the default"),
        (in_method(timeout="1"), r'methodConfig\[1\].timeout must be a time in seconds such as "1.5s", not "1"'),
        (in_method(timeout=1), r"methodConfig\[1\].timeout must be a time"),
        (in_method(timeout="-1s"), r"methodConfig\[1\].timeout must be a time"),
        (in_method(timeout="1.0123456789s"), r"methodConfig\[1\].timeout must be a time"),
        (in_method(waitForReady="yes"), r'waitForReady must be true or false, not "yes"'),
        (in_method(maxRequestMessageBytes=-1), r"maxRequestMessageBytes must be a number of bytes, not -1"),
        (in_method(maxResponseMessageBytes="1k"), r'maxResponseMessageBytes must be a number of bytes, not "1k"'),
        (in_method(retryPolicy=[]), r"methodConfig\[1\].retryPolicy must be an object"),
        (in_method(retryPolicy={**RETRY, "maxAttempts": 1}), r"retryPolicy.maxAttempts must be a whole number above 1"),
        (in_method(retryPolicy={**RETRY, "maxAttempts": True}), r"retryPolicy.maxAttempts must be a whole number"),
        (in_method(retryPolicy={**RETRY, "initialBackoff": "0s"}), r"retryPolicy.initialBackoff must be a time above"),
        (in_method(retryPolicy={**RETRY, "maxBackoff": None}), r"retryPolicy.maxBackoff must be .*, not nothing"),
        (in_method(retryPolicy={**RETRY, "backoffMultiplier": 0}), r"backoffMultiplier must be a number above zero"),
        (
            in_method(retryPolicy={**RETRY, "retryableStatusCodes": []}),
            r"retryableStatusCodes must be a list of status",
        ),
        (in_method(retryPolicy={**RETRY, "retryableStatusCodes": ["NO"]}), r'has "NO", which is no status code'),
        (in_method(retryPolicy={**RETRY, "retryableStatusCodes": [17]}), r"has 17, which is no status code"),
        (in_method(hedgingPolicy={}), r"hedgingPolicy.maxAttempts must be a whole number above 1, not nothing"),
        (in_method(hedgingPolicy={"maxAttempts": 2}, retryPolicy=RETRY), r"exclude each other"),
        ({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}, r"retryThrottling.maxTokens must be a number above"),
        ({"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}, r"maxTokens must be a number up to 1000, not 1001"),
        ({"retryThrottling": {"maxTokens": 1, "tokenRatio": 0.0001}}, r"tokenRatio must be at least 0.001"),
        ({"healthCheckConfig": {"serviceName": 1}}, r"healthCheckConfig.serviceName must be a string, not 1"),
        ({"loadBalancingConfig": [{"x": {}}]}, r"loadBalancingConfig names no policy that is known: x"),
        ({"loadBalancingConfig": [{}]}, r"loadBalancingConfig\[0\] must have one key, the policy's name, not none"),
        ({"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": 1}}]}, r"pick_first: shuffleAddressList must"),
        ({"loadBalancingPolicy": "NONSENSE"}, r'loadBalancingPolicy must be the name of .*, not "NONSENSE"'),
    ],
)
def test_what_is_wrong_is_named(config: Any, message: str) -> None:
    with pytest.raises(InvalidServiceConfig, match=message):
        parse(config)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidServiceConfig, match="no JSON"):
        parse_service_config("{")


KEYS = st.sampled_from(
    [
        *("methodConfig", "name", "service", "method", "timeout", "retryPolicy", "hedgingPolicy", "maxAttempts"),
        *("retryThrottling", "maxTokens", "tokenRatio", "loadBalancingConfig", "pick_first", "healthCheckConfig"),
        *("initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes", "waitForReady"),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["1s", "a.B", "OK", ""]) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_json_is_read_or_refused(config: dict[str, Any]) -> None:
    try:
        parsed = parse(config)
    except InvalidServiceConfig:
        return
    assert isinstance(parsed, ServiceConfig)
