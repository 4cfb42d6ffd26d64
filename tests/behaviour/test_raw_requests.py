"""Requests that a library would not send, and what our server makes of each.

In each of these the other calls of the connection go on (see `attacked`).
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from tests.behaviour.frames import data, message
from tests.behaviour.handlers import Stuck
from tests.behaviour.peers import Side, Witness
from tests.behaviour.raw import (
    NO_ERROR,
    PROTOCOL_ERROR,
    attacked,
    port_of,
    raw_client,
    request_headers,
    serving,
    status_of,
)

UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED = 12, 13, 8


async def test_good_request_is_served(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(), message(b"x"))
        assert dict(half.blocks[0])[":status"] == "200"
        assert half.messages == [(0, b"x")]
        assert status_of(half)[0] == 0


# Headers.


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json", "application/grpc-web+proto", "application/grpcx"]
)
async def test_other_content_type_is_415(side: Side, content_type: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(content_type=content_type), message(b"x"))
        assert half.header(":status") == "415"
        assert half.messages == []


async def test_missing_content_type_is_415(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(without=["content-type"]), message(b"x"))
        assert half.header(":status") == "415"


@pytest.mark.parametrize(
    "content_type", ["application/grpc+proto", "application/grpc+json", "application/grpc;charset=utf-8"]
)
async def test_content_type_may_name_a_format(side: Side, content_type: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(content_type=content_type), message(b"x"))
        assert half.messages == [(0, b"x")]


@pytest.mark.parametrize("timeout", ["", "5", "S", "1x", "-1S", "1.5S", "1 S", "S1", "+1S", "1s"])
async def test_malformed_timeout_is_internal(side: Side, timeout: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_timeout=timeout), message(b"x"))
        assert status_of(half)[0] == INTERNAL
        assert half.messages == []


@pytest.mark.parametrize("timeout", ["99999999S", "99999999H", "123456789S", "90M", "60000m", "60000000u"])
async def test_timeout_of_any_unit_and_length_is_taken(side: Side, timeout: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_timeout=timeout), message(b"x"))
        assert status_of(half)[0] == 0


async def test_request_without_te_is_served(side: Side) -> None:
    # The header is there to notice proxies that do not know trailers; its absence harms nobody.
    async with attacked(side) as client:
        half = await client.answer(request_headers(without=["te"]), message(b"x"))
        assert status_of(half)[0] == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "post"])
async def test_other_http_method_is_405(side: Side, method: str) -> None:
    headers = [(name, method if name == ":method" else value) for name, value in request_headers()]
    async with attacked(side) as client:
        half = await client.answer(headers, message(b"x"))
        assert half.header(":status") == "405"
        assert half.messages == []


@pytest.mark.parametrize("name", [":method", ":scheme", ":path"])
async def test_request_without_a_pseudo_header_is_malformed(side: Side, name: str) -> None:
    async with attacked(side) as client:
        half = await client.over(client.start(request_headers(without=[name])))
        assert half.reset == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "header",
    [
        ("Upper", "1"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        (":late", "1"),
        (":path", "/again"),
        ("key", "a\nb"),
        ("key", "a\x00b"),
    ],
    ids=ascii,
)
async def test_header_that_http2_forbids_is_malformed(side: Side, header: tuple[str, str]) -> None:
    async with attacked(side) as client:
        half = await client.over(client.start([*request_headers(without=["te"]), header]))
        assert half.reset == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "path", ["/behaviour.Peer/other", "/other.Service/uu", "nonsense", "/", "*", "/caf\u00e9"], ids=ascii
)
async def test_unknown_path_is_unimplemented(side: Side, path: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(path=path), message(b"x"))
        assert status_of(half) == (UNIMPLEMENTED, "Method not found!")


async def metadata_of(side: Side, *headers: tuple[Any, Any]) -> list[tuple[str, Any]]:
    """Send headers and return what the handler saw of those called key or key-bin."""
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen([(key, value) for key, value in context.invocation_metadata() if key.startswith("key")])
        return b""

    async with attacked(side, us=handler) as client:
        client.write(data(client.start([*request_headers("us"), *headers]), message(b"x"), end=True))
        return list(await seen)


async def test_joined_binary_values_are_split(side: Side) -> None:
    assert await metadata_of(side, ("key-bin", "AA,AQ==,Ag")) == [
        ("key-bin", b"\x00"),
        ("key-bin", b"\x01"),
        ("key-bin", b"\x02"),
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("AAE=", b"\x00\x01"), ("AAE", b"\x00\x01"), ("", b""), ("AAEC", b"\x00\x01\x02")]
)
async def test_binary_values_may_be_padded(side: Side, text: str, value: bytes) -> None:
    assert await metadata_of(side, ("key-bin", text)) == [("key-bin", value)]


async def test_repeated_headers_are_separate_values(side: Side) -> None:
    pairs = [("key", "1"), ("key", "2"), ("key-bin", "AA"), ("key", "1,2")]
    # The order is that of the values of a key; where keys stand among each other is left open.
    assert sorted(await metadata_of(side, *pairs), key=lambda pair: pair[0]) == [
        ("key", "1"),
        ("key", "2"),
        ("key", "1,2"),
        ("key-bin", b"\x00"),
    ]


@pytest.mark.parametrize("text", ["A", "A*AA", "????", "AA=A", "AAE=,*"])
async def test_bad_base64_is_internal(side: Side, text: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(key_bin=text), message(b"x"))
        assert status_of(half)[0] == INTERNAL


async def test_value_outside_of_ascii_is_no_error(side: Side) -> None:
    # PROTOCOL-HTTP2.md: a value that is valid in HTTP but outside of the set for ASCII-Value must not be an error.
    async with attacked(side) as client:
        half = await client.answer([*request_headers(), (b"key", b"caf\xe9")], message(b"x"))
        assert status_of(half)[0] == 0


async def test_too_much_metadata_is_resource_exhausted(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(key="v" * 20_000), message(b"x"))
        assert status_of(half)[0] == RESOURCE_EXHAUSTED


async def test_metadata_is_limited_from_the_first_byte(side: Side) -> None:
    # Neither side has acknowledged the other's SETTINGS when the request arrives.
    async with serving(side) as link, raw_client(port_of(link)) as client:
        half = await client.answer(request_headers(key="v" * 20_000), message(b"x"))
        assert status_of(half)[0] == RESOURCE_EXHAUSTED
        assert status_of(await client.answer(request_headers(), message(b"x")))[0] == 0


async def test_limit_of_metadata_counts_all_of_it(side: Side) -> None:
    # RFC 9113, section 6.5.2: each field counts 32 bytes more than its name and value.
    async with attacked(side) as client:
        half = await client.answer([*request_headers(), *[("key", "")] * 600], message(b"x"))
        assert status_of(half)[0] == RESOURCE_EXHAUSTED


async def test_limit_of_metadata_is_an_option(side: Side) -> None:
    options = (("grpc.max_metadata_size", 100_000), ("grpc.absolute_max_metadata_size", 100_000))
    async with attacked(side, server={"options": options}) as client:
        half = await client.answer(request_headers(key="v" * 50_000), message(b"x"))
        assert status_of(half)[0] == 0


# Messages.


@pytest.mark.parametrize("encoding", ["snappy", "br", "GZIP", "gzip, deflate"])
async def test_unknown_encoding_is_unimplemented(side: Side, encoding: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_encoding=encoding), message(b"x"))
        assert status_of(half)[0] == UNIMPLEMENTED
        accepted = half.header("grpc-accept-encoding")
        assert accepted is not None
        assert {"identity", "gzip", "deflate"} <= {name.strip() for name in accepted.split(",")}


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [("gzip", gzip.compress(b"text")), ("deflate", zlib.compress(b"text"))],
    ids=["gzip", "deflate"],
)
async def test_compressed_request_is_read(side: Side, encoding: str, payload: bytes) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_encoding=encoding), message(payload, 1))
        assert half.messages == [(0, b"text")]


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_message_without_the_flag_is_not_compressed(side: Side, encoding: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_encoding=encoding), message(b"text"))
        assert half.messages == [(0, b"text")]


@pytest.mark.parametrize("encoding", [{}, {"grpc_encoding": "identity"}], ids=["none", "identity"])
async def test_flag_without_an_encoding_is_internal(side: Side, encoding: dict[str, str]) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(**encoding), message(gzip.compress(b"x"), 1))
        assert status_of(half)[0] == INTERNAL


RAW_DEFLATE = zlib.compress(b"text")[2:-4]


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        ("gzip", b"nonsense"),
        ("gzip", b""),
        ("gzip", gzip.compress(b"text")[:-1]),
        ("gzip", zlib.compress(b"text")),
        ("deflate", RAW_DEFLATE),
        ("deflate", zlib.compress(b"text")[:-1]),
        ("deflate", zlib.compress(b"text") + b"more"),
    ],
    ids=["nonsense", "empty", "truncated gzip", "deflate as gzip", "raw deflate", "truncated deflate", "more"],
)
async def test_bad_compressed_data_is_internal(side: Side, encoding: str, payload: bytes) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(grpc_encoding=encoding), message(payload, 1))
        assert status_of(half)[0] == INTERNAL


@pytest.mark.parametrize("flag", [2, 3, 128, 255])
async def test_other_flags_are_internal(side: Side, flag: int) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(), message(b"x", flag))
        assert status_of(half)[0] == INTERNAL


@pytest.mark.parametrize("method", ["uu", "us", "su", "ss"])
@pytest.mark.parametrize(
    "content", [b"\x00", b"\x00\x00\x00\x00", message(b"text")[:-1], message(b"text")[:5]], ids=repr
)
async def test_truncated_message_is_internal(side: Side, method: str, content: bytes) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(method), content)
        assert status_of(half)[0] == INTERNAL


@pytest.mark.parametrize("method", ["uu", "us"])
async def test_two_requests_to_a_unary_method_are_unimplemented(side: Side, method: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(method), message(b"1") + message(b"2"))
        assert status_of(half)[0] == UNIMPLEMENTED


@pytest.mark.parametrize("method", ["uu", "us"])
async def test_no_request_to_a_unary_method_is_unimplemented(side: Side, method: str) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers(method), b"")
        assert status_of(half)[0] == UNIMPLEMENTED


@pytest.mark.parametrize("method", ["uu", "us"])
async def test_headers_that_end_a_unary_request_are_unimplemented(side: Side, method: str) -> None:
    async with attacked(side) as client:
        half = await client.over(client.start(request_headers(method), end=True))
        assert status_of(half)[0] == UNIMPLEMENTED


async def test_headers_may_end_a_stream_of_requests(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.over(client.start(request_headers("ss"), end=True))
        assert (half.messages, status_of(half)[0]) == ([], 0)


@pytest.mark.parametrize("length", [(4 << 20) + 1, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("method", ["uu", "us", "su", "ss"])
async def test_oversized_message_is_refused_by_its_prefix(side: Side, method: str, length: int) -> None:
    # Nothing but the prefix is ever sent, and the stream is not ended.
    async with attacked(side) as client:
        half = await client.answer(request_headers(method), b"\x00" + length.to_bytes(4, "big"), end=False)
        code, text = status_of(half)
        assert code == RESOURCE_EXHAUSTED
        assert text == f"SERVER: Received message larger than max ({length} vs. 4194304)"


async def test_early_error_is_trailers_only_and_stops_the_requests(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers("other"))
        half = await client.over(number)
        assert len(half.blocks) == 1
        assert dict(half.blocks[0])[":status"] == "200"
        assert status_of(half)[0] == UNIMPLEMENTED
        await client.until(lambda: half.reset is not None)
        assert half.reset == NO_ERROR


async def test_data_after_an_early_error_is_ignored(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers("other"))
        await client.over(number)
        client.write(data(number, message(bytes(50_000)), end=True))
        await client.settled()
        assert not client.closed


# Boundaries of frames.


async def test_message_may_come_byte_by_byte(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers())
        client.write(data(number, message(b"text"), end=True, split=1))
        half = await client.over(number)
        assert half.messages == [(0, b"text")]


async def test_messages_may_share_a_frame(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers("ss"), message(b"1") + message(b"") + message(b"3"))
        assert [payload for _, payload in half.messages] == [b"1", b"", b"3"]


async def test_empty_frames_mean_nothing(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers())
        client.write(data(number, b"") + data(number, message(b"x")) + data(number, b"") + data(number, b"", end=True))
        half = await client.over(number)
        assert half.messages == [(0, b"x")]


async def test_trailers_may_end_a_request(side: Side) -> None:
    async with attacked(side) as client:
        number = client.start(request_headers())
        client.write(data(number, message(b"x")))
        client.write(client.writer.headers(number, [("key", "value")], end=True))
        half = await client.over(number)
        assert half.messages == [(0, b"x")]


async def test_header_block_may_be_continued(side: Side) -> None:
    async with attacked(side) as client:
        number = 101
        client.write(client.writer.headers(number, request_headers(key="v" * 1000), split=100))
        client.write(data(number, message(b"x"), end=True))
        assert status_of(await client.over(number))[0] == 0
        client._next = number + 2


# What the answer may use.


async def test_answer_is_compressed_only_as_the_client_accepts(side: Side) -> None:
    server = {"compression": side.root.Compression.Gzip}
    async with attacked(side, server=server) as client:
        text = message(b"text" * 100)
        plain = await client.answer(request_headers(grpc_accept_encoding="identity"), text)
        other = await client.answer(request_headers(grpc_accept_encoding="identity,deflate"), text)
        silent = await client.answer(request_headers(), text)
        packed = await client.answer(request_headers(grpc_accept_encoding="identity, gzip"), text)
        assert [half.flags for half in (plain, other, silent, packed)] == [[0], [0], [0], [1]]
        assert packed.header("grpc-encoding") == "gzip"


async def test_deadline_passes_although_the_client_does_nothing(side: Side) -> None:
    stuck = Stuck()
    async with attacked(side, us=stuck.all["us"]) as client:
        half = await client.answer(request_headers("us", grpc_timeout="50m"), message(b"x"))
        assert status_of(half) == (4, "Deadline Exceeded")
        assert await stuck.ended is not None


async def test_deadline_that_is_over_already(side: Side) -> None:
    async with attacked(side) as client:
        half = await client.answer(request_headers("us", grpc_timeout="0S"), message(b"x"))
        assert status_of(half)[0] in (0, 4)
