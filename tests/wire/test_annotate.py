"""The annotated conversation: connections, frames, and what they mean for gRPC calls."""

from __future__ import annotations

import base64
import gzip

import hpack
import pytest
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.wire.annotate import Entry
from pygrpc.wire.calls import CallView
from pygrpc.wire.details import Detail, DetailKind
from pygrpc.wire.recording import Direction, EventKind
from tests.wire.frames import OK, PREFACE, REQUEST, RESPONSE, TO_CLIENT, TO_SERVER, Wire, lines, message

TIME = timestamp_pb2.Timestamp(seconds=5).SerializeToString()
SPAN = duration_pb2.Duration(nanos=7).SerializeToString()


def resolve(path: str) -> tuple[type[Message], type[Message]] | None:
    return (timestamp_pb2.Timestamp, duration_pb2.Duration) if path == "/own.Oracle/Speak" else None


def begun(known: bool = True) -> Wire:
    wire = Wire(resolve if known else None)
    wire.begin()
    return wire


# Connections


def test_both_sides_begin() -> None:
    wire = Wire()
    entries = wire.happen(EventKind.OPENED, note="from 127.0.0.1:9") + wire.begin()
    assert [(entry.direction, entry.name, entry.summary) for entry in entries] == [
        (None, "OPENED", "connection 1 from 127.0.0.1:9"),
        (TO_SERVER, "PREFACE", "PRI * HTTP/2.0 SM"),
        (TO_SERVER, "SETTINGS", "0 settings"),
        (TO_CLIENT, "SETTINGS", "0 settings"),
    ]


def test_entries_have_the_time_of_the_event_that_completed_them() -> None:
    wire = Wire()
    assert wire.send(TO_SERVER, PREFACE[:5]) == []
    [entry] = wire.send(TO_SERVER, PREFACE[5:])
    assert entry == Entry(0.002, 1, TO_SERVER, "PREFACE", summary="PRI * HTTP/2.0 SM")


@pytest.mark.parametrize(
    ("kind", "direction", "summary", "problem"),
    [
        (EventKind.EOF, TO_SERVER, "closes its side of the connection", ""),
        (EventKind.RESET, TO_CLIENT, "the connection is dropped without a goodbye: why", ""),
        (EventKind.CLOSED, None, "connection 1", ""),
        (EventKind.FULL, None, "", "the recording is full, nothing more is recorded"),
        (EventKind.UNREACHABLE, None, "", "the target can't be reached (why), the client's connection is reset"),
    ],
)
def test_ends_of_a_connection(kind: EventKind, direction: Direction | None, summary: str, problem: str) -> None:
    [entry] = begun().happen(kind, direction, note="why")
    assert entry == Entry(0.003, 1, direction, kind.name, summary=summary, problem=problem)


@pytest.mark.parametrize(
    ("kind", "direction"), [(EventKind.EOF, TO_CLIENT), (EventKind.RESET, TO_CLIENT), (EventKind.CLOSED, None)]
)
def test_a_frame_that_the_end_cut_off_is_shown(kind: EventKind, direction: Direction | None) -> None:
    wire = begun()
    assert wire.send(TO_CLIENT, DataFrame(1, b"hello").serialize()[:12]) == []
    cut_off, _ = wire.happen(kind, direction)
    assert (cut_off.name, cut_off.direction) == ("CUT OFF", TO_CLIENT)
    assert "after 3 of 5 bytes" in cut_off.problem
    assert lines(cut_off) == ["0000  68 65 6c" + " " * 41 + "hel"]


def test_connections_do_not_mix() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    wire.connection = 2
    [first, *_] = wire.begin()
    assert (first.connection, first.name) == (2, "PREFACE")
    wire.connection = 1
    assert wire.data(TO_SERVER, 1, message(TIME)).details[1].text == "google.protobuf.Timestamp"


def test_a_number_may_be_used_again_after_the_connection_closed() -> None:
    wire = begun()
    wire.happen(EventKind.CLOSED)
    assert [entry.name for entry in wire.begin()] == ["PREFACE", "SETTINGS", "SETTINGS"]


def test_what_is_not_http2_is_shown_raw() -> None:
    wire = Wire()
    entries = wire.send(TO_SERVER, b"GET / HTTP/1.1\r\nHost: \x1b\n")
    assert [(entry.name, entry.problem, lines(entry)) for entry in entries] == [
        ("NOT HTTP/2", "not HTTP/2: it looks like HTTP/1", []),
        ("RAW", "", ["GET / HTTP/1.1"]),
        ("RAW", "", ["0000  48 6f 73 74 3a 20 1b 0a" + " " * 26 + "Host: .."]),
    ]


