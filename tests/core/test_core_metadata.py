"""Custom metadata on the wire (PROTOCOL-HTTP2.md, "Custom-Metadata")."""

import pytest

from pygrpc.core.metadata import InvalidMetadata, RawMetadata, decode_metadata, encode_metadata, header_list_size


@pytest.mark.parametrize(
    ("key", "value", "raw"),
    [
        ("key", "value", b"value"),
        ("key", b"value", b"value"),
        ("a-b_c.d0", "", b""),
        ("key", " !~", b"!~"),
        ("key", "  spaces around  ", b"spaces around"),
        ("key-bin", b"", b""),
        ("key-bin", b"\0", b"AA"),
        ("key-bin", b"ab", b"YWI"),
        ("key-bin", b"abc", b"YWJj"),
        ("key-bin", b"\xfb\xff", b"+/8"),
        ("-bin", b"a", b"YQ"),
        ("grpc-trace-bin", b"a", b"YQ"),
        ("grpc-status-details-bin", b"a", b"YQ"),
        ("x-grpc-timeout", "1", b"1"),
    ],
    ids=repr,
)
def test_a_value_is_encoded(key: str, value: str | bytes, raw: bytes) -> None:
    assert encode_metadata([(key, value)]) == [(key.encode(), raw)]


def test_order_and_repeated_keys_are_kept() -> None:
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("c-bin", b"4"), ("c-bin", b"5")]
    assert decode_metadata(encode_metadata(pairs)) == tuple(pairs)


def test_binary_values_are_not_joined() -> None:
    # grpcio takes a joined value for broken base64.
    assert encode_metadata([("k-bin", b"a"), ("k-bin", b"b")]) == [(b"k-bin", b"YQ"), (b"k-bin", b"Yg")]


@pytest.mark.parametrize("key", ["", "Key", "a b", "a:b", ":path", "k\u00e9y", "a\n", "a/b"], ids=repr)
def test_a_key_has_few_characters(key: str) -> None:
    with pytest.raises(ValueError, match="may hold only 0-9 a-z _"):
        encode_metadata([(key, "value")])


@pytest.mark.parametrize("value", ["a\nb", "\r", "\0", "tab\t", "\x7f", "\u00e9", b"\xff", b"\x1f"], ids=repr)
def test_a_text_value_is_printable_ascii(value: str | bytes) -> None:
    with pytest.raises(ValueError, match="the value of 'key' may hold only printable ASCII"):
        encode_metadata([("key", value)])


@pytest.mark.parametrize(
    "pair",
    [(1, "value"), (None, "value"), ("key", 1), ("key", ["a"]), ("k-bin", "text"), ("k-bin", None), ("k", bytearray())],
)
def test_keys_and_values_have_types(pair: tuple[str, str]) -> None:
    with pytest.raises(TypeError, match="metadata was invalid"):
        encode_metadata([pair])


def test_a_value_may_be_none() -> None:
    # As in grpcio: it comes from variables of the environment that are not set.
    assert encode_metadata([("key", None)]) == [(b"key", b"")]  # type: ignore[list-item]


@pytest.mark.parametrize("item", [("key",), ("key", "value", "more"), ()])
def test_what_is_no_pair_is_an_error(item: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is not a pair of key and value") as caught:
        encode_metadata([item])
    assert not isinstance(caught.value, InvalidMetadata)


def test_a_dict_is_no_pairs() -> None:
    with pytest.raises(ValueError, match="pass its items"):
        encode_metadata({"ab": "value"})  # type: ignore[arg-type]


def test_what_is_no_sequence_at_all() -> None:
    with pytest.raises(TypeError, match="must be pairs such as"):
        encode_metadata(42)  # type: ignore[arg-type]


def test_a_key_may_be_bytes() -> None:
    assert encode_metadata([(b"key", "value"), (b"k-bin", b"a")]) == [(b"key", b"value"), (b"k-bin", b"YQ")]
    with pytest.raises(InvalidMetadata, match="may hold only 0-9 a-z _"):
        encode_metadata([(b"k\xe9y", "value")])


@pytest.mark.parametrize("key", ["te", "content-type", "user-agent"])
def test_what_the_library_writes_itself_is_left_out(key: str) -> None:
    assert encode_metadata([(key, "mine"), ("key", "value")]) == [(b"key", b"value")]


def header(key: str) -> list[tuple[bytes, bytes]]:
    """What becomes of a key of the protocol: nothing, or an error."""
    try:
        return encode_metadata([(key, "1")])
    except ValueError:
        return []


@pytest.mark.parametrize(
    "key",
    [
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "grpc-status",
        "grpc-message",
        "connection",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "host",
        "content-length",
    ],
)
def test_a_header_of_the_protocol_is_never_sent(key: str) -> None:
    assert header(key) == []


@pytest.mark.parametrize(
    ("headers", "metadata"),
    [
        ([], ()),
        ([(b"k", b"v")], (("k", "v"),)),
        ([(b"k", b"")], (("k", ""),)),
        ([(b"k", b"a,b")], (("k", "a,b"),)),
        ([(b"k", "\u00e9".encode())], (("k", "\u00e9"),)),
        ([(b"k", b"\xff\xfe")], (("k", b"\xff\xfe"),)),
        ([(b"k", b"a\tb")], (("k", "a\tb"),)),
        ([(b"k-bin", b"")], (("k-bin", b""),)),
        ([(b"k-bin", b"YWI")], (("k-bin", b"ab"),)),
        ([(b"k-bin", b"YWI=")], (("k-bin", b"ab"),)),
        ([(b"k-bin", b"YQ==")], (("k-bin", b"a"),)),
        ([(b"k-bin", b" YQ\t")], (("k-bin", b"a"),)),
        ([(b"k-bin", b"YQ,Yg==, Yw")], (("k-bin", b"a"), ("k-bin", b"b"), ("k-bin", b"c"))),
        ([(b"k-bin", b",YQ")], (("k-bin", b""), ("k-bin", b"a"))),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_headers_are_decoded(headers: list[tuple[bytes, bytes]], metadata: RawMetadata) -> None:
    assert decode_metadata(headers) == metadata


@pytest.mark.parametrize("value", [b"A", b"YQ=a", b"=YQ", b"Y Q", b"-_8", b"\xff", b"YWJj!", b"YQ,A"], ids=repr)
def test_what_is_not_base64_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="the value of 'k-bin' is not base64"):
        decode_metadata([(b"k-bin", value)])


def test_the_size_of_a_header_list_counts_32_for_each_field() -> None:
    # RFC 9113, section 6.5.2.
    assert header_list_size([]) == 0
    assert header_list_size([(b"ab", b"cde"), (b"", b"")]) == 2 + 3 + 32 + 32
