"""Header compression of the frame engine: what is kept, for how long, and what is refused (RFC 7541)."""

from __future__ import annotations

import hpack
import pytest
from hpack.hpack import encode_integer

from pygrpc.core.http2.hpack_decoder import CompressionError, DecodedBlock, HeaderDecoder, HeaderListTooLarge
from pygrpc.core.http2.hpack_encoder import HeaderEncoder
from pygrpc.core.http2.hpack_tables import BEGINNINGS_KEPT, FIRST_DYNAMIC, STATIC
from pygrpc.core.metadata import Header, header_list_size

REQUEST: tuple[Header, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)


def decode(decoder: HeaderDecoder, block: bytes) -> DecodedBlock:
    """Decodes as the engine does."""
    return decoder.blocks.get(block) or decoder.decode(block)


def encode(encoder: HeaderEncoder, headers: tuple[Header, ...]) -> bytes:
    """Encodes as the engine does."""
    return encoder.blocks.get(headers) or encoder.encode(headers)


def hpack_decode(decoder: hpack.Decoder, block: bytes) -> list[Header]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


def call(number: int) -> tuple[Header, ...]:
    """A request that differs from others in its last field."""
    return (*REQUEST, (b"x-entry", b"the same"), (b"x-request-id", b"%d" % number))


def test_fields_before_a_new_one_are_encoded_once() -> None:
    encoder, theirs = HeaderEncoder(), hpack.Decoder()
    blocks = [encode(encoder, call(number)) for number in range(6)]
    assert [hpack_decode(theirs, block) for block in blocks] == [list(call(number)) for number in range(6)]
    assert [first for first, _ in encoder._beginnings.values()] == [call(0)[:-1]]
    # Another field before the new one makes another beginning of it, and a change of the table an end.
    other = (*REQUEST, (b"x-entry", b"another"), (b"x-request-id", b"7"))
    for headers in (other, other, call(8), call(9)):
        assert hpack_decode(theirs, encode(encoder, headers)) == list(headers)
    encoder.set_limit(100)
    assert not encoder._beginnings
    theirs.max_allowed_table_size = 100
    for number in range(10, 15):
        assert hpack_decode(theirs, encode(encoder, call(number))) == list(call(number))


def test_few_beginnings_are_kept() -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(1 << 14)
    for method in range(3 * BEGINNINGS_KEPT):
        for number in range(4):
            headers = ((b"path", b"/%d" % method), *call(number))
            assert decode(decoder, encode(encoder, headers)) == list(headers)
        assert len(encoder._beginnings) <= BEGINNINGS_KEPT
        assert len(decoder._beginnings) <= BEGINNINGS_KEPT


def test_a_long_beginning_is_not_kept() -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(1 << 16)
    long = tuple((b"x-%d" % number, b"v" * 1000) for number in range(12))
    for number in range(4):
        headers = (*long, *call(number))
        assert decode(decoder, encode(encoder, headers)) == list(headers)
    assert not encoder._beginnings
    assert not decoder._beginnings


# Decoding.


def test_fields_before_a_new_one_are_decoded_once() -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(1000)
    blocks = [decode(decoder, encode(encoder, call(number))) for number in range(6)]
    assert blocks == [list(call(number)) for number in range(6)]
    assert [block.size for block in blocks] == [header_list_size(call(number)) for number in range(6)]
    beginning = blocks[-1].beginning
    assert beginning == list(call(0)[:-1])
    assert beginning is blocks[-2].beginning
    # A change of the table may make something else of the same bytes.
    decoder.decode(b"\x40\x01a\x011")
    assert decode(decoder, HeaderEncoder().encode(call(7))).beginning is None


def test_what_is_known_of_a_beginning_counts_for_the_whole_block() -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(500)
    told = [(*call(number)[:4], (b"content-length", b"7"), *call(number)[4:]) for number in range(6)]
    assert [decode(decoder, encode(encoder, headers)).content_length for headers in told] == [7] * 6
    with pytest.raises(HeaderListTooLarge):
        decode(decoder, encode(encoder, (*told[0][:-1], (b"x-request-id", b"1" * 300))))


