"""Values that travel: what was encoded is decoded, and nothing else can break a decoder."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc import options as options_module
from pygrpc.core.compression import (
    KNOWN_ENCODINGS,
    DecompressedTooLarge,
    MalformedCompression,
    compressor,
    decompress,
)
from pygrpc.core.headers import (
    MalformedHeaders,
    RequestRejected,
    ResponseHead,
    parse_request,
    parse_response,
    parse_trailers,
    request_headers,
    response_headers,
    trailers,
)
from pygrpc.core.metadata import Header, decode_metadata, encode_metadata
from pygrpc.core.status import Status, decode_message, decode_status, encode_message
from pygrpc.core.targets import Target, parse_target
from pygrpc.core.timeouts import decode_timeout, encode_timeout
from pygrpc.metadata import Metadata
from pygrpc.options import _KNOWN, Options, parse_options
from pygrpc.status import StatusCode

# Metadata.

keys = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1).map("x".__add__)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(lambda text: text.strip(" "))
ascii_pairs = st.tuples(keys.filter(lambda key: not key.endswith("-bin")), texts)
binary_pairs = st.tuples(keys.map(lambda key: key + "-bin"), st.binary())
metadata = st.lists(ascii_pairs | binary_pairs)


@given(metadata)
def test_metadata_come_back(pairs: list[tuple[str, str | bytes]]) -> None:
    assert decode_metadata(encode_metadata(pairs)) == tuple(pairs)


@given(st.lists(st.tuples(st.text() | keys, st.text() | st.binary() | texts)))
def test_metadata_are_encoded_or_refused(pairs: list[tuple[str, Any]]) -> None:
    try:
        headers = encode_metadata(pairs)
    except (ValueError, TypeError) as error:
        assert "metadata was invalid" in str(error) or isinstance(error, UnicodeEncodeError)
        return
    for name, value in headers:
        # RFC 9113, section 8.2.1: what may be sent at all.
        assert name == name.lower()
        assert all(0x20 <= byte <= 0x7E for byte in value)
        assert value == value.strip()


@given(st.lists(st.tuples(keys.map(str.encode) | st.binary(), st.binary())))
def test_any_headers_are_metadata_or_a_value_error(headers: list[Header]) -> None:
    try:
        decoded = decode_metadata(headers)
    except ValueError:
        assert any(name.endswith(b"-bin") for name, _ in headers)
    else:
        assert len(decoded) >= len(headers)


@given(st.lists(st.binary(), min_size=1), st.booleans())
def test_binary_values_may_be_joined_and_padded(values: list[bytes], padded: bool) -> None:
    encoded = [value for _, value in encode_metadata([("k-bin", value) for value in values])]
    if padded:
        encoded = [value + b"=" * (-len(value) % 4) for value in encoded]
    assert decode_metadata([(b"k-bin", b",".join(encoded))]) == tuple(("k-bin", value) for value in values)


@given(metadata, metadata)
def test_a_collection_keeps_the_values_of_each_key(left: list[tuple[str, Any]], right: list[tuple[str, Any]]) -> None:
    both = Metadata(*left) + Metadata(*right)
    assert len(both) == len(left) + len(right)
    for key in both.keys():  # noqa: SIM118 - iteration over metadata gives pairs
        assert both.get_all(key) == [value for name, value in left + right if name == key]
    assert Metadata.from_tuple(tuple(both)) == both


# Timeouts.


@given(st.floats(0, 3600.0 * 99_999_999))
@example(99_999_999e-9)
@example(99_999_999.5e-9)
@example(99_999_999.0000001)
@example(0.0999991)
@example(99.9991)
def test_a_timeout_is_rounded_up_by_one_unit_at_most(seconds: float) -> None:
    text = encode_timeout(seconds)
    assert 2 <= len(text) <= 9
    decoded = decode_timeout(text)
    assert decoded > 0
    assert decoded >= seconds * (1 - 1e-9)
    # The unit is the finest that fits into five digits, which is a hundredth of the value at most, or a nanosecond.
    assert decoded <= seconds * 1.0101 + 2e-9


@given(st.floats())
def test_any_timeout_can_be_sent(seconds: float) -> None:
    assert decode_timeout(encode_timeout(seconds)) > 0


@given(st.text(max_size=30) | st.text("0123456789HMSmun", max_size=12))
def test_any_text_is_a_timeout_or_a_value_error(text: str) -> None:
    try:
        assert decode_timeout(text) >= 0
    except ValueError as error:
        assert "grpc-timeout must be" in str(error)


# Status messages.


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_status_message_comes_back(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded) == text


@given(st.text())
def test_any_text_can_be_a_status_message(text: str) -> None:
    assert decode_message(encode_message(text)) == text.encode("utf-8", "replace").decode()


@given(st.binary() | st.text("%0123456789abcdefABCDEFgz").map(str.encode))
def test_decoding_a_status_message_never_fails(value: bytes) -> None:
    text = decode_message(value)
    if b"%" not in value:
        assert text == value.decode("utf-8", "replace")


@given(st.binary(max_size=15) | st.integers().map(lambda number: b"%d" % number))
def test_any_bytes_are_a_status_or_a_value_error(value: bytes) -> None:
    try:
        assert isinstance(decode_status(value), StatusCode)
    except ValueError:
        assert not value.isdigit() or len(value) > 10


# Compression.


@given(
    st.sampled_from(sorted(KNOWN_ENCODINGS)), st.binary(max_size=2000) | st.binary(max_size=20).map(lambda b: b * 500)
)
def test_compressed_messages_come_back(encoding: bytes, payload: bytes) -> None:
    compressed = compressor(encoding)(payload)
    assert decompress(encoding, compressed, -1) == payload
    assert decompress(encoding, compressed, len(payload)) == payload
    if payload:
        with pytest.raises(DecompressedTooLarge):
            decompress(encoding, compressed, len(payload) - 1)


@given(st.sampled_from(sorted(KNOWN_ENCODINGS)), st.binary(), st.integers(-1, 100), st.integers(0, 300), st.booleans())
def test_any_bytes_are_decompressed_or_refused(
    encoding: bytes, data: bytes, limit: int, place: int, whole: bool
) -> None:
    if whole:
        # Nearly right: one byte of a good stream is changed.
        good = bytearray(compressor(encoding)(data))
        good[place % len(good)] ^= 1 + place % 255
        data = bytes(good)
    try:
        message = decompress(encoding, data, limit)
    except (DecompressedTooLarge, MalformedCompression):
        return
    assert limit < 0 or len(message) <= limit


# Header blocks.

names = st.sampled_from(
    [
        b":method",
        b":path",
        b":scheme",
        b":authority",
        b":status",
        b"te",
        b"content-type",
        b"grpc-status",
        b"grpc-message",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"user-agent",
        b"k",
        b"k-bin",
        b"K",
        b"connection",
        b"",
    ]
)
values = st.sampled_from(
    [
        b"POST",
        b"/a.B/C",
        b"http",
        b"200",
        b"404",
        b"trailers",
        b"application/grpc",
        b"0",
        b"5",
        b"1S",
        b"gzip",
        b"YQ",
        b"",
    ]
)
blocks = st.lists(st.tuples(names | st.binary(max_size=8), values | st.binary(max_size=20)), max_size=12)


@given(blocks, st.integers(0, 600))
def test_any_block_is_a_request_or_refused(headers: list[Header], limit: int) -> None:
    try:
        head = parse_request(headers, limit)
    except MalformedHeaders:
        return
    except RequestRejected as rejected:
        assert rejected.status.code is not StatusCode.OK
        assert rejected.status.details
        return
    assert (b":method", b"POST") in headers
    assert head.path
    assert head.timeout is None or head.timeout >= 0


@given(blocks)
def test_any_block_is_a_response_or_refused(headers: list[Header]) -> None:
    for parse in (
        parse_response,
        lambda block: parse_trailers(block, trailers_only=True),
        lambda block: parse_trailers(block, trailers_only=False),
    ):
        try:
            parsed = parse(headers)
        except MalformedHeaders:
            continue
        assert isinstance(parsed, (ResponseHead, Status))


@given(st.sampled_from(StatusCode), st.text(st.characters(exclude_categories=["Cs"])), metadata)
def test_trailers_come_back(code: StatusCode, details: str, pairs: list[tuple[str, str | bytes]]) -> None:
    built = trailers(code, details, encode_metadata(pairs))
    assert parse_trailers(built, trailers_only=False) == Status(code, details, tuple(pairs))


@given(metadata, st.none() | st.sampled_from(sorted(KNOWN_ENCODINGS)), st.none() | st.floats(1e-9, 1e9))
def test_heads_come_back(pairs: list[tuple[str, str | bytes]], encoding: bytes | None, timeout: float | None) -> None:
    raw = encode_metadata(pairs)
    head = parse_request(request_headers("/a.B/C", "host", b"http", b"agent", timeout, encoding, raw), 1 << 20)
    assert head.metadata == (("user-agent", "agent"), *pairs)
    assert (head.path, head.authority, head.encoding) == ("/a.B/C", "host", encoding)
    assert head.timeout == (None if timeout is None else pytest.approx(timeout, rel=0.0101, abs=2e-9))
    response = parse_response(response_headers(encoding, raw))
    assert isinstance(response, ResponseHead)
    assert (response.encoding, response.metadata) == (encoding, tuple(pairs))


# Options and targets.


@pytest.fixture(autouse=True, scope="module")
def unknown_options_are_not_reported() -> Iterator[None]:
    """Keeps thousands of made-up names out of the log, and out of what was reported once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options_module, "_report", lambda key: None)
        yield


option_values = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5) | st.booleans()


@given(st.lists(st.tuples(st.sampled_from(sorted(_KNOWN)) | st.text(max_size=10).map("x.".__add__), option_values)))
def test_any_options_are_read_or_an_error_names_one(pairs: list[tuple[str, Any]]) -> None:
    try:
        options = parse_options(pairs)
    except (TypeError, ValueError) as error:
        assert any(repr(key) in str(error) for key, _ in pairs)
        return
    assert isinstance(options, Options)
    assert 65_535 <= options.stream_window < 2**31
    assert 16_384 <= options.max_frame_size < 2**24


@given(st.text(max_size=20) | st.text("dnsipv46unix:/[],.%@host0123456789", max_size=20))
def test_any_text_is_a_target_or_a_value_error_that_names_it(text: str) -> None:
    try:
        target = parse_target(text)
    except ValueError as error:
        assert repr(text) in str(error)
        return
    assert isinstance(target, Target)
    for address in target.addresses:
        assert address.path or address.host
        assert 0 <= address.port < 65_536
        assert str(address)
