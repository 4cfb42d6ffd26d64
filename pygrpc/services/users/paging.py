"""Page tokens: a place in the list of users, in a form that clients cannot read anything into."""

from __future__ import annotations

import struct
import uuid

from pygrpc.services.paging import sealed, unsealed
from pygrpc.services.users.store import Position

# Version, status filter, time of creation in microseconds, user id.
_BODY = struct.Struct(">BBq16s")
_VERSION = 1


def encode_token(position: Position, status: int) -> str:
    """Returns the token of a position in the list of the users with this status (0 for all)."""
    body = _BODY.pack(_VERSION, status, position.created_at, uuid.UUID(position.user_id).bytes)
    return sealed(body)


def decode_token(token: str, status: int) -> Position:
    """Returns the position that a token stands for.

    Raises:
        ValueError: The token was not made by `encode_token`, or for another status; the text says which.
    """
    version, token_status, created_at, user_id = _BODY.unpack(unsealed(token, _BODY.size))
    if version != _VERSION:
        raise ValueError("is not a page token of this service")
    if token_status != status:
        raise ValueError("belongs to a list with another status_filter")
    return Position(created_at, str(uuid.UUID(bytes=user_id)))