# Frames that are not part of a call


@pytest.mark.parametrize(
    ("frame", "direction", "summary", "details"),
    [
        (
            SettingsFrame(0, settings={3: 100, 4: 4 << 20, 5: 16384, 6: 1025}),
            TO_CLIENT,
            "4 settings",
            [
                "MAX_CONCURRENT_STREAMS: 100",
                "INITIAL_WINDOW_SIZE: 4194304 (4 MiB)",
                "MAX_FRAME_SIZE: 16384 (16 KiB)",
                "MAX_HEADER_LIST_SIZE: 1025",
            ],
        ),
        (SettingsFrame(0, flags=["ACK"]), TO_CLIENT, "the peer's settings are in force", []),
        (PingFrame(0, b"\x01234567\xff"), TO_CLIENT, "01323334353637ff", []),
        (WindowUpdateFrame(0, 1000), TO_CLIENT, "1000 bytes more may be sent", []),
        (GoAwayFrame(0, 7, 0), TO_CLIENT, "NO_ERROR, last stream 7", []),
        (
            GoAwayFrame(0, 7, 11, b"too_many_pings"),
            TO_CLIENT,
            "ENHANCE_YOUR_CALM, last stream 7",
            ["debug data: too_many_pings"],
        ),
        (PriorityFrame(1, depends_on=3, stream_weight=9), TO_CLIENT, "weight 10, depends on stream 3", []),
        (RstStreamFrame(1, error_code=8), TO_SERVER, "CANCEL: the client gives the call up", []),
        (RstStreamFrame(1, error_code=8), TO_CLIENT, "CANCEL", []),
        (RstStreamFrame(1, error_code=0), TO_CLIENT, "NO_ERROR: the rest of the request is not needed", []),
        (RstStreamFrame(1, error_code=7), TO_CLIENT, "REFUSED_STREAM", []),
        (b"\0\0\3\xf0\0\0\0\0\1abc", TO_CLIENT, "3 bytes", ["0000  61 62 63" + " " * 41 + "abc"]),
        (PushPromiseFrame(1, 2, b"", flags=["END_HEADERS"]), TO_CLIENT, "", []),
    ],
)
def test_frames(frame: Frame | bytes, direction: Direction, summary: str, details: list[str]) -> None:
    [entry] = begun().send(direction, frame)
    assert (entry.summary, lines(entry), entry.problem) == (summary, details, "")


def test_a_malformed_frame_shows_its_problem() -> None:
    [entry] = begun().send(TO_SERVER, b"\0\0\7\6\0\0\0\0\0" + b"1234567")
    assert (entry.name, entry.problem) == ("PING", "the payload must have 8 bytes, not 7")
    assert lines(entry) == ["0000  31 32 33 34 35 36 37" + " " * 29 + "1234567"]


# Calls


def test_a_unary_call() -> None:
    wire = begun()
    request = wire.headers(TO_SERVER, 1, REQUEST)
    assert (request.name, request.stream_id, request.flags) == ("HEADERS", 1, ("END_HEADERS",))
    assert request.summary.startswith("request headers, ")
    assert lines(request) == [f"{name}: {value}" for name, value in REQUEST]
    sent = wire.data(TO_SERVER, 1, message(TIME), last=True)
    assert (sent.flags, sent.summary) == (("END_STREAM",), "7 bytes, half-close")
    assert sent.details == (
        Detail(DetailKind.PREFIX, "00 00 00 00 02", "prefix", "not compressed, 2 bytes"),
        Detail(DetailKind.TITLE, "google.protobuf.Timestamp"),
        Detail(DetailKind.MESSAGE, "seconds: 5"),
    )
    response = wire.headers(TO_CLIENT, 1, RESPONSE)
    assert response.summary.startswith("response headers, ")
    received = wire.data(TO_CLIENT, 1, message(SPAN))
    assert received.summary == "7 bytes"
    assert lines(received)[1:] == ["google.protobuf.Duration", "nanos: 7"]
    trailers = wire.headers(TO_CLIENT, 1, [*OK, ("grpc-message", "")], last=True)
    assert trailers.summary.startswith("trailers, ")
    assert trailers.details == (
        Detail(DetailKind.STATUS, "0", "grpc-status", "OK"),
        Detail(DetailKind.HEADER, "", "grpc-message"),
    )


