"""The server's end of a call: its states, and what each thing that a client does means for the handler."""

from typing import Any

import pytest

from pygrpc.compression import Compression
from pygrpc.core.call import MessageLimits
from pygrpc.core.compression import compressor
from pygrpc.core.framing import MessageReader, frame_message
from pygrpc.core.http2 import ErrorCode
from pygrpc.core.metadata import Header
from pygrpc.core.server_call import ServerState
from pygrpc.core.server_connection import ServerConnection
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.framed import feed
from tests.core.pair import ANY, REQUEST, RawPeer, ServerEnd, ServerOwner, raw_client

pytestmark = pytest.mark.usefixtures("each_engine")

ACCEPTS = (b"grpc-accept-encoding", b"identity, gzip")


class Bench:
    """A server call on stream 1 from a hand-made client."""

    def __init__(
        self,
        *extra: Header,
        end: bool = False,
        streaming: bool = True,
        limits: MessageLimits = ANY,
        peer_settings: dict[int, int] | None = None,
        **arguments: Any,
    ) -> None:
        self.peer: RawPeer
        self.owner: ServerOwner
        self.core: ServerConnection
        self.peer, self.owner, self.core = raw_client(limits=limits, peer_settings=peer_settings, **arguments)
        self.owner.request_streaming = streaming
        self.peer.send(self.peer.headers(1, [*REQUEST, *extra], end))
        self.end: ServerEnd = self.owner.calls[0]
        self.call = self.end.call

    def message(self, payload: bytes, compressed: bool = False, end: bool = False) -> "Bench":
        self.peer.send(self.peer.data(1, frame_message(payload, compressed), end))
        return self

    def data(self, data: bytes, end: bool = False) -> "Bench":
        self.peer.send(self.peer.data(1, data, end))
        return self

    def answer(self) -> tuple[list[Header], list[bytes], dict[bytes, bytes]]:
        """What was answered: head, messages, trailers; the last two are empty while the answer isn't complete."""
        self.peer.receive()
        blocks = [frame for frame in self.peer.of_stream(1) if hasattr(frame, "fields")]
        last = dict(blocks[-1].fields) if blocks and "END_STREAM" in blocks[-1].flags else {}
        return blocks[0].fields if blocks else [], self.peer.messages(1), last


# The way of a call.


def test_a_unary_call() -> None:
    bench = Bench((b"k", b"v"), streaming=False)
    assert bench.call.head.metadata == (("k", "v"),)
    assert bench.call.state is ServerState.OPEN
    assert bench.end.events == []
    bench.message(b"request", end=True)
    assert bench.end.events == ["requests"]
    assert bench.end.read() == [b"request"]
    assert bench.call.requests_ended
    bench.end.send(b"response")
    assert bench.call.state is ServerState.HEADERS_SENT
    assert bench.end.finish(metadata=[(b"t", b"u")])
    assert bench.call.state is ServerState.STATUS_SENT
    assert bench.call.ended
    head, messages, trailers = bench.answer()
    assert head[:2] == [(b":status", b"200"), (b"content-type", b"application/grpc")]
    assert messages == [b"response"]
    assert trailers == {b"grpc-status": b"0", b"t": b"u"}
    assert bench.call.state is ServerState.CLOSED
    assert bench.end.events == ["requests", "closed"]
    assert bench.peer.resets() == {}
    assert not bench.core.calls


def test_a_handler_of_single_requests_waits_for_the_half_close() -> None:
    bench = Bench(streaming=False).message(b"request")
    assert bench.end.events == []
    bench.data(b"", end=True)
    assert bench.end.events == ["requests"]


def test_a_handler_of_a_stream_is_told_of_each_request() -> None:
    bench = Bench().message(b"1").message(b"2")
    assert bench.end.events == ["requests", "requests"]
    assert bench.end.read() == [b"1", b"2"]
    assert not bench.call.requests_ended
    bench.data(b"", end=True)
    assert bench.end.events == ["requests"] * 3
    assert bench.call.requests_ended


def test_requests_end_when_they_are_read() -> None:
    bench = Bench().message(b"1", end=True)
    assert not bench.call.requests_ended
    bench.end.read()
    assert bench.call.requests_ended


def test_headers_with_the_end_are_a_stream_without_requests() -> None:
    bench = Bench(end=True)
    assert bench.call.requests_ended
    assert bench.end.events == ["requests"]


