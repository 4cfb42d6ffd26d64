"""The server's end of a connection: new calls, refusals, the goodbye, the handshake."""

import pytest

from pygrpc.core.call import MessageLimits
from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.pair import PREFACE, REQUEST, Pair, ServerEnd, changed, raw_client, without

pytestmark = pytest.mark.usefixtures("each_engine")

GONE = Status(StatusCode.UNAVAILABLE, "the server is shutting down")


# New calls.


def test_a_new_call_is_given_to_the_owner() -> None:
    peer, owner, core = raw_client()
    peer.send(peer.headers(1, [*REQUEST, (b"k", b"v")]))
    (end,) = owner.calls
    assert (end.call.head.path, end.call.head.authority) == ("/a.B/C", "authority")
    assert end.call.head.metadata == (("k", "v"),)
    assert end.call.deadline is None
    assert list(core.calls) == [1]


def test_an_owner_may_answer_at_once() -> None:
    peer, owner, core = raw_client()
    owner.accept = lambda end: end.finish(StatusCode.UNIMPLEMENTED, "Method not found!")
    peer.send(peer.headers(1, REQUEST))
    peer.receive()
    assert (b"grpc-status", b"12") in peer.of_stream(1)[0].fields
    assert not core.calls


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    ("headers", "http", "code"),
    [
        (changed(REQUEST, b"content-type", b"text/html"), b"415", b"2"),
        (without(REQUEST, b"content-type"), b"415", b"2"),
        (changed(REQUEST, b":method", b"GET"), b"405", b"13"),
        ([*REQUEST, (b"grpc-timeout", b"soon")], b"200", b"13"),
        ([*REQUEST, (b"k-bin", b"*")], b"200", b"13"),
        ([*REQUEST, (b"k", b"x" * 20_000)], b"200", b"8"),
        ([*REQUEST, (b"grpc-encoding", b"br")], b"200", b"12"),
    ],
    ids=["content-type", "no content-type", "method", "timeout", "base64", "size", "encoding"],
)
def test_a_request_is_rejected_with_an_answer(headers: list[Header], http: bytes, code: bytes, end: bool) -> None:
    peer, owner, core = raw_client()
    peer.send(peer.headers(1, headers, end), peer.headers(3, REQUEST))
    peer.receive()
    answer = peer.of_stream(1)[0]
    assert "END_STREAM" in answer.flags
    fields = dict(answer.fields)
    assert (fields[b":status"], fields[b"grpc-status"]) == (http, code)
    assert fields[b"grpc-message"]
    assert peer.resets() == ({} if end else {1: ErrorCode.NO_ERROR})
    # The other call is untouched.
    assert [end.call.stream_id for end in owner.calls] == [3]
    assert list(core.calls) == [3]


def test_an_unknown_encoding_is_answered_with_those_that_are_known() -> None:
    peer, _, _ = raw_client()
    peer.send(peer.headers(1, [*REQUEST, (b"grpc-encoding", b"br")]))
    peer.receive()
    assert dict(peer.of_stream(1)[0].fields)[b"grpc-accept-encoding"] == b"identity, deflate, gzip"


def test_a_disabled_encoding_is_answered_with_those_that_are_enabled() -> None:
    limits = MessageLimits(-1, -1, encodings=frozenset([b"deflate"]))
    peer, owner, _ = raw_client(limits=limits)
    peer.send(peer.headers(1, [*REQUEST, (b"grpc-encoding", b"gzip")]))
    peer.receive()
    fields = dict(peer.of_stream(1)[0].fields)
    assert fields[b"grpc-status"] == b"12"
    assert fields[b"grpc-message"] == b"Compression algorithm 'gzip' is disabled."
    assert fields[b"grpc-accept-encoding"] == b"identity, deflate"
    assert not owner.calls


def test_what_follows_a_rejected_request_is_dropped() -> None:
    peer, owner, core = raw_client()
    peer.send(peer.headers(1, changed(REQUEST, b":method", b"PUT")), peer.data(1, b"x" * 1000))
    peer.receive()
    peer.send(peer.data(1, b"x" * 1000, True), peer.headers(3, REQUEST))
    assert core.failure is None
    assert len(owner.calls) == 1


def test_a_malformed_request_is_reset() -> None:
    peer, owner, core = raw_client()
    peer.send(peer.headers(1, [*REQUEST, (b"Key", b"v")]), peer.headers(3, REQUEST))
    peer.receive()
    assert peer.resets() == {1: ErrorCode.PROTOCOL_ERROR}
    assert [end.call.stream_id for end in owner.calls] == [3]
    assert core.failure is None


