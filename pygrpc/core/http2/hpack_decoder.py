"""Decoding header blocks for the frame engine (RFC 7541), on the static table and the Huffman code of ``hpack``.

Clients send the same few header blocks over and over. While the dynamic table doesn't change, the same bytes mean the
same headers, so that a block that was seen before is found in a dictionary and not decoded again. Of a block with
something new in it, the fields before that are found so. The dictionaries are emptied whenever the dynamic table
changes. A block that changes the table itself must be decoded each time, and is never kept.
"""

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman

from pygrpc.core.http2.engine import DEFAULT_TABLE_SIZE, HeaderBlock
from pygrpc.core.http2.hpack_tables import (
    BEGINNINGS_KEPT,
    ENTRY_OVERHEAD,
    FIRST_DYNAMIC,
    FIRST_FIELDS,
    INCREMENTAL,
    LARGEST_BEGINNING,
    MOST_KEPT,
    SIGHTINGS_KEPT,
    SIZE_UPDATE,
    STATIC,
)
from pygrpc.core.metadata import Header

#: An integer is not longer than this many bits behind its prefix, as in ``hpack``: there is no use for larger ones.
_LARGEST_SHIFT = 28

#: Header lists that a decoder keeps, their size in bytes all together, and that of the largest one.
_BLOCKS_KEPT, _BYTES_KEPT, _LARGEST_KEPT = 128, 1 << 16, 1 << 13
#: Strings that a decoder keeps decoded, and the size in bytes of the largest one.
_STRINGS_KEPT, _LARGEST_STRING = 64, 64
#: Literals that a decoder keeps decoded: their size in bytes all together, as a multiple of the largest header list,
#: and at most.
_LISTS_KEPT, _LITERALS_KEPT = 4, 1 << 18
#: Headers that the engine itself takes notice of.
_LOOKED_AT = frozenset([b"content-length", b":status"])
#: Digits of a content-length that we believe.
_LONGEST_NUMBER = 18

#: A field as the table of a decoder holds it: with its size, and whether the engine takes notice of it.
_Entry = tuple[Header, int, bool]


class CompressionError(Exception):
    """A header block can't be decoded: a connection error of type COMPRESSION_ERROR (RFC 9113, section 4.3)."""


class HeaderListTooLarge(Exception):
    """A header list exceeds the limit; the rest of its block isn't decoded, so the connection can't go on."""


class DecodedBlock(HeaderBlock):
    """A header block with what the engine itself wants to know of it.

    Attributes:
        unusual: Whether either of the others is to be looked at.
        content_length: The value of content-length, None if there is none, -1 if it makes no sense.
        informational: Whether this is a response with a 1xx status (RFC 9113, section 8.1).
    """

    __slots__ = ("content_length", "informational", "unusual")

    def __init__(self) -> None:
        """Makes an empty block, to be filled by the decoder."""
        self.parsed = None
        self.size = -1
        self.beginning: DecodedBlock | None = None
        self.unusual = False
        self.content_length: int | None = None
        self.informational = False

    def look_through(self) -> None:
        """Takes notice of the headers that the engine acts on."""
        without_content = False
        for name, value in self:
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) <= _LONGEST_NUMBER else -1
                self.content_length = length if self.content_length in (None, length) else -1
            elif name == b":status":
                self.informational = value[:1] == b"1"
                # RFC 9110, section 8.6: these may have a content-length and have no content all the same.
                without_content = value in (b"204", b"304")
        if without_content:
            self.content_length = None
        self.unusual = self.informational or self.content_length is not None