def test_initial_metadata_go_out_before_messages() -> None:
    bench = Bench()
    bench.call.send_headers([(b"k", b"v")])
    head, _, _ = bench.answer()
    assert (b"k", b"v") in head
    bench.call.send_headers([(b"late", b"v")])
    bench.end.send(b"x")
    assert [hasattr(frame, "fields") for frame in bench.peer.of_stream(1)] == [True]
    assert bench.answer()[1] == [b"x"]


@pytest.mark.parametrize("requests_ended", [True, False])
def test_a_status_alone_is_trailers_only(requests_ended: bool) -> None:
    bench = Bench(end=requests_ended)
    bench.end.finish(StatusCode.NOT_FOUND, "n\u00e4", [(b"k", b"v")])
    bench.peer.receive()
    (block,) = (frame for frame in bench.peer.of_stream(1) if hasattr(frame, "fields"))
    assert block.fields == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"n%C3%A4"),
        (b"k", b"v"),
    ]
    assert "END_STREAM" in block.flags
    # RFC 9113, section 8.1: NO_ERROR tells the client that it need not finish its request.
    assert bench.peer.resets() == ({} if requests_ended else {1: ErrorCode.NO_ERROR})
    assert not bench.core.calls


def test_an_answer_with_an_http_status() -> None:
    bench = Bench(end=True)
    bench.call.answer(Status(StatusCode.UNKNOWN, ""), [], b"415", ((b"x", b"y"),))
    assert bench.answer()[0][0] == (b":status", b"415")
    assert bench.answer()[0][-1] == (b"x", b"y")


def test_a_call_ends_once() -> None:
    bench = Bench(end=True)
    assert bench.end.finish(StatusCode.ABORTED)
    assert bench.end.finish(StatusCode.OK) is False
    assert bench.call.send_message(b"late") is False
    bench.call.send_headers([])
    bench.call.expire()
    bench.call.cancel(Status(StatusCode.CANCELLED, ""))
    assert bench.end.code is StatusCode.ABORTED
    assert bench.answer()[2][b"grpc-status"] == b"10"
    assert bench.end.finish(StatusCode.OK) is False
    assert bench.end.events.count("closed") == 1


# Cardinality and truncation.


@pytest.mark.parametrize("together", [True, False])
def test_a_second_request_to_a_unary_method_is_unimplemented(together: bool) -> None:
    bench = Bench(streaming=False)
    if together:
        bench.data(2 * frame_message(b"x"))
    else:
        bench.message(b"x").message(b"y", end=True)
    assert bench.answer()[2][b"grpc-status"] == b"12"
    assert bench.end.events == ["cancelled", "closed"]


@pytest.mark.parametrize("where", ["headers", "data", "trailers"])
def test_no_request_to_a_unary_method_is_unimplemented(where: str) -> None:
    bench = Bench(streaming=False, end=where == "headers")
    if where == "data":
        bench.data(b"", end=True)
    elif where == "trailers":
        bench.peer.send(bench.peer.headers(1, [(b"k", b"v")], True))
    assert bench.answer()[2][b"grpc-status"] == b"12"
    assert bench.peer.resets() == {}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0\5", b"\0\0\0\0\5abc"])
def test_a_truncated_request_is_internal(tail: bytes, streaming: bool) -> None:
    bench = Bench(streaming=streaming).data(tail, end=True)
    assert bench.answer()[2][b"grpc-status"] == b"13"
    assert b"in the middle of a message" in bench.answer()[2][b"grpc-message"]
    assert bench.end.events == ["cancelled", "closed"]


@pytest.mark.parametrize("flag", [2, 255])
def test_a_bad_flag_byte_is_internal(flag: int) -> None:
    bench = Bench().data(bytes([flag, 0, 0, 0, 0]))
    assert bench.answer()[2][b"grpc-status"] == b"13"


@pytest.mark.parametrize("end", [True, False])
def test_trailers_of_a_request_are_passed_over(end: bool) -> None:
    bench = Bench().message(b"x")
    bench.peer.send(bench.peer.headers(1, [(b"grpc-status", b"3"), (b"k", b"v")], True))
    assert bench.end.read() == [b"x"]
    assert bench.call.requests_ended
    assert bench.call.state is ServerState.OPEN