def test_an_error_at_once_is_trailers_only() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    fields = [*RESPONSE, ("grpc-status", "5"), ("grpc-message", "no %C2%ABAda%C2%BB")]
    entry = wire.headers(TO_CLIENT, 1, fields, last=True)
    assert entry.summary.startswith("trailers only, ")
    assert lines(entry)[2:] == ["grpc-status: 5 (NOT_FOUND)", "grpc-message: no %C2%ABAda%C2%BB", "no «Ada»"]


def test_informational_headers_are_not_the_response_headers() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    assert wire.headers(TO_CLIENT, 1, [(":status", "103")]).summary.startswith("informational headers")
    assert wire.headers(TO_CLIENT, 1, RESPONSE).summary.startswith("response headers")
    assert lines(wire.data(TO_CLIENT, 1, message(SPAN)))[0] == "prefix: 00 00 00 00 02 (not compressed, 2 bytes)"


@pytest.mark.parametrize("status", ["17", "99", "abc", "-1", "", "0" * 5000])
def test_a_status_that_gRPC_does_not_define(status: str) -> None:
    wire = begun()
    entry = wire.headers(TO_CLIENT, 1, [("grpc-status", status)], last=True)
    assert lines(entry) == [f"grpc-status: {status} (no status that gRPC defines)"]


def test_a_call_of_unknown_type_shows_messages_by_their_shape() -> None:
    wire = begun(known=False)
    wire.headers(TO_SERVER, 1, REQUEST)
    assert lines(wire.data(TO_SERVER, 1, message(TIME)))[1:] == ["message of unknown type", "1: 5"]


def test_an_empty_message_says_so() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    assert lines(wire.data(TO_SERVER, 1, message(b""))) == [
        "prefix: 00 00 00 00 00 (not compressed, 0 bytes)",
        "google.protobuf.Timestamp (empty)",
    ]


def test_an_empty_frame_is_the_half_close() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    entry = wire.data(TO_SERVER, 1, b"", last=True)
    assert (entry.summary, entry.details) == ("0 bytes, half-close", ())


def test_several_messages_in_one_frame_and_one_in_several() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    data = message(TIME) * 2 + message(TIME)
    assert lines(wire.data(TO_SERVER, 1, data[:17]))[-1] == "3 of 5 bytes of the prefix so far"
    assert lines(wire.data(TO_SERVER, 1, data[17:20])) == [
        "prefix: 00 00 00 00 02 (not compressed, 2 bytes)",
        "1 of 2 bytes of the message so far",
    ]
    assert lines(wire.data(TO_SERVER, 1, data[20:])) == [
        "the message is complete, it came in 3 frames",
        "google.protobuf.Timestamp",
        "seconds: 5",
    ]


def test_compressed_messages_are_expanded() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, [*REQUEST, ("grpc-encoding", "gzip")])
    data = message(gzip.compress(TIME), flag=1)
    assert lines(wire.data(TO_SERVER, 1, data)) == [
        f"prefix: {data[:5].hex(' ')} (compressed (gzip), {len(data) - 5} bytes)",
        "google.protobuf.Timestamp, 2 bytes expanded",
        "seconds: 5",
    ]


def test_a_flag_that_is_not_defined_is_pointed_out() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    assert lines(wire.data(TO_SERVER, 1, message(TIME, flag=3)))[:3] == [
        "prefix: 03 00 00 00 02 (flag 3 is not defined, 2 bytes)",
        "bytes",
        "the compressed flag must be 0 or 1, not 3",
    ]


def test_a_body_that_is_not_grpc_has_no_prefixes() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    wire.headers(TO_CLIENT, 1, [(":status", "502"), ("content-type", "text/html")])
    assert lines(wire.data(TO_CLIENT, 1, b"<html>")) == ["0000  3c 68 74 6d 6c 3e" + " " * 32 + "<html>"]


def test_headers_that_need_explaining() -> None:
    wire = begun()
    fields = [
        ("grpc-timeout", "1500m"),
        ("grpc-timeout", "soon"),
        ("key-bin", base64.b64encode(b"\x00\xff").rstrip(b"=")),
        ("key-bin", b"AQ==,AgM"),
        ("key-bin", b"\0raw"),
        ("key-bin", b"no base64!"),
        ("long-bin", base64.b64encode(bytes(100))),
    ]
    entry = wire.headers(TO_SERVER, 1, fields)
    assert lines(entry) == [
        "grpc-timeout: 1500m (1.5 seconds)",
        "grpc-timeout: soon (not a timeout)",
        "key-bin: AP8",
        "2 bytes: 00 ff",
        "key-bin: AQ==,AgM",
        "1 byte: 01",
        "2 bytes: 02 03",
        "key-bin: \0raw",
        "3 bytes: 72 61 77",
        "key-bin: no base64!",
        "the value is no base64",
        "long-bin: " + "A" * 134 + "==",
        "100 bytes: " + "00 " * 24 + "...",
    ]


