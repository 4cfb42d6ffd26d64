"""Page tokens: a place in a list, opaque to clients.

They are not signed: one that was made up with care leads to some place in a list, and shows nothing that the caller may
not see.
"""

from __future__ import annotations

import base64
import struct
import zlib

# Version, number, checksum of number and list.
_TOKEN = struct.Struct(">BQI")
_VERSION = 1
_SEAL = struct.Struct(">I")


def sealed(body: bytes) -> str:
    """Returns the token that holds some bytes and a checksum of them."""
    return to_text(body + _SEAL.pack(zlib.crc32(body)))


def unsealed(token: str, size: int) -> bytes:
    """Returns the `size` bytes that a token holds.

    Raises:
        ValueError: The token was not made by `sealed` of so many bytes.
    """
    problem = ValueError("is not a page token of this service")
    try:
        data = to_bytes(token)
    except ValueError:
        raise problem from None
    body, seal = data[:size], data[size:]
    if seal != _SEAL.pack(zlib.crc32(body)):
        raise problem
    return body


def encode_token(number: int, of: str) -> str:
    """Returns the token of the page behind an entry.

    Args:
        number: Of the entry.
        of: The list: whatever of the request says what is in it.
    """
    return to_text(_TOKEN.pack(_VERSION, number, _checksum(number, of)))


def decode_token(token: str, of: str) -> int:
    """Returns the number that a page begins behind; 0 for no token.

    Raises:
        ValueError: The token was not made by `encode_token`, or for another list.
    """
    if not token:
        return 0
    problem = ValueError("is not a page token of this list")
    try:
        version, number, checksum = _TOKEN.unpack(to_bytes(token))
    except (ValueError, struct.error):
        raise problem from None
    if version != _VERSION or number >= 1 << 63 or checksum != _checksum(number, of):
        raise problem
    return int(number)


def to_text(data: bytes) -> str:
    """Writes bytes in letters, digits, "-" and "_" (RFC 4648, section 5, without padding)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def to_bytes(token: str) -> bytes:
    """Returns the bytes that `to_text` has written.

    Raises:
        ValueError: It cannot have written this.
    """
    return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)


def _checksum(number: int, of: str) -> int:
    return zlib.crc32(f"{number} {of}".encode())