def test_metadata_are_limited_from_the_first_byte() -> None:
    # WIRE.md: grpcio does so only behind the acknowledgement of its SETTINGS.
    peer, owner, _ = raw_client(greet=False, limits=MessageLimits(-1, -1, 500))
    peer.send_bytes(PREFACE + peer.settings({}).serialize())
    peer.send(peer.headers(1, [*REQUEST, (b"k", b"x" * 500)]))
    peer.receive()
    assert (b"grpc-status", b"8") in peer.of_stream(1)[0].fields
    assert owner.calls == []


def test_too_many_streams_are_refused() -> None:
    peer, owner, _ = raw_client(Http2Settings(max_concurrent_streams=2))
    peer.send(*(peer.headers(number, REQUEST) for number in (1, 3, 5)))
    peer.receive()
    assert peer.resets() == {5: ErrorCode.REFUSED_STREAM}
    assert len(owner.calls) == 2
    owner.calls[0].finish()
    peer.receive()
    peer.send(peer.headers(7, REQUEST))
    assert len(owner.calls) == 3


# The goodbye.


def test_a_graceful_goodbye_has_two_steps() -> None:
    # RFC 9113, section 6.8.
    peer, owner, core = raw_client()
    peer.send(peer.headers(1, REQUEST))
    core.shutdown(0.0)
    core.shutdown(0.0)
    goaway, ping = peer.receive()
    assert (goaway.last_stream_id, goaway.error_code) == (2**31 - 1, ErrorCode.NO_ERROR)
    assert not core.closing
    # A request that was on its way is served.
    peer.send(peer.headers(3, REQUEST))
    assert len(owner.calls) == 2
    peer.send(peer.ping(ping.opaque_data, ack=True))
    (last,) = peer.receive()
    assert (last.last_stream_id, last.error_code) == (3, ErrorCode.NO_ERROR)
    # One behind the second GOAWAY is not.
    peer.send(peer.headers(5, REQUEST))
    peer.receive()
    assert peer.resets() == {5: ErrorCode.REFUSED_STREAM}
    assert len(owner.calls) == 2
    for end in owner.calls:
        assert not core.closing
        end.finish()
        peer.receive()
    assert core.closing
    assert core.failure is None


def test_the_answer_to_another_ping_is_no_goodbye() -> None:
    peer, _, core = raw_client()
    peer.send(peer.ping(b"draining", ack=True))
    core.shutdown(0.0)
    peer.send(peer.ping(b"whatever", ack=True))
    assert not core.closing
    peer.send(peer.ping(b"draining", ack=True), peer.ping(b"draining", ack=True))
    assert core.closing
    peer.receive()
    assert [frame.last_stream_id for frame in peer.goaways()] == [2**31 - 1, 0]


def test_both_cores_say_goodbye() -> None:
    pair = Pair(server=Http2Settings(max_concurrent_streams=2))
    (first, first_server), (second, second_server) = pair.open(b"1"), pair.open(b"2")
    waiting = pair.start(b"3")
    pair.server.shutdown(0.0)
    pair.exchange()
    assert pair.client.draining
    assert pair.client_owner.unsent == [waiting.call]
    for server in (first_server, second_server):
        assert not pair.server.closing
        assert not pair.client.closing
        server.send(b"done").finish()
        pair.exchange()
    assert first.read() == second.read() == [b"done"]
    assert (first.code, second.code, waiting.code) == (StatusCode.OK, StatusCode.OK, None)
    assert pair.server.closing
    assert pair.client.closing
    assert pair.client.failure is None


def test_a_call_that_crosses_the_goodbye_is_served() -> None:
    pair = Pair()
    pair.server.shutdown(0.0)
    crossing = pair.start(b"x")
    pair.to_server()
    assert len(pair.server_owner.calls) == 1
    pair.exchange()
    assert crossing.code is None
    pair.server_owner.calls[0].finish()
    pair.exchange()
    assert crossing.code is StatusCode.OK
    assert pair.server.closing
    assert pair.client.closing


def test_new_calls_may_be_refused_so_that_the_client_starts_them_elsewhere() -> None:
    pair = Pair()
    pair.server.shutdown(0.0)
    pair.server.shutdown(0.0, refuse=True)
    crossing = pair.start(b"x")
    pair.exchange()
    assert pair.server_owner.calls == []
    assert pair.client_owner.unsent == [crossing.call]
    assert crossing.code is None


@pytest.mark.parametrize("said", [True, False])
def test_a_call_that_is_turned_away_is_refused_behind_the_goodbye(said: bool) -> None:
    peer, owner, core = raw_client()
    owner.accept = lambda end: core.turn_away(end.call)
    if said:
        core.shutdown(0.0)
    peer.send(peer.headers(1, REQUEST), peer.data(1, b"passed over", True))
    goaway, ping, reset, *_ = peer.receive()
    assert (goaway.last_stream_id, reset.error_code) == (2**31 - 1, ErrorCode.REFUSED_STREAM)
    assert not core.calls
    assert owner.calls[0].events == ["closed"]
    peer.send(peer.ping(ping.opaque_data, ack=True))
    assert core.closing


