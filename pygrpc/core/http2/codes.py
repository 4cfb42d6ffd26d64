"""Numbers of HTTP/2: error codes and settings (RFC 9113, sections 7 and 6.5.2)."""

import enum


class ErrorCode(enum.IntEnum):
    """Why a stream or a connection ended (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


#: The largest stream identifier, which the first GOAWAY of a graceful shutdown names (RFC 9113, section 6.8).
MAX_STREAM_ID = 2**31 - 1


def error_name(code: int) -> str:
    """The name of an error code, or its number when nobody has defined it."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"0x{code:x}"
