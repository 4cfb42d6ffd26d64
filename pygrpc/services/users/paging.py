"""Page tokens: a place in the list of users, in a form that clients cannot read anything into."""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
import zlib

from pygrpc.services.users.store import Position

# Version, status filter, time of creation in microseconds, user id; then a checksum of these.
_BODY = struct.Struct(">BBq16s")
_CHECKSUM = struct.Struct(">I")
_VERSION = 1


def encode_token(position: Position, status: int) -> str:
    """Returns the token of a position in the list of the users with this status (0 for all)."""
    body = _BODY.pack(_VERSION, status, position.created_at, uuid.UUID(position.user_id).bytes)
    return base64.urlsafe_b64encode(body + _CHECKSUM.pack(zlib.crc32(body))).rstrip(b"=").decode("ascii")


def decode_token(token: str, status: int) -> Position:
    """Returns the position that a token stands for.

    Raises:
        ValueError: The token was not made by `encode_token`, or for another status; the text says which. The token is
            not signed: one that was made up with care leads to some place in the list, which any client may read.
    """
    damaged = ValueError("is not a page token of this service")
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise damaged from None
    body, checksum = data[: _BODY.size], data[_BODY.size :]
    if len(data) != _BODY.size + _CHECKSUM.size or _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
        raise damaged
    version, token_status, created_at, user_id = _BODY.unpack(body)
    if version != _VERSION:
        raise damaged
    if token_status != status:
        raise ValueError("belongs to a list with another status_filter")
    return Position(created_at, str(uuid.UUID(bytes=user_id)))
