"""Page tokens for lists that are in the order of a number: a place in a list, opaque to clients."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

# Version, number, checksum of number and list.
_TOKEN = struct.Struct(">BQI")
_VERSION = 1


def encode_token(number: int, of: str) -> str:
    """Returns the token of the page behind an entry.

    Args:
        number: Of the entry.
        of: The list: whatever of the request says what is in it.
    """
    data = _TOKEN.pack(_VERSION, number, _checksum(number, of))
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_token(token: str, of: str) -> int:
    """Returns the number that a page begins behind; 0 for no token.

    Raises:
        ValueError: The token was not made by `encode_token`, or for another list. It is not signed: one that was made
            up with care leads to some place in the list, and shows nothing that the caller may not see.
    """
    if not token:
        return 0
    problem = ValueError("is not a page token of this list")
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, number, checksum = _TOKEN.unpack(data)
    except (binascii.Error, ValueError, struct.error):
        raise problem from None
    if version != _VERSION or number >= 1 << 63 or checksum != _checksum(number, of):
        raise problem
    return int(number)


def _checksum(number: int, of: str) -> int:
    return zlib.crc32(f"{number} {of}".encode())
