"""What a call ended with, and how that travels: grpc-status, grpc-message, HTTP status codes, RST_STREAM codes."""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.metadata import RawMetadata
from pygrpc.status import CODES, StatusCode


class Status(NamedTuple):
    """The end of a call.

    Attributes:
        code: The status code.
        details: The status message, for people.
        metadata: The trailing metadata that came, or goes, with it.
        debug: What a developer may want to know beyond ``details``; never sent.
    """

    code: StatusCode
    details: str
    metadata: RawMetadata = ()
    debug: str = ""


# PROTOCOL-HTTP2.md, "Status-Message": everything outside of 0x20-0x7E is escaped, and the escape character too.
_UNSAFE = re.compile(rb"[^\x20-\x24\x26-\x7e]")


#: Bytes of a status message that are sent. With more, trailers would exceed what clients accept unless told otherwise,
#: at the cost of the status or even of the connection: the text of an exception can be of any length.
_LONGEST_MESSAGE = 15_000


def encode_message(text: str) -> bytes:
    """Percent-encodes a status message for the ``grpc-message`` header; of a very long one only the beginning."""
    encoded = _escape(text[:_LONGEST_MESSAGE])
    if len(encoded) <= _LONGEST_MESSAGE:
        return encoded
    # The cut goes neither through an escape nor through a character.
    split = encoded.rfind(b"%", _LONGEST_MESSAGE - 2, _LONGEST_MESSAGE)
    whole = encoded[: split if split >= 0 else _LONGEST_MESSAGE]
    return _escape(unquote_to_bytes(whole).decode("utf-8", "ignore"))


def _escape(text: str) -> bytes:
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "replace"))


def decode_message(value: bytes) -> str:
    """Decodes a ``grpc-message`` header; a bad escape stays as it is and bad UTF-8 is replaced, never an error."""
    if b"%" in value:
        value = unquote_to_bytes(value)
    return value.decode("utf-8", "replace")


def decode_status(value: bytes) -> StatusCode:
    """Reads a ``grpc-status`` header.

    A number that nobody has defined is UNKNOWN.

    Raises:
        ValueError: It is not a number.
    """
    if not value.isdigit() or len(value) > 10:
        raise ValueError(f"grpc-status must be a number, not {value[:32]!r}")
    number = int(value)
    return CODES[number] if number < len(CODES) else StatusCode.UNKNOWN


# doc/http-grpc-status-mapping.md; only used for a response without grpc-status.
_FROM_HTTP = {
    b"400": StatusCode.INTERNAL,
    b"401": StatusCode.UNAUTHENTICATED,
    b"403": StatusCode.PERMISSION_DENIED,
    b"404": StatusCode.UNIMPLEMENTED,
    b"429": StatusCode.UNAVAILABLE,
    b"502": StatusCode.UNAVAILABLE,
    b"503": StatusCode.UNAVAILABLE,
    b"504": StatusCode.UNAVAILABLE,
}


def status_from_http(http_status: bytes) -> Status:
    """The status of a response that says nothing of gRPC."""
    code = _FROM_HTTP.get(http_status, StatusCode.UNKNOWN)
    return Status(code, f"Received http2 header with status: {http_status.decode('latin-1')}")


# PROTOCOL-HTTP2.md, "Errors": what a RST_STREAM without a status means to a client.
_FROM_RESET = {
    ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


def status_from_reset(error_code: int) -> Status:
    """The status of a call whose stream the server reset."""
    code = _FROM_RESET.get(error_code, StatusCode.INTERNAL)  # type: ignore[call-overload]
    return Status(code, f"Received RST_STREAM with error code {error_code}")