def test_a_block_that_comes_again_is_the_same_object() -> None:
    decoder, encoder = HeaderDecoder(1000), hpack.Encoder()
    first = decode(decoder, encoder.encode(REQUEST))
    indexed = encoder.encode(REQUEST)
    blocks = [decode(decoder, indexed) for _ in range(4)]
    assert all(block == list(REQUEST) for block in [first, *blocks])
    # The first sight of a block leaves nothing behind, the second one does.
    assert blocks[0] is not blocks[1]
    assert blocks[1] is blocks[2] is blocks[3]
    blocks[1].parsed = "parsed"
    assert decode(decoder, indexed).parsed == "parsed"  # type: ignore[comparison-overlap]


def test_a_block_that_changes_the_table_is_never_kept() -> None:
    decoder, encoder = HeaderDecoder(1000), hpack.Encoder()
    inserting = encoder.encode([(b"a", b"1")])
    for _ in range(5):
        assert decode(decoder, inserting) == [(b"a", b"1")]
        assert not decoder.blocks


def test_what_is_kept_is_forgotten_when_the_table_changes() -> None:
    # The same byte means another entry of the table afterwards.
    decoder = HeaderDecoder(1000)
    decoder.decode(b"\x40\x01a\x011")
    newest = b"\xbe"
    for _ in range(3):
        assert decode(decoder, newest) == [(b"a", b"1")]
    assert newest in decoder.blocks
    decoder.decode(b"\x40\x01b\x012")
    for _ in range(3):
        assert decode(decoder, newest) == [(b"b", b"2")]
    decoder.decode(b"\x20")
    with pytest.raises(CompressionError):
        decode(decoder, newest)


def test_a_size_update_empties_the_table_and_another_one_opens_it_again() -> None:
    decoder = HeaderDecoder(1000)
    decoder.decode(b"\x40\x01a\x011")
    assert decode(decoder, b"\x20\x3f\xe1\x1f") == []
    decoder.decode(b"\x40\x01b\x012")
    assert decode(decoder, b"\xbe") == [(b"b", b"2")]
    with pytest.raises(CompressionError):
        decoder.decode(b"\xbf")


def test_an_entry_larger_than_the_table_empties_it() -> None:
    # RFC 7541, section 4.4.
    decoder = HeaderDecoder(10_000)
    decoder.decode(b"\x40\x01a\x011")
    large = b"x" * 4100
    assert decode(decoder, hpack.Encoder().encode([(b"k", large)], huffman=False)) == [(b"k", large)]
    with pytest.raises(CompressionError):
        decoder.decode(b"\xbe")
    assert decode(decoder, b"\x82") == [(b":method", b"GET")]


def test_old_entries_are_driven_out() -> None:
    decoder, encoder, reference = HeaderDecoder(10_000), hpack.Encoder(), hpack.Decoder()
    for number in range(300):
        headers = [(b"name-%d" % (number % 37), b"v" * (number % 400))]
        block = encoder.encode(headers)
        assert decode(decoder, block) == hpack_decode(reference, block) == headers


