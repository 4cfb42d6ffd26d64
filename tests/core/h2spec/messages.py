"""h2spec's cases of HTTP messages (RFC 9113, section 8)."""

from __future__ import annotations

from pygrpc.core.http2 import ErrorCode
from pygrpc.core.metadata import Header
from tests.core import wire
from tests.core.h2spec.harness import MESSAGE, REQUEST, Cases, Client, answered, connection_error, stream_error

CASES = Cases()
add = CASES.add

MALFORMED = stream_error(ErrorCode.PROTOCOL_ERROR)
#: h2 makes an error of the connection of these; the RFC wants one of the stream (section 8.1.1).
ALL_OF_IT = connection_error(ErrorCode.PROTOCOL_ERROR)


@add("RFC 9113, 8.1", "a second HEADERS frame without END_STREAM", MALFORMED, h2=ALL_OF_IT)
def second_headers(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE), wire.headers(1, client.block([(b"x-test", b"ok")])))


def without(name: bytes) -> list[Header]:
    return [header for header in REQUEST if header[0] != name]


def instead(name: bytes, value: bytes) -> list[Header]:
    return [(key, value if key == name else old) for key, old in REQUEST]


BLOCKS: dict[tuple[str, str], list[Header]] = {
    ("8.2", "a name in upper case"): [*REQUEST, (b"X-TEST", b"test")],
    ("8.3", "an unknown pseudo-header"): [(b":test", b"test"), *REQUEST],
    ("8.3", "a pseudo-header of responses"): [(b":status", b"200"), *REQUEST],
    ("8.3", "a pseudo-header behind others"): [*without(b":path"), (b":path", b"/a.B/C")],
    ("8.2.2", "a header of the connection"): [*REQUEST, (b"connection", b"keep-alive")],
    ("8.2.2", "TE other than trailers"): instead(b"te", b"trailers, deflate"),
    ("8.3.1", "an empty :path"): instead(b":path", b""),
    ("8.3.1", "no :method"): without(b":method"),
    ("8.3.1", "no :scheme"): without(b":scheme"),
    ("8.3.1", "no :path"): without(b":path"),
    ("8.3.1", "two :method"): [REQUEST[0], *REQUEST],
    ("8.3.1", "two :scheme"): [REQUEST[1], *REQUEST],
    ("8.3.1", "two :path"): [REQUEST[2], *REQUEST],
}
for (section, what), fields in BLOCKS.items():

    @add(f"RFC 9113, {section}", what, MALFORMED)
    def malformed_request(client: Client, fields: list[Header] = fields) -> None:
        client.send(wire.headers(1, client.block(fields), end=True))


@add("RFC 9113, 8.1", "a pseudo-header in trailers", MALFORMED)
def pseudo_header_in_trailers(client: Client) -> None:
    client.request(1)
    client.send(wire.data(1, MESSAGE), wire.headers(1, client.block([(b":method", b"POST")]), end=True))


@add("RFC 9113, 8.1.1", "content-length that isn't that of a DATA frame", MALFORMED, h2=ALL_OF_IT)
def wrong_content_length(client: Client) -> None:
    client.request(1, (b"content-length", b"1"))
    client.send(wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 8.1.1", "content-length that isn't that of all DATA frames", MALFORMED, h2=ALL_OF_IT)
def wrong_content_length_of_several(client: Client) -> None:
    client.request(1, (b"content-length", b"6"))
    client.send(wire.data(1, MESSAGE), wire.data(1, MESSAGE, end=True))


@add("RFC 9113, 8.1.1", "content-length that is right", answered(1))
def right_content_length(client: Client) -> None:
    client.request(1, (b"content-length", b"10"))
    client.send(wire.data(1, MESSAGE), wire.data(1, MESSAGE, end=True, padding=7))


@add("RFC 9113, 8.4", "PUSH_PROMISE", ALL_OF_IT)
def push_promise(client: Client) -> None:
    client.request(1)
    client.send(wire.frame(wire.PUSH_PROMISE, wire.END_HEADERS, 1, wire.number(3) + client.block(REQUEST)))