def test_malformed_trailers_of_a_request_are_a_stream_error() -> None:
    bench = Bench()
    bench.peer.send(bench.peer.headers(1, [(b"Key", b"v")], True))
    bench.peer.receive()
    assert bench.peer.resets() == {1: ErrorCode.PROTOCOL_ERROR}
    assert bench.end.events == ["cancelled", "closed"]
    assert bench.core.failure is None


# Sizes and compression.


def test_a_request_that_is_too_large_is_refused_on_its_prefix() -> None:
    bench = Bench(limits=MessageLimits(10, -1)).message(b"x" * 10).data(b"\0\0\0\0\x0b")
    assert bench.answer()[2] == {
        b":status": b"200",
        b"content-type": b"application/grpc",
        b"grpc-status": b"8",
        b"grpc-message": b"SERVER: Received message larger than max (11 vs. 10)",
    }
    assert bench.end.events == ["requests", "cancelled", "closed"]
    assert bench.peer.resets() == {1: ErrorCode.NO_ERROR}


def test_a_response_that_is_too_large_is_not_sent() -> None:
    bench = Bench(end=True, limits=MessageLimits(-1, 10))
    bench.end.send(b"x" * 10)
    assert bench.call.send_message(b"x" * 11) is False
    _, messages, trailers = bench.answer()
    assert trailers[b"grpc-status"] == b"8"
    assert trailers[b"grpc-message"] == b"SERVER: Sent message larger than max (11 vs. 10)"
    assert messages in ([], [b"x" * 10])


def test_a_compressed_request_is_read() -> None:
    bench = Bench((b"grpc-encoding", b"gzip"))
    bench.message(compressor(b"gzip")(b"x" * 100), compressed=True).message(b"plain", end=True)
    assert bench.end.read() == [b"x" * 100, b"plain"]


@pytest.mark.parametrize(
    ("encoding", "payload", "code"),
    [
        (b"identity", compressor(b"gzip")(b"x"), b"13"),
        (b"gzip", b"no gzip", b"13"),
        (b"deflate", compressor(b"gzip")(b"x"), b"13"),
        (b"gzip", compressor(b"gzip")(bytes(1001)), b"8"),
    ],
    ids=["identity", "garbage", "another encoding", "a bomb"],
)
def test_a_request_that_cannot_be_decompressed_ends_the_call(encoding: bytes, payload: bytes, code: bytes) -> None:
    bench = Bench((b"grpc-encoding", encoding), limits=MessageLimits(1000, -1))
    bench.message(payload, compressed=True, end=True)
    assert bench.call.read_message() is None
    assert bench.answer()[2][b"grpc-status"] == code
    assert bench.end.events == ["requests", "cancelled", "closed"]


@pytest.mark.parametrize(
    ("accepted", "compression", "encoding"),
    [
        ((ACCEPTS,), Compression.Gzip, b"gzip"),
        ((ACCEPTS,), Compression.NoCompression, None),
        ((ACCEPTS,), None, None),
        ((ACCEPTS,), Compression.Deflate, None),
        ((), Compression.Gzip, None),
    ],
)
def test_a_response_is_compressed_as_the_client_accepts(
    accepted: tuple[Header, ...], compression: Compression | None, encoding: bytes | None
) -> None:
    bench = Bench(*accepted, end=True)
    bench.call.set_compression(compression)
    bench.end.send(b"x" * 1000)
    head, _, _ = bench.answer()
    assert dict(head).get(b"grpc-encoding") == encoding
    data = bench.peer.of_stream(1)[-1].data
    assert data[0] == (encoding is not None)


def test_the_next_message_can_be_left_uncompressed() -> None:
    bench = Bench(ACCEPTS, end=True)
    bench.call.set_compression(Compression.Gzip)
    bench.call.send_message(b"x" * 1000, compress=False)
    bench.call.send_message(b"x" * 1000, compress=True)
    flags = [flag for flag, _ in messages_with_flags(bench)]
    assert flags == [False, True]


def messages_with_flags(bench: Bench) -> list[tuple[bool, bytes]]:
    bench.peer.receive()
    data = b"".join(frame.data for frame in bench.peer.of_stream(1) if frame.type == 0)
    return [(compressed, payload) for payload, compressed in feed(MessageReader(-1), data)]


