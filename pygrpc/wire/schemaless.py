"""Reads Protocol Buffers without their schema, as far as the bytes allow.

The wire format has field numbers and four shapes of value but no names and no types (Protocol Buffers documentation,
"Encoding"). A length-delimited field may be text, a message or just bytes; the reader takes the first that fits.
"""

import struct

_MAX_DEPTH = 16
_MAX_FIELD_NUMBER = (1 << 29) - 1
_VARINT, _FIXED64, _DELIMITED, _GROUP, _END_GROUP, _FIXED32 = range(6)


class _NotProtobuf(Exception):
    """The bytes are no message."""


def decode_fields(data: bytes) -> list[str] | None:
    """Writes a message as lines such as ``1: "text"`` and ``2 {``, indented by two spaces per level.

    Returns:
        The lines, or ``None`` if the bytes are no message in the wire format.
    """
    try:
        lines, end = _fields(data, 0, 0, None)
    except _NotProtobuf:
        return None
    return lines if end == len(data) else None


def _fields(data: bytes, offset: int, depth: int, group: int | None) -> tuple[list[str], int]:
    if depth > _MAX_DEPTH:
        raise _NotProtobuf
    lines: list[str] = []
    while offset < len(data):
        tag, offset = _varint(data, offset)
        number, shape = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD_NUMBER:
            raise _NotProtobuf
        if shape == _END_GROUP:
            if number != group:
                raise _NotProtobuf
            return lines, offset
        if shape == _GROUP:
            inner, offset = _fields(data, offset, depth + 1, number)
            lines += _nested(number, inner)
            continue
        added, offset = _field(data, offset, depth, number, shape)
        lines += added
    if group is not None:
        raise _NotProtobuf
    return lines, offset


def _field(data: bytes, offset: int, depth: int, number: int, shape: int) -> tuple[list[str], int]:
    if shape == _VARINT:
        value, offset = _varint(data, offset)
        return [f"{number}: {value}"], offset
    if shape == _DELIMITED:
        size, offset = _varint(data, offset)
        raw, offset = _take(data, offset, size)
        return _delimited(number, raw, depth), offset
    if shape == _FIXED64:
        raw, offset = _take(data, offset, 8)
        return [f"{number}: 0x{int.from_bytes(raw, 'little'):016x} ({_short(struct.unpack('<d', raw)[0])})"], offset
    if shape == _FIXED32:
        raw, offset = _take(data, offset, 4)
        return [f"{number}: 0x{int.from_bytes(raw, 'little'):08x} ({_short(struct.unpack('<f', raw)[0])})"], offset
    raise _NotProtobuf


def _delimited(number: int, raw: bytes, depth: int) -> list[str]:
    text = _text(raw)
    if text is not None:
        return [f"{number}: {text}"]
    try:
        inner, _ = _fields(raw, 0, depth + 1, None)
    except _NotProtobuf:
        return [f"{number}: {bytes_literal(raw)}"]
    return _nested(number, inner)


def _nested(number: int, inner: list[str]) -> list[str]:
    return [f"{number} {{", *(f"  {line}" for line in inner), "}"]


def _text(raw: bytes) -> str | None:
    """The bytes as a quoted string if they are text that people write, else ``None``."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not all(char.isprintable() or char in "\t\n\r" for char in text):
        return None
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def bytes_literal(raw: bytes) -> str:
    """Bytes in quotes, with an escape for each that is not printable ASCII."""
    body = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in raw)
    return f'"{body}"'


def _short(value: float) -> str:
    return f"{value:.6g}"


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            break
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            if value >= 1 << 64:
                break
            return value, offset
    raise _NotProtobuf


def _take(data: bytes, offset: int, size: int) -> tuple[bytes, int]:
    end = offset + size
    if end > len(data):
        raise _NotProtobuf
    return data[offset:end], end
