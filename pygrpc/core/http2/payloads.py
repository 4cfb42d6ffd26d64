"""The names of HTTP/2 frames and what their payloads say, for the passive reader (RFC 9113, section 6)."""

import struct
from collections.abc import Callable
from typing import NamedTuple

from pygrpc.core.http2.codes import MAX_STREAM_ID, error_name
from pygrpc.core.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    read_settings,
)
from pygrpc.core.http2.observed import CutOff, Data, GoAway, Payload, Ping, Priority, Reset, Settings, WindowUpdate

_TYPE_NAMES = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
    0xA: "ALTSVC",
    0xC: "ORIGIN",
    0x10: "PRIORITY_UPDATE",
}

_FLAG_NAMES: dict[int, tuple[tuple[int, str], ...]] = {
    DATA: ((END_STREAM, "END_STREAM"), (PADDED, "PADDED")),
    HEADERS: (
        (END_STREAM, "END_STREAM"),
        (END_HEADERS, "END_HEADERS"),
        (PADDED, "PADDED"),
        (HAS_PRIORITY, "PRIORITY"),
    ),
    SETTINGS: ((ACK, "ACK"),),
    PUSH_PROMISE: ((END_HEADERS, "END_HEADERS"), (PADDED, "PADDED")),
    PING: ((ACK, "ACK"),),
    CONTINUATION: ((END_HEADERS, "END_HEADERS"),),
}

HEADER_BLOCK_TYPES = frozenset({HEADERS, PUSH_PROMISE, CONTINUATION})
CONNECTION_TYPES = frozenset({SETTINGS, PING, GOAWAY})
STREAM_TYPES = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
FIXED_LENGTHS = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}

_SETTING_NAMES = {
    HEADER_TABLE_SIZE: "HEADER_TABLE_SIZE",
    ENABLE_PUSH: "ENABLE_PUSH",
    MAX_CONCURRENT_STREAMS: "MAX_CONCURRENT_STREAMS",
    INITIAL_WINDOW_SIZE: "INITIAL_WINDOW_SIZE",
    MAX_FRAME_SIZE: "MAX_FRAME_SIZE",
    MAX_HEADER_LIST_SIZE: "MAX_HEADER_LIST_SIZE",
    0x8: "ENABLE_CONNECT_PROTOCOL",
    0x9: "NO_RFC7540_PRIORITIES",
    0xFE03: "GRPC_ALLOW_TRUE_BINARY_METADATA",
}


class FrameHeader(NamedTuple):
    """The nine bytes before every payload (RFC 9113, section 4.1)."""

    length: int
    type: int
    flags: int
    stream_id: int


class Malformed(Exception):
    """A payload that can't be what its type says; it never leaves the reader."""


def type_name(type_: int) -> str:
    """The name of a frame type, or its number when nobody has defined it."""
    return _TYPE_NAMES.get(type_, f"0x{type_:02x}")


def parse_frame_header(data: bytes | bytearray) -> FrameHeader:
    """Reads the nine bytes before a payload."""
    head, flags, stream_id = FRAME_HEAD.unpack_from(data)
    return FrameHeader(head >> 8, head & 0xFF, flags, stream_id & MAX_STREAM_ID)


def flag_names(type_: int, flags: int) -> tuple[str, ...]:
    """The names of the flags that are set; a bit without a meaning for the type shows as its number."""
    names = []
    for bit, name in _FLAG_NAMES.get(type_, ()):
        if flags & bit:
            names.append(name)
            flags &= ~bit
    if flags:
        names.append(f"0x{flags:02x}")
    return tuple(names)


def strip_padding(header: FrameHeader, payload: bytes) -> tuple[bytes, int, int]:
    """Returns the payload without its padding, as far as it was kept, its full size, and the length of the padding."""
    if not header.flags & PADDED:
        return payload, header.length, 0
    if not payload:
        raise Malformed("the frame has no room for the length of its padding")
    padding = payload[0]
    size = header.length - 1 - padding
    if size < 0:
        raise Malformed(f"the padding of {padding} bytes is longer than the frame")
    return payload[1 : 1 + size], size, padding


def header_block_fragment(header: FrameHeader, payload: bytes) -> tuple[bytes, int, int]:
    """Returns the piece of a header block, as far as it was kept, its full size, and the promised stream or 0."""
    if header.type == CONTINUATION:
        return payload, header.length, 0
    fragment, size, _ = strip_padding(header, payload)
    fields = 0
    if header.type == PUSH_PROMISE:
        fields = 4
    elif header.flags & HAS_PRIORITY:
        fields = 5
    if size < fields:
        raise Malformed("the frame is too short for the fields that come before its header block")
    promised = int.from_bytes(fragment[:4], "big") & MAX_STREAM_ID if header.type == PUSH_PROMISE else 0
    return fragment[fields:], size - fields, promised


def _parse_data(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    return Data(*strip_padding(header, payload)), ""


def _parse_priority(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    depends_on, weight = struct.unpack(">LB", payload)
    return Priority(depends_on & MAX_STREAM_ID, weight + 1, bool(depends_on >> 31)), ""


def _parse_reset(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    code = int.from_bytes(payload, "big")
    return Reset(code, error_name(code)), ""


def _parse_settings(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    if header.length % 6:
        raise Malformed(f"the payload must be a multiple of 6 bytes, not {header.length}")
    if header.flags & ACK and header.length:
        raise Malformed(f"an acknowledgement has no payload, not {header.length} bytes")
    complete = len(payload) - len(payload) % 6
    pairs = read_settings(payload[:complete])
    return Settings(tuple((key, _SETTING_NAMES.get(key, f"0x{key:04x}"), value) for key, value in pairs)), ""


def _parse_ping(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    return Ping(payload), ""


def _parse_goaway(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    if header.length < 8:
        raise Malformed(f"the payload must have 8 bytes or more, not {header.length}")
    last_stream_id, code = struct.unpack_from(">LL", payload)
    return GoAway(last_stream_id & MAX_STREAM_ID, code, error_name(code), payload[8:]), ""


def _parse_window_update(header: FrameHeader, payload: bytes) -> tuple[Payload, str]:
    increment = int.from_bytes(payload, "big") & MAX_STREAM_ID
    return WindowUpdate(increment), "" if increment else "the increment must not be 0"


#: For each type how its payload is read: returns it and what is wrong with it, or raises ``Malformed``.
PARSERS: dict[int, Callable[[FrameHeader, bytes], tuple[Payload, str]]] = {
    DATA: _parse_data,
    PRIORITY: _parse_priority,
    RST_STREAM: _parse_reset,
    SETTINGS: _parse_settings,
    PING: _parse_ping,
    GOAWAY: _parse_goaway,
    WINDOW_UPDATE: _parse_window_update,
}


def cut_off(header: FrameHeader, received: int, payload: bytes) -> CutOff:
    """Describes a frame that the end of the connection cut off."""
    name = type_name(header.type)
    where = f"a {name} frame of stream {header.stream_id}"
    return CutOff(f"the connection ended inside of {where}, after {received} of {header.length} bytes", payload)