# All at once.


def wire_of(bench: Bench) -> list[tuple[object, ...]]:
    bench.peer.receive()
    return [
        (type(frame).__name__, sorted(frame.flags), getattr(frame, "fields", getattr(frame, "data", None)))
        for frame in bench.peer.of_stream(1)
    ]


@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize("payload", [b"", b"x" * 100, b"x" * 30_000, b"x" * 100_000], ids=len)
def test_respond_is_what_the_steps_are(payload: bytes, end: bool) -> None:
    at_once, in_steps = Bench(end=end), Bench(end=end)
    assert at_once.call.respond(payload)
    assert in_steps.call.send_message(payload)
    assert in_steps.end.finish()
    assert wire_of(at_once) == wire_of(in_steps)
    assert at_once.end.events == in_steps.end.events
    assert at_once.call.state is in_steps.call.state
    assert (at_once.end.code, at_once.call.ended) == (StatusCode.OK, True)
    assert at_once.core.calls.keys() == in_steps.core.calls.keys()


def test_the_second_and_third_respond_are_as_the_first() -> None:
    # The header blocks are literals first, and indexed later.
    bench = Bench(end=True)
    for stream_id in (1, 3, 5, 7):
        if stream_id > 1:
            bench.peer.send(bench.peer.headers(stream_id, REQUEST, True))
        assert bench.owner.calls[-1].call.respond(b"x")
        bench.peer.receive()
        head, data, tail = bench.peer.of_stream(stream_id)
        assert head.fields[0] == (b":status", b"200")
        assert data.data == frame_message(b"x")
        assert tail.fields == [(b"grpc-status", b"0")]
    assert not bench.core.calls


@pytest.mark.parametrize("window", [0, 10])
def test_respond_waits_for_a_window(window: int) -> None:
    bench = Bench(end=True, peer_settings={4: window})
    assert bench.call.respond(b"x" * 50)
    assert bench.answer()[2] == {}
    bench.peer.send(bench.peer.window(1, 100))
    assert bench.answer()[1:] == ([b"x" * 50], {b"grpc-status": b"0"})
    assert not bench.core.calls


def test_respond_waits_while_the_transport_is_congested() -> None:
    bench = Bench(end=True)
    bench.core.sending_paused = True
    assert bench.call.respond(b"x")
    assert bench.call.pending_bytes == 6
    bench.core.sending_paused = False
    assert bench.answer()[1:] == ([b"x"], {b"grpc-status": b"0"})


def test_respond_goes_on_where_messages_were_sent() -> None:
    bench = Bench(end=True)
    bench.end.send(b"first")
    assert bench.call.respond(b"last")
    assert bench.answer()[1:] == ([b"first", b"last"], {b"grpc-status": b"0"})


def test_respond_compresses() -> None:
    bench = Bench(ACCEPTS, end=True)
    bench.call.set_compression(Compression.Gzip)
    assert bench.call.respond(b"x" * 1000)
    assert [flag for flag, _ in messages_with_flags(bench)] == [True]


def test_respond_announces_the_encodings_that_are_accepted() -> None:
    bench = Bench(end=True, limits=MessageLimits(-1, -1, encodings=frozenset([b"gzip"])))
    assert bench.call.respond(b"x")
    head, messages, _ = bench.answer()
    assert dict(head)[b"grpc-accept-encoding"] == b"identity, gzip"
    assert messages == [b"x"]


def test_respond_keeps_to_the_limit() -> None:
    bench = Bench(end=True, limits=MessageLimits(-1, 3))
    assert not bench.call.respond(b"four")
    assert bench.answer()[2][b"grpc-status"] == b"8"
    assert bench.end.events == ["requests", "cancelled", "closed"]


def test_respond_behind_the_end_is_passed_over() -> None:
    bench = Bench(end=True)
    assert bench.call.respond(b"x")
    assert not bench.call.respond(b"again")
    assert bench.answer()[1] == [b"x"]


# Header lists that the client doesn't want.

LARGE = [(b"k", b"v" * 1000)]


def limited(limit: int = 600, **arguments: Any) -> Bench:
    bench = Bench(end=True, peer_settings={6: limit}, **arguments)
    bench.peer.receive()
    return bench


