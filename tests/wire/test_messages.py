"""Prefixes and messages within DATA frames, and messages as text."""

import gzip
import zlib
from itertools import pairwise

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, timestamp_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc.wire.messages import (
    Complete,
    Described,
    Lost,
    MessageSplitter,
    Piece,
    Prefix,
    Unfinished,
    describe,
    describe_bytes,
    hex_dump,
    pool_resolver,
)

HELLO = b"\x00\x00\x00\x00\x05hello"
HELLO_PREFIX = Prefix(HELLO[:5])
TIME = timestamp_pb2.Timestamp(seconds=5)


def feed(splitter: MessageSplitter, data: bytes) -> list[Piece]:
    return splitter.feed(data, len(data))


def test_prefix_is_a_flag_and_a_length() -> None:
    prefix = Prefix(b"\x01\x00\x01\x00\x02")
    assert (prefix.flag, prefix.length) == (1, 65538)


def test_one_message_in_one_frame() -> None:
    assert feed(MessageSplitter(), HELLO) == [HELLO_PREFIX, Complete(HELLO_PREFIX, b"hello", 1)]


def test_several_messages_in_one_frame() -> None:
    empty = Prefix(bytes(5))
    assert feed(MessageSplitter(), HELLO + bytes(5) + HELLO[:7]) == [
        HELLO_PREFIX,
        Complete(HELLO_PREFIX, b"hello", 1),
        empty,
        Complete(empty, b"", 1),
        HELLO_PREFIX,
        Unfinished(2, 5, False),
    ]


def test_a_message_over_several_frames() -> None:
    splitter = MessageSplitter()
    assert feed(splitter, HELLO[:3]) == [Unfinished(3, 5, True)]
    assert feed(splitter, HELLO[3:5]) == [HELLO_PREFIX, Unfinished(0, 5, False)]
    assert feed(splitter, b"") == []
    assert feed(splitter, HELLO[5:] + HELLO) == [
        Complete(HELLO_PREFIX, b"hello", 3),
        HELLO_PREFIX,
        Complete(HELLO_PREFIX, b"hello", 1),
    ]
    assert feed(splitter, HELLO) == [HELLO_PREFIX, Complete(HELLO_PREFIX, b"hello", 1)]


def test_a_long_message_is_kept_up_to_the_cap() -> None:
    splitter = MessageSplitter(kept=3)
    assert feed(splitter, HELLO[:7]) == [HELLO_PREFIX, Unfinished(2, 5, False)]
    assert feed(splitter, HELLO[7:]) == [Complete(HELLO_PREFIX, b"hel", 2)]


def test_a_frame_of_which_only_the_beginning_was_kept_is_counted() -> None:
    splitter = MessageSplitter()
    assert splitter.feed(HELLO[:7], 9) == [HELLO_PREFIX, Unfinished(4, 5, False)]
    assert feed(splitter, b"o" + HELLO)[0] == Complete(HELLO_PREFIX, b"heo", 2)


