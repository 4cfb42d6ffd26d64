"""What the passive reader shows of a connection: frames, and the things that are no frames."""

from typing import NamedTuple, TypeAlias


class Preface(NamedTuple):
    """The client's connection preface (RFC 9113, section 3.4)."""

    data: bytes


class NotHttp2(NamedTuple):
    """The connection does not start as HTTP/2 does; all that follows are ``RawBytes``."""

    reason: str


class RawBytes(NamedTuple):
    """A piece of a connection that is not HTTP/2: a line of text, or up to 256 bytes."""

    data: bytes


class CutOff(NamedTuple):
    """The connection ended inside of a frame or of the preface.

    Attributes:
        reason: What is missing, as a sentence.
        data: The bytes that did come, up to the cap.
    """

    reason: str
    data: bytes


class Data(NamedTuple):
    """The payload of DATA.

    Attributes:
        data: The application's bytes, up to the cap.
        size: How many application's bytes the frame carried.
        padding: The length of the padding in bytes.
    """

    data: bytes
    size: int
    padding: int


class HeaderBlock(NamedTuple):
    """The payload of HEADERS, PUSH_PROMISE and CONTINUATION.

    Attributes:
        size: The length of this frame's piece of the header block, in bytes.
        headers: The decoded fields if this frame completes the block, else ``None``.
        promised_stream_id: The stream that a PUSH_PROMISE reserves, else 0.
    """

    size: int
    headers: tuple[tuple[bytes, bytes], ...] | None
    promised_stream_id: int = 0


class Priority(NamedTuple):
    """The payload of PRIORITY, which RFC 9113 deprecates."""

    depends_on: int
    weight: int
    exclusive: bool


class Reset(NamedTuple):
    """The payload of RST_STREAM."""

    error_code: int
    error_name: str


class Settings(NamedTuple):
    """The payload of SETTINGS, in the order of the frame.

    Attributes:
        values: For each setting its number, its name and its value.
    """

    values: tuple[tuple[int, str, int], ...]


class Ping(NamedTuple):
    """The payload of PING, eight bytes that the ACK repeats."""

    data: bytes


class GoAway(NamedTuple):
    """The payload of GOAWAY."""

    last_stream_id: int
    error_code: int
    error_name: str
    debug_data: bytes


class WindowUpdate(NamedTuple):
    """The payload of WINDOW_UPDATE; the increment is in bytes."""

    increment: int


class Opaque(NamedTuple):
    """A payload that the reader does not interpret: an unknown type, or one that is malformed; up to the cap."""

    data: bytes


Payload: TypeAlias = Data | HeaderBlock | Priority | Reset | Settings | Ping | GoAway | WindowUpdate | Opaque


class ObservedFrame(NamedTuple):
    """One frame.

    Attributes:
        type: The number of the frame type.
        name: Its name, or ``0x..`` if nobody has defined it.
        stream_id: The stream, 0 for the connection.
        flags: The names of the flags that are set; a bit without a meaning for the type shows as ``0x..``.
        length: The length of the payload on the wire, in bytes.
        payload: What the frame says.
        truncated: Whether the payload was longer than the cap and only its beginning was kept.
        problem: What is wrong with the frame, as a sentence; empty if nothing is.
    """

    type: int
    name: str
    stream_id: int
    flags: tuple[str, ...]
    length: int
    payload: Payload
    truncated: bool = False
    problem: str = ""


Item: TypeAlias = Preface | ObservedFrame | NotHttp2 | RawBytes | CutOff
