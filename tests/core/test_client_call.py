"""The client's end of a call: its states, and what each thing that a server does means for the status."""

from typing import Any

import pytest

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import (
    CANCELLED_LOCALLY,
    DEADLINE_EXCEEDED,
    ClientState,
)
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.compression import compressor
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import ErrorCode
from pygrpc.core.metadata import Header
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, RESPONSE, ClientEnd, RawPeer, changed, raw_server

pytestmark = pytest.mark.usefixtures("each_engine")

OK_TRAILERS: list[Header] = [(b"grpc-status", b"0")]


class Bench:
    """A client call on stream 1 before a hand-made server."""

    def __init__(self, *, send: bool = True, response_streaming: bool = True, **arguments: Any) -> None:
        self.peer: RawPeer
        self.core: ClientConnection
        self.peer, _, self.core = raw_server()
        self.end = ClientEnd(response_streaming=response_streaming, **arguments)
        self.call = self.end.call
        self.core.start(self.call)
        if send:
            self.end.send(b"request")
        self.peer.receive()

    def headers(self, fields: list[Header], end: bool = False) -> "Bench":
        self.peer.send(self.peer.headers(1, fields, end))
        return self

    def message(self, payload: bytes, compressed: bool = False, end: bool = False) -> "Bench":
        self.peer.send(self.peer.data(1, frame_message(payload, compressed), end))
        return self

    def data(self, data: bytes, end: bool = False) -> "Bench":
        self.peer.send(self.peer.data(1, data, end))
        return self

    def resets(self) -> dict[int, int]:
        self.peer.receive()
        return self.peer.resets()


# The way of a call.


def test_a_unary_call() -> None:
    bench = Bench(response_streaming=False)
    assert bench.peer.frames[-2].fields[:3] == REQUEST[:3]
    assert bench.peer.messages(1) == [b"request"]
    assert bench.call.state is ClientState.AWAITING_HEADERS
    bench.headers([*RESPONSE, (b"k", b"v")])
    assert bench.call.state is ClientState.RECEIVING
    assert bench.call.initial_metadata == (("k", "v"),)
    bench.message(b"response")
    bench.headers([*OK_TRAILERS, (b"t", b"u")], end=True)
    assert bench.call.state is ClientState.DRAINING
    assert not bench.call.ended
    assert bench.end.read() == [b"response"]
    assert bench.call.state is ClientState.DONE
    assert bench.call.status == Status(StatusCode.OK, "", (("t", "u"),))
    assert bench.end.events == ["started", "initial_metadata", "message", "message", "done"]
    assert bench.resets() == {}
    assert not bench.core.calls


def test_the_status_comes_behind_the_messages() -> None:
    # doc/status_ordering.md.
    bench = Bench()
    bench.headers(RESPONSE).message(b"1").message(b"2").headers([(b"grpc-status", b"9")], end=True)
    assert bench.call.read_message() == b"1"
    assert bench.end.code is None
    assert bench.call.read_message() == b"2"
    assert bench.end.code is StatusCode.FAILED_PRECONDITION
    assert bench.call.read_message() is None


def test_a_call_that_drains_holds_no_stream() -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"1").headers(OK_TRAILERS, end=True)
    assert not bench.call.ended
    assert not bench.core.calls


def test_a_trailers_only_response() -> None:
    bench = Bench(response_streaming=False)
    bench.headers([*RESPONSE, (b"grpc-status", b"5"), (b"grpc-message", b"n%C3%A4"), (b"k", b"v")], end=True)
    assert bench.call.status == Status(StatusCode.NOT_FOUND, "n\u00e4", (("k", "v"),))
    assert bench.call.initial_metadata == ()
    assert bench.end.events == ["started", "initial_metadata", "done"]


def test_requests_may_be_queued_before_the_call_starts() -> None:
    peer, _, core = raw_server()
    end = ClientEnd().send(b"1", b"2")
    assert end.call.state is ClientState.IDLE
    core.start(end.call)
    peer.receive()
    assert peer.messages(1) == [b"1", b"2"]
    assert peer.of_stream(1)[-1].flags == {"END_STREAM"}


