"""h2spec's cases of frames (RFC 9113, section 6)."""

from __future__ import annotations

from pygrpc.core.http2 import ErrorCode
from tests.core import wire
from tests.core.h2spec.harness import (
    MESSAGE,
    NOTHING,
    REQUEST,
    RESPONSE_SIZE,
    Cases,
    Client,
    answered,
    connection_error,
    stream_error,
)

CASES = Cases()
add = CASES.add

PROTOCOL = connection_error(ErrorCode.PROTOCOL_ERROR)
FRAME_SIZE = connection_error(ErrorCode.FRAME_SIZE_ERROR)
FLOW_CONTROL = connection_error(ErrorCode.FLOW_CONTROL_ERROR)
DUMMY = b"\x00\x05dummy\x01x"

#: What needs no stream to be wrong: a section, what it is, its bytes, what comes of it.
ON_A_FRESH_CONNECTION = [
    ("6.1", "DATA on stream 0", wire.data(0, b"test", end=True), PROTOCOL),
    ("6.2", "HEADERS on stream 0", wire.headers(0, b"\x82", end=True), PROTOCOL),
    ("6.3", "PRIORITY on stream 0", wire.priority(0), PROTOCOL),
    ("6.4", "RST_STREAM on stream 0", wire.rst_stream(0), PROTOCOL),
    ("6.4", "RST_STREAM on an idle stream", wire.rst_stream(1), PROTOCOL),
    ("6.5", "SETTINGS with ACK and content", wire.frame(wire.SETTINGS, wire.ACK, 0, bytes(6)), FRAME_SIZE),
    ("6.5", "SETTINGS on a stream", wire.frame(wire.SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), PROTOCOL),
    ("6.5", "SETTINGS of 3 bytes", wire.frame(wire.SETTINGS, 0, 0, b"\0\3\0"), FRAME_SIZE),
    ("6.5.2", "ENABLE_PUSH that is neither 0 nor 1", wire.settings((wire.ENABLE_PUSH, 2)), PROTOCOL),
    ("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", wire.settings((wire.INITIAL_WINDOW_SIZE, 1 << 31)), FLOW_CONTROL),
    ("6.5.2", "MAX_FRAME_SIZE below 2^14", wire.settings((wire.MAX_FRAME_SIZE, (1 << 14) - 1)), PROTOCOL),
    ("6.5.2", "MAX_FRAME_SIZE of 2^24", wire.settings((wire.MAX_FRAME_SIZE, 1 << 24)), PROTOCOL),
    ("6.5.2", "an unknown setting", wire.settings((0xFF, 1)), NOTHING),
    ("6.7", "PING on a stream", wire.frame(wire.PING, 0, 1, bytes(8)), PROTOCOL),
    ("6.7", "PING of 6 bytes", wire.frame(wire.PING, 0, 0, bytes(6)), FRAME_SIZE),
    ("6.8", "GOAWAY on a stream", wire.frame(wire.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    ("6.9", "WINDOW_UPDATE by 0 for the connection", wire.window_update(0, 0), PROTOCOL),
    ("6.9", "WINDOW_UPDATE of 3 bytes", wire.frame(wire.WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE),
    (
        "6.9.2",
        "INITIAL_WINDOW_SIZE beyond the largest",
        wire.settings((wire.INITIAL_WINDOW_SIZE, 2**32 - 1)),
        FLOW_CONTROL,
    ),
    ("7", "GOAWAY with an unknown error code", wire.goaway(0, 0xFF), NOTHING),
]
for section, what, each, expected in ON_A_FRESH_CONNECTION:

    @add(f"RFC 9113, {section}", what, expected)
    def on_a_fresh_connection(client: Client, each: bytes = each) -> None:
        client.send(each)


@add("RFC 9113, 6.1", "DATA on a half-closed (remote) stream", stream_error(ErrorCode.STREAM_CLOSED))
def data_on_half_closed(client: Client) -> None:
    client.answering = False
    client.request(1, end=True)
    client.send(wire.data(1, b"test"))


@add("RFC 9113, 6.1", "DATA with more padding than it is long", PROTOCOL)
def invalid_padding_of_data(client: Client) -> None:
    client.request(1, (b"content-length", b"4"))
    client.send(wire.frame(wire.DATA, wire.PADDED | wire.END_STREAM, 1, b"\x06Test"))


@add("RFC 9113, 6.2", "HEADERS without END_HEADERS, and PRIORITY", PROTOCOL)
def priority_inside_block(client: Client) -> None:
    block = client.block(REQUEST)
    client.send(wire.headers(1, block, complete=False), wire.priority(1), wire.continuation(1, DUMMY))


@add("RFC 9113, 6.2", "HEADERS without END_HEADERS, and HEADERS of another stream", PROTOCOL)
def headers_inside_block(client: Client) -> None:
    block = client.block(REQUEST)
    client.send(wire.headers(1, block, complete=False), wire.headers(3, block), wire.continuation(1, DUMMY))


@add("RFC 9113, 6.2", "HEADERS with more padding than they are long", PROTOCOL)
def invalid_padding_of_headers(client: Client) -> None:
    block = client.block(REQUEST)
    flags = wire.PADDED | wire.END_HEADERS | wire.END_STREAM
    client.send(wire.frame(wire.HEADERS, flags, 1, bytes([len(block) + 1]) + block))


@add("RFC 9113, 6.3", "PRIORITY of 4 bytes", stream_error(ErrorCode.FRAME_SIZE_ERROR), h2=FRAME_SIZE)
def priority_of_wrong_size(client: Client) -> None:
    client.request(1)
    client.send(wire.frame(wire.PRIORITY, 0, 1, b"\x80\0\0\1"))


@add("RFC 9113, 6.4", "RST_STREAM of 3 bytes", FRAME_SIZE)
def rst_stream_of_wrong_size(client: Client) -> None:
    client.request(1)
    client.send(wire.frame(wire.RST_STREAM, 0, 1, bytes(3)))


@add("RFC 9113, 6.5.3", "two values of INITIAL_WINDOW_SIZE in one frame", answered(1))
def settings_in_order(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 100), (wire.INITIAL_WINDOW_SIZE, 1)))
    client.request(1, end=True)
    assert client.outcome().sent == {1: [1]}


@add("RFC 9113, 6.5.3", "SETTINGS are acknowledged", NOTHING)
def settings_acknowledged(client: Client) -> None:
    client.send(wire.settings((wire.ENABLE_PUSH, 0)))
    assert client.frames[-1] == (wire.SETTINGS, wire.ACK, 0, b"", None)


@add("RFC 9113, 6.7", "PING is answered with its payload", NOTHING)
def ping(client: Client) -> None:
    client.send(wire.ping(b"8 octets"))
    assert client.frames[-1] == (wire.PING, wire.ACK, 0, b"8 octets", None)


@add("RFC 9113, 6.7", "PING with ACK is not answered", NOTHING)
def ping_acknowledgement(client: Client) -> None:
    before = len(client.frames)
    client.send(wire.ping(b"unwanted", ack=True))
    assert client.frames[before:] == []


@add("RFC 9113, 6.9", "WINDOW_UPDATE by 0 for a stream", stream_error(ErrorCode.PROTOCOL_ERROR), h2=PROTOCOL)
def empty_window_update(client: Client) -> None:
    client.request(1)
    client.send(wire.window_update(1, 0))


@add("RFC 9113, 6.9.1", "DATA is not larger than the window", answered(1))
def small_window(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1)))
    client.request(1, end=True)
    assert client.outcome().sent == {1: [1]}


