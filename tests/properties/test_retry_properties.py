"""Calls that are tried again, whatever happens: each ends once, with no attempt left, and none has too many."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pygrpc.core.framing import frame_message
from pygrpc.core.retrying_call import RetryingCall
from tests.core.pair import RESPONSE, ClientEnd, RawPeer
from tests.core.test_retrying_call import Bench
from tests.properties.test_client_channel_properties import POLICIES

CODES = st.sampled_from([1, 4, 13, 14, 14, 14])
PUSHBACK = st.sampled_from([None, None, b"0", b"100", b"-1", b"nonsense"])


class Retries(RuleBasedStateMachine):
    """A channel with a policy, one server at a time, and all calls that were ever made."""

    @initialize(
        policy=st.sampled_from(["retryPolicy", "hedgingPolicy"]),
        attempts=st.integers(2, 5),
        limit=st.sampled_from([3, 262_144]),
        throttled=st.booleans(),
        balancing=st.sampled_from(POLICIES),
        connections=st.integers(1, 2),
    )
    def make(
        self, policy: str, attempts: int, limit: int, throttled: bool, balancing: dict[str, Any], connections: int
    ) -> None:
        changes: dict[str, Any] = {"retryThrottling": {"maxTokens": 3, "tokenRatio": 0.5}} if throttled else {}
        changes["loadBalancingConfig"] = [balancing]
        changes["connectionScaling"] = {"maxConnectionsPerSubchannel": connections}
        self.bench = Bench(limit, policy, fields={"maxAttempts": attempts}, **changes)
        self.shell = self.bench.shell
        self.attempts = attempts
        self.peers = [self.bench.peer]
        self.calls: list[ClientEnd] = []

    def busy(self) -> list[tuple[RawPeer, int]]:
        """The streams that the server may answer."""
        return [(peer, each) for peer in self.peers if peer.core in self.shell.connections for each in peer.core.calls]

    @rule(requests=st.lists(st.just(b"x"), min_size=1, max_size=3), end=st.booleans())
    def start(self, requests: list[bytes], end: bool) -> None:
        self.calls.append(self.bench.call(*requests, end=end))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), what=st.sampled_from(["send", "end", "cancel", "read"]))
    def use(self, data: Any, what: str) -> None:
        call = data.draw(st.sampled_from(self.calls))
        if what == "send":
            call.send(b"y", end=False)
        elif what == "end":
            call.send()
        elif what == "cancel":
            call.call.cancel()
        else:
            call.read()

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), code=CODES, pushback=PUSHBACK)
    def fail(self, data: Any, code: int, pushback: bytes | None) -> None:
        peer, stream = data.draw(st.sampled_from(self.busy()))
        trailers = [(b"grpc-status", b"%d" % code)]
        if pushback is not None:
            trailers.append((b"grpc-retry-pushback-ms", pushback))
        peer.now = self.shell.now
        # Behind response headers these are trailers, otherwise all there is.
        head = [] if peer.core.calls[stream].state.name == "RECEIVING" else RESPONSE
        peer.send(peer.headers(stream, [*head, *trailers], True))

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), message=st.booleans())
    def answer(self, data: Any, message: bool) -> None:
        peer, stream = data.draw(st.sampled_from(self.busy()))
        peer.now = self.shell.now
        if peer.core.calls[stream].state.name != "RECEIVING":
            peer.send(peer.headers(stream, RESPONSE))
        elif message:
            peer.send(peer.data(stream, frame_message(b"z")))

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), code=st.sampled_from([2, 7, 8]))
    def reset(self, data: Any, code: int) -> None:
        peer, stream = data.draw(st.sampled_from(self.busy()))
        peer.now = self.shell.now
        peer.send(peer.reset(stream, code))

    @rule()
    def lose(self) -> None:
        for peer in self.peers:
            if peer.core in self.shell.connections:
                self.shell.lose(peer)

    @precondition(lambda self: self.shell.attempts)
    @rule(works=st.booleans())
    def connect(self, works: bool) -> None:
        if works:
            # One call at a time, so that calls wait for streams and connections are added.
            self.shell.limit = {3: 1}
            self.peers.append(self.shell.answer("a"))
        else:
            self.shell.fail("a")

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.shell.wait(seconds)

    # What is always so.

    @invariant()
    def each_call_ends_once(self) -> None:
        for end in self.calls:
            assert end.events.count("done") == end.call.ended
            assert end.events.count("started") <= 1
            assert (end.call.status is None) is not end.call.ended

    @invariant()
    def a_call_that_goes_on_is_somewhere(self) -> None:
        alive = set(self.shell.channel.waiting)
        for connection in self.shell.connections:
            alive.update(connection.all_calls())
        owned = set()
        for end in self.calls:
            call = end.call
            assert isinstance(call, RetryingCall)
            attempts = {attempt.call for attempt in call._attempts if not attempt.call.ended}
            owned |= attempts
            assert call._made <= self.attempts
            if call.ended:
                assert not attempts
            else:
                # Messages of an attempt that is over may wait for a reader.
                assert attempts or call._appointment
                assert all(each in alive or each.has_message for each in attempts)
        assert alive <= owned


TestRetries = Retries.TestCase
