"""Which call the service config makes of what the user asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pygrpc.core.call import MessageLimits
from pygrpc.core.call_factory import CallFactory
from pygrpc.core.client_call import ClientCall
from pygrpc.core.retrying_call import RetryingCall
from pygrpc.core.service_config import parse_service_config
from tests.core.channels import FakeShell
from tests.core.pair import ClientEnd
from tests.core.test_service_config import RETRY


def make(fields: dict[str, Any], retry_buffer: int | None = 100, **arguments: Any) -> ClientCall:
    end = ClientEnd()
    config = parse_service_config(json.dumps({"methodConfig": [{"name": [{"service": "a.B"}], **fields}]}))
    asked: dict[str, Any] = {
        "response_streaming": True,
        "timeout": None,
        "limits": MessageLimits(100, -1),
        "send_encoding": None,
        "now": 50.0,
    }
    factory = CallFactory(FakeShell().channel, config, retry_buffer)
    return factory.make(end, "/a.B/C", end.call.request_headers, **{**asked, **arguments})


@pytest.mark.parametrize(
    ("asked", "configured", "deadline"), [(None, None, None), (2.0, None, 52.0), (None, "3s", 53.0), (2.0, "3s", 52.0)]
)
def test_the_shorter_timeout_holds(asked: float | None, configured: str | None, deadline: float | None) -> None:
    assert make({"timeout": configured}, timeout=asked).deadline == deadline


@pytest.mark.parametrize(("configured", "waits"), [(None, False), (True, True), (False, False)])
def test_a_call_waits_for_ready_if_the_config_says_so(configured: bool | None, waits: bool) -> None:
    assert make({"waitForReady": configured}).wait_for_ready is waits


def test_the_lower_limits_hold() -> None:
    limits = make({"maxRequestMessageBytes": 7, "maxResponseMessageBytes": 200})._limits
    assert (limits.receive, limits.send) == (100, 7)
    limits = make({"maxResponseMessageBytes": 50})._limits
    assert (limits.receive, limits.send) == (50, -1)


def test_a_policy_makes_a_call_that_is_tried_again() -> None:
    assert isinstance(make({"retryPolicy": RETRY}), RetryingCall)
    assert isinstance(make({"hedgingPolicy": {"maxAttempts": 2}}), RetryingCall)
    assert type(make({})) is ClientCall


def test_without_retries_nothing_is_tried_again() -> None:
    call = make({"retryPolicy": RETRY}, retry_buffer=None)
    assert type(call) is ClientCall
    assert call._replay is None
