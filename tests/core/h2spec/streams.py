"""h2spec's cases of connections, frames, streams and errors (RFC 9113, sections 3 to 5), and of HPACK (RFC 7541)."""

from __future__ import annotations

from pygrpc.core.http2 import ErrorCode
from tests.core import wire
from tests.core.h2spec.harness import (
    CLOSED,
    MESSAGE,
    NOTHING,
    REQUEST,
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
COMPRESSION = connection_error(ErrorCode.COMPRESSION_ERROR)


@add("RFC 9113, 3.4", "the server's first frame is SETTINGS", NOTHING)
def server_preface(client: Client) -> None:
    assert (client.frames[0].kind, client.frames[0].flags) == (wire.SETTINGS, 0)


@add("RFC 9113, 3.4", "a wrong preface", PROTOCOL, h2=CLOSED, greeted=False)
def wrong_preface(client: Client) -> None:
    client.send(b"INVALID CONNECTION PREFACE\r\n\r\n")


# Frames.


@add("RFC 9113, 4.1", "a frame of an unknown type", NOTHING)
def unknown_type(client: Client) -> None:
    client.send(wire.frame(0x16, 0, 0, bytes(8)), wire.frame(0xFF, 0xFF, 7, bytes(8)))


@add("RFC 9113, 4.1", "a frame with undefined flags", NOTHING)
def undefined_flags(client: Client) -> None:
    client.send(wire.frame(wire.PING, 0x16, 0, b"8 octets"))
    assert client.frames[-1].payload == b"8 octets"


@add("RFC 9113, 4.1", "a frame with the reserved bit", NOTHING)
def reserved_bit(client: Client) -> None:
    client.send(wire.frame(wire.PING, 0x16, 1 << 31, b"8 octets"))
    assert client.frames[-1].payload == b"8 octets"


@add("RFC 9113, 4.2", "a DATA frame of 2^14 bytes", answered(1))
def large_data(client: Client) -> None:
    client.request(1)
    size = 2**14
    client.send(wire.data(1, b"\0" + wire.number(size - 5) + bytes(size - 5), end=True))


@add("RFC 9113, 4.2", "a DATA frame beyond SETTINGS_MAX_FRAME_SIZE", FRAME_SIZE)
def too_large_data(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, bytes(2**17 + 1)))


@add("RFC 9113, 4.2", "a HEADERS frame beyond SETTINGS_MAX_FRAME_SIZE", FRAME_SIZE)
def too_large_headers(client: Client) -> None:
    client.send(wire.headers(1, bytes(2**17 + 1)))


@add("RFC 9113, 4.3", "a header block that can't be decoded", COMPRESSION)
def invalid_block(client: Client) -> None:
    client.send(wire.headers(1, b"\x40", end=True))


@add("RFC 9113, 4.3", "PRIORITY inside a header block", PROTOCOL)
def priority_inside_block(client: Client) -> None:
    block = client.block(REQUEST)
    client.send(wire.headers(1, block[:5], complete=False), wire.priority(1), wire.continuation(1, block[5:]))


@add("RFC 9113, 4.3", "HEADERS of another stream inside a header block", PROTOCOL)
def headers_inside_block(client: Client) -> None:
    block = client.block(REQUEST)
    client.send(wire.headers(1, block, complete=False), wire.headers(3, block, end=True), wire.continuation(1, b""))


# Stream states.

IDLE = {
    "DATA": wire.data(1, MESSAGE, end=True),
    "RST_STREAM": wire.rst_stream(1),
    "WINDOW_UPDATE": wire.window_update(1, 100),
    "CONTINUATION": wire.continuation(1, b"\x82"),
}
for what, each in IDLE.items():

    @add("RFC 9113, 5.1", f"idle: {what}", PROTOCOL)
    def on_idle(client: Client, each: bytes = each) -> None:
        client.send(each)


