"""Header blocks of a call: requests, responses, trailers (PROTOCOL-HTTP2.md, "Requests" and "Responses").

Nothing from the peer is trusted: a block is checked by the rules of RFC 9113, section 8, before its parts are used.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pygrpc.core.compression import ACCEPT_ENCODING
from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.http2.engine import HeaderBlock
from pygrpc.core.metadata import (
    DEFAULT_METADATA_SIZE,
    FIELDS_KEPT,
    WORTH_KEEPING,
    Header,
    Metadatum,
    RawMetadata,
    decode_field,
    decode_metadata,
    decode_text,
    header_list_size,
)
from pygrpc.core.status import Status, decode_message, decode_status, encode_message, status_from_http
from pygrpc.core.timeouts import decode_timeout, encode_timeout
from pygrpc.status import StatusCode

Parsed = TypeVar("Parsed")

CONTENT_TYPE = b"application/grpc"
_IDENTITY = b"identity"
#: The size of a request's header list, in bytes, up to which what it says is worth being kept.
_LARGEST_KEPT = 8192

# RFC 9113, section 8.2.1: what a field name may be at most; pseudo-headers apart, which begin with a colon.
_NAME = re.compile(rb"[\x21-\x39\x3b-\x40\x5b-\x7e]+")
# The same section: what no field value may hold. Space around a value is let through, since gRPC peers send it.
_FORBIDDEN = re.compile(rb"[\0\r\n]")
# RFC 9113, section 8.2.2: a message with one of these is malformed.
_CONNECTION_SPECIFIC = frozenset([b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"])
_REQUEST_PSEUDO = frozenset([b":method", b":scheme", b":path", b":authority"])
_STATUS = frozenset([b":status"])
#: Headers of the protocol itself, which are not part of a call's metadata.
_NOT_METADATA = frozenset(
    [
        b"te",
        b"content-type",
        b"content-length",
        b"host",
        b"date",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-timeout",
        b"grpc-status",
        b"grpc-message",
    ]
)
#: The headers of a request that are the same for most calls of a method.
_CALL_DEFINITION = _REQUEST_PSEUDO | (_NOT_METADATA - {b"grpc-timeout"})


class MalformedHeaders(Exception):
    """A header block breaks RFC 9113, section 8: a stream error of type PROTOCOL_ERROR."""

    error_code = ErrorCode.PROTOCOL_ERROR


class RequestRejected(Exception):
    """A request that is valid HTTP and gets an answer, but not from a handler.

    Attributes:
        status: The gRPC status of the answer.
        http_status: The HTTP status of the answer.
        extra: Headers to add to the answer.
    """

    def __init__(self, status: Status, http_status: bytes = b"200", extra: tuple[Header, ...] = ()) -> None:
        """Keeps the parts of the answer."""
        super().__init__(status.details)
        self.status = status
        self.http_status = http_status
        self.extra = extra


class RequestHead(NamedTuple):
    """What the header block of a request says.

    Attributes:
        path: The method's full name, ``/package.Service/Method``.
        authority: The host that the client asked for.
        timeout: Seconds until the deadline, or None.
        encoding: The encoding of compressed messages, or None for identity.
        accept_encoding: The encodings that the client can read.
        metadata: The custom metadata, with ``user-agent``.
    """

    path: str
    authority: str
    timeout: float | None
    encoding: bytes | None
    accept_encoding: frozenset[bytes]
    metadata: RawMetadata


class ResponseHead(NamedTuple):
    """What the first header block of a response says.

    Attributes:
        encoding: The encoding of compressed messages, or None for identity.
        accept_encoding: The encodings that the server can read.
        metadata: The initial metadata.
    """

    encoding: bytes | None
    accept_encoding: frozenset[bytes]
    metadata: RawMetadata


def request_headers(
    path: str,
    authority: str,
    scheme: bytes,
    user_agent: bytes,
    timeout: float | None,
    encoding: bytes | None,
    metadata: list[Header],
    accept_encoding: bytes = ACCEPT_ENCODING,
) -> Sequence[Header]:
    """Builds the header block of a request, the Call-Definition before the custom metadata."""
    block = RequestBlock(path, authority, scheme, user_agent, encoding, metadata, accept_encoding)
    return block(timeout)


class RequestBlock:
    """The header block of a request but for its timeout, which is known only when it goes out.

    What may be sent again as it is comes as a tuple, which an engine need not encode again.
    """

    __slots__ = ("_definition", "_metadata")

    def __init__(
        self,
        path: str,
        authority: str,
        scheme: bytes,
        user_agent: bytes,
        encoding: bytes | None,
        metadata: list[Header],
        accept_encoding: bytes,
    ) -> None:
        """Keeps what is known."""
        self._definition = _call_definition(path, authority, scheme, user_agent, encoding, accept_encoding)
        self._metadata = metadata

    def __call__(self, timeout: float | None) -> tuple[Header, ...]:
        """Builds the block for the seconds that are left, or None for no deadline."""
        definition, metadata = self._definition, self._metadata
        if timeout is not None:
            return (*definition[:4], (b"grpc-timeout", encode_timeout(timeout).encode()), *definition[4:], *metadata)
        return (*definition, *metadata) if metadata else definition


@functools.lru_cache(maxsize=256)
def _call_definition(
    path: str, authority: str, scheme: bytes, user_agent: bytes, encoding: bytes | None, accept_encoding: bytes
) -> tuple[Header, ...]:
    definition = (
        (b":method", b"POST"),
        (b":scheme", scheme),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", CONTENT_TYPE),
        (b"user-agent", user_agent),
        (b"grpc-accept-encoding", accept_encoding),
    )
    return definition if encoding is None else (*definition, (b"grpc-encoding", encoding))


def response_headers(
    encoding: bytes | None, metadata: Sequence[Header], accept_encoding: bytes = ACCEPT_ENCODING
) -> tuple[Header, ...]:
    """Builds the first header block of a response that is not Trailers-Only."""
    if encoding is None and not metadata and accept_encoding is ACCEPT_ENCODING:
        return _PLAIN_RESPONSE
    announced = () if encoding is None else ((b"grpc-encoding", encoding),)
    return (*_PLAIN_RESPONSE[:-1], (b"grpc-accept-encoding", accept_encoding), *announced, *metadata)


def trailers(code: StatusCode, details: str, metadata: Sequence[Header]) -> Sequence[Header]:
    """Builds the trailers of a response; the status is sent even when it is OK."""
    if code is StatusCode.OK and not details and not metadata:
        return PLAIN_TRAILERS
    headers = [(b"grpc-status", b"%d" % code.value[0])]
    if details:
        headers.append((b"grpc-message", encode_message(details)))
    headers += metadata
    return headers


#: The blocks of nearly every response. Tuples, which an engine need not encode again.
_PLAIN_RESPONSE = ((b":status", b"200"), (b"content-type", CONTENT_TYPE), (b"grpc-accept-encoding", ACCEPT_ENCODING))
PLAIN_TRAILERS = ((b"grpc-status", b"0"),)


def trailers_only(http_status: bytes, trailing: Sequence[Header]) -> list[Header]:
    """Builds a Trailers-Only response: one block with END_STREAM that is headers and trailers at once."""
    return [(b":status", http_status), (b"content-type", CONTENT_TYPE), *trailing]


def parse_request(headers: Sequence[Header], max_metadata_size: int) -> RequestHead:
    """Reads the header block of a request.

    What was read once is kept with a ``HeaderBlock``, which an engine reports again when the same bytes come again.

    Args:
        headers: The fields of the block in order.
        max_metadata_size: The largest header list accepted, in bytes as header_list_size counts them.

    Raises:
        MalformedHeaders: The block is not a valid HTTP/2 request.
        RequestRejected: The request is answered with an error right away.
    """
    known = getattr(headers, "parsed", None)
    if type(known) is RequestHead:
        return known
    beginning = getattr(headers, "beginning", None)
    if beginning is None:
        fields = _sort(headers, _NO_FIELDS)
    else:
        # Other requests begin with the same fields.
        before = beginning.parsed
        if type(before) is not _Fields:
            before = beginning.parsed = _sort(beginning, _NO_FIELDS)
        fields = _sort(headers[len(beginning) :], before)
    size = _list_size(headers)
    read = (_read_definition_again if size <= _LARGEST_KEPT else _read_definition)(fields.definition)
    if size > max_metadata_size:
        raise RequestRejected(_too_large(size, max_metadata_size))
    if read.rejected is not None:
        raise RequestRejected(*read.rejected)
    try:
        timeout = None if fields.timeout is None else _read_timeout(fields.timeout)
    except ValueError as error:
        raise RequestRejected(Status(StatusCode.INTERNAL, str(error))) from None
    if fields.unreadable:
        raise RequestRejected(Status(StatusCode.INTERNAL, fields.unreadable))
    head = RequestHead(read.path, read.authority, timeout, read.encoding, read.accept_encoding, fields.metadata)
    return _keep(headers, head)


@functools.lru_cache(maxsize=256)
def _read_timeout(value: bytes) -> float:
    return decode_timeout(value.decode("latin-1"))


class _Fields(NamedTuple):
    """The fields of a request, or of the beginning of one, by what they are for."""

    definition: tuple[Header, ...]
    timeout: bytes | None
    metadata: RawMetadata
    #: What is wrong with the first of the metadata that can't be read. What is malformed for HTTP/2 counts before it.
    unreadable: str


_NO_FIELDS = _Fields((), None, (), "")


def _sort(headers: Sequence[Header], before: _Fields) -> _Fields:
    """Sorts fields that come behind others.

    Raises:
        MalformedHeaders: One of them is not allowed in HTTP/2, or not there.
    """
    definition: list[Header] = []
    metadata: list[Metadatum] = []
    timeout, unreadable = before.timeout, before.unreadable
    known = _KNOWN_METADATA
    for header in headers:
        name = header[0]
        if name in _CALL_DEFINITION:
            if name in _REQUEST_PSEUDO and (metadata or before.metadata or timeout is not None or unreadable):
                raise MalformedHeaders(f"the pseudo-header {name!r} is not in front")
            definition.append(header)
        elif name == b"grpc-timeout":
            timeout = header[1]
            _check_value(header)
        else:
            try:
                metadata += known.get(header) or _read_custom(header)
            except ValueError as error:
                unreadable = unreadable or str(error) or "unreadable metadata"
    together = (*before.definition, *definition) if definition else before.definition
    return _Fields(together, timeout, (*before.metadata, *metadata), unreadable)


#: Custom fields of requests that are well-formed, with what they mean: most come with each call of a client.
_KNOWN_METADATA: dict[Header, tuple[Metadatum, ...]] = {}
#: Names of such fields with text in them, and the keys that they are, for values that are new each time.
_KNOWN_KEYS: dict[bytes, str] = {}


def _read_custom(header: Header) -> tuple[Metadatum, ...]:
    """Reads a field that isn't of the protocol, and keeps what it means if it is small.

    Raises:
        MalformedHeaders: It is not allowed in HTTP/2.
        ValueError: It is no metadata.
    """
    name, value = header
    key = _KNOWN_KEYS.get(name)
    if key is None:
        _look(header)
        metadata = decode_field(header)
        if len(metadata) == 1 and len(name) <= WORTH_KEEPING and not name.endswith(b"-bin"):
            if len(_KNOWN_KEYS) >= FIELDS_KEPT:
                _KNOWN_KEYS.clear()
            _KNOWN_KEYS[name] = metadata[0].key
    else:
        _check_value(header)
        metadata = (Metadatum(key, decode_text(value)),)
    if len(name) + len(value) <= WORTH_KEEPING:
        if len(_KNOWN_METADATA) >= FIELDS_KEPT:
            _KNOWN_METADATA.clear()
        _KNOWN_METADATA[header] = metadata
    return metadata


class _Definition(NamedTuple):
    """What a request says apart from its timeout and its metadata: the same for most calls of a method."""

    path: str
    authority: str
    encoding: bytes | None
    accept_encoding: frozenset[bytes]
    #: What the request is to be answered with, if nobody can handle it.
    rejected: tuple[Status, bytes, tuple[Header, ...]] | None


def _read_definition(headers: tuple[Header, ...]) -> _Definition:
    """Reads the headers of ``_CALL_DEFINITION``."""
    fields, _ = _split(headers, pseudo=_REQUEST_PSEUDO)
    method, path, scheme = fields.get(b":method"), fields.get(b":path"), fields.get(b":scheme")
    if not method or not path or not scheme:
        raise MalformedHeaders("a request needs :method, :scheme and :path (RFC 9113, section 8.3.1)")
    authority = fields.get(b":authority") or fields.get(b"host") or b""
    return _Definition(
        path.decode("latin-1"),
        authority.decode("latin-1"),
        _encoding(fields),
        _accept_encoding(fields),
        _refusal(method, fields.get(b"content-type")),
    )


def _list_size(headers: Sequence[Header]) -> int:
    size: int = getattr(headers, "size", -1)
    return size if size >= 0 else header_list_size(headers)


def _too_large(size: int, limit: int) -> Status:
    return Status(
        StatusCode.RESOURCE_EXHAUSTED,
        f"received metadata size exceeds limit: {size} vs. {limit} bytes (grpc.absolute_max_metadata_size)",
    )


#: A call differs from the next by other headers, so this one is kept, unless it is large.
_read_definition_again = functools.lru_cache(maxsize=256)(_read_definition)


def _refusal(method: bytes, content_type: bytes | None) -> tuple[Status, bytes, tuple[Header, ...]] | None:
    """What to answer to a request that is no gRPC request, or None if it is one."""
    if method != b"POST":
        text = method[:32].decode("latin-1")
        status = Status(StatusCode.INTERNAL, f"a gRPC request is a POST, not a {text}")
        return status, b"405", ((b"allow", b"POST"),)
    # PROTOCOL-HTTP2.md: 415 for a content-type that doesn't begin with application/grpc; application/grpc-web begins
    # so too, but is another protocol.
    if content_type is not None and content_type.startswith(CONTENT_TYPE):
        rest = content_type[len(CONTENT_TYPE) :]
        if not rest or rest[:1] in (b"+", b";"):
            return None
    shown = "no content-type" if content_type is None else f"content-type {content_type[:64].decode('latin-1')!r}"
    status = Status(StatusCode.UNKNOWN, f"a gRPC request has content-type application/grpc, this one has {shown}")
    return status, b"415", ()


def _keep(headers: Sequence[Header], parsed: Parsed) -> Parsed:
    """Keeps what was read of a block with the block, if it is one that may come again."""
    if isinstance(headers, HeaderBlock):
        headers.parsed = parsed
    return parsed


def parse_response(headers: Sequence[Header], max_metadata_size: int = DEFAULT_METADATA_SIZE) -> ResponseHead | Status:
    """Reads a response's first header block when it doesn't end the stream.

    Args:
        headers: The fields of the block in order.
        max_metadata_size: The largest header list accepted, in bytes as header_list_size counts them.

    Returns:
        The head, or the status to end the call with when this is no gRPC response.

    Raises:
        MalformedHeaders: The block is not a valid HTTP/2 response.
    """
    known = getattr(headers, "parsed", None)
    if type(known) is ResponseHead:
        return known
    fields, custom = _split(headers, pseudo=_STATUS)
    http_status = _http_status(fields)
    size = _list_size(headers)
    if size > max_metadata_size:
        return _too_large(size, max_metadata_size)
    if b"grpc-status" in fields:
        # Only a trailers block carries a status; whoever sends it early still means it.
        return _status(fields, custom)
    if http_status != b"200":
        return status_from_http(http_status)
    content_type = fields.get(b"content-type")
    if content_type is None or not content_type.startswith(CONTENT_TYPE):
        shown = "no content-type" if content_type is None else f"content-type {content_type[:64].decode('latin-1')!r}"
        return Status(StatusCode.UNKNOWN, f"the peer's response is not gRPC: it has {shown}")
    try:
        metadata = decode_metadata(custom)
    except ValueError as error:
        return Status(StatusCode.INTERNAL, str(error))
    return _keep(headers, ResponseHead(_encoding(fields), _accept_encoding(fields), metadata))


def parse_trailers(
    headers: Sequence[Header], trailers_only: bool, max_metadata_size: int = DEFAULT_METADATA_SIZE
) -> Status:
    """Reads the block that ends a response.

    Args:
        headers: The fields of the block in order.
        trailers_only: Whether the block is also the first one, so that it has ``:status``.
        max_metadata_size: The largest header list accepted, in bytes as header_list_size counts them.

    Raises:
        MalformedHeaders: The block is not valid in HTTP/2.
    """
    known = getattr(headers, "parsed", None)
    if type(known) is Status and not trailers_only:
        return known
    fields, custom = _split(headers, pseudo=_STATUS if trailers_only else frozenset())
    http_status = _http_status(fields) if trailers_only else b"200"
    size = _list_size(headers)
    if size > max_metadata_size:
        return _too_large(size, max_metadata_size)
    if b"grpc-status" in fields:
        status = _status(fields, custom)
        return status if trailers_only else _keep(headers, status)
    if http_status != b"200":
        return status_from_http(http_status)
    return Status(StatusCode.UNKNOWN, "the server ended the call without a grpc-status")


def _http_status(fields: dict[bytes, bytes]) -> bytes:
    http_status = fields.get(b":status", b"")
    if len(http_status) != 3 or not http_status.isdigit():
        raise MalformedHeaders("a response needs a :status of three digits (RFC 9113, section 8.3.2)")
    return http_status


def _status(fields: dict[bytes, bytes], custom: list[Header]) -> Status:
    try:
        code = decode_status(fields[b"grpc-status"])
        return Status(code, decode_message(fields.get(b"grpc-message", b"")), decode_metadata(custom))
    except ValueError as error:
        return Status(StatusCode.INTERNAL, str(error))


def _encoding(fields: dict[bytes, bytes]) -> bytes | None:
    encoding = fields.get(b"grpc-encoding", _IDENTITY)
    return None if encoding == _IDENTITY else encoding


def _accept_encoding(fields: dict[bytes, bytes]) -> frozenset[bytes]:
    value = fields.get(b"grpc-accept-encoding")
    return _parse_accept_encoding(value) if value else frozenset()


def _parse_accept_encoding(value: bytes) -> frozenset[bytes]:
    if value == ACCEPT_ENCODING:
        return _OUR_ENCODINGS
    return frozenset(part.strip() for part in value.split(b","))


_OUR_ENCODINGS = frozenset(part.strip() for part in ACCEPT_ENCODING.split(b","))


def _split(headers: Sequence[Header], pseudo: frozenset[bytes]) -> tuple[dict[bytes, bytes], list[Header]]:
    """Parts a block into the protocol's own fields and the custom ones, by RFC 9113, sections 8.2 and 8.3."""
    fields: dict[bytes, bytes] = {}
    custom: list[Header] = []
    regular = False
    for header in headers:
        name, value = header
        if name[:1] == b":":
            _check_value(header)
            if regular or name in fields or name not in pseudo:
                raise MalformedHeaders(f"the pseudo-header {name!r} is unknown, repeated or not in front")
            fields[name] = value
            continue
        regular = True
        if _is_of_protocol(header):
            fields[name] = value
        else:
            custom.append(header)
    if fields.get(b"te", b"trailers") != b"trailers":
        raise MalformedHeaders("te may only be 'trailers' (RFC 9113, section 8.2.2)")
    return fields, custom


def _is_of_protocol(header: Header) -> bool:
    """Whether a header is one of the protocol itself, and not metadata.

    Raises:
        MalformedHeaders: It is not allowed in HTTP/2.
    """
    name, value = header
    return _look_again(header) if len(name) + len(value) <= WORTH_KEEPING else _look(header)


def _look(header: Header) -> bool:
    _check_value(header)
    name = header[0]
    if name in _NOT_METADATA:
        return True
    if name in _CONNECTION_SPECIFIC or not _NAME.fullmatch(name):
        raise MalformedHeaders(f"the header {name!r} is not allowed in HTTP/2 (RFC 9113, section 8.2)")
    return False


_look_again = functools.lru_cache(maxsize=FIELDS_KEPT)(_look)


def _check_value(header: Header) -> None:
    if _FORBIDDEN.search(header[1]):
        raise MalformedHeaders(f"the value of {header[0]!r} holds a NUL, CR or LF (RFC 9113, section 8.2.1)")