@pytest.mark.parametrize("sent", [0, 1])
def test_a_half_close_is_the_end_of_the_stream(sent: int) -> None:
    # PROTOCOL-HTTP2.md: an empty DATA frame, if there is nothing left to send.
    bench = Bench(send=False)
    bench.end.send(*[b"x"] * sent, end=False)
    bench.peer.receive()
    bench.call.half_close()
    bench.call.half_close()
    (last,) = bench.peer.receive()
    assert (last.data, last.flags) == (b"", {"END_STREAM"})


def test_the_timeout_is_what_is_left_when_the_call_goes_out() -> None:
    bench = Bench(deadline=5.0)
    assert bench.end.timeouts == [5.0]
    later = ClientEnd(deadline=5.0)
    bench.core.receive_data(b"", now=2.0)
    bench.core.start(later.call)
    assert later.timeouts == [3.0]


# Cardinality.


@pytest.mark.parametrize("together", [True, False])
def test_a_second_response_to_a_unary_call_is_an_error(together: bool) -> None:
    bench = Bench(response_streaming=False)
    bench.headers(RESPONSE)
    if together:
        bench.data(2 * frame_message(b"x"))
    else:
        bench.message(b"x").message(b"y")
    assert bench.end.code is StatusCode.UNIMPLEMENTED
    assert bench.end.read() == []
    assert bench.resets() == {1: ErrorCode.CANCEL}


@pytest.mark.parametrize("headers", [True, False])
def test_no_response_to_a_unary_call_is_an_error(headers: bool) -> None:
    bench = Bench(response_streaming=False)
    if headers:
        bench.headers(RESPONSE).headers(OK_TRAILERS, end=True)
    else:
        bench.headers([*RESPONSE, *OK_TRAILERS], end=True)
    assert bench.end.code is StatusCode.UNIMPLEMENTED


def test_an_error_needs_no_response() -> None:
    bench = Bench(response_streaming=False)
    bench.headers(RESPONSE).headers([(b"grpc-status", b"3")], end=True)
    assert bench.end.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("responses", [0, 1, 3])
def test_a_stream_has_any_number_of_responses(responses: int) -> None:
    bench = Bench()
    bench.headers(RESPONSE)
    for _ in range(responses):
        bench.message(b"x")
    bench.headers(OK_TRAILERS, end=True)
    assert bench.end.read() == [b"x"] * responses
    assert bench.end.code is StatusCode.OK


# Responses that are wrong.


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0\5", b"\0\0\0\0\5abc"])
def test_a_truncated_message_is_internal(tail: bytes) -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"whole").data(tail).headers(OK_TRAILERS, end=True)
    assert bench.end.code is StatusCode.INTERNAL
    assert "in the middle of a message" in bench.end.details


def test_a_truncated_message_before_an_error_changes_nothing() -> None:
    bench = Bench()
    bench.headers(RESPONSE).data(b"\0\0").headers([(b"grpc-status", b"8")], end=True)
    assert bench.end.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("responses", [0, 1])
def test_an_end_without_trailers_is_unknown(responses: int) -> None:
    bench = Bench()
    bench.headers(RESPONSE).data(frame_message(b"x") * responses, end=True)
    assert bench.end.read() == [b"x"] * responses
    assert bench.end.code is StatusCode.UNKNOWN


def test_a_bad_flag_byte_is_internal() -> None:
    bench = Bench()
    bench.headers(RESPONSE).data(b"\2\0\0\0\0")
    assert bench.end.code is StatusCode.INTERNAL
    assert bench.resets() == {1: ErrorCode.CANCEL}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (changed(RESPONSE, b":status", b"503"), StatusCode.UNAVAILABLE),
        (changed(RESPONSE, b"content-type", b"text/html"), StatusCode.UNKNOWN),
        ([*RESPONSE, (b"grpc-encoding", b"br")], StatusCode.INTERNAL),
        ([*RESPONSE, (b"k-bin", b"*")], StatusCode.INTERNAL),
        ([*RESPONSE, (b"grpc-status", b"7")], StatusCode.PERMISSION_DENIED),
    ],
    ids=["http status", "content-type", "encoding", "metadata", "early status"],
)
def test_a_head_that_is_wrong_ends_the_call(headers: list[Header], code: StatusCode) -> None:
    bench = Bench()
    bench.headers(headers)
    assert bench.end.code is code
    assert bench.resets() == {1: ErrorCode.CANCEL}
    bench.data(b"<html>", end=True)
    assert bench.end.events.count("done") == 1


