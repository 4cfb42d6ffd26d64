"""Encoding header blocks for the frame engine (RFC 7541), on the static table of ``hpack``.

The same headers have the same bytes while the dynamic table doesn't change, so these are found in a dictionary. Where
something differs from call to call, an identifier of the request say, the bytes of the fields before it are found so.
Both dictionaries are emptied whenever the table changes.
"""

from collections.abc import Sequence

from pygrpc.core.http2.engine import DEFAULT_TABLE_SIZE
from pygrpc.core.http2.hpack_tables import (
    BEGINNINGS_KEPT,
    ENTRY_OVERHEAD,
    FIRST_DYNAMIC,
    FIRST_FIELDS,
    INCREMENTAL,
    INDEXED,
    LARGEST_BEGINNING,
    MOST_KEPT,
    SIGHTINGS_KEPT,
    SIZE_UPDATE,
    STATIC,
    WITHOUT_INDEXING,
)
from pygrpc.core.metadata import Header

_STATIC_FIELDS: dict[Header, int] = {header: index for index, header in reversed(list(enumerate(STATIC, 1)))}
_STATIC_NAMES: dict[bytes, int] = {name: index for index, (name, _) in reversed(list(enumerate(STATIC, 1)))}

#: Names and header lists that an encoder keeps, fields of header lists of ordinary length, and the size in bytes of the
#: largest literal among them, and of all together.
_FIELDS_KEPT, _LARGEST_FIELD, _FIELD_BYTES_KEPT = 128, 2048, 1 << 18
#: How many header lists have a field that waits for each field that gets into a full table.
_PATIENCE = 64