def test_initial_metadata_that_are_too_large_end_the_call() -> None:
    bench = limited()
    bench.call.send_headers(LARGE)
    assert bench.end.events == ["requests", "cancelled"]
    assert not bench.call.send_message(b"x")
    head, messages, last = bench.answer()
    assert (dict(head)[b":status"], messages) == (b"200", [])
    assert last[b"grpc-status"] == b"8"
    assert last[b"grpc-message"].startswith(b"the initial metadata exceed the client's limit: ")
    assert last[b"grpc-message"].endswith(b" vs. 600 bytes")
    assert bench.end.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("messages", [0, 1])
def test_trailers_that_are_too_large_are_replaced(messages: int) -> None:
    bench = limited()
    bench.end.send(*[b"x"] * messages)
    assert bench.end.finish(StatusCode.NOT_FOUND, "details", LARGE)
    head, received, last = bench.answer()
    assert dict(head)[b":status"] == b"200"
    assert received == [b"x"] * messages
    assert last[b"grpc-status"] == b"8"
    assert last[b"grpc-message"].startswith(b"the trailers of NOT_FOUND exceed the client's limit: ")
    assert bench.end.code is StatusCode.RESOURCE_EXHAUSTED
    assert not bench.core.calls


@pytest.mark.parametrize("limit", [0, 50, 120])
def test_a_client_that_wants_no_headers_gets_none(limit: int) -> None:
    bench = limited(limit)
    assert not bench.call.respond(b"x")
    bench.peer.receive()
    assert bench.peer.resets() == {1: ErrorCode.ENHANCE_YOUR_CALM}
    assert not bench.core.calls


def test_a_limit_that_changes_counts_from_then_on() -> None:
    bench = limited(10_000)
    for stream_id, limit in ((1, 10_000), (3, 10_000), (5, 10_000), (7, 100)):
        if stream_id > 1:
            bench.peer.send(bench.peer.settings({6: limit}), bench.peer.headers(stream_id, REQUEST, True))
        assert bench.owner.calls[-1].call.respond(b"x") is (limit > 100)
    bench.peer.receive()
    assert bench.peer.resets() == {7: ErrorCode.ENHANCE_YOUR_CALM}


# Cancellation, deadlines, loss.


@pytest.mark.parametrize("headers", [True, False])
def test_a_reset_by_the_client_cancels(headers: bool) -> None:
    bench = Bench().message(b"unread")
    if headers:
        bench.end.send(b"x")
    bench.peer.send(bench.peer.reset(1, ErrorCode.CANCEL))
    assert bench.end.events == ["requests", "cancelled", "closed"]
    assert bench.end.code is StatusCode.CANCELLED
    assert bench.call.state is ServerState.CLOSED
    assert bench.end.read() == []
    assert bench.end.finish() is False
    assert bench.call.send_message(b"late") is False
    assert not bench.core.calls


def test_a_lost_connection_cancels() -> None:
    bench = Bench()
    bench.core.lost("the wire was cut")
    assert bench.end.events == ["cancelled", "closed"]
    assert bench.call.status == Status(StatusCode.CANCELLED, "the wire was cut")


@pytest.mark.parametrize("headers", [True, False])
def test_a_deadline_ends_the_call(headers: bool) -> None:
    bench = Bench((b"grpc-timeout", b"5S"))
    assert bench.call.deadline == 5.0
    if headers:
        bench.end.send(b"x")
    bench.call.expire()
    assert bench.answer()[2][b"grpc-status"] == b"4"
    assert bench.answer()[2][b"grpc-message"] == b"Deadline Exceeded"
    assert bench.end.events == ["cancelled", "closed"]


def test_the_deadline_counts_from_when_the_request_came() -> None:
    peer, owner, _ = raw_client()
    peer.now = 100.0
    peer.send(peer.headers(1, [*REQUEST, (b"grpc-timeout", b"20m")]))
    assert owner.calls[0].call.deadline == pytest.approx(100.02)


def test_the_server_cancels() -> None:
    bench = Bench()
    bench.call.cancel(Status(StatusCode.UNAVAILABLE, "going away"))
    assert bench.answer()[2][b"grpc-status"] == b"14"
    assert bench.end.events == ["cancelled", "closed"]