@pytest.mark.parametrize("when", ["head", "trailers"])
def test_malformed_headers_are_a_stream_error(when: str) -> None:
    bench = Bench()
    other = ClientEnd()
    bench.core.start(other.call)
    if when == "trailers":
        bench.headers(RESPONSE)
    bench.headers([*(RESPONSE if when == "head" else OK_TRAILERS), (b"Key", b"v")], end=True)
    assert bench.end.code is StatusCode.INTERNAL
    assert other.code is None
    assert bench.core.failure is None
    bench.peer.send(bench.peer.headers(3, [*RESPONSE, *OK_TRAILERS], True))
    assert other.code is StatusCode.OK


def test_trailers_that_are_no_status_are_internal() -> None:
    bench = Bench()
    bench.headers(RESPONSE).headers([(b"grpc-status", b"abc")], end=True)
    assert bench.end.code is StatusCode.INTERNAL


# Resets.


@pytest.mark.parametrize(
    ("reset", "code"),
    [
        (ErrorCode.NO_ERROR, StatusCode.INTERNAL),
        (ErrorCode.PROTOCOL_ERROR, StatusCode.INTERNAL),
        (ErrorCode.REFUSED_STREAM, StatusCode.UNAVAILABLE),
        (ErrorCode.CANCEL, StatusCode.CANCELLED),
        (ErrorCode.ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED),
        (ErrorCode.INADEQUATE_SECURITY, StatusCode.PERMISSION_DENIED),
        (0x12345, StatusCode.INTERNAL),
    ],
)
@pytest.mark.parametrize("headers", [True, False])
def test_a_reset_ends_the_call(reset: int, code: StatusCode, headers: bool) -> None:
    bench = Bench()
    bench.end.call.keep_nothing()
    if headers:
        bench.headers(RESPONSE)
    bench.peer.send(bench.peer.reset(1, reset))
    assert bench.end.code is code
    assert bench.resets() == {}
    assert not bench.core.calls


@pytest.mark.parametrize(("now", "code"), [(4.9, StatusCode.CANCELLED), (5.0, StatusCode.DEADLINE_EXCEEDED)])
def test_cancel_by_the_server_means_the_deadline_if_that_has_passed(now: float, code: StatusCode) -> None:
    bench = Bench(deadline=5.0)
    bench.peer.now = now
    bench.peer.send(bench.peer.reset(1, ErrorCode.CANCEL))
    assert bench.end.code is code


def test_a_reset_behind_the_status_changes_nothing() -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"x").headers(OK_TRAILERS, end=True)
    bench.peer.send(bench.peer.reset(1, ErrorCode.NO_ERROR))
    assert bench.end.read() == [b"x"]
    assert bench.end.code is StatusCode.OK


def test_a_status_before_the_half_close_ends_the_stream() -> None:
    bench = Bench(send=False)
    bench.end.send(b"first", end=False)
    bench.headers([*RESPONSE, (b"grpc-status", b"13")], end=True)
    assert bench.end.code is StatusCode.INTERNAL
    assert bench.call.send_message(b"late") is False
    bench.call.half_close()
    assert bench.resets() == {1: ErrorCode.NO_ERROR}
    assert not bench.core.calls


# Cancellation, deadlines, loss.


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize(
    ("status", "code"),
    [(CANCELLED_LOCALLY, StatusCode.CANCELLED), (DEADLINE_EXCEEDED, StatusCode.DEADLINE_EXCEEDED)],
)
def test_a_call_is_cancelled(headers: bool, status: Status, code: StatusCode) -> None:
    bench = Bench()
    if headers:
        bench.headers(RESPONSE).message(b"unread")
    assert bench.call.cancel(status) is True
    assert bench.end.code is code
    assert bench.end.read() == []
    assert bench.resets() == {1: ErrorCode.CANCEL}
    assert bench.call.cancel() is False
    assert bench.end.events[-1] == "done"
    assert bench.end.events.count("done") == 1


