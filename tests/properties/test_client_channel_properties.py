"""Whatever happens to a channel, in whatever order: no call is lost or answered twice, and no state is wrong."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall, ClientState
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.framing import frame_message
from pygrpc.core.retrying_call import RetryingCall
from pygrpc.core.service_config import InvalidServiceConfig, ServiceConfig, parse_service_config
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, IDLE, READY, SHUTDOWN, FakeShell, endpoint
from tests.core.pair import RESPONSE, ClientEnd, RawPeer

FAILURES = {"threshold": 50, "minimumHosts": 1, "requestVolume": 1}
POLICIES: list[dict[str, Any]] = [
    {"pick_first": {}},
    {"pick_first": {"shuffleAddressList": True}},
    {"round_robin": {}},
    {"least_request": {"choiceCount": 3}},
    {"weighted_round_robin": {"blackoutPeriod": "0s"}},
    {"ring_hash": {"minRingSize": 8}},
    {
        "outlier_detection": {
            "interval": "1s",
            "baseEjectionTime": "3s",
            "maxEjectionPercent": 100,
            "failurePercentageEjection": FAILURES,
            "childPolicy": [{"round_robin": {}}],
        }
    },
]
NAMES = st.lists(st.sampled_from(["a", "b", "c6", "d6"]), min_size=1, max_size=4)
ANSWER = [*RESPONSE, (b"grpc-status", b"5")]
RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["NOT_FOUND", "UNAVAILABLE"],
}


def _config(**method: Any) -> ServiceConfig:
    return parse_service_config(json.dumps({"methodConfig": [{"name": [{}], **method}]}))


#: What a resolver may have to say.
CONFIGS: list[ServiceConfig | InvalidServiceConfig | None] = [
    None,
    _config(timeout="2s"),
    _config(retryPolicy=RETRY, waitForReady=True),
    _config(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": "0.2s"}, timeout="60s"),
    parse_service_config('{"loadBalancingConfig": [{"round_robin": {}}]}'),
    InvalidServiceConfig("it is wrong"),
]


def internal(call: Any) -> bool:
    return isinstance(call, ClientCall) and call.internal


class Channel(RuleBasedStateMachine):
    """A channel, the servers that it reaches, and all calls that were ever made."""

    def config(self, policy: dict[str, Any]) -> dict[str, Any]:
        return {"loadBalancingConfig": [policy], **self.more}

    @initialize(
        policy=st.sampled_from(POLICIES),
        health=st.booleans(),
        connections=st.integers(1, 3),
    )
    def make(self, policy: dict[str, Any], health: bool, connections: int) -> None:
        self.more: dict[str, Any] = {"connectionScaling": {"maxConnectionsPerSubchannel": connections}}
        if health:
            self.more["healthCheckConfig"] = {"serviceName": "a.B"}
        self.shell = FakeShell(config=self.config(policy))
        self.peers: list[RawPeer] = []
        self.calls: list[ClientEnd] = []
        self.resolved = False

    @rule(wait_for_ready=st.booleans())
    def start_a_call(self, wait_for_ready: bool) -> None:
        if self.shell.channel.state is not SHUTDOWN:
            self.calls.append(self.shell.call(wait_for_ready))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel_a_call(self, data: Any) -> None:
        data.draw(st.sampled_from(self.calls)).call.cancel()

    @rule(names=NAMES)
    def resolve(self, names: list[str]) -> None:
        if self.shell.look_ups:
            self.shell.resolved(*names)
            self.resolved = self.resolved or self.shell.channel.state is not IDLE

    @rule(names=NAMES, policy=st.sampled_from(POLICIES))
    def change_the_policy(self, names: list[str], policy: dict[str, Any]) -> None:
        if self.shell.look_ups:
            self.shell.resolved(*names, config=self.config(policy))

    def watches(self) -> list[tuple[RawPeer, int]]:
        return [(peer, each) for peer in self.open_peers() for each, call in peer.core.calls.items() if internal(call)]

    @precondition(lambda self: self.watches())
    @rule(data=st.data(), status=st.sampled_from([b"\x08\x01", b"\x08\x01", b"\x08\x02", b"\xff"]))
    def tell_the_health(self, data: Any, status: bytes) -> None:
        peer, stream = data.draw(st.sampled_from(self.watches()))
        peer.now = self.shell.now
        if peer.core.calls[stream].state is ClientState.AWAITING_HEADERS:
            peer.send(peer.headers(stream, RESPONSE))
        peer.send(peer.data(stream, frame_message(status)))
        self.shell._close_if_over(peer.core)

    @rule()
    def fail_to_resolve(self) -> None:
        if self.shell.look_ups:
            self.shell.resolution_failed()

    @precondition(lambda self: self.shell.attempts)
    @rule(data=st.data())
    def connect(self, data: Any) -> None:
        self.peers.append(self.shell.answer(data.draw(st.sampled_from(sorted(self.shell.attempts)))))

    @precondition(lambda self: self.shell.attempts)
    @rule(data=st.data())
    def fail_to_connect(self, data: Any) -> None:
        self.shell.fail(data.draw(st.sampled_from(sorted(self.shell.attempts))))

    def open_peers(self) -> list[RawPeer]:
        return [peer for peer in self.peers if peer.core in self.shell.connections]

    @precondition(lambda self: self.open_peers())
    @rule(data=st.data())
    def lose_a_connection(self, data: Any) -> None:
        self.shell.lose(data.draw(st.sampled_from(self.open_peers())))

    @precondition(lambda self: self.open_peers())
    @rule(data=st.data(), error_code=st.sampled_from([0, 11]))
    def say_goodbye(self, data: Any, error_code: int) -> None:
        peer = data.draw(st.sampled_from(self.open_peers()))
        peer.now = self.shell.now
        peer.send(peer.goaway(data.draw(st.sampled_from([0, 1, 2**31 - 1])), error_code))
        self.shell._close_if_over(peer.core)

    @precondition(lambda self: self.open_peers())
    @rule(data=st.data(), streams=st.integers(0, 3))
    def limit_the_streams(self, data: Any, streams: int) -> None:
        peer = data.draw(st.sampled_from(self.open_peers()))
        peer.now = self.shell.now
        peer.send(peer.settings({3: streams}))

    @precondition(lambda self: any(peer.core.calls for peer in self.open_peers()))
    @rule(data=st.data())
    def answer_a_call(self, data: Any) -> None:
        peer = data.draw(st.sampled_from([peer for peer in self.open_peers() if peer.core.calls]))
        peer.now = self.shell.now
        peer.send(peer.headers(data.draw(st.sampled_from(sorted(peer.core.calls))), ANSWER, True))
        self.shell._close_if_over(peer.core)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.25, 1.0, 5.0, 31.0, 2000.0]))
    def wait(self, seconds: float) -> None:
        self.shell.wait(seconds)

    @rule()
    def wake_it(self) -> None:
        self.shell.channel.exit_idle(self.shell.now)

    @rule()
    def reset_the_delays(self) -> None:
        self.shell.channel.reset_backoff(self.shell.now)

    @precondition(lambda self: len(self.calls) > 3)
    @rule()
    def close(self) -> None:
        self.shell.channel.close(self.shell.now)

    # What is always so.

    @invariant()
    def each_call_is_in_one_place(self) -> None:
        waiting = self.shell.channel.waiting
        on_connections = [call for connection in self.shell.connections for call in connection.all_calls()]
        places = waiting + on_connections
        assert len(places) == len(set(places))
        for end in self.calls:
            assert (end.call in places) is not end.call.ended
            assert end.events.count("done") == end.call.ended

    @invariant()
    def only_who_may_fail_fails(self) -> None:
        for end in self.calls:
            if end.call.wait_for_ready and end.code is StatusCode.UNAVAILABLE:
                # It was under way on a connection that broke, or that the server left before it.
                assert end.call.stream_id

    @invariant()
    def the_state_is_true(self) -> None:
        channel = self.shell.channel
        ready = [each for each in self.shell.connections.values() if each.state is READY]
        if channel.state is READY:
            assert ready
        elif channel.state in (CONNECTING, FAILED):
            assert not ready
        elif channel.state is SHUTDOWN:
            assert not self.shell.attempts
            # The shell cancels all calls then; one that it leaves, as this one may, goes on.
            assert self.shell.wakeup == channel._appointments.next()
        if channel.direct is not None:
            assert channel.state is READY
            assert not channel.direct.draining

    @invariant()
    def somebody_works_for_calls_that_wait(self) -> None:
        channel = self.shell.channel
        if (channel.waiting or channel._deferred) and channel.state is not SHUTDOWN:
            at_work = self.shell.attempts or self.shell.wakeup is not None or channel._resolution.under_way
            # Or a server has been asked how it is.
            assert at_work or self.watches()

    @invariant()
    def no_call_waits_while_there_is_a_stream(self) -> None:
        for connection in self.shell.connections:
            if connection.has_waiting:
                assert len(connection.calls) >= connection.engine.peer_max_concurrent_streams

    @invariant()
    def no_subchannel_is_kept_for_nothing(self) -> None:
        # There are four addresses, and for a while two policies.
        assert len(self.shell.channel._subchannels) <= 8
        for connection in self.shell.connections:
            assert isinstance(connection, ClientConnection)


class ChannelWithResolver(Channel):
    """The same where the resolver is the user's, and may have a service config, so that calls wait for it."""

    @initialize(answers=st.booleans())
    def make(self, answers: bool) -> None:  # type: ignore[override]
        self.shell = FakeShell(awaits_config=True)
        self.shell.resolver_answers = answers
        self.more = {}
        self.peers = []
        self.calls = []
        self.resolved = False

    @rule(wait_for_ready=st.sampled_from([None, False, True]), timeout=st.sampled_from([None, 3.0]))
    def start_a_call(self, wait_for_ready: bool | None, timeout: float | None) -> None:  # type: ignore[override]
        channel = self.shell.channel
        if channel.state is SHUTDOWN:
            return
        end = ClientEnd()
        end.call = channel.calls.make(
            end,
            "/a.B/C",
            end.call.request_headers,
            response_streaming=True,
            timeout=timeout,
            limits=MessageLimits(-1, -1),
            send_encoding=None,
            now=self.shell.now,
        )
        if wait_for_ready is not None:
            end.call.wait_for_ready = wait_for_ready
        channel.start(end.call, self.shell.now)
        self.calls.append(end.send(b"x"))

    @rule(names=NAMES | st.just([]), config=st.sampled_from(CONFIGS))
    def resolve(self, names: list[str], config: ServiceConfig | InvalidServiceConfig | None) -> None:  # type: ignore[override]
        if self.shell.look_ups:
            self.shell.channel.resolved([endpoint(name) for name in names], self.shell.now, config)

    @invariant()
    def each_call_is_in_one_place(self) -> None:
        # The attempts of a call that may be tried again are calls themselves.
        everywhere = self.shell.channel.all_calls()
        assert len(everywhere) == len(set(everywhere))
        for end in self.calls:
            assert (end.call in everywhere) is not end.call.ended
            assert end.events.count("done") == end.call.ended

    @invariant()
    def only_who_may_fail_fails(self) -> None:
        for end in self.calls:
            if end.call.wait_for_ready and end.code is StatusCode.UNAVAILABLE and isinstance(end.call, RetryingCall):
                assert end.call._made

    @invariant()
    def what_waits_for_the_config_does_not_know_it(self) -> None:
        channel = self.shell.channel
        assert not (channel._deferred and channel.calls is channel._factory)
        for call in channel._deferred:
            assert not call.ended


TestChannel = Channel.TestCase
TestChannelWithResolver = ChannelWithResolver.TestCase