@add("RFC 9113, 5.1", "half-closed (remote): DATA", stream_error(ErrorCode.STREAM_CLOSED))
def data_on_half_closed(client: Client) -> None:
    client.answering = False
    client.request(1, end=True)
    client.send(wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 5.1", "half-closed (remote): HEADERS", stream_error(ErrorCode.STREAM_CLOSED))
def headers_on_half_closed(client: Client) -> None:
    client.answering = False
    client.request(1, end=True)
    client.request(1, end=True)


@add("RFC 9113, 5.1", "half-closed (remote): CONTINUATION", PROTOCOL)
def continuation_on_half_closed(client: Client) -> None:
    client.answering = False
    client.request(1, end=True)
    client.send(wire.continuation(1, b"\x82"))


@add("RFC 9113, 5.1", "closed by the client's RST_STREAM: DATA", stream_error(ErrorCode.STREAM_CLOSED))
def data_behind_reset(client: Client) -> None:
    client.request(1)
    client.send(wire.rst_stream(1), wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 5.1", "closed by the client's RST_STREAM: HEADERS", stream_error(ErrorCode.STREAM_CLOSED))
def headers_behind_reset(client: Client) -> None:
    client.request(1)
    client.send(wire.rst_stream(1))
    client.request(1, end=True)


@add("RFC 9113, 5.1", "closed by the client's RST_STREAM: CONTINUATION", PROTOCOL, h2=(
    stream_error(ErrorCode.STREAM_CLOSED)
))  # fmt: skip
def continuation_behind_reset(client: Client) -> None:
    client.request(1)
    client.send(wire.rst_stream(1), wire.continuation(1, b"\x82"))


@add("RFC 9113, 5.1", "closed: DATA", stream_error(ErrorCode.STREAM_CLOSED))
def data_on_closed(client: Client) -> None:
    client.exchange(1)
    client.send(wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 5.1", "closed: HEADERS", connection_error(ErrorCode.STREAM_CLOSED))
def headers_on_closed(client: Client) -> None:
    client.exchange(1)
    client.request(1, end=True)


@add("RFC 9113, 5.1", "closed: CONTINUATION", PROTOCOL, h2=connection_error(ErrorCode.STREAM_CLOSED))
def continuation_on_closed(client: Client) -> None:
    client.exchange(1)
    client.send(wire.continuation(1, b"\x82"))


@add("RFC 9113, 5.1.1", "an even stream identifier", PROTOCOL)
def even_stream(client: Client) -> None:
    client.request(2, end=True)


@add("RFC 9113, 5.1.1", "a stream identifier below the last one", PROTOCOL)
def lower_stream(client: Client) -> None:
    client.request(5, end=True)
    client.request(3, end=True)


@add("RFC 9113, 5.1.2", "more streams than MAX_CONCURRENT_STREAMS", stream_error(ErrorCode.REFUSED_STREAM, 41))
def too_many_streams(client: Client) -> None:
    client.answering = False
    for stream_id in range(1, 43, 2):
        client.request(stream_id)


# RFC 9113 has dropped the priorities of RFC 7540, whose section 5.3.1 has this rule.


@add(
    "RFC 7540, 5.3.1", "HEADERS of a stream that depends on itself", stream_error(ErrorCode.PROTOCOL_ERROR), h2=PROTOCOL
)
def self_dependent_headers(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, depends_on=1))


@add("RFC 7540, 5.3.1", "PRIORITY of an idle stream that depends on itself", PROTOCOL)
def self_dependent_priority(client: Client) -> None:
    client.send(wire.priority(1, depends_on=1))


@add(
    "RFC 7540, 5.3.1",
    "PRIORITY of a stream that depends on itself",
    stream_error(ErrorCode.PROTOCOL_ERROR),
    h2=PROTOCOL,
)
def self_dependent_priority_of_open_stream(client: Client) -> None:
    client.request(1)
    client.send(wire.priority(1, depends_on=1))


# Errors and extensions.


@add("RFC 9113, 5.4.1", "a connection error is told by GOAWAY, and the connection closed", FRAME_SIZE)
def goaway_before_close(client: Client) -> None:
    client.send(wire.frame(wire.PING, 0, 0, bytes(6)))
    assert client.frames[-1].kind == wire.GOAWAY


@add("RFC 9113, 5.5", "a frame of an extension", NOTHING)
def extension(client: Client) -> None:
    client.send(wire.frame(0x16, 0, 0, bytes(8)))


@add("RFC 9113, 5.5", "a frame of an extension inside a header block", PROTOCOL)
def extension_inside_block(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, complete=False), wire.frame(0x16, 0, 0, bytes(8)))


# HPACK.

X_TEST = b"\x00\x85\xf2\xb2\x4a\x84\xff"
UNDECODABLE = {
    "2.3.3: an index beyond the tables": b"\xc6",
    "2.3.3: a literal whose name is beyond the tables": b"\x7f\x07\x00",
    "4.2: a table size update at the end of a block": b"\x21",
    "5.2: a Huffman string with more than seven bits of padding": X_TEST + b"\x84\x49\x50\x9f\xff",
    "5.2: a Huffman string padded with zeros": X_TEST + b"\x83\x49\x50\x90",
    "5.2: a Huffman string with the EOS symbol": X_TEST + b"\x87\x49\x51\xff\xff\xff\xfa\x7f",
    "6.1: index 0": b"\x80",
}
for what, representation in UNDECODABLE.items():

    @add("RFC 7541", what, COMPRESSION)
    def undecodable(client: Client, representation: bytes = representation) -> None:
        client.send(wire.headers(1, client.block(REQUEST) + representation, end=True))


@add("RFC 7541", "6.3: a table size update beyond SETTINGS_HEADER_TABLE_SIZE", COMPRESSION)
def too_large_table(client: Client) -> None:
    client.send(wire.headers(1, b"\x3f\xe2\x1f" + client.block(REQUEST), end=True))