class HeaderEncoder:
    """Encodes header blocks of one connection, in the order in which they are sent.

    A field goes into the dynamic table when it comes for the second time. So a value that is new each time, such as a
    timeout or an identifier for tracing, never drives out what is worth keeping, and needs no list of names. Strings go
    as they are: a literal that comes again is soon an index, and for the others the Huffman code would cost far more
    time than the few bytes are worth.
    """

    def __init__(self, largest_table: int = DEFAULT_TABLE_SIZE) -> None:
        """Makes an encoder with an empty dynamic table.

        Args:
            largest_table: The size of the dynamic table at most, in bytes, even if the peer allows more.
        """
        self._largest_table = largest_table
        #: The bytes of header lists that are what they were; look here first. Emptied in place, never replaced.
        self.blocks: dict[tuple[Header, ...], bytes] = {}
        #: The first fields of lists, with all those up to the first that is new each time, and the bytes of these.
        self._beginnings: dict[tuple[Header, ...], tuple[tuple[Header, ...], bytes]] = {}
        self._fields: dict[Header, bytes] = {}
        self._field_bytes = 0
        self._names: dict[bytes, bytes] = {}
        self._sighted: set[int] = set()
        #: How many fields are kept, and remembered to have come before.
        self._kept = SIGHTINGS_KEPT
        #: The dynamic table, oldest entry first: the number of each is how many had been inserted with it.
        self._table: dict[Header, int] = {}
        self._inserted = 0
        #: Lists with a field that did not get into the full table since the last one that did, and whether the one that
        #: is being encoded is such.
        self._waiting = 0
        self._refused = False
        self._table_size = 0
        self._max_table_size = DEFAULT_TABLE_SIZE
        #: The smallest size of the table since the last block, if the peer hasn't been told of it.
        self._smallest: int | None = None
        self.set_limit(DEFAULT_TABLE_SIZE)

    def set_limit(self, limit: int) -> None:
        """Takes the peer's SETTINGS_HEADER_TABLE_SIZE, in bytes, which counts from the next block on."""
        size = min(limit, self._largest_table)
        if size == self._max_table_size:
            return
        self._smallest = size if self._smallest is None else min(self._smallest, size)
        self._max_table_size = size
        self._evict()
        self._forget()

    def encode(self, headers: Sequence[Header]) -> bytes:
        """Encodes a header list that isn't in ``blocks``."""
        parts = [] if self._smallest is None else self._size_updates()
        if 2 * len(headers) > self._kept:
            self._kept = min(2 * len(headers), MOST_KEPT)
        keep = not parts and type(headers) is tuple
        rest = headers
        if (
            not parts
            and type(headers) is tuple
            and (beginning := self._beginnings.get(headers[:FIRST_FIELDS])) is not None
        ):
            first, encoded = beginning
            if headers[: len(first)] == first:
                parts.append(encoded)
                rest = headers[len(first) :]
        fields = self._fields
        inserted = self._inserted
        for index, header in enumerate(rest):
            part = fields.get(header)
            if part is None:
                part = self._encode_field(header)
                # A literal may be in the table next time.
                if keep and header not in fields:
                    keep = False
                    if rest is headers and index > FIRST_FIELDS and inserted == self._inserted:
                        self._keep_beginning(headers[:index], parts)
            parts.append(part)
        if self._refused:
            self._refused = False
            self._waiting += 1
        block = b"".join(parts)
        if keep:
            if len(self.blocks) >= _FIELDS_KEPT:
                self.blocks.clear()
            self.blocks[tuple(headers)] = block
        return block

    def _keep_beginning(self, headers: Sequence[Header], parts: list[bytes]) -> None:
        """Keeps the bytes of the fields before one that is new each time; a change of the table forgets them."""
        first, encoded = tuple(headers), b"".join(parts)
        if len(encoded) <= LARGEST_BEGINNING:
            if len(self._beginnings) >= BEGINNINGS_KEPT:
                self._beginnings.clear()
            self._beginnings[first[:FIRST_FIELDS]] = first, encoded

    def _size_updates(self) -> list[bytes]:
        # RFC 7541, section 4.2: the smallest size since the last block, and then the size that is in force.
        assert self._smallest is not None
        sizes = {self._smallest: None, self._max_table_size: None}
        self._smallest = None
        return [_integer(size, 0x1F, SIZE_UPDATE) for size in sizes]

    def _encode_field(self, header: Header) -> bytes:
        index = _STATIC_FIELDS.get(header)
        if index is None:
            number = self._table.get(header)
            if number is not None:
                index = FIRST_DYNAMIC + self._inserted - number
        if index is not None:
            return self._keep(header, _integer(index, 0x7F, INDEXED))
        key = hash(header)
        if key not in self._sighted:
            if len(self._sighted) >= self._kept:
                self._sighted.clear()
            self._sighted.add(key)
            return self._literal(header)
        size = len(header[0]) + len(header[1]) + ENTRY_OVERHEAD
        if size > self._max_table_size // 2 or self._has_to_wait(size):
            # It would drive out too much.
            literal = self._literal(header)
            return self._keep(header, literal) if size <= _LARGEST_FIELD else literal
        self._insert(header, size)
        name, value = header
        return _name(name, 0x3F, INCREMENTAL) + _string(value)

    def _has_to_wait(self, size: int) -> bool:
        """Whether the table is full, and none of its entries is to be driven out for a field of this size.

        Where more fields come again than the table holds, each would drive out another that is about to come, and what
        is kept of the blocks would be lost each time. So only now and then one gets in.
        """
        if self._table_size + size <= self._max_table_size:
            return False
        self._refused = self._waiting < _PATIENCE
        if not self._refused:
            self._waiting = 0
        return self._refused

    def _keep(self, header: Header, encoded: bytes) -> bytes:
        self._field_bytes += len(encoded)
        if len(self._fields) >= self._kept or self._field_bytes > _FIELD_BYTES_KEPT:
            self._fields.clear()
            self._field_bytes = len(encoded)
        self._fields[header] = encoded
        return encoded

    def _literal(self, header: Header) -> bytes:
        name, value = header
        beginning = self._names.get(name)
        if beginning is None:
            beginning = _name(name, 0x0F, WITHOUT_INDEXING)
            if len(self._names) >= _FIELDS_KEPT:
                self._names.clear()
            self._names[name] = beginning
        return beginning + _string(value)

    def _insert(self, header: Header, size: int) -> None:
        self._inserted += 1
        self._table[header] = self._inserted
        self._table_size += size
        self._evict()
        self._forget()

    def _evict(self) -> None:
        while self._table_size > self._max_table_size:
            name, value = oldest = next(iter(self._table))
            del self._table[oldest]
            self._table_size -= len(name) + len(value) + ENTRY_OVERHEAD

    def _forget(self) -> None:
        self._fields.clear()
        self._field_bytes = 0
        self.blocks.clear()
        self._beginnings.clear()


def _name(name: bytes, mask: int, representation: int) -> bytes:
    """Writes the beginning of a literal: an index of the static table for its name, or the name itself."""
    index = _STATIC_NAMES.get(name)
    return _integer(index, mask, representation) if index else bytes([representation]) + _string(name)


def _string(text: bytes) -> bytes:
    length = len(text)
    return bytes((length,)) + text if length < 0x7F else _integer(length, 0x7F, 0) + text


def _integer(value: int, mask: int, representation: int) -> bytes:
    """Writes an integer behind the bits of its representation (RFC 7541, section 5.1)."""
    if value < mask:
        return bytes((representation | value,))
    octets = bytearray((representation | mask,))
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
