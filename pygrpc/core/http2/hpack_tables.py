"""What both directions of header compression share (RFC 7541): the static table, and how fields are represented."""

from hpack.table import HeaderTable

from pygrpc.core.metadata import Header

#: What an entry takes in the dynamic table, and a field in a header list, beside its octets (RFC 7541, section 4.1).
ENTRY_OVERHEAD = 32

STATIC: tuple[Header, ...] = tuple(HeaderTable.STATIC_TABLE)
FIRST_DYNAMIC = len(STATIC) + 1

# The bits that begin the representation of a field (RFC 7541, section 6).
INDEXED, INCREMENTAL, SIZE_UPDATE, WITHOUT_INDEXING = 0x80, 0x40, 0x20, 0x00

#: Blocks and fields of which it is remembered that they came before, while header lists are of ordinary length; and how
#: many if they are longer, so that the fields of one list don't drive each other out.
SIGHTINGS_KEPT, MOST_KEPT = 128, 2048

#: The fields by which a long header list is recognised that begins as another did, and the octets that they take in a
#: block when each is an index; how many beginnings are kept, and the size of a list whose beginning is worth it.
FIRST_FIELDS, BEGINNINGS_KEPT, LARGEST_BEGINNING = 4, 16, 1 << 13