def test_a_call_is_cancelled_before_it_starts() -> None:
    end = ClientEnd().send(b"x")
    assert end.call.cancel() is True
    assert end.events == ["initial_metadata", "done"] or end.events == ["writable", "initial_metadata", "done"]
    assert end.call.send_message(b"y") is False
    assert end.call.pending_bytes == 0


def test_a_call_that_drains_can_be_cancelled() -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"unread").headers(OK_TRAILERS, end=True)
    assert bench.call.cancel() is True
    assert bench.end.code is StatusCode.CANCELLED
    assert bench.end.read() == []
    assert bench.resets() == {}


def test_what_comes_after_a_cancellation_is_dropped() -> None:
    bench = Bench()
    bench.call.cancel()
    bench.headers(RESPONSE)
    bench.message(b"late")
    bench.headers(OK_TRAILERS, end=True)
    assert bench.end.events.count("done") == 1
    assert bench.core.failure is None


def test_a_lost_connection_ends_the_call() -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"unread")
    bench.core.lost("the wire was cut")
    assert bench.call.status == Status(StatusCode.UNAVAILABLE, "the wire was cut")
    assert bench.end.read() == []


def test_a_lost_connection_does_not_change_a_status_that_came() -> None:
    bench = Bench()
    bench.headers(RESPONSE).message(b"x").headers(OK_TRAILERS, end=True)
    bench.core.lost("the wire was cut")
    assert bench.end.read() == [b"x"]
    assert bench.end.code is StatusCode.OK


# Sizes and compression.


@pytest.mark.parametrize(("size", "code"), [(10, StatusCode.OK), (11, StatusCode.RESOURCE_EXHAUSTED)])
def test_a_response_that_is_too_large_is_refused_on_its_prefix(size: int, code: StatusCode) -> None:
    bench = Bench(limits=MessageLimits(10, -1))
    bench.headers(RESPONSE).data(frame_message(b"x" * size)[:5])
    if code is not StatusCode.OK:
        assert bench.end.code is code
        assert bench.end.details == "CLIENT: Received message larger than max (11 vs. 10)"
        assert bench.resets() == {1: ErrorCode.CANCEL}
        return
    bench.data(b"x" * size).headers(OK_TRAILERS, end=True)
    assert bench.end.read() == [b"x" * size]
    assert bench.end.code is code


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame_message(b"x" * 11), StatusCode.RESOURCE_EXHAUSTED),
        (b"\x02" + frame_message(b"x")[1:], StatusCode.INTERNAL),
    ],
    ids=["too large", "malformed"],
)
@pytest.mark.parametrize("together", [True, False])
def test_messages_before_one_that_cannot_be_read_are_read(bad: bytes, code: StatusCode, together: bool) -> None:
    bench = Bench(limits=MessageLimits(10, -1))
    bench.headers(RESPONSE)
    good = frame_message(b"1") + frame_message(b"2")
    if together:
        bench.data(good + bad)
    else:
        bench.data(good).data(bad)
    assert not bench.call.ended
    assert bench.resets() == {1: ErrorCode.CANCEL}
    assert bench.end.read() == [b"1", b"2"]
    assert bench.end.code is code


def test_a_stream_that_was_reset_gets_no_credit_for_what_is_still_read() -> None:
    bench = Bench()
    large = b"x" * bench.core.credit_threshold
    framed = frame_message(large)
    bench.headers(RESPONSE)
    for start in range(0, len(framed), 15_000):
        bench.data(framed[start : start + 15_000])
    bench.data(b"\x02\0\0\0\0")
    assert bench.resets() == {1: ErrorCode.CANCEL}
    assert bench.end.read() == [large]
    assert bench.end.code is StatusCode.INTERNAL
    assert not [frame for frame in bench.peer.receive() if frame.stream_id]