def literal(name: bytes, value: bytes) -> bytes:
    """A field that the table takes no notice of (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes(encode_integer(len(value), 7)) + value


def test_indices_that_need_more_than_a_byte() -> None:
    # RFC 7541, section 5.1: from 127 on an index takes another byte.
    decoder, encoder, reference = HeaderDecoder(10_000), hpack.Encoder(), hpack.Decoder()
    headers = [(b"%d" % number, b"") for number in range(100)]
    for _ in range(4):
        block = encoder.encode(headers)
        assert decode(decoder, block) == hpack_decode(reference, block) == headers
    assert block in decoder.blocks
    assert b"\xff\x00" in block


def test_memory_is_bounded() -> None:
    decoder = HeaderDecoder(1 << 18)
    for number in range(1000):
        block = literal(b"k", b"%4000d" % number)
        assert [decode(decoder, block) for _ in range(3)] == [[(b"k", b"%4000d" % number)]] * 3
    assert 0 < sum(len(block) for block in decoder.blocks) < 1 << 16
    for number in range(2000):
        block = literal(b"k", b"%d" % number)
        decode(decoder, block)
        decode(decoder, block)
    assert 0 < len(decoder.blocks) <= 128
    huge = literal(b"k", b"x" * 10_000)
    assert [decode(decoder, huge) for _ in range(3)] == [[(b"k", b"x" * 10_000)]] * 3
    assert huge not in decoder.blocks


def test_huffman_strings_are_decoded_again_and_again() -> None:
    decoder = HeaderDecoder(1 << 18)
    for number in range(300):
        for text in (b"value %d" % number, b"constant", b"long" * 50):
            block = b"\x00" + hpack.Encoder().encode([(b"k", text)])[1:]
            assert decode(decoder, block) == [(b"k", text)]


@pytest.mark.parametrize("limit", [100, 133, 134])
def test_a_header_list_is_as_large_as_the_limit(limit: int) -> None:
    # Two fields of 32 and 35 bytes each (RFC 9113, section 6.5.2).
    headers = [(b"ab", b"c"), (b"abc", b"x" * 64)]
    block = hpack.Encoder().encode(headers)
    decoder = HeaderDecoder(limit)
    if limit == 134:
        assert decode(decoder, block) == headers
    else:
        with pytest.raises(HeaderListTooLarge):
            decoder.decode(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff",
        b"\xff\x80\x80\x80\x80\x80\x01",
        b"\x40",
        b"\x40\x05abc",
        b"\x40\x01a",
        b"\x40\x01a\x05abc",
        b"\x7f\x00\x01a",
        b"\x00\x81",
        b"\x00\x01a\x81\x00",
        b"\x00\x01a\x84\xff\xff\xff\xff",
        b"\x82\x20",
        b"\x3f\xe2\x1f",
    ],
)
def test_what_cannot_be_decoded(block: bytes) -> None:
    with pytest.raises(CompressionError):
        HeaderDecoder(1000).decode(block)
    with pytest.raises(hpack.HPACKDecodingError):
        hpack.Decoder().decode(block, raw=True)


@pytest.mark.parametrize(
    ("headers", "length", "informational"),
    [
        ([], None, False),
        ([(b"content-length", b"5")], 5, False),
        ([(b"content-length", b"5"), (b"content-length", b"5")], 5, False),
        ([(b"content-length", b"5"), (b"content-length", b"6")], -1, False),
        ([(b"content-length", b"6"), (b"content-length", b"x")], -1, False),
        ([(b"content-length", b"")], -1, False),
        ([(b"content-length", b"+5")], -1, False),
        ([(b"content-length", b"9" * 5000)], -1, False),
        ([(b":status", b"200"), (b"content-length", b"5")], 5, False),
        ([(b":status", b"204"), (b"content-length", b"5")], None, False),
        ([(b":status", b"304"), (b"content-length", b"5")], None, False),
        ([(b":status", b"103")], None, True),
    ],
)
def test_what_the_engine_notices(headers: list[Header], length: int | None, informational: bool) -> None:
    block = HeaderDecoder(10_000).decode(hpack.Encoder().encode(headers))
    assert (block.content_length, block.informational) == (length, informational)
    assert block.unusual == (length is not None or informational)


# Encoding.


def test_a_field_is_inserted_when_it_comes_again() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    sizes = []
    for _ in range(4):
        block = encode(encoder, REQUEST)
        sizes.append(len(block))
        assert hpack_decode(decoder, block) == list(REQUEST)
    assert len(decoder.header_table.dynamic_entries) == 3
    assert sizes[0] >= sizes[1] > sizes[2]
    assert sizes[2] == sizes[3] == len(REQUEST)


def test_an_insertion_moves_the_older_entries() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    lists = [tuple([(b"a", b"%d" % number), (b"b", b"%d" % (number // 2))]) for number in range(20)]
    for _ in range(4):
        for headers in lists:
            for _ in range(3):
                assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)


def test_only_what_stays_the_same_is_kept() -> None:
    encoder = HeaderEncoder()
    kept = []
    for _ in range(5):
        encode(encoder, REQUEST)
        kept.append(REQUEST in encoder.blocks)
    assert kept == [False, False, True, True, True]
    # A list may change behind our back, so it is looked through each time.
    headers = list(REQUEST)
    assert encoder.encode(headers) == encode(encoder, REQUEST)
    headers.append((b":status", b"200"))
    assert encoder.encode(headers) == encode(encoder, REQUEST) + b"\x88"


def test_values_that_are_new_each_time_leave_the_table_alone() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for _ in range(3):
        hpack_decode(decoder, encode(encoder, REQUEST))
    before = list(decoder.header_table.dynamic_entries)
    for number in range(1000):
        headers = (*REQUEST, (b"grpc-timeout", b"%du" % number), (b"trace", b"%d" % (number * 7)))
        assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)
    assert list(decoder.header_table.dynamic_entries) == before
    assert REQUEST in encoder.blocks


def test_large_values_leave_the_table_alone() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    large = ((b"authorization", b"x" * 3000),)
    for _ in range(5):
        assert hpack_decode(decoder, encode(encoder, large)) == list(large)
    assert not decoder.header_table.dynamic_entries


def test_the_encoders_memory_is_bounded() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for number in range(3000):
        headers = ((b"name-%d" % number, b"x"), (b":path", b"/%d" % (number // 4)), (b":status", b"404"))
        assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)
        encode(encoder, headers[2:])
    for number in range(1000):
        # Fields that stay the same, in lists that don't.
        codes = (b"200", b"204", b"206", b"304", b"400", b"404", b"500")
        encode(encoder, tuple((b":status", codes[number // 7**place % 7]) for place in range(4)))
    for number in range(400):
        encode(encoder, ((b"%d" % (number // 2), b"y" * 40), (b"z", b"z" * 2000)))
    encoder.set_limit(0)
    hpack_decode(decoder, encode(encoder, ((b":status", b"200"),)))
    for number in range(400):
        # Fields that no table takes are kept as they are written.
        encode(encoder, ((b"n", b"%d" % (number // 2)),))
    for kept in (encoder._fields, encoder._names, encoder._sighted, encoder.blocks, encoder._table):
        assert len(kept) <= 128
    assert encoder._table_size <= 4096


@pytest.mark.parametrize("limits", [[0], [0, 4096], [100], [0, 1000, 500], [200, 100_000], [4096], [1 << 20]])
def test_the_peers_table_size_is_kept(limits: list[int]) -> None:
    # RFC 7541, section 4.2: a smaller size is told at the beginning of the next block, the smallest one first.
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for _ in range(3):
        hpack_decode(decoder, encode(encoder, REQUEST))
    for limit in limits:
        encoder.set_limit(limit)
    decoder.max_allowed_table_size = min(limits)
    block = encode(encoder, REQUEST)
    if min(limits) < 4096:
        assert block[0] & 0xE0 == 0x20
    decoder.max_allowed_table_size = max(min(limits), limits[-1])
    assert hpack_decode(decoder, block) == list(REQUEST)
    assert decoder.header_table_size == min(limits[-1], 4096)
    for _ in range(4):
        assert hpack_decode(decoder, encode(encoder, REQUEST)) == list(REQUEST)
    assert REQUEST in encoder.blocks


def test_more_fields_than_the_table_holds_do_not_drive_each_other_out() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    headers = tuple((b"key-%d" % number, b"value-%d" % number) for number in range(100))
    for _ in range(3):
        assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)
    inserted = encoder._inserted
    blocks = [encode(encoder, headers) for _ in range(20)]
    assert encoder._inserted == inserted
    assert headers in encoder.blocks
    assert len(set(blocks)) == 1
    assert hpack_decode(decoder, blocks[0]) == list(headers)


def test_fields_of_a_new_time_get_into_a_full_table() -> None:
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for number in range(1000):
        # Each comes three times, and then never again.
        headers = ((b"key-%d" % (number // 3), b"v" * 200),)
        assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)
    # As many as the table holds, and then one of 64.
    held = 4096 // (200 + len("key-0") + 32)
    assert held < encoder._inserted <= held + 1000 // 3 // 64
    assert (b"key-0", b"v" * 200) not in encoder._table


def test_a_table_that_holds_nothing_still_has_the_static_one() -> None:
    encoder = HeaderEncoder()
    encoder.set_limit(0)
    assert encoder.encode([(b":method", b"POST"), (b":status", b"200")]) == b"\x20\x83\x88"


@pytest.mark.parametrize("size", [0, 126, 127, 128, 254, 255, 256, 16_383, 20_000])
def test_lengths(size: int) -> None:
    headers = ((b"x" * size, b"y" * size), (b"cookie", b"z" * size))
    assert hpack_decode(hpack.Decoder(1 << 20), HeaderEncoder().encode(headers)) == list(headers)
    assert decode(HeaderDecoder(1 << 20), HeaderEncoder().encode(headers)) == list(headers)


# The sizes of the tables.

FIELDS = [tuple([(b"name-%d" % number, b"v" * 100)]) for number in range(60)]


@pytest.mark.parametrize("size", [0, 500, 4096, 10_000])
def test_an_encoder_uses_no_more_than_it_is_told(size: int) -> None:
    encoder, decoder = HeaderEncoder(size), hpack.Decoder()
    decoder.max_allowed_table_size = 1 << 20
    for limit in (None, 1 << 20):
        if limit is not None:
            encoder.set_limit(limit)
        for headers in FIELDS * 3:
            assert hpack_decode(decoder, encode(encoder, headers)) == list(headers)
    assert decoder.header_table_size == size
    assert sum(32 + len(name) + len(value) for name, value in decoder.header_table.dynamic_entries) <= size


@pytest.mark.parametrize("size", [0, 500, 4096, 10_000])
def test_a_decoder_follows_a_table_of_the_size_that_was_announced(size: int) -> None:
    decoder, encoder = HeaderDecoder(10_000, size), hpack.Encoder()
    # A peer that doesn't know of the setting yet goes by the default.
    for announced in (4096, size):
        encoder.header_table_size = announced
        for headers in FIELDS * 2:
            assert decoder.decode(encoder.encode(list(headers))) == list(headers)
    encoder.header_table_size = max(size, 4096) + 1
    with pytest.raises(CompressionError, match="exceeds our SETTINGS_HEADER_TABLE_SIZE"):
        decoder.decode(encoder.encode([(b"a", b"b")]))


# Many fields.

LARGE: tuple[Header, ...] = tuple((b"x-entry-%04d" % number, b"v" * 64) for number in range(300))


def test_fields_that_do_not_all_fit_cost_little_all_the_same() -> None:
    encoder, decoder, reference = HeaderEncoder(), HeaderDecoder(1 << 16), hpack.Decoder(1 << 17)
    for number in range(20):
        headers = (*REQUEST, *LARGE, (b"x-request-id", b"%d" % number))
        block = encode(encoder, headers)
        assert hpack_decode(reference, block) == decode(decoder, block) == list(headers)
        if number == 9:
            inserted = encoder._inserted
    assert encoder._inserted == inserted
    assert all(header in encoder._fields for header in (*REQUEST, *LARGE))


def test_literals_that_come_again_are_kept_when_the_table_changes() -> None:
    decoder = HeaderDecoder(1 << 16)
    block = b"".join(literal(name, value) for name, value in LARGE)
    *_, before = [decoder.decode(block) for _ in range(3)]
    assert before == list(LARGE)
    decoder.decode(b"\x40\x01a\x011")
    after = decoder.decode(block + literal(b"new", b""))
    assert after == [*LARGE, (b"new", b"")]
    assert all(one is other for one, other in zip(before, after, strict=False))
    assert after.size == sum(32 + len(name) + len(value) for name, value in after)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 255])
def test_a_literal_that_comes_again_may_be_cut_off(size: int) -> None:
    for name, value in ((b"k", b"v" * size), (b"k" * size, b"v")):
        for huffman in (False, True):
            field = b"\x00" + hpack.Encoder().encode([(name, value)], huffman=huffman)[1:]
            decoder = HeaderDecoder(1 << 16)
            for _ in range(3):
                assert decoder.decode(field) == [(name, value)]
                for end in (1, 2, len(field) // 2, len(field) - 1):
                    with pytest.raises(CompressionError):
                        HeaderDecoder.decode(decoder, field[:end])
            assert decoder.decode(field + b"\x82") == [(name, value), (b":method", b"GET")]


def test_the_memory_of_literals_is_bounded() -> None:
    decoder = HeaderDecoder(4000)
    for number in range(4000):
        field = literal(b"k%d" % (number // 2), b"v" * 100)
        decoder.decode(field)
    assert 0 < sum(map(len, decoder._literals)) < 16_000
    assert len(decoder._sighted) <= 128
    wide = HeaderDecoder(1 << 20)
    for number in range(10):
        wide.decode(b"".join(literal(b"%d" % number, b"%d" % field) for field in range(3000)))
    assert len(wide._sighted) <= 2048


def test_the_memory_of_an_encoder_of_large_lists_is_bounded() -> None:
    encoder = HeaderEncoder()
    for number in range(5):
        for _ in range(3):
            encoder.encode([(b"%d" % number, b"%d" % field) for field in range(3000)])
        for _ in range(3):
            encoder.encode([(b"%d" % number, b"%1900d" % field) for field in range(500)])
    assert len(encoder._sighted) <= 2048
    assert len(encoder._fields) <= 2048
    assert sum(map(len, encoder._fields.values())) <= 1 << 18


def test_the_static_table_is_that_of_the_rfc() -> None:
    # RFC 7541, appendix A.
    assert (len(STATIC), FIRST_DYNAMIC) == (61, 62)
    assert (STATIC[0], STATIC[2], STATIC[60]) == (
        (b":authority", b""),
        (b":method", b"POST"),
        (b"www-authenticate", b""),
    )