class HeaderDecoder:
    """Decodes the header blocks of one connection, in the order in which they come."""

    def __init__(self, max_list_size: int, table_size: int = DEFAULT_TABLE_SIZE) -> None:
        """Makes a decoder with an empty dynamic table.

        Args:
            max_list_size: The largest header list accepted, in bytes (RFC 9113, section 6.5.2).
            table_size: What we announce as SETTINGS_HEADER_TABLE_SIZE, in bytes. The peer may go by the default until
                it has acknowledged a smaller one, so the default is always accepted.
        """
        self._table_limit = max(table_size, DEFAULT_TABLE_SIZE)
        #: Blocks that were seen before and still mean the same; look here first. Emptied in place, never replaced.
        self.blocks: dict[bytes, DecodedBlock] = {}
        #: The first octets of blocks, with all those up to what was new, and the fields that these mean.
        self._beginnings: dict[bytes, tuple[bytes, DecodedBlock]] = {}
        self._max_list_size = max_list_size
        self._bytes_kept = 0
        self._sighted: set[int] = set()
        self._sightings_kept = SIGHTINGS_KEPT
        self._strings: dict[bytes, bytes] = {}
        #: Literals with a spelled-out name, which mean the same whatever is in the table.
        self._literals: dict[bytes, _Entry] = {}
        self._literal_bytes = 0
        self._literal_limit = min(_LISTS_KEPT * max_list_size, _LITERALS_KEPT)
        #: All that an index can mean: none for 0, then the static table, then the dynamic one, its newest entry first.
        self._entries: list[_Entry] = [_NO_ENTRY, *_STATIC_ENTRIES]
        self._table_size = 0
        self._max_table_size = DEFAULT_TABLE_SIZE
        self._table_changed = False

    def decode(self, block: bytes) -> DecodedBlock:
        """Decodes a block that isn't in ``blocks``.

        Raises:
            CompressionError: The block is not valid.
            HeaderListTooLarge: It holds more than the limit.
        """
        self._table_changed = False
        decoded = DecodedBlock()
        position = 0
        known = self._beginnings.get(block[:FIRST_FIELDS])
        if known is not None and block.startswith(known[0]):
            octets, beginning = known
            position = len(octets)
            decoded += beginning
            decoded.beginning = beginning
        try:
            size = decoded.size = self._decode(block, position, decoded)
        except (IndexError, HPACKDecodingError) as error:
            # An IndexError is a block that ends too early, or an index beyond the table.
            raise CompressionError(str(error)) from error
        if 2 * len(decoded) > self._sightings_kept:
            self._sightings_kept = min(2 * len(decoded), MOST_KEPT)
        if self._table_changed:
            self._forget()
        elif size <= _LARGEST_KEPT:
            self._keep(block, decoded, size)
        return decoded

    def _forget(self) -> None:
        self.blocks.clear()
        self._bytes_kept = 0
        self._beginnings.clear()

    def _keep(self, block: bytes, decoded: DecodedBlock, size: int) -> None:
        # Only what comes for the second time is kept: a block with a value that is never the same again would stay for
        # nothing, on each of thousands of connections.
        if not self._came_before(block):
            return
        self._bytes_kept += size + len(block)
        if self._bytes_kept > _BYTES_KEPT or len(self.blocks) >= _BLOCKS_KEPT:
            self._forget()
            self._bytes_kept = size + len(block)
        self.blocks[block] = decoded

    def _came_before(self, octets: bytes) -> bool:
        sighted, key = self._sighted, hash(octets)
        if key in sighted:
            return True
        if len(sighted) >= self._sightings_kept:
            sighted.clear()
        sighted.add(key)
        return False

    def _keep_beginning(self, octets: bytes, headers: DecodedBlock, size: int, look: bool) -> None:
        """Keeps the fields before one that is new each time; a change of the table forgets them."""
        if len(headers) > FIRST_FIELDS and size <= LARGEST_BEGINNING:
            beginning = DecodedBlock()
            beginning += headers
            beginning.size, beginning.unusual = size, look
            if len(self._beginnings) >= BEGINNINGS_KEPT:
                self._beginnings.clear()
            self._beginnings[octets[:FIRST_FIELDS]] = octets, beginning

    def _decode(self, block: bytes, position: int, headers: DecodedBlock) -> int:
        """Appends the fields of a block, from a position on, to the headers; returns the size of the list."""
        entries, literals, limit = self._entries, self._literals, self._max_list_size
        end, size, look = len(block), 0, False
        beginning = headers.beginning
        fresh = beginning is None
        if beginning is not None:
            size, look = beginning.size, beginning.unusual
        while position < end:
            first = block[position]
            if 0x80 < first < 0xFF:
                # By far the commonest: a field of the table, in one byte.
                position += 1
                header, length, special = entries[first - 0x80]
            elif first >= 0x80:
                index, position = _read_integer(block, position, 0x7F)
                if not index:
                    raise CompressionError("index 0 stands for nothing (RFC 7541, section 6.1)")
                header, length, special = entries[index]
            elif first & INCREMENTAL:
                fresh = False
                header, position = self._read_literal(block, position, 0x3F)
                header, length, special = self._insert(header)
            elif first & SIZE_UPDATE:
                if headers:
                    raise CompressionError("a table size update behind a field (RFC 7541, section 4.2)")
                position = self._update_table_size(block, position)
                continue
            elif first & 0x0F:
                if fresh:
                    fresh = False
                    self._keep_beginning(block[:position], headers, size, look)
                header, position = self._read_literal(block, position, 0x0F)
                header, length, special = _entry(header)
            else:
                # Where it ends if both lengths are in one byte each. Octets that are no such field are never kept.
                value_at = position + 2 + (block[position + 1] & 0x7F)
                octets = block[position : value_at + 1 + (block[value_at] & 0x7F)]
                entry = literals.get(octets)
                if entry is None:
                    if fresh:
                        fresh = False
                        self._keep_beginning(block[:position], headers, size, look)
                    entry, position = self._read_spelled_out(block, position, octets)
                else:
                    position += len(octets)
                header, length, special = entry
            size += length
            if size > limit:
                raise HeaderListTooLarge(f"a header list exceeds {limit} bytes")
            look = look or special
            headers.append(header)
        if look:
            headers.look_through()
        return size

    def _read_spelled_out(self, block: bytes, position: int, octets: bytes) -> tuple[_Entry, int]:
        """Reads a literal with its name; keeps it if the octets are what it takes, and it has come before."""
        end = position + len(octets)
        size = octets[1]
        if size < 0x7F and octets[size + 2] == len(octets) - size - 3 < 0x7F:
            # Neither string is long, cut off or in the Huffman code.
            entry = _entry((octets[2 : size + 2], octets[size + 3 :]))
        else:
            header, end = self._read_literal(block, position, 0x0F)
            entry = _entry(header)
            if end - position != len(octets):
                return entry, end
        if self._came_before(octets):
            self._literal_bytes += entry[1] + len(octets)
            if self._literal_bytes > self._literal_limit:
                self._literals.clear()
                self._literal_bytes = entry[1] + len(octets)
            self._literals[octets] = entry
        return entry, end

    def _read_literal(self, block: bytes, position: int, mask: int) -> tuple[Header, int]:
        index = block[position] & mask
        if index:
            index, position = _read_integer(block, position, mask)
            name = self._entries[index][0][0]
        else:
            name, position = self._read_string(block, position + 1)
        value, position = self._read_string(block, position)
        return (name, value), position

    def _read_string(self, block: bytes, position: int) -> tuple[bytes, int]:
        first = block[position]
        length = first & 0x7F
        if length < 0x7F:
            position += 1
        else:
            length, position = _read_integer(block, position, 0x7F)
        end = position + length
        text = block[position:end]
        if len(text) != length:
            raise CompressionError("a string is longer than its block")
        return (self._decode_huffman(text) if first >= 0x80 else text), end

    def _decode_huffman(self, text: bytes) -> bytes:
        decoded = self._strings.get(text)
        if decoded is None:
            decoded = decode_huffman(text)
            if len(text) <= _LARGEST_STRING:
                if len(self._strings) >= _STRINGS_KEPT:
                    self._strings.clear()
                self._strings[text] = decoded
        return decoded

    def _insert(self, header: Header) -> _Entry:
        # RFC 7541, section 4.4: an entry that is larger than the table empties it.
        self._table_changed = True
        entry = _entry(header)
        self._entries.insert(FIRST_DYNAMIC, entry)
        self._table_size += entry[1]
        self._evict()
        return entry

    def _update_table_size(self, block: bytes, position: int) -> int:
        size, position = _read_integer(block, position, 0x1F)
        if size > self._table_limit:
            raise CompressionError(f"a table of {size} bytes exceeds our SETTINGS_HEADER_TABLE_SIZE")
        self._table_changed = True
        self._max_table_size = size
        self._evict()
        return position

    def _evict(self) -> None:
        while self._table_size > self._max_table_size:
            self._table_size -= self._entries.pop()[1]


def _entry(header: Header) -> _Entry:
    name, value = header
    return header, len(name) + len(value) + ENTRY_OVERHEAD, name in _LOOKED_AT


_NO_ENTRY: _Entry = ((b"", b""), 0, False)
_STATIC_ENTRIES = tuple(_entry(header) for header in STATIC)


def _read_integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """Reads an integer whose prefix the mask shows (RFC 7541, section 5.1); returns it and where it ends."""
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while True:
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > _LARGEST_SHIFT:
            raise CompressionError("an integer is too long (RFC 7541, section 5.1)")