def test_a_client_starts_a_call_anew_that_is_turned_away() -> None:
    pair = Pair()
    pair.server_owner.accept = lambda end: pair.server.turn_away(end.call)
    call = pair.start(b"x")
    pair.exchange()
    assert pair.client.draining
    assert pair.client_owner.unsent == [call.call]
    assert call.code is None
    assert pair.client.closing


@pytest.mark.parametrize("said", [True, False])
def test_calls_that_are_left_are_cancelled(said: bool) -> None:
    pair = Pair()
    client, server = pair.open(b"x", end=False)
    if said:
        pair.server.shutdown(0.0)
    pair.server.cancel_calls(GONE)
    pair.exchange()
    assert server.events[-2:] == ["cancelled", "closed"]
    assert (client.code, client.details) == (StatusCode.UNAVAILABLE, GONE.details)
    assert pair.server.closing
    assert pair.client.draining


def test_cancelled_calls_go_out_even_when_the_window_is_full() -> None:
    pair = Pair(client=Http2Settings(stream_window=65_535))
    client, server = pair.open(b"x")
    server.send(b"unread", bytes(200_000))
    pair.exchange()
    assert server.call.pending_bytes
    pair.server.cancel_calls(GONE)
    pair.exchange()
    assert client.read() == [b"unread"]
    assert client.code is StatusCode.UNAVAILABLE
    assert pair.server.closing


def test_a_client_that_has_not_spoken_needs_no_ping() -> None:
    peer, _, core = raw_client(greet=False)
    core.shutdown(0.0)
    assert core.closing
    peer.receive()
    assert [frame.last_stream_id for frame in peer.goaways()] == [0]


def test_there_is_no_goodbye_on_a_connection_that_failed() -> None:
    peer, _, core = raw_client()
    core.lost("gone")
    core.shutdown(0.0)
    core.cancel_calls(GONE)
    assert peer.receive() == []
    assert core.closing


# The handshake.


def test_a_client_that_does_not_speak_is_given_up() -> None:
    peer, _, core = raw_client(greet=False, handshake_timeout=5.0)
    assert core.wakeup == 5.0
    core.handle_timeout(4.9)
    assert not core.closing
    core.handle_timeout(5.0)
    assert core.closing
    peer.receive()
    assert [frame.error_code for frame in peer.goaways()] == [ErrorCode.SETTINGS_TIMEOUT]


def test_half_a_preface_is_not_enough() -> None:
    peer, _, core = raw_client(greet=False, handshake_timeout=5.0)
    peer.send_bytes(PREFACE)
    assert core.wakeup == 5.0
    peer.send(peer.settings({}))
    assert core.wakeup is None
    core.handle_timeout(1e9)
    assert not core.closing


def test_the_handshake_may_take_forever() -> None:
    _, _, core = raw_client(greet=False, handshake_timeout=None)
    assert core.wakeup is None
    core.handle_timeout(1e9)
    assert not core.closing


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0" * 100])
@pytest.mark.parametrize("chunk", [None, 1])
def test_a_client_that_speaks_something_else_is_given_up(data: bytes, chunk: int | None) -> None:
    peer, owner, core = raw_client(greet=False)
    peer.send_bytes(data, chunk)
    assert core.closing
    assert owner.calls == []


def test_an_early_status_reaches_a_client_that_still_sends() -> None:
    pair = Pair(server=Http2Settings(stream_window=65_535))
    client, server = pair.open(b"unread", bytes(500_000), end=False)
    assert client.call.pending_bytes
    server.finish(StatusCode.PERMISSION_DENIED, "not you")
    pair.exchange()
    assert (client.code, client.details) == (StatusCode.PERMISSION_DENIED, "not you")
    assert client.call.pending_bytes == 0
    assert not pair.client.calls
    assert not pair.server.calls


def served(pair: Pair) -> list[ServerEnd]:
    return pair.server_owner.calls


def test_cancellation_reaches_the_server() -> None:
    pair = Pair()
    client, server = pair.open(b"x", end=False)
    client.call.cancel()
    pair.exchange()
    assert server.code is StatusCode.CANCELLED
    assert server.events[-2:] == ["cancelled", "closed"]
    assert not pair.server.calls


def test_a_cancellation_that_crosses_the_status_is_harmless() -> None:
    pair = Pair()
    client, server = pair.open(b"x", end=False)
    server.send(b"y").finish()
    client.call.cancel()
    for chunk in (None, 1):
        pair.exchange(chunk)
    assert client.code is StatusCode.CANCELLED
    assert server.code is StatusCode.OK
    other, _ = pair.open(b"z")
    served(pair)[-1].finish()
    pair.exchange()
    assert other.code is StatusCode.OK
