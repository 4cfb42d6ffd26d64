"""Custom metadata on the wire: ASCII and binary headers (PROTOCOL-HTTP2.md, "Custom-Metadata")."""

import binascii
import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Header = tuple[bytes, bytes]
#: The largest header list that is accepted unless an option says something else, in bytes.
DEFAULT_METADATA_SIZE = 16_384
MetadataValue = str | bytes
#: Metadata as users see it: keys are lower-case text, values bytes for ``-bin`` keys and text for the others.
RawMetadata = tuple[tuple[str, MetadataValue], ...]
MetadataLike = Iterable[tuple[str | bytes, MetadataValue]]

_KEY = re.compile(r"[0-9a-z_.\-]+")
_VALUE = re.compile(rb"[\x20-\x7e]*")
#: Fields up to this size of name and value, in bytes, are worth being kept with what they mean; and how many of them,
#: more than fit into a header list of 48 KiB, because a cache that is a little too small for what goes round is no use.
WORTH_KEEPING = 128
FIELDS_KEPT = 1024
# RFC 9113, section 8.2.1, forbids it around a value, and PROTOCOL-HTTP2.md lets it be stripped.
_SPACE = b" "

#: Headers that have no place in HTTP/2, or another one (RFC 9113, sections 8.2.2 and 8.3.1).
_FORBIDDEN = frozenset(
    [
        "connection",
        "proxy-connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
    ]
)
#: Headers that the library writes itself. Proxies copy them from call to call, so they are dropped without a word.
_OVERRIDDEN = frozenset(
    [
        "te",
        "content-type",
        "user-agent",
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "grpc-status",
        "grpc-message",
        "grpc-previous-rpc-attempts",
    ]
)


def is_key(text: str) -> bool:
    """Whether a text may be the key of metadata."""
    return _KEY.fullmatch(text) is not None


class InvalidMetadata(ValueError):
    """Metadata of the user can't be sent; the text says which key or value and why."""


class Metadatum(NamedTuple):
    """One pair of metadata that came from the peer."""

    key: str
    value: MetadataValue


# What programs print of metadata reads as with grpcio.
Metadatum.__name__ = "_Metadatum"


def header_list_size(headers: Collection[Header]) -> int:
    """The size of a header list in bytes as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113, section 6.5.2)."""
    return sum(map(len, itertools.chain.from_iterable(headers))) + 32 * len(headers)


def encode_metadata(metadata: MetadataLike) -> list[Header]:
    """Turns a user's metadata into headers; order and repeated keys are kept.

    Raises:
        InvalidMetadata: A key or a value can't be sent; the text says which one and why.
        ValueError: Something is no pair of key and value.
        TypeError: The metadata can't be iterated over, a key isn't text, or a value isn't of its key's type.
    """
    headers: list[Header] = []
    known = _KNOWN_HEADERS
    for item in _items(metadata):
        try:
            header = known.get(item)
        except TypeError:
            # It isn't hashable, a list for instance.
            header = None
        if header is None:
            header = _encode_item(item)
            if header is None:
                continue
        headers.append(header)
    return headers


def _encode_item(item: tuple[str | bytes, MetadataValue]) -> Header | None:
    """Turns a pair that isn't known into a header, and keeps that if it is of text, and small."""
    try:
        key, value = item
    except ValueError:
        raise ValueError(f"metadata was invalid: {item!r} is not a pair of key and value") from None
    if type(key) is not str or type(value) is not str:
        return _encode(key, value)
    name = _KNOWN_KEYS.get(key)
    if name is not None and value.isascii() and value.isprintable():
        header = (name, value.encode().strip(_SPACE))
    else:
        checked = _encode(key, value)
        if checked is None:
            return None
        header = checked
        if len(key) <= WORTH_KEEPING:
            _keep(_KNOWN_KEYS, key, header[0])
    if len(key) + len(value) <= WORTH_KEEPING:
        _keep(_KNOWN_HEADERS, (key, value), header)
    return header


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= FIELDS_KEPT:
        known.clear()
    known[key] = value


