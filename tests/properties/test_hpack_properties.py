"""HPACK, whatever is encoded and decoded: what is kept never gives another result than decoding afresh."""

from __future__ import annotations

import hpack
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc.core.http2.hpack_decoder import CompressionError, HeaderDecoder, HeaderListTooLarge
from pygrpc.core.http2.hpack_encoder import HeaderEncoder
from pygrpc.core.metadata import Header

LIMIT = 5000

# Few names and values, so that they come again; some are in the static table, some drive out many others.
NAMES = st.sampled_from(
    [b":method", b":path", b":status", b"te", b"content-type", b"grpc-timeout", b"x", b"y-bin", b""]
)
VALUES = st.one_of(
    st.sampled_from([b"POST", b"200", b"404", b"/a.B/C", b"trailers", b"", b"x" * 700, b"y" * 2100]),
    st.binary(max_size=20),
)
HEADERS = st.tuples(NAMES, VALUES)
FEW = st.lists(HEADERS, max_size=8)
#: More fields that come again than a table holds, behind and before others.
MANY = st.tuples(st.integers(0, 70), st.sampled_from([0, 20, 60]), FEW).map(
    lambda drawn: [*drawn[2], *((b"x-%d" % number, b"v" * drawn[1]) for number in range(drawn[0])), *drawn[2]]
)
#: What comes again before fields that need not.
STEM = [(b":method", b"POST"), (b":path", b"/a.B/C"), (b"te", b"trailers"), *((b"x-%d" % i, b"v") for i in range(4))]
BEGUN = st.tuples(st.integers(3, len(STEM)), FEW).map(lambda drawn: [*STEM[: drawn[0]], *drawn[1]])
BLOCKS = st.one_of(FEW, BEGUN, MANY).map(tuple)
TABLE_SIZES = st.sampled_from([0, 40, 100, 300, 1000, 4095, 4096])


@st.composite
def repeating(draw: st.DrawFn, elements: st.SearchStrategy[tuple[Header, ...]]) -> list[tuple[Header, ...]]:
    """Draws a list in which a few elements come again and again, sometimes with a field of their own behind."""
    pool = draw(st.lists(elements, min_size=1, max_size=4))
    drawn = draw(st.lists(st.tuples(st.sampled_from(pool), st.booleans()), max_size=25))
    return [(*headers, (b"new", b"%d" % n)) if new else headers for n, (headers, new) in enumerate(drawn)]


def reference(decoder: hpack.Decoder, block: bytes) -> list[Header]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@given(blocks=repeating(BLOCKS), data=st.data())
def test_decoding_agrees_with_hpack(blocks: list[tuple[Header, ...]], data: st.DataObject) -> None:
    encoder, ours, theirs = hpack.Encoder(), HeaderDecoder(1 << 20), hpack.Decoder(1 << 20)
    for headers in blocks:
        if data.draw(st.integers(0, 9)) == 0:
            encoder.header_table_size = data.draw(TABLE_SIZES)
        marked = [(*header, data.draw(st.booleans())) for header in headers]
        block = encoder.encode(marked, huffman=data.draw(st.booleans()))
        decoded = ours.blocks.get(block) or ours.decode(block)
        assert list(decoded) == reference(theirs, block) == list(headers)


@given(blocks=repeating(BLOCKS), data=st.data())
def test_encoding_is_understood(blocks: list[tuple[Header, ...]], data: st.DataObject) -> None:
    encoder, theirs, ours = HeaderEncoder(), hpack.Decoder(1 << 20), HeaderDecoder(1 << 20)
    for headers in blocks:
        for limit in data.draw(st.lists(TABLE_SIZES, max_size=3)) if data.draw(st.integers(0, 9)) == 0 else ():
            encoder.set_limit(limit)
            # hpack refuses the next block if it doesn't begin with the smaller size.
            theirs.max_allowed_table_size = limit
        given_as = headers if data.draw(st.booleans()) else list(headers)
        block = encoder.blocks.get(headers) or encoder.encode(given_as)
        assert reference(theirs, block) == list(headers)
        assert list(ours.blocks.get(block) or ours.decode(block)) == list(headers)


# Pieces of blocks, so that more than the first byte makes sense.
PIECES = st.one_of(
    st.sampled_from(
        [
            b"\x82",
            b"\xbe",
            b"\xbf",
            b"\xc0",
            b"\x20",
            b"\x3f\x61",
            b"\x3f\xe1\x1f",
            b"\x40\x01a\x01b",
            b"\x00\x01a\x01b",
        ]
    ),
    st.sampled_from([b"\x41\x82\x1d\x1c", b"\x10\x81\x1f\x01c", b"\x7e\x01z", b"\x5f\x1d\x05abcde", b"\x0f\x2f\x01q"]),
    st.binary(max_size=6),
)
MADE_UP = st.lists(PIECES, max_size=8).map(b"".join)


def result(decode: object, block: bytes) -> list[Header] | str:
    """The headers, or the kind of error."""
    try:
        return list(decode(block))  # type: ignore[operator]
    except (HeaderListTooLarge, hpack.OversizedHeaderListError):
        return "too large"
    except (CompressionError, hpack.HPACKDecodingError):
        return "wrong"


@given(blocks=st.lists(MADE_UP, max_size=10), again=st.integers(0, 3))
@example(blocks=[b"\x40\x01a\x01b", b"\xbe", b"\xbe", b"\xbe", b"\x40\x01a\x01c", b"\xbe", b"\xbe"], again=0)
def test_any_bytes_mean_what_they_mean_to_hpack(blocks: list[bytes], again: int) -> None:
    ours, theirs = HeaderDecoder(LIMIT), hpack.Decoder(LIMIT)
    for block in blocks * (again + 1):
        expected = result(lambda each: reference(theirs, each), block)
        assert result(lambda each: ours.blocks.get(each) or ours.decode(each), block) == expected
        if isinstance(expected, str):
            break