def test_a_reset_behind_the_status_is_no_cancellation() -> None:
    bench = Bench(peer_settings={4: 10})
    bench.end.send(bytes(1000))
    bench.end.finish()
    bench.peer.receive()
    assert bench.call.state is ServerState.STATUS_SENT
    bench.peer.send(bench.peer.reset(1, ErrorCode.CANCEL))
    assert bench.end.events == ["closed"]
    assert bench.end.code is StatusCode.OK


def test_requests_behind_the_status_are_dropped_and_credited() -> None:
    bench = Bench(peer_settings={4: 10})
    bench.end.send(bytes(1000))
    bench.end.finish()
    bench.peer.receive()
    bench.message(b"late").data(b"\xff\xff", end=True)
    assert bench.call.requests_ended
    bench.peer.send(bench.peer.window(1, 100_000))
    assert bench.answer()[1:] == ([bytes(1000)], {b"grpc-status": b"0"})
    assert bench.peer.resets() == {}


def test_the_status_waits_for_the_messages_before_it() -> None:
    bench = Bench(end=True, peer_settings={4: 10})
    bench.end.send(bytes(100))
    bench.end.finish(StatusCode.DATA_LOSS)
    assert bench.answer()[2] == {}
    bench.peer.send(bench.peer.window(1, 94))
    assert bench.answer()[2] == {}
    bench.peer.send(bench.peer.window(1, 1))
    assert bench.answer()[1:] == ([bytes(100)], {b"grpc-status": b"15"})


def test_an_error_does_not_wait_for_a_client_that_does_not_read() -> None:
    bench = Bench(peer_settings={4: 10})
    bench.end.send(bytes(100))
    bench.peer.receive()
    bench.call.expire()
    assert bench.answer()[2][b"grpc-status"] == b"4"


def test_a_writer_is_told_when_there_is_room() -> None:
    bench = Bench(end=True)
    bench.end.send(bytes(200_000))
    assert bench.call.backlogged
    bench.peer.receive()
    assert bench.call.backlogged
    assert "writable" not in bench.end.events
    bench.peer.send(bench.peer.window(0, 100_000), bench.peer.window(1, 100_000))
    bench.peer.receive()
    assert not bench.call.backlogged
    assert bench.end.events.count("writable") == 1


def test_reports_on_a_call_that_is_over_change_nothing() -> None:
    bench = Bench()
    bench.peer.send(bench.peer.reset(1, ErrorCode.CANCEL))
    events = list(bench.end.events)
    bench.call.data_received(b"late", 4, False)
    bench.call.headers_received([(b"k", b"v")], True)
    bench.call.stream_reset(ErrorCode.CANCEL, True)
    bench.call.connection_lost(Status(StatusCode.UNAVAILABLE, "gone"))
    assert bench.end.events == events
    assert bench.call.state is ServerState.CLOSED


def test_a_call_without_a_listener_is_answered_too() -> None:
    bench = Bench()
    bench.call.listener = None
    bench.message(b"x")
    bench.end.finish(StatusCode.UNIMPLEMENTED)
    assert bench.answer()[2][b"grpc-status"] == b"12"


# Metadata that somebody has prepared for the headers.

PREPARED = (b"x-prepared", b"1")


def test_prepared_metadata_go_with_a_response_that_is_sent_at_once() -> None:
    bench = Bench(end=True)
    bench.call.initial_metadata = (PREPARED,)
    assert bench.call.respond(b"x")
    head, messages, trailers = bench.answer()
    assert (PREPARED in head, messages, trailers) == (True, [b"x"], {b"grpc-status": b"0"})


def test_prepared_metadata_go_before_those_of_the_handler() -> None:
    bench = Bench(end=True)
    bench.call.initial_metadata = (PREPARED,)
    bench.call.send_headers([(b"x-own", b"2")])
    bench.end.finish()
    head, _, trailers = bench.answer()
    assert head[-2:] == [PREPARED, (b"x-own", b"2")]
    assert b"x-prepared" not in trailers


def test_prepared_metadata_go_with_a_status_that_comes_alone() -> None:
    bench = Bench(end=True)
    bench.call.initial_metadata = (PREPARED,)
    bench.call.finish(Status(StatusCode.NOT_FOUND, "gone"), [(b"x-own", b"2")])
    bench.peer.receive()
    [head] = bench.peer.of_stream(1)
    assert PREPARED in head.fields and (b"x-own", b"2") in head.fields