@add("RFC 9113, 6.9.1", "the connection's window beyond 2^31 - 1", FLOW_CONTROL)
def connection_window_overflow(client: Client) -> None:
    client.send(wire.window_update(0, 2**31 - 1), wire.window_update(0, 2**31 - 1))


@add("RFC 9113, 6.9.1", "a stream's window beyond 2^31 - 1", stream_error(ErrorCode.FLOW_CONTROL_ERROR))
def stream_window_overflow(client: Client) -> None:
    client.request(1)
    client.send(wire.window_update(1, 2**31 - 1), wire.window_update(1, 2**31 - 1))


@add("RFC 9113, 6.9.2", "INITIAL_WINDOW_SIZE changes the windows of open streams", answered(1))
def initial_window_changes(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    client.request(1, end=True)
    assert client.outcome().sent == {}
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1)))
    assert client.outcome().sent == {1: [1]}


@add("RFC 9113, 6.9.2", "a window may become negative", answered(1))
def negative_window(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 3)))
    client.request(1, end=True)
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 2)), wire.window_update(1, 2))
    assert client.outcome().sent == {1: [3, 1]}
    client.send(wire.window_update(1, 100))
    assert sum(client.outcome().sent[1]) == RESPONSE_SIZE


@add("RFC 9113, 6.10", "several CONTINUATION frames", answered(1))
def several_continuations(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, complete=False))
    client.send(wire.continuation(1, DUMMY, complete=False), wire.continuation(1, DUMMY))


@add("RFC 9113, 6.10", "CONTINUATION, and then something else", PROTOCOL)
def data_inside_block(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), complete=False))
    client.send(wire.continuation(1, DUMMY, complete=False), wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 6.10", "CONTINUATION on stream 0", PROTOCOL)
def continuation_on_stream_0(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, complete=False), wire.continuation(0, DUMMY))


@add("RFC 9113, 6.10", "CONTINUATION behind HEADERS with END_HEADERS", PROTOCOL)
def continuation_behind_complete_headers(client: Client) -> None:
    client.request(1)
    client.send(wire.continuation(1, DUMMY))


@add("RFC 9113, 6.10", "CONTINUATION behind CONTINUATION with END_HEADERS", PROTOCOL)
def continuation_behind_complete_block(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), complete=False))
    client.send(wire.continuation(1, DUMMY), wire.continuation(1, DUMMY))


@add("RFC 9113, 6.10", "CONTINUATION behind DATA", PROTOCOL)
def continuation_behind_data(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE), wire.continuation(1, DUMMY))


@add("RFC 9113, 7", "RST_STREAM with an unknown error code", NOTHING)
def unknown_error_code(client: Client) -> None:
    client.request(1)
    client.send(wire.rst_stream(1, 0xFF))