@pytest.mark.parametrize("started", [True, False])
def test_a_request_that_is_too_large_is_not_sent(started: bool) -> None:
    limits = MessageLimits(-1, 10)
    end = Bench(send=False, limits=limits).end if started else ClientEnd(limits=limits)
    assert end.call.send_message(b"x" * 10) is True
    assert end.call.send_message(b"x" * 11) is False
    assert end.code is StatusCode.RESOURCE_EXHAUSTED
    assert end.details == "CLIENT: Sent message larger than max (11 vs. 10)"


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_compressed_response_is_read(encoding: bytes) -> None:
    bench = Bench()
    bench.headers([*RESPONSE, (b"grpc-encoding", encoding)])
    bench.message(compressor(encoding)(b"x" * 100), compressed=True).message(b"plain")
    assert bench.end.read() == [b"x" * 100, b"plain"]


@pytest.mark.parametrize("drained", [True, False])
@pytest.mark.parametrize(
    ("encoding", "payload", "code"),
    [
        (None, compressor(b"gzip")(b"x"), StatusCode.INTERNAL),
        (b"identity", compressor(b"gzip")(b"x"), StatusCode.INTERNAL),
        (b"gzip", b"no gzip", StatusCode.INTERNAL),
        (b"deflate", compressor(b"gzip")(b"x"), StatusCode.INTERNAL),
        (b"gzip", compressor(b"gzip")(bytes(1001)), StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["no encoding", "identity", "garbage", "another encoding", "a bomb"],
)
def test_a_message_that_cannot_be_decompressed_ends_the_call(
    encoding: bytes | None, payload: bytes, code: StatusCode, drained: bool
) -> None:
    bench = Bench(limits=MessageLimits(1000, -1))
    bench.headers([*RESPONSE, *([(b"grpc-encoding", encoding)] if encoding else [])])
    bench.message(payload, compressed=True).message(b"another")
    if drained:
        bench.headers(OK_TRAILERS, end=True)
    assert bench.call.read_message() is None
    assert bench.end.code is code
    assert bench.end.read() == []
    assert bench.resets() == ({} if drained else {1: ErrorCode.CANCEL})
    assert bench.end.events.count("done") == 1


@pytest.mark.parametrize("compress", [True, False])
def test_requests_are_compressed_by_message(compress: bool) -> None:
    bench = Bench(send=False, send_encoding=b"gzip")
    bench.call.send_message(b"x" * 1000, compress)
    data = bench.peer.receive()[-1].data
    assert data[0] == int(compress)
    assert (len(data) < 1000) is compress


def test_what_does_not_shrink_goes_as_it_is() -> None:
    bench = Bench(send=False, send_encoding=b"gzip")
    bench.call.send_message(b"x")
    assert bench.peer.receive()[-1].data == frame_message(b"x")


# What no engine reports, but the call does not rely on that.


def test_data_before_headers_is_internal() -> None:
    bench = Bench()
    bench.call.data_received(b"early", 5, False)
    assert bench.end.code is StatusCode.INTERNAL
    assert bench.resets() == {1: ErrorCode.CANCEL}


def test_reports_on_a_call_that_is_over_change_nothing() -> None:
    bench = Bench()
    bench.call.cancel()
    bench.call.headers_received(RESPONSE, False)
    bench.call.headers_received(OK_TRAILERS, True)
    bench.call.data_received(b"late", 4, True)
    bench.call.stream_reset(ErrorCode.CANCEL, True)
    bench.call.connection_lost(Status(StatusCode.UNAVAILABLE, "gone"))
    assert bench.end.code is StatusCode.CANCELLED
    assert bench.end.events.count("done") == 1


# Backlog.


def test_a_writer_is_told_when_there_is_room() -> None:
    bench = Bench(send=False)
    bench.call.send_message(bytes(60_000))
    assert not bench.call.backlogged
    bench.call.send_message(bytes(60_000))
    assert bench.call.backlogged
    bench.peer.receive()
    # The window of 65,535 bytes is used up, and what is left is less than a backlog.
    assert not bench.call.backlogged
    assert bench.end.events.count("writable") == 1
    assert bench.call.pending_bytes == 2 * 60_005 - 65_535


def test_a_writer_is_told_when_the_call_ends() -> None:
    bench = Bench(send=False)
    bench.call.send_message(bytes(500_000))
    bench.peer.receive()
    assert bench.call.backlogged
    bench.peer.send(bench.peer.reset(1, ErrorCode.CANCEL))
    assert not bench.call.backlogged
    assert "writable" in bench.end.events
