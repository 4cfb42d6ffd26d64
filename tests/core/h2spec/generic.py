"""h2spec's generic cases: what any endpoint must understand."""

from __future__ import annotations

from tests.core import wire
from tests.core.h2spec.harness import MESSAGE, NOTHING, REQUEST, Cases, Client, answered

CASES = Cases()
add = CASES.add


@add("RFC 9113, 3.4", "a client's connection preface", NOTHING, greeted=False)
def preface(client: Client) -> None:
    client.send(wire.PREFACE, wire.settings())
    assert client.frames[0].kind == wire.SETTINGS
    assert any(each.kind == wire.SETTINGS and each.flags == wire.ACK for each in client.frames)


# Streams (RFC 9113, section 5.1).


@add("RFC 9113, 5.1", "PRIORITY on an idle stream", NOTHING)
def priority_idle(client: Client) -> None:
    client.send(wire.priority(1))


@add("RFC 9113, 5.1", "WINDOW_UPDATE on a half-closed (remote) stream", answered(1))
def window_update_half_closed(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    client.request(1, end=True)
    client.send(wire.window_update(1, 1))
    assert client.outcome().sent == {1: [1]}


@add("RFC 9113, 5.1", "PRIORITY on a half-closed (remote) stream", answered(1))
def priority_half_closed(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    client.request(1, end=True)
    client.send(wire.priority(1), wire.window_update(1, 1))
    assert client.outcome().sent == {1: [1]}


@add("RFC 9113, 5.1", "RST_STREAM on a half-closed (remote) stream", NOTHING)
def rst_stream_half_closed(client: Client) -> None:
    client.answering = False
    client.request(1, end=True)
    client.send(wire.rst_stream(1))


@add("RFC 9113, 5.1", "PRIORITY on a closed stream", answered(1))
def priority_closed(client: Client) -> None:
    client.exchange(1)
    client.send(wire.priority(1))


# Frames (RFC 9113, section 6).


@add("RFC 9113, 6.1", "a DATA frame", answered(1))
def data(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 6.1", "several DATA frames", answered(1))
def several_data(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE[:2]), wire.data(1, MESSAGE[2:]), wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 6.1", "a DATA frame with padding", answered(1))
def padded_data(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE, end=True, padding=255))


@add("RFC 9113, 6.2", "a HEADERS frame", answered(1))
def headers(client: Client) -> None:
    client.request(1, end=True)


@add("RFC 9113, 6.2", "a HEADERS frame with padding", answered(1))
def padded_headers(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, padding=255))


@add("RFC 9113, 6.2", "a HEADERS frame with priority", answered(1))
def headers_with_priority(client: Client) -> None:
    client.send(wire.headers(1, client.block(REQUEST), end=True, depends_on=0))


PRIORITIES = {
    "weight 1": wire.priority(1, weight=0),
    "weight 256": wire.priority(1, weight=255),
    "a dependency": wire.priority(3, depends_on=1),
    "an exclusive dependency": wire.priority(1, exclusive=True),
    "an idle stream, and a request on a lower one": wire.priority(3),
}
for what, priority in PRIORITIES.items():

    @add("RFC 9113, 6.3", f"PRIORITY with {what}", answered(1))
    def priority_frame(client: Client, priority: bytes = priority) -> None:
        client.send(priority)
        client.request(1, end=True)


@add("RFC 9113, 6.4", "a RST_STREAM frame", NOTHING)
def rst_stream(client: Client) -> None:
    client.request(1)
    client.send(wire.rst_stream(1))


@add("RFC 9113, 6.5", "a SETTINGS frame", NOTHING)
def settings(client: Client) -> None:
    client.send(wire.settings((wire.ENABLE_PUSH, 0)))
    assert client.frames[-1] == (wire.SETTINGS, wire.ACK, 0, b"", None)


@add("RFC 9113, 6.7", "a PING frame", NOTHING)
def ping(client: Client) -> None:
    client.send(wire.ping(b"8 octets"))
    assert client.frames[-1] == (wire.PING, wire.ACK, 0, b"8 octets", None)


@add("RFC 9113, 6.8", "a GOAWAY frame", answered(1))
def goaway(client: Client) -> None:
    client.send(wire.goaway(0))
    client.request(1, end=True)


@add("RFC 9113, 6.9", "WINDOW_UPDATE for the connection", NOTHING)
def window_update_connection(client: Client) -> None:
    client.send(wire.window_update(0, 1))


@add("RFC 9113, 6.9", "WINDOW_UPDATE for a stream", answered(1))
def window_update_stream(client: Client) -> None:
    client.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    client.request(1, end=True)
    client.send(wire.window_update(1, 1))
    assert client.outcome().sent == {1: [1]}


for pieces in (2, 3):

    @add("RFC 9113, 6.10", f"{pieces - 1} CONTINUATION", answered(1))
    def continuations(client: Client, pieces: int = pieces) -> None:
        block = client.block(REQUEST)
        parts = [block[:5], block[5:10], block[10:]] if pieces == 3 else [block[:5], block[5:]]
        client.send(wire.headers(1, parts[0], end=True, complete=False))
        client.send(*(wire.continuation(1, part, part is parts[-1]) for part in parts[1:]))


# Messages (RFC 9113, section 8.1).

for method in (b"GET", b"HEAD"):

    @add("RFC 9113, 8.1", f"a {method.decode()} request", answered(1))
    def request_with_method(client: Client, method: bytes = method) -> None:
        client.send(wire.headers(1, client.block([(b":method", method), *REQUEST[1:]]), end=True))


@add("RFC 9113, 8.1", "a POST request", answered(1))
def post(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 8.1", "a POST request with trailers", answered(1))
def post_with_trailers(client: Client) -> None:
    client.request(1, (b"trailer", b"x-test"))
    client.send(wire.data(1, MESSAGE), wire.headers(1, client.block([(b"x-test", b"ok")]), end=True))


# HPACK: every representation of RFC 7541, section 6, appended to the block of a request.

USER_AGENT, X_TEST, H2SPEC = b"\x0auser-agent", b"\x06x-test", b"\x06h2spec"
HUFFMAN_USER_AGENT, HUFFMAN_X_TEST = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93", b"\x85\xf2\xb2\x4a\x84\xff"
HUFFMAN_H2SPEC = b"\x84\x9c\x48\xac\xa4"
REPRESENTATIONS = {
    "6.1: an indexed field": b"\xba",
    "6.2.1: incremental indexing, a name of the table": b"\x7a" + H2SPEC,
    "6.2.1: incremental indexing, a name of the table, Huffman": b"\x7a" + HUFFMAN_H2SPEC,
    "6.2.1: incremental indexing, a name": b"\x40" + X_TEST + H2SPEC,
    "6.2.1: incremental indexing, a name, Huffman": b"\x40" + HUFFMAN_X_TEST + HUFFMAN_H2SPEC,
    "6.2.2: without indexing, a name of the table": b"\x0f\x2b" + H2SPEC,
    "6.2.2: without indexing, a name of the table, Huffman": b"\x0f\x2b" + HUFFMAN_H2SPEC,
    "6.2.2: without indexing, a name": b"\x00" + USER_AGENT + H2SPEC,
    "6.2.2: without indexing, a name, Huffman": b"\x00" + HUFFMAN_USER_AGENT + HUFFMAN_H2SPEC,
    "6.2.3: never indexed, a name of the table": b"\x1f\x2b" + H2SPEC,
    "6.2.3: never indexed, a name of the table, Huffman": b"\x1f\x2b" + HUFFMAN_H2SPEC,
    "6.2.3: never indexed, a name": b"\x10" + USER_AGENT + H2SPEC,
    "6.2.3: never indexed, a name, Huffman": b"\x10" + HUFFMAN_X_TEST + HUFFMAN_H2SPEC,
}
for what, representation in REPRESENTATIONS.items():

    @add("RFC 7541", what, answered(1))
    def representation_of_a_field(client: Client, representation: bytes = representation) -> None:
        client.send(wire.headers(1, client.block(REQUEST) + representation, end=True))


@add("RFC 7541", "6.3: a table size update", answered(1, 3))
def table_size_update(client: Client) -> None:
    client.encoder.header_table_size = 128
    client.request(1, end=True)
    client.request(3, end=True)


@add("RFC 7541", "6.3: two table size updates", answered(1))
def table_size_updates(client: Client) -> None:
    client.send(wire.headers(1, b"\x3f\x61\x3f\xe1\x1f" + client.block(REQUEST), end=True))
