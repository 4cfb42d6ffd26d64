"""The few protobuf messages that the core reads and writes by itself: bounds-checked, without descriptors.

The format is that of https://protobuf.dev/programming-guides/encoding/. Only what the core needs is here; a message
that breaks the format is a ValueError, whatever it is.
"""

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DOUBLE = struct.Struct("<d")
#: The numbers of fields have 29 bits.
_LARGEST_FIELD = (1 << 29) - 1


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("a number goes beyond the end of the message")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("a number has more than ten bytes")


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yields the fields of a message in order.

    Yields:
        The number of the field, its wire type, and its value: a number for VARINT, else its bytes.

    Raises:
        ValueError: The message breaks the format.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _LARGEST_FIELD:
            raise ValueError(f"a field has the number {number}")
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, position = _varint(data, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"the field {number} has the wire type {kind}")
        end = position + size
        if end > len(data):
            raise ValueError(f"the field {number} goes beyond the end of the message")
        yield number, kind, data[position:end]
        position = end


def double(value: bytes) -> float:
    """The number in the eight bytes of a FIXED64 field."""
    return float(_DOUBLE.unpack(value)[0])


def encode_varint(value: int) -> bytes:
    """Writes a number from 0 to 2^64-1."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_bytes(number: int, value: bytes) -> bytes:
    """Writes a field with text, bytes or a message."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value


def encode_double(number: int, value: float) -> bytes:
    """Writes a field with a number of the type double."""
    return encode_varint(number << 3 | FIXED64) + _DOUBLE.pack(value)
