"""Calls that are made before the service config is known (core/deferred_call.py), with an explicit clock."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pygrpc import StatusCode
from pygrpc.core.call import MessageLimits
from pygrpc.core.channel_shell import ChannelSettings
from pygrpc.core.client_call import ClientCall
from pygrpc.core.deferred_call import DeferredCall
from pygrpc.core.framing import frame_message
from pygrpc.core.retrying_call import RetryingCall
from pygrpc.core.service_config import InvalidServiceConfig, parse_service_config
from tests.core.channels import CONNECTING, FAILED, IDLE, SETTINGS, FakeShell, endpoint
from tests.core.pair import RESPONSE, ClientEnd, RawPeer
from tests.core.test_service_config import RETRY


class Bench:
    """A channel whose resolver may have a service config, and which has not answered yet."""

    def __init__(self, settings: ChannelSettings = SETTINGS) -> None:
        self.shell = FakeShell(settings, awaits_config=True)
        self.channel = self.shell.channel

    def make(self, wait_for_ready: bool | None = None, timeout: float | None = None, limit: int = -1) -> ClientEnd:
        """Makes a call, as the shells do, without starting it."""
        client = ClientEnd()
        client.call = self.channel.calls.make(
            client,
            "/a.B/C",
            client.call.request_headers,
            response_streaming=True,
            timeout=timeout,
            limits=MessageLimits(-1, limit),
            send_encoding=None,
            now=self.shell.now,
        )
        if wait_for_ready is not None:
            client.call.wait_for_ready = wait_for_ready
        return client

    def start(self, client: ClientEnd) -> ClientEnd:
        """Starts a call."""
        self.channel.start(client.call, self.shell.now)
        return client

    def call(self, **arguments: Any) -> ClientEnd:
        """Makes a call with one request, and starts it."""
        return self.start(self.make(**arguments)).send(b"x")

    def resolved(self, *names: str, **method: Any) -> None:
        """The resolver answers."""
        config = parse_service_config(json.dumps({"methodConfig": [{"name": [{}], **method}]})) if method else None
        self.channel.resolved([endpoint(name) for name in names], self.shell.now, config)

    def answered(self, peer: RawPeer) -> list[int]:
        """The streams that have come to a server."""
        peer.receive()
        return list(dict.fromkeys(frame.stream_id for frame in peer.frames if hasattr(frame, "fields")))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_call_waits_for_the_config_and_is_sent_then(bench: Bench) -> None:
    call = bench.call()
    assert isinstance(call.call, DeferredCall)
    assert bench.channel.state is CONNECTING
    assert bench.channel.all_calls() == [call.call]
    bench.resolved("a", timeout="5s")
    peer = bench.shell.answer("a")
    assert bench.answered(peer) == [1]
    assert peer.messages(1) == [b"x"]
    peer.send(peer.headers(1, RESPONSE), peer.data(1, frame_message(b"y")))
    peer.send(peer.headers(1, [(b"grpc-status", b"0")], True))
    assert call.read() == [b"y"]
    assert call.code is StatusCode.OK
    assert bench.channel.all_calls() == []
    # Calls that follow are plain ones.
    assert type(bench.call().call) is ClientCall


def test_without_a_config_the_channels_own_holds(bench: Bench) -> None:
    call = bench.call()
    bench.resolved("a")
    assert bench.answered(bench.shell.answer("a")) == [1]
    assert call.call.deadline is None


def test_the_timeout_counts_from_the_beginning_of_the_call(bench: Bench) -> None:
    long, short = bench.call(timeout=60.0), bench.call(timeout=2.0)
    bench.shell.wait(3.0)
    bench.resolved("a", timeout="5s")
    bench.shell.answer("a")
    assert long.call.deadline == 105.0
    assert short.call.deadline == 102.0
    bench.shell.wait(1.9)
    assert long.code is None
    bench.shell.wait(0.2)
    assert long.code is StatusCode.DEADLINE_EXCEEDED


def test_a_timeout_that_is_over_when_it_becomes_known(bench: Bench) -> None:
    call = bench.call()
    bench.shell.wait(9.0)
    bench.resolved("a", timeout="5s")
    bench.shell.wait(0.0)
    assert call.code is StatusCode.DEADLINE_EXCEEDED


def test_the_policy_of_the_config_holds(bench: Bench) -> None:
    call = bench.call()
    bench.resolved("a", retryPolicy=RETRY)
    peer = bench.shell.answer("a")
    assert bench.answered(peer) == [1]
    peer.send(peer.headers(1, [*RESPONSE, (b"grpc-status", b"14")], True))
    assert call.code is None
    bench.shell.wait(1.0)
    assert bench.answered(peer) == [1, 3]
    assert peer.messages(3) == [b"x"]


def test_without_a_policy_there_is_one_attempt(bench: Bench) -> None:
    call = bench.call()
    bench.resolved("a")
    peer = bench.shell.answer("a")
    bench.answered(peer)
    peer.send(peer.headers(1, [*RESPONSE, (b"grpc-status", b"14")], True))
    assert call.code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("enabled", [True, False])
def test_a_call_that_is_refused_unseen_is_sent_again_if_it_may(enabled: bool) -> None:
    bench = Bench(replace(SETTINGS, enable_retries=enabled))
    call = bench.call()
    bench.resolved("a", retryPolicy=RETRY)
    peer = bench.shell.answer("a")
    assert bench.answered(peer) == [1]
    peer.send(peer.reset(1, 7))
    assert call.code is (None if enabled else StatusCode.UNAVAILABLE)
    assert bench.answered(peer) == ([1, 3] if enabled else [1])


@pytest.mark.parametrize(
    ("asked", "configured", "waits"),
    [(None, None, False), (None, True, True), (False, True, False), (True, False, True)],
)
def test_what_the_user_says_of_waiting_for_ready_holds(
    bench: Bench, asked: bool | None, configured: bool | None, waits: bool
) -> None:
    call = bench.call(wait_for_ready=asked)
    bench.resolved("a", waitForReady=configured, timeout="900s")
    bench.shell.fail("a")
    assert call.code is (None if waits else StatusCode.UNAVAILABLE)


def test_the_limits_of_the_config_hold_for_what_was_sent_before(bench: Bench) -> None:
    call, other = bench.call(), bench.call(limit=0)
    # What the user allows is known at once.
    assert other.code is StatusCode.RESOURCE_EXHAUSTED
    bench.resolved("a", maxRequestMessageBytes=0)
    bench.shell.answer("a")
    assert call.code is StatusCode.RESOURCE_EXHAUSTED


def test_while_the_target_cannot_be_resolved_calls_fail_unless_they_wait_for_ready(bench: Bench) -> None:
    first, patient = bench.call(), bench.call(wait_for_ready=True)
    bench.shell.resolution_failed("nobody knows")
    assert first.code is StatusCode.UNAVAILABLE
    assert first.details == "nobody knows"
    assert bench.call().code is StatusCode.UNAVAILABLE
    assert patient.code is None
    assert bench.channel.state is FAILED
    bench.resolved("a", timeout="900s")
    assert bench.answered(bench.shell.answer("a")) == [1]


def test_a_config_that_is_invalid_is_a_failure_if_there_was_none_before(bench: Bench) -> None:
    call = bench.call()
    bench.channel.resolved([endpoint("a")], bench.shell.now, InvalidServiceConfig("field x is wrong"))
    assert call.code is StatusCode.UNAVAILABLE
    assert call.details == "the service config that came with the addresses is invalid: field x is wrong"
    assert not bench.shell.attempts
    # It is asked for again.
    bench.shell.wait(1.0)
    assert bench.shell.look_ups == 2


def test_a_config_that_is_invalid_leaves_the_last_one_in_force(bench: Bench) -> None:
    bench.call()
    bench.resolved("a", timeout="5s")
    bench.shell.answer("a")
    bench.channel.resolved([endpoint("b")], bench.shell.now, InvalidServiceConfig("field x is wrong"))
    assert bench.call().call.deadline == bench.shell.now + 5.0
    assert list(bench.shell.attempts) == ["b"]


def test_a_config_may_be_told_to_count_for_nothing() -> None:
    bench = Bench(replace(SETTINGS, take_configs=False))
    call = bench.call()
    assert type(call.call) is ClientCall
    bench.resolved("a", timeout="5s")
    assert bench.call().call.deadline is None
    bench.channel.resolved([endpoint("a")], bench.shell.now, InvalidServiceConfig("field x is wrong"))
    assert bench.answered(bench.shell.answer("a")) == [1, 3]


def test_the_config_may_name_another_policy(bench: Bench) -> None:
    bench.call()
    config = parse_service_config('{"loadBalancingConfig": [{"round_robin": {}}]}')
    bench.channel.resolved([endpoint("a"), endpoint("b")], bench.shell.now, config)
    assert list(bench.shell.attempts) == ["a", "b"]
    assert bench.answered(bench.shell.answer("b")) == [1]


def test_a_call_that_is_cancelled_meanwhile(bench: Bench) -> None:
    waiting, unstarted = bench.call(), bench.make()
    waiting.call.cancel()
    unstarted.call.cancel()
    assert bench.channel.all_calls() == []
    bench.resolved("a")
    bench.start(unstarted)
    assert bench.answered(bench.shell.answer("a")) == []


def test_a_call_that_was_made_before_and_is_started_after_the_config_is_known(bench: Bench) -> None:
    call = bench.make()
    bench.call()
    bench.resolved("a", timeout="5s")
    peer = bench.shell.answer("a")
    bench.start(call).send(b"y")
    assert call.call.deadline == 105.0
    assert bench.answered(peer) == [1, 3]
    assert peer.messages(3) == [b"y"]


def test_a_writer_is_held_up_while_nothing_is_known(bench: Bench) -> None:
    call = bench.start(bench.make())
    assert not call.call.backlogged
    call.send(b"x" * SETTINGS.retry_buffer, end=False)
    assert call.call.backlogged
    bench.resolved("a", retryPolicy=RETRY)
    assert "writable" in call.events
    call.send(b"x")
    peer = bench.shell.answer("a")
    bench.answered(peer)
    assert isinstance(call.call, RetryingCall)
    assert call.call.backlogged


def test_too_much_to_keep_means_one_attempt_which_is_the_first(bench: Bench) -> None:
    call = bench.start(bench.make()).send(b"x" * (SETTINGS.retry_buffer + 1))
    bench.resolved("a", retryPolicy=RETRY)
    peer = bench.shell.answer("a")
    assert bench.answered(peer) == [1]
    (frame,) = (frame for frame in peer.of_stream(1) if hasattr(frame, "fields"))
    assert b"grpc-previous-rpc-attempts" not in dict(frame.fields)
    peer.send(peer.headers(1, [*RESPONSE, (b"grpc-status", b"14")], True))
    assert call.code is StatusCode.UNAVAILABLE


def test_behind_idleness_the_config_is_awaited_anew(bench: Bench) -> None:
    bench.call().call.cancel()
    bench.resolved("a", timeout="5s")
    bench.shell.answer("a")
    bench.shell.wait(4000.0)
    assert bench.channel.state is IDLE
    assert bench.shell.stops == 1
    call = bench.call()
    assert isinstance(call.call, DeferredCall)
    assert bench.shell.look_ups == 2


def test_a_call_that_waits_keeps_the_channel_from_idleness(bench: Bench) -> None:
    bench.call(wait_for_ready=True)
    bench.shell.wait(4000.0)
    assert bench.channel.state is CONNECTING
    assert bench.shell.stops == 0


def test_a_target_without_servers_fails_calls_until_there_are_some(bench: Bench) -> None:
    bench.call()
    bench.resolved("a", "b", timeout="900s")
    peer = bench.shell.answer("a")
    assert bench.answered(peer) == [1]
    bench.resolved()
    assert bench.channel.state is FAILED
    assert bench.shell.left == [peer.core]
    failed, patient = bench.call(), bench.call(wait_for_ready=True)
    assert failed.code is StatusCode.UNAVAILABLE
    assert failed.details == "the target's name has no addresses"
    # The call that is under way goes on, and the resolver is asked again.
    peer.send(peer.headers(1, [*RESPONSE, (b"grpc-status", b"0")], True))
    bench.shell.wait(1.0)
    assert bench.shell.look_ups == 2
    bench.resolved("b")
    assert bench.answered(bench.shell.answer("b")) == [1]
    assert patient.code is None


def test_news_make_a_look_up_needless_that_was_to_come(bench: Bench) -> None:
    bench.call()
    bench.shell.resolution_failed()
    bench.resolved("a")
    bench.shell.answer("a")
    bench.shell.wait(100.0)
    assert bench.shell.look_ups == 1


def test_a_resolver_that_gets_hints_may_get_more_of_them(bench: Bench) -> None:
    bench.shell.resolver_answers = False
    bench.call()
    bench.resolved("a")
    peer = bench.shell.answer("a")
    for hints in (2, 3):
        bench.shell.wait(100.0)
        bench.shell.lose(peer)
        bench.shell.wait(0.0)
        assert bench.shell.look_ups == hints
        bench.call()
        peer = bench.shell.answer("a")