@pytest.mark.parametrize(("kept", "size"), [(7, 12), (10, 12), (3, 10)])
def test_a_prefix_that_was_not_kept_ends_the_messages(kept: int, size: int) -> None:
    splitter = MessageSplitter()
    assert splitter.feed(HELLO[:kept], size)[-1] == Lost()
    assert feed(splitter, HELLO) == []


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=6),
    st.lists(st.integers(0, 200), max_size=10),
)
@example([(0, b"hello"), (1, b""), (0, b"x")], list(range(30)))
def test_any_split_gives_the_same_messages(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(bytes([flag]) + len(body).to_bytes(4, "big") + body for flag, body in messages)
    splitter = MessageSplitter()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [piece for start, end in pairwise(edges) for piece in feed(splitter, data[start:end])]
    found = [(piece.prefix.flag, piece.data) for piece in pieces if isinstance(piece, Complete)]
    assert found == messages
    assert sum(isinstance(piece, Prefix) for piece in pieces) == len(messages)


def complete(data: bytes, flag: int = 0) -> Complete:
    return Complete(Prefix(bytes([flag]) + len(data).to_bytes(4, "big")), data, 1)


def test_a_message_of_known_type_is_text() -> None:
    message = descriptor_pb2.FieldDescriptorProto(name="né", options=descriptor_pb2.FieldOptions(deprecated=True))
    described = describe(complete(message.SerializeToString()), "", descriptor_pb2.FieldDescriptorProto)
    assert described == Described(
        "google.protobuf.FieldDescriptorProto", ('name: "né"', "options {", "  deprecated: true", "}")
    )


def test_fields_that_the_type_does_not_have_are_shown_too() -> None:
    described = describe(complete(b"\x08\x05\x90\x03\x07"), "", timestamp_pb2.Timestamp)
    assert described.lines == ("seconds: 5", "50: 7")


def test_an_any_of_known_type_is_expanded() -> None:
    packed = any_pb2.Any()
    packed.Pack(TIME)
    assert describe(complete(packed.SerializeToString()), "", any_pb2.Any).lines == (
        "[type.googleapis.com/google.protobuf.Timestamp] {",
        "  seconds: 5",
        "}",
    )


def test_a_message_that_is_not_of_its_type_is_shown_by_its_shape() -> None:
    described = describe(complete(b"\x0a\x01\xff"), "", any_pb2.Any)
    assert described == Described("fields", ('1: "\\xff"',), "the bytes are no google.protobuf.Any")


def test_a_message_of_unknown_type_is_shown_by_its_shape() -> None:
    assert describe(complete(TIME.SerializeToString()), "", None) == Described("message of unknown type", ("1: 5",))


def test_bytes_that_are_no_message_are_dumped() -> None:
    described = describe(complete(b"\xff\xff"), "", timestamp_pb2.Timestamp)
    assert described.title == "bytes"
    assert described.lines == hex_dump(b"\xff\xff")
    assert described.problem == "the bytes are no google.protobuf.Timestamp"


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_message_is_expanded(encoding: str, compress: object) -> None:
    assert callable(compress)
    described = describe(complete(compress(TIME.SerializeToString()), flag=1), encoding, timestamp_pb2.Timestamp)
    assert described == Described("google.protobuf.Timestamp, 2 bytes expanded", ("seconds: 5",))


@pytest.mark.parametrize(
    ("data", "flag", "encoding", "problem"),
    [
        (b"x", 2, "gzip", "the compressed flag must be 0 or 1, not 2"),
        (b"x", 1, "", "marked as compressed but grpc-encoding names no compression"),
        (b"x", 1, "identity", "marked as compressed but grpc-encoding names no compression"),
        (b"x", 1, "snappy", "can't expand the encoding 'snappy'"),
        (b"x", 1, "gzip", "the gzip data is incomplete"),
        (b"nonsense", 1, "gzip", "the bytes are no valid gzip"),
        (zlib.compress(b"abc", wbits=-15), 1, "deflate", "the bytes are no valid deflate"),
        (gzip.compress(b"abc")[:-1], 1, "gzip", "the gzip data is incomplete"),
        (gzip.compress(bytes(1 << 24)), 1, "gzip", "expands to more than 262144 bytes"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(data: bytes, flag: int, encoding: str, problem: str) -> None:
    described = describe(complete(data, flag), encoding, None)
    assert problem in described.problem
    assert described.lines == hex_dump(data)


def test_a_message_that_was_not_kept_as_a_whole_is_dumped() -> None:
    message = Complete(Prefix(b"\x00\x00\x00\x10\x00"), b"abc", 1)
    assert describe(message, "", timestamp_pb2.Timestamp) == Described("the first 3 of 4096 bytes", hex_dump(b"abc"))


@given(st.binary(max_size=200))
def test_any_bytes_can_be_described(data: bytes) -> None:
    types = (None, timestamp_pb2.Timestamp, any_pb2.Any, descriptor_pb2.FileDescriptorSet)
    for message_type in types:
        assert describe_bytes(data, message_type).title


def test_an_any_with_nonsense_in_it_can_be_described() -> None:
    packed = any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Timestamp", value=b"\xff")
    assert describe_bytes(packed.SerializeToString(), any_pb2.Any).lines


def test_hex_dump() -> None:
    assert hex_dump(b"0123456789abcdef\x00z") == (
        "0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "0010  00 7a" + " " * 44 + ".z",
    )


def test_hex_dump_has_a_limit() -> None:
    assert hex_dump(bytes(100), 20)[1:] == ("0010  00 00 00 00" + " " * 38 + "....", "... 80 more bytes")


def pool() -> descriptor_pool.DescriptorPool:
    own = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="own.proto", package="own")
    for name in ("Ask", "Answer"):
        file.message_type.add(name=name)
    file.service.add(name="Oracle").method.add(name="Speak", input_type=".own.Ask", output_type=".own.Answer")
    own.Add(file)
    return own


def test_resolver_finds_the_types_of_a_method() -> None:
    types = pool_resolver(pool())("/own.Oracle/Speak")
    assert types is not None
    assert [each.DESCRIPTOR.full_name for each in types] == ["own.Ask", "own.Answer"]


@pytest.mark.parametrize(
    "path", ["/own.Oracle/Listen", "/own.Nobody/Speak", "/own.Ask/Speak", "/", "", "a/b/c", "/\xff/x"]
)
def test_resolver_does_not_know_other_methods(path: str) -> None:
    assert pool_resolver(pool())(path) is None
    assert pool_resolver()(path) is None