def test_status_details_are_text() -> None:
    status = status_pb2.Status(code=3, message="bad")
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.BadRequest(field_violations=[{"field": "email", "description": "is empty"}]))
    status.details.append(packed)
    wire = begun()
    value = base64.b64encode(status.SerializeToString())
    entry = wire.headers(TO_CLIENT, 1, [*RESPONSE, ("grpc-status-details-bin", value)], last=True)
    assert [line.strip() for line in lines(entry)[3:]] == [
        "google.rpc.Status",
        "code: 3",
        'message: "bad"',
        "details {",
        "[type.googleapis.com/google.rpc.BadRequest] {",
        "field_violations {",
        'field: "email"',
        'description: "is empty"',
        "}",
        "}",
        "}",
    ]


def test_a_header_block_over_two_frames_shows_where_it_ends() -> None:
    wire = begun()
    block = hpack.Encoder().encode(list(REQUEST))
    first, second = wire.send(
        TO_SERVER, HeadersFrame(1, block[:5]), ContinuationFrame(1, block[5:], flags=["END_HEADERS"])
    )
    assert (first.summary, first.details) == ("5 bytes of a header block", ())
    assert second.summary == f"request headers, {len(block) - 5} bytes"
    assert len(second.details) == len(REQUEST)


def test_trailers_over_two_frames_end_the_call() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST, last=True)
    block = hpack.Encoder().encode([*RESPONSE, *OK])
    frames = HeadersFrame(1, block[:5], flags=["END_STREAM"]), ContinuationFrame(1, block[5:], flags=["END_HEADERS"])
    _, entry = wire.send(TO_CLIENT, *frames)
    assert entry.summary.startswith("trailers only")


def test_a_reset_ends_the_call() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    wire.send(TO_SERVER, RstStreamFrame(1, error_code=8))
    # What comes later belongs to a call that nothing is known of.
    assert lines(wire.data(TO_CLIENT, 1, message(TIME)))[1] == "message of unknown type"


def test_calls_that_never_end_are_forgotten_one_by_one() -> None:
    wire = begun()
    for stream in range(1, 1 + 2 * 257, 2):
        wire.headers(TO_SERVER, stream, REQUEST)
        wire.data(TO_SERVER, 3, b"")
    titles = [lines(wire.data(TO_SERVER, stream, message(TIME)))[1] for stream in (3, 5, 1)]
    # The first stream made room, the one that kept speaking did not.
    assert titles == ["google.protobuf.Timestamp", "google.protobuf.Timestamp", "message of unknown type"]


def test_a_call_view_is_over_when_both_sides_have_ended() -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST, last=True)
    wire.headers(TO_CLIENT, 1, [*RESPONSE, *OK], last=True)
    assert not CallView(resolve).over
    assert lines(wire.data(TO_SERVER, 1, message(TIME)))[1] == "message of unknown type"


@given(st.lists(st.tuples(st.sampled_from(list(Direction)), st.binary(max_size=60)), max_size=10), st.booleans())
def test_any_bytes_are_annotated(pieces: list[tuple[Direction, bytes]], begin: bool) -> None:
    wire = Wire(resolve)
    if begin:
        wire.begin()
        wire.headers(TO_SERVER, 1, REQUEST)
        wire.headers(TO_CLIENT, 1, RESPONSE)
    for direction, data in pieces:
        wire.send(direction, data)
    assert wire.happen(EventKind.CLOSED)[-1].name == "CLOSED"


@given(st.lists(st.tuples(st.sampled_from(list(Direction)), st.binary(max_size=60)), max_size=10))
def test_any_data_of_a_call_is_annotated(pieces: list[tuple[Direction, bytes]]) -> None:
    wire = begun()
    wire.headers(TO_SERVER, 1, REQUEST)
    wire.headers(TO_CLIENT, 1, RESPONSE)
    for direction, data in pieces:
        assert wire.data(direction, 1, data).name == "DATA"


NAMES = ["grpc-status", "grpc-message", "grpc-timeout", "x-bin", "grpc-status-details-bin", ":path", "content-type"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=30)), max_size=5))
def test_any_header_values_are_annotated(fields: list[tuple[str, bytes]]) -> None:
    wire = begun()
    for direction in Direction:
        entry = wire.headers(direction, 1, fields)
        assert sum(bool(detail.label) for detail in entry.details) == len(fields)