#: What small pairs of text become: most metadata go with each call of a client.
_KNOWN_HEADERS: dict[tuple[str | bytes, MetadataValue], Header] = {}
#: What keys become that came with text, for values that are new each time.
_KNOWN_KEYS: dict[str, bytes] = {}


def _items(metadata: MetadataLike) -> Iterator[tuple[str | bytes, MetadataValue]]:
    if isinstance(metadata, dict):
        # Its keys might pass for pairs.
        raise ValueError("metadata was invalid: a dict is not a sequence of pairs; pass its items()")
    try:
        return iter(metadata)
    except TypeError:
        text = f"metadata was invalid: it must be pairs such as (('key', 'value'),), not {metadata!r}"
        raise TypeError(text) from None


def _encode(key: str | bytes, value: MetadataValue) -> Header | None:
    """Turns one pair into a header; None is for one that the library writes itself."""
    if isinstance(key, bytes):
        # As in grpcio. What isn't ASCII is refused below.
        key = key.decode("latin-1")
    binary = _check_types(key, value)
    if not _KEY.fullmatch(key):
        raise InvalidMetadata(f"metadata was invalid: the key {key!r} may hold only 0-9 a-z _ . -")
    if key in _FORBIDDEN:
        raise InvalidMetadata(f"metadata was invalid: the key {key!r} has no place in HTTP/2")
    if key in _OVERRIDDEN:
        return None
    raw = value.encode() if isinstance(value, str) else value or b""
    if binary:
        raw = binascii.b2a_base64(raw, newline=False).rstrip(b"=")
    elif not _VALUE.fullmatch(raw):
        raise InvalidMetadata(
            f"metadata was invalid: the value of {key!r} may hold only printable ASCII, not {value!r};"
            " use a key that ends in -bin for other bytes"
        )
    return key.encode(), raw.strip(_SPACE)


def _check_types(key: object, value: object) -> bool:
    """Whether a key is one of bytes; raises TypeError if it isn't text or the value isn't what it should be."""
    if not isinstance(key, str):
        raise TypeError(f"metadata was invalid: the key {key!r} is not a str")
    binary = key.endswith("-bin")
    # None means an empty text, as in grpcio: it comes from variables of the environment that are not set.
    if not isinstance(value, bytes) and (binary or not isinstance(value, str | None)):
        wanted = "bytes" if binary else "str or bytes"
        raise TypeError(f"metadata was invalid: the value of {key!r} must be {wanted}, not {value!r}")
    return binary


def decode_metadata(headers: Sequence[Header]) -> RawMetadata:
    """Turns custom headers into metadata as users see it.

    Raises:
        ValueError: The value of a ``-bin`` key is not base64.
    """
    if not headers:
        return ()
    metadata: list[Metadatum] = []
    for header in headers:
        name, value = header
        metadata += _decode_again(header) if len(name) + len(value) <= WORTH_KEEPING else decode_field(header)
    return tuple(metadata)


def decode_field(header: Header) -> tuple[Metadatum, ...]:
    """Turns one custom header into metadata; a ``-bin`` header may be several values in one.

    Raises:
        ValueError: The value of a ``-bin`` key is not base64.
    """
    name, value = header
    key = name.decode("latin-1")
    if key.endswith("-bin"):
        return tuple(Metadatum(key, _decode_base64(key, part)) for part in value.split(b","))
    return (Metadatum(key, decode_text(value)),)


#: Most metadata come with each call of a client, so what they mean is kept for the small ones.
_decode_again = functools.lru_cache(maxsize=FIELDS_KEPT)(decode_field)


def decode_text(value: bytes) -> MetadataValue:
    """Turns the value of a field that isn't a ``-bin`` one into that of metadata."""
    # A valid HTTP value that isn't printable ASCII must not be an error; what isn't text stays bytes, as in grpcio.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _decode_base64(key: str, value: bytes) -> bytes:
    stripped = value.strip(b" \t").rstrip(b"=")
    try:
        return binascii.a2b_base64(stripped + b"=" * (-len(stripped) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"the value of {key!r} is not base64: {error}") from None
