"""Message compression: identity, gzip and deflate, where deflate means zlib (RFC 1950; doc/compression.md)."""

import zlib
from collections.abc import Callable

from pygrpc.compression import Compression

#: What we send in ``grpc-accept-encoding``.
ACCEPT_ENCODING = b"identity, deflate, gzip"

_ENCODING_NAMES: dict[int, bytes] = {Compression.Deflate: b"deflate", Compression.Gzip: b"gzip"}
_WBITS = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}

#: Encodings that can be decompressed, identity apart.
KNOWN_ENCODINGS = frozenset(_WBITS)


class DecompressedTooLarge(Exception):
    """A message grew beyond the receiver's limit while it was decompressed."""


class MalformedCompression(Exception):
    """A message flagged as compressed is not in the encoding that its call announced."""


def enabled_encodings(algorithms: int) -> frozenset[bytes]:
    """The encodings, identity apart, of a set of algorithms: bit n stands for the algorithm with that number."""
    return frozenset(name for algorithm, name in _ENCODING_NAMES.items() if algorithms >> algorithm & 1)


def accept_encoding(encodings: frozenset[bytes]) -> bytes:
    """What ``grpc-accept-encoding`` says of encodings; identity is always accepted."""
    if encodings == KNOWN_ENCODINGS:
        return ACCEPT_ENCODING
    return b", ".join(name for name in ACCEPT_ENCODING.split(b", ") if name in encodings or name == b"identity")


def encoding_name(compression: int | None) -> bytes | None:
    """The name of an algorithm on the wire, or None for no compression.

    Raises:
        KeyError: There is no such algorithm; so grpcio says it.
    """
    if not compression:
        return None
    try:
        return _ENCODING_NAMES[compression]
    except KeyError:
        raise KeyError(f"{compression!r} is no compression; use a member of grpc.Compression") from None


def compressor(encoding: bytes) -> Callable[[bytes], bytes]:
    """A function that compresses one message; every message has a context of its own."""
    wbits = _WBITS[encoding]

    def compress(payload: bytes) -> bytes:
        stream = zlib.compressobj(wbits=wbits)
        return stream.compress(payload) + stream.flush()

    return compress


def decompress(encoding: bytes, payload: bytes, limit: int) -> bytes:
    """Decompresses one message, giving up as soon as it is larger than the limit.

    Args:
        encoding: ``gzip`` or ``deflate``.
        payload: The compressed message.
        limit: The largest result accepted, in bytes; -1 for any.

    Raises:
        DecompressedTooLarge: The result would exceed the limit.
        MalformedCompression: The payload is not one complete stream of that encoding.
    """
    stream = zlib.decompressobj(wbits=_WBITS[encoding])
    try:
        message = stream.decompress(payload, limit + 1 if limit >= 0 else 0)
    except zlib.error as error:
        raise MalformedCompression(f"a message is not valid {encoding.decode()}: {error}") from None
    if 0 <= limit < len(message):
        raise DecompressedTooLarge(f"a message decompresses to more than {limit} bytes")
    if not stream.eof or stream.unused_data:
        raise MalformedCompression(f"a message is not one complete {encoding.decode()} stream")
    return message
