"""Page tokens: a place in a list of files, in a form that clients cannot read anything into."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from pygrpc.services.paging import to_bytes, to_text

# Version, checksum, time of the upload in microseconds; then the id.
_HEAD = struct.Struct(">BIq")
_VERSION = 1


class Position(NamedTuple):
    """A place in a list of files, just after the file that has these two values.

    Attributes:
        uploaded_at: Microseconds since 1970-01-01 UTC.
        file_id: Settles the order of files that were uploaded in the same microsecond.
    """

    uploaded_at: int
    file_id: str


def encode_token(position: Position, uploaded_by: str) -> str:
    """Returns the token of a position in the list of one owner, as the request names it."""
    checksum = _checksum(position, uploaded_by)
    data = _HEAD.pack(_VERSION, checksum, position.uploaded_at) + position.file_id.encode()
    return to_text(data)


def decode_token(token: str, uploaded_by: str) -> Position:
    """Returns the position that a token stands for.

    Raises:
        ValueError: The token was not made by `encode_token`, or for another list.
    """
    problem = ValueError("is not a page token of this list")
    try:
        data = to_bytes(token)
        version, checksum, uploaded_at = _HEAD.unpack(data[: _HEAD.size])
        position = Position(uploaded_at, data[_HEAD.size :].decode())
    except (ValueError, struct.error):
        raise problem from None
    if version != _VERSION or checksum != _checksum(position, uploaded_by):
        raise problem
    return position


def _checksum(position: Position, uploaded_by: str) -> int:
    return zlib.crc32(f"{position.uploaded_at} {position.file_id} {uploaded_by}".encode())
