"""Message compression (doc/compression.md)."""

import gzip
import tracemalloc
import zlib
from typing import Any

import pytest

from pygrpc.compression import Compression
from pygrpc.core.call import MessageLimits
from pygrpc.core.compression import (
    ACCEPT_ENCODING,
    KNOWN_ENCODINGS,
    DecompressedTooLarge,
    MalformedCompression,
    accept_encoding,
    compressor,
    decompress,
    enabled_encodings,
    encoding_name,
)

TEXT = b"the same words again and again, " * 100


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        (None, None),
        (Compression.NoCompression, None),
        (Compression.Deflate, b"deflate"),
        (Compression.Gzip, b"gzip"),
        (1, b"deflate"),
        (2, b"gzip"),
    ],
)
def test_the_name_on_the_wire(compression: int | None, name: bytes | None) -> None:
    assert encoding_name(compression) == name


def test_all_that_is_offered_is_known() -> None:
    offered = {part.strip() for part in ACCEPT_ENCODING.split(b",")}
    assert offered == KNOWN_ENCODINGS | {b"identity"}


@pytest.mark.parametrize(("encoding", "known"), [(None, True), (b"gzip", True), (b"deflate", True), (b"br", False)])
def test_known_encodings(encoding: bytes | None, known: bool) -> None:
    assert MessageLimits(-1, -1).accept(encoding) is known


@pytest.mark.parametrize(
    ("algorithms", "accepted"),
    [
        (0b111, ACCEPT_ENCODING),
        (0b11, b"identity, deflate"),
        (0b101, b"identity, gzip"),
        (1, b"identity"),
        (0, b"identity"),
        (-1, ACCEPT_ENCODING),
    ],
)
def test_enabled_encodings(algorithms: int, accepted: bytes) -> None:
    encodings = enabled_encodings(algorithms)
    assert accept_encoding(encodings) == accepted
    limits = MessageLimits(-1, -1, encodings=encodings)
    assert limits.accept_encoding == accepted
    assert limits.accept(None)
    assert {name for name in KNOWN_ENCODINGS if limits.accept(name)} == set(accepted.split(b", ")) - {b"identity"}


@pytest.mark.parametrize("payload", [b"", b"a", TEXT, bytes(range(256)) * 40])
@pytest.mark.parametrize("encoding", sorted(KNOWN_ENCODINGS))
def test_what_was_compressed_comes_back(encoding: bytes, payload: bytes) -> None:
    assert decompress(encoding, compressor(encoding)(payload), -1) == payload
    assert decompress(encoding, compressor(encoding)(payload), len(payload)) == payload


def test_gzip_is_what_others_call_gzip() -> None:
    assert gzip.decompress(compressor(b"gzip")(TEXT)) == TEXT
    assert decompress(b"gzip", gzip.compress(TEXT), -1) == TEXT


def test_deflate_is_zlib_and_not_raw() -> None:
    # compression.md: RFC 1950, never the raw DEFLATE of RFC 1951.
    assert zlib.decompress(compressor(b"deflate")(TEXT)) == TEXT
    assert decompress(b"deflate", zlib.compress(TEXT), -1) == TEXT
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with pytest.raises(MalformedCompression):
        decompress(b"deflate", raw.compress(TEXT) + raw.flush(), -1)


def test_each_message_has_a_context_of_its_own() -> None:
    compress = compressor(b"gzip")
    assert decompress(b"gzip", compress(TEXT), -1) == decompress(b"gzip", compress(TEXT), -1) == TEXT


def test_gzip_holds_no_time_of_day() -> None:
    assert compressor(b"gzip")(TEXT)[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("encoding", sorted(KNOWN_ENCODINGS))
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"plain text",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"x",
        lambda data: data + data,
        lambda data: data[:20] + bytes([data[20] ^ 0xFF]) + data[21:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
    ids=["nothing", "text", "last byte gone", "half gone", "a byte more", "twice", "a byte changed", "wrong sum"],
)
def test_bad_data_is_malformed(encoding: bytes, spoil: "type[bytes]") -> None:
    with pytest.raises(MalformedCompression, match=encoding.decode()):
        decompress(encoding, spoil(compressor(encoding)(TEXT)), -1)


@pytest.mark.parametrize("encoding", sorted(KNOWN_ENCODINGS))
@pytest.mark.parametrize(("limit", "fits"), [(len(TEXT), True), (len(TEXT) - 1, False), (1, False), (0, False)])
def test_the_result_is_limited(encoding: bytes, limit: int, fits: bool) -> None:
    if fits:
        assert decompress(encoding, compressor(encoding)(TEXT), limit) == TEXT
    else:
        with pytest.raises(DecompressedTooLarge, match=f"more than {limit} bytes"):
            decompress(encoding, compressor(encoding)(TEXT), limit)


def test_a_limit_of_nothing_lets_an_empty_message_through() -> None:
    assert decompress(b"gzip", compressor(b"gzip")(b""), 0) == b""


@pytest.mark.parametrize("encoding", sorted(KNOWN_ENCODINGS))
def test_a_bomb_takes_no_more_memory_than_the_limit(encoding: bytes) -> None:
    bomb = compressor(encoding)(bytes(50 << 20))
    limit = 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(DecompressedTooLarge):
            decompress(encoding, bomb, limit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit


@pytest.mark.parametrize("compression", [3, "gzip"])
def test_an_algorithm_that_does_not_exist(compression: Any) -> None:
    with pytest.raises(KeyError, match=r"use a member of grpc\.Compression"):
        encoding_name(compression)
