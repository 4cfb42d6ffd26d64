"""Calls that are tried again (gRFC A6), with an explicit clock: retries, hedging, pushback, throttling, commitment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pygrpc.core.call import MessageLimits
from pygrpc.core.call_factory import CallFactory
from pygrpc.core.channel_shell import ChannelSettings
from pygrpc.core.client_call import ClientCall, ClientState
from pygrpc.core.framing import frame_message
from pygrpc.core.retry import RetryThrottle, backoff, pushback
from pygrpc.core.retrying_call import RetryingCall
from pygrpc.core.service_config import RetryPolicy, RetryThrottling
from pygrpc.status import StatusCode
from tests.core.channels import SETTINGS, FakeShell
from tests.core.pair import RESPONSE, ClientEnd
from tests.core.test_service_config import RETRY

HEDGING = {"maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["UNAVAILABLE"]}


class Bench:
    """Calls of a channel with one server, which a test plays."""

    largest_request = -1

    def __init__(self, limit: int | None = None, policy: str = "retryPolicy", **changes: Any) -> None:
        body = {**(RETRY if policy == "retryPolicy" else HEDGING), **changes.pop("fields", {})}
        config = {"methodConfig": [{"name": [{}], policy: body}], **changes}
        settings = SETTINGS if limit is None else _with_buffer(limit)
        self.shell = FakeShell(settings, config=config)
        (self.peer,) = self.shell.ready("a")

    def call(self, *requests: bytes, end: bool = True, timeout: float | None = None) -> ClientEnd:
        """Starts a call."""
        client = ClientEnd()
        client.call = self.make(client, timeout)
        self.shell.channel.start(client.call, self.shell.now)
        return client.send(*(requests or (b"x",)), end=end)

    def make(self, client: ClientEnd, timeout: float | None = None) -> ClientCall:
        """Makes a call that is to be started."""
        factory = self.shell.channel.calls
        assert isinstance(factory, CallFactory)
        return factory.make(
            client,
            "/a.B/C",
            client.call.request_headers,
            response_streaming=True,
            timeout=timeout,
            limits=MessageLimits(-1, self.largest_request),
            send_encoding=None,
            now=self.shell.now,
        )

    def streams(self) -> list[int]:
        """The streams on which requests have come so far."""
        self.peer.receive()
        return list(dict.fromkeys(frame.stream_id for frame in self.peer.frames if hasattr(frame, "fields")))

    def fail(self, stream: int, code: StatusCode = StatusCode.UNAVAILABLE, *trailers: tuple[bytes, bytes]) -> None:
        """The server ends a call without an answer."""
        self.peer.now = self.shell.now
        status = (b"grpc-status", b"%d" % code.value[0])
        self.peer.send(self.peer.headers(stream, [*RESPONSE, status, *trailers], True))

    def answer(self, stream: int, *responses: bytes) -> None:
        """The server answers and ends the call well."""
        self.peer.send(self.peer.headers(stream, RESPONSE))
        for response in responses:
            self.peer.send(self.peer.data(stream, frame_message(response)))
        self.peer.send(self.peer.headers(stream, [(b"grpc-status", b"0")], True))

    def field(self, stream: int, name: bytes) -> bytes | None:
        """A header of a request."""
        self.peer.receive()
        (frame,) = (frame for frame in self.peer.of_stream(stream) if hasattr(frame, "fields"))
        return dict(frame.fields).get(name)


def _with_buffer(limit: int) -> ChannelSettings:
    return replace(SETTINGS, retry_buffer=limit)


def happened(call: ClientEnd) -> list[str]:
    """What the call told, each thing once, but for room for writing, of which attempts that end tell too."""
    return [event for event in dict.fromkeys(call.events) if event != "writable"]


# Retries.


def test_a_call_is_tried_again_behind_a_growing_delay_with_all_that_was_sent() -> None:
    bench = Bench()
    call = bench.call(b"1", b"2")
    assert isinstance(call.call, RetryingCall)
    assert bench.streams() == [1]
    bench.fail(1)
    assert call.code is None
    bench.shell.wait(0.09)
    assert bench.streams() == [1]
    bench.shell.wait(0.02)
    assert bench.streams() == [1, 3]
    bench.fail(3)
    bench.shell.wait(0.19)
    assert bench.streams() == [1, 3]
    bench.shell.wait(0.02)
    assert bench.streams() == [1, 3, 5]
    assert bench.peer.messages(5) == [b"1", b"2"]
    bench.answer(5, b"yes")
    assert call.read() == [b"yes"]
    assert call.code is StatusCode.OK
    assert happened(call) == ["started", "initial_metadata", "message", "done"]
    assert [bench.field(stream, b"grpc-previous-rpc-attempts") for stream in (1, 3, 5)] == [None, b"1", b"2"]


def test_a_call_with_too_much_to_keep_is_tried_once_and_counts_no_attempts_before() -> None:
    bench = Bench(limit=10)
    call = ClientEnd()
    call.call = bench.make(call)
    call.send(b"x" * 11)
    bench.shell.channel.start(call.call, bench.shell.now)
    assert bench.field(1, b"grpc-previous-rpc-attempts") is None
    assert bench.peer.messages(1) == [b"x" * 11]
    bench.fail(1)
    assert call.code is StatusCode.UNAVAILABLE


def test_the_last_failure_is_the_end() -> None:
    bench = Bench()
    call = bench.call()
    for stream in (1, 3, 5):
        bench.fail(stream)
        bench.shell.wait(1.0)
    assert call.code is StatusCode.UNAVAILABLE
    assert happened(call) == ["started", "initial_metadata", "done"]
    assert bench.streams() == [1, 3, 5]


def test_other_codes_are_the_end_at_once() -> None:
    bench = Bench()
    call = bench.call()
    bench.fail(1, StatusCode.INTERNAL)
    assert call.code is StatusCode.INTERNAL
    bench.shell.wait(10.0)
    assert bench.streams() == [1]


def test_headers_commit_the_call() -> None:
    bench = Bench()
    call = bench.call()
    bench.peer.send(bench.peer.headers(1, RESPONSE))
    assert call.call.state is ClientState.RECEIVING
    bench.peer.send(bench.peer.headers(1, [(b"grpc-status", b"14")], True))
    assert call.code is StatusCode.UNAVAILABLE


def test_too_much_to_keep_commits_the_call() -> None:
    bench = Bench(limit=10)
    call = bench.call(b"12345", b"678901")
    bench.fail(1)
    assert call.code is StatusCode.UNAVAILABLE


def test_too_much_to_keep_between_two_attempts_is_the_end() -> None:
    bench = Bench(limit=10)
    call = bench.call(b"12345", end=False)
    bench.fail(1)
    call.send(b"678901", end=False)
    assert call.code is StatusCode.UNAVAILABLE
    assert not call.call.send_message(b"more")


def test_requests_that_come_later_go_to_the_attempt_of_the_time() -> None:
    bench = Bench()
    call = bench.call(b"1", end=False)
    bench.fail(1)
    call.send(b"2", end=False)
    bench.shell.wait(1.0)
    call.send(b"3")
    bench.streams()
    assert bench.peer.messages(3) == [b"1", b"2", b"3"]
    bench.answer(3)
    assert call.code is StatusCode.OK


def test_the_server_says_how_long_to_wait() -> None:
    bench = Bench()
    bench.call()
    bench.fail(1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"5000"))
    bench.shell.wait(4.9)
    assert bench.streams() == [1]
    bench.shell.wait(0.2)
    assert bench.streams() == [1, 3]


def test_the_server_says_no() -> None:
    bench = Bench()
    call = bench.call()
    bench.fail(1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"-1"))
    assert call.code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("values", "delay"),
    [
        ([], None),
        (["0"], 0.0),
        (["1500"], 1.5),
        (["-1"], -1.0),
        (["soon"], -1.0),
        (["1", "2"], -1.0),
        (["9" * 30], -1.0),
        ([""], -1.0),
    ],
)
def test_pushback_that_cannot_be_read_is_a_no(values: list[str], delay: float | None) -> None:
    assert pushback(tuple(("grpc-retry-pushback-ms", value) for value in values)) == delay


def test_delays_grow_up_to_the_longest_one_and_vary_by_a_fifth() -> None:
    policy = RetryPolicy(5, 0.1, 0.5, 2.0, frozenset())
    delays = [backoff(policy, retries, lambda: 0.5) for retries in range(4)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.5])
    assert backoff(policy, 0, lambda: 0.0) == pytest.approx(0.08)
    assert backoff(policy, 0, lambda: 1.0) == pytest.approx(0.12)


def test_a_cancelled_call_is_not_tried_again() -> None:
    bench = Bench()
    call = bench.call()
    bench.fail(1)
    assert call.call.cancel()
    assert not call.call.cancel()
    bench.shell.wait(10.0)
    assert bench.streams() == [1]
    assert happened(call) == ["started", "initial_metadata", "done"]
    assert call.code is StatusCode.CANCELLED


def test_cancelling_cancels_the_attempt() -> None:
    bench = Bench()
    call = bench.call()
    bench.streams()
    call.call.cancel()
    bench.peer.receive()
    assert bench.peer.resets() == {1: 8}
    assert call.events.count("done") == 1


def test_all_attempts_have_the_deadline_of_the_call() -> None:
    bench = Bench()
    bench.call(timeout=10.0)
    bench.fail(1)
    bench.shell.wait(1.0)
    assert bench.field(1, b"grpc-timeout") == b"10000m"
    assert bench.field(3, b"grpc-timeout") == b"9901m"


def test_a_refused_stream_is_no_attempt() -> None:
    bench = Bench(fields={"maxAttempts": 2})
    call = bench.call()
    bench.peer.send(bench.peer.reset(1, 7))
    assert bench.streams() == [1, 3]
    assert bench.field(3, b"grpc-previous-rpc-attempts") is None
    bench.fail(3)
    bench.shell.wait(1.0)
    assert bench.field(5, b"grpc-previous-rpc-attempts") == b"1"
    bench.fail(5)
    assert call.code is StatusCode.UNAVAILABLE


def test_a_lost_connection_leads_to_another_attempt_on_a_new_one() -> None:
    bench = Bench()
    call = bench.call()
    bench.streams()
    bench.shell.lose(bench.peer)
    bench.shell.wait(1.0)
    peer = bench.shell.answer("a")
    peer.receive()
    assert peer.messages(1) == [b"x"]
    assert call.code is None


def test_an_attempt_that_fails_while_nothing_is_connected_counts() -> None:
    bench = Bench()
    bench.shell.lose(bench.peer)
    call = bench.call()
    for _ in range(3):
        if "a" in bench.shell.attempts:
            bench.shell.fail("a")
        bench.shell.wait(0.5)
    assert call.code is StatusCode.UNAVAILABLE
    assert happened(call) == ["initial_metadata", "done"]


def test_a_message_over_the_limit_ends_the_call_at_once() -> None:
    bench = Bench(fields={"retryableStatusCodes": ["RESOURCE_EXHAUSTED"]})
    bench.largest_request = 3
    call = bench.call(b"x", end=False)
    assert not call.call.send_message(b"1234")
    assert call.code is StatusCode.RESOURCE_EXHAUSTED


# Throttling.


def test_the_tokens_are_exact() -> None:
    throttle = RetryThrottle(RetryThrottling(max_tokens=4000, token_ratio=100))
    throttle.failed()
    assert throttle.allows
    throttle.failed()
    assert not throttle.allows
    throttle.succeeded()
    assert throttle.allows
    for _ in range(10):
        throttle.failed()
    for _ in range(20):
        throttle.succeeded()
    assert not throttle.allows
    throttle.succeeded()
    assert throttle.allows


def test_without_tokens_calls_fail_at_once_until_others_went_well() -> None:
    bench = Bench(retryThrottling={"maxTokens": 4, "tokenRatio": 1})
    first, second = bench.call(), bench.call()
    bench.fail(1)
    bench.fail(3)
    assert first.code is None
    assert second.code is StatusCode.UNAVAILABLE
    bench.shell.wait(1.0)
    bench.answer(5)
    assert first.code is StatusCode.OK
    third = bench.call()
    bench.streams()
    bench.fail(7)
    assert third.code is StatusCode.UNAVAILABLE


# Hedging.


def hedging(**fields: Any) -> Bench:
    return Bench(policy="hedgingPolicy", fields=fields)


def test_attempts_begin_one_after_the_other_until_there_is_an_answer() -> None:
    bench = hedging()
    call = bench.call(b"1", b"2")
    assert bench.streams() == [1]
    bench.shell.wait(0.5)
    assert bench.streams() == [1, 3]
    bench.answer(3, b"yes")
    assert call.read() == [b"yes"]
    assert call.code is StatusCode.OK
    bench.shell.wait(10.0)
    assert bench.streams() == [1, 3]
    assert bench.peer.resets() == {1: 8}
    assert bench.peer.messages(3) == [b"1", b"2"]
    assert bench.field(3, b"grpc-previous-rpc-attempts") == b"1"


def test_without_a_delay_all_begin_at_once() -> None:
    bench = hedging(hedgingDelay="0s")
    bench.call()
    bench.shell.wait(0.0)
    assert bench.streams() == [1, 3, 5]


def test_a_failure_that_is_not_fatal_begins_the_next_one_at_once() -> None:
    bench = hedging()
    call = bench.call()
    bench.fail(1)
    bench.shell.wait(0.0)
    assert bench.streams() == [1, 3]
    bench.fail(3)
    bench.shell.wait(0.0)
    assert bench.streams() == [1, 3, 5]
    bench.fail(5)
    assert call.code is StatusCode.UNAVAILABLE
    assert call.events.count("done") == 1


def test_a_failure_that_is_not_fatal_waits_for_the_others() -> None:
    bench = hedging(maxAttempts=2)
    call = bench.call()
    bench.shell.wait(0.5)
    bench.fail(1)
    assert call.code is None
    bench.answer(3)
    assert call.code is StatusCode.OK


def test_a_fatal_failure_ends_all() -> None:
    bench = hedging()
    call = bench.call()
    bench.shell.wait(0.5)
    bench.streams()
    bench.fail(3, StatusCode.INTERNAL)
    assert call.code is StatusCode.INTERNAL
    bench.peer.receive()
    assert bench.peer.resets() == {1: 8}


def test_pushback_moves_the_next_attempt_or_forbids_it() -> None:
    bench = hedging()
    bench.call()
    bench.fail(1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"3000"))
    bench.shell.wait(2.9)
    assert bench.streams() == [1]
    bench.shell.wait(0.2)
    assert bench.streams() == [1, 3]
    bench.fail(3, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"-1"))
    bench.shell.wait(5.0)
    assert bench.streams() == [1, 3]


def test_without_tokens_nothing_is_hedged() -> None:
    bench = Bench(policy="hedgingPolicy", retryThrottling={"maxTokens": 2, "tokenRatio": 0.1})
    call = bench.call()
    bench.fail(1)
    assert call.code is StatusCode.UNAVAILABLE


def test_too_much_to_keep_commits_to_one_attempt() -> None:
    bench = Bench(limit=10, policy="hedgingPolicy")
    call = bench.call(b"1", end=False)
    bench.shell.wait(0.5)
    assert bench.streams() == [1, 3]
    call.send(b"1234567890")
    bench.peer.receive()
    assert len(bench.peer.resets()) == 1
    (left,) = {1, 3} - set(bench.peer.resets())
    assert bench.peer.messages(left) == [b"1", b"1234567890"]
    bench.fail(left)
    assert call.code is StatusCode.UNAVAILABLE
