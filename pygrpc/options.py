"""Channel and server options: the ``("grpc.…", value)`` pairs of grpcio, read into one dataclass.

A key that is unknown, or known but not supported yet, is reported once on the ``pygrpc`` logger and has no effect.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pygrpc.compression import Compression

_LOGGER = logging.getLogger("pygrpc")
_reported: set[str] = set()

ChannelArguments = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a channel or a server; sizes in bytes, times in seconds.

    Attributes:
        max_receive_message_length: The largest message accepted; -1 for any.
        max_send_message_length: The largest message sent; -1 for any.
        max_concurrent_streams: Calls that a client may have open on one connection; None for no limit.
        max_metadata_size: The largest header list accepted.
        stream_window: Bytes that a peer may send on one stream before they are read.
        max_frame_size: The largest HTTP/2 frame accepted.
        so_reuseport: Whether several sockets may listen on one port.
        handshake_timeout: Time that a client has for its HTTP/2 preface.
        default_authority: The ``:authority`` of requests, in place of the target's.
        primary_user_agent: What to put before the library's own user-agent.
        secondary_user_agent: What to put behind it.
        compression: The algorithm for messages of calls that don't choose their own.
        initial_reconnect_backoff: The first delay between attempts to connect.
        min_reconnect_backoff: The time that an attempt to connect has at least.
        max_reconnect_backoff: The longest delay between attempts to connect.
    """

    max_receive_message_length: int = 4 << 20
    max_send_message_length: int = -1
    max_concurrent_streams: int | None = None
    max_metadata_size: int = 16_384
    stream_window: int = 1 << 20
    max_frame_size: int = 1 << 17
    so_reuseport: bool = True
    handshake_timeout: float = 120.0
    default_authority: str | None = None
    primary_user_agent: str = ""
    secondary_user_agent: str = ""
    compression: int = 0
    initial_reconnect_backoff: float = 1.0
    min_reconnect_backoff: float = 20.0
    max_reconnect_backoff: float = 120.0


def _milliseconds(value: Any) -> float:
    return max(int(value), 0) / 1000.0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _window(value: Any) -> int:
    return min(max(int(value), 65_535), 2**31 - 1)


def _backoff(value: Any) -> float:
    # The least that grpcio takes too: without a pause a refused connection is tried again and again at full speed.
    return max(_milliseconds(value), 0.1)


def _streams(value: Any) -> int | None:
    # What SETTINGS_MAX_CONCURRENT_STREAMS can't say is no limit.
    number = int(value)
    return number if 0 <= number < 2**31 else None


def _metadata_size(value: Any) -> int:
    return min(max(int(value), 0), 2**31 - 1)


def _frame_size(value: Any) -> int:
    # RFC 9113, section 6.5.2: SETTINGS_MAX_FRAME_SIZE is between 2^14 and 2^24-1.
    return min(max(int(value), 16_384), 2**24 - 1)


def _compression(value: Any) -> int:
    return int(Compression(value))


#: What becomes part of ``max_metadata_size``; it has no field of its own.
_SOFT_METADATA_SIZE = "soft_metadata_size"

_KNOWN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "grpc.max_receive_message_length": ("max_receive_message_length", int),
    "grpc.max_send_message_length": ("max_send_message_length", int),
    "grpc.max_concurrent_streams": ("max_concurrent_streams", _streams),
    "grpc.absolute_max_metadata_size": ("max_metadata_size", _metadata_size),
    "grpc.max_metadata_size": (_SOFT_METADATA_SIZE, _metadata_size),
    "grpc.http2.lookahead_bytes": ("stream_window", _window),
    "grpc.http2.max_frame_size": ("max_frame_size", _frame_size),
    "grpc.so_reuseport": ("so_reuseport", bool),
    "grpc.server_handshake_timeout_ms": ("handshake_timeout", _milliseconds),
    "grpc.default_authority": ("default_authority", _text),
    "grpc.primary_user_agent": ("primary_user_agent", _text),
    "grpc.secondary_user_agent": ("secondary_user_agent", _text),
    "grpc.default_compression_algorithm": ("compression", _compression),
    "grpc.initial_reconnect_backoff_ms": ("initial_reconnect_backoff", _backoff),
    "grpc.min_reconnect_backoff_ms": ("min_reconnect_backoff", _backoff),
    "grpc.max_reconnect_backoff_ms": ("max_reconnect_backoff", _backoff),
}


def parse_options(arguments: Iterable[tuple[str, Any]] | None, compression: int | None = None) -> Options:
    """Reads channel or server options.

    Args:
        arguments: The pairs as a user gives them, or None. A later pair overrides an earlier one.
        compression: The channel's or server's algorithm; it wins over the option.

    Raises:
        ValueError: A known option has a value of the wrong type; the text names the option. Or there is no such
            algorithm.
    """
    values: dict[str, Any] = {}
    pairs = list(arguments or ())
    for key, value in pairs:
        known = _KNOWN.get(_text(key))
        if known is None:
            _report(_text(key))
            continue
        name, convert = known
        try:
            values[name] = convert(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"the option {key!r} can't be {value!r}") from None
    if _SOFT_METADATA_SIZE in values:
        soft = values.pop(_SOFT_METADATA_SIZE)
        # grpcio has a soft limit, above which it refuses at random, and an absolute one. One limit is enough here: the
        # absolute one, which is a quarter above the soft one (and at least 16 KiB) where only that is given.
        values.setdefault("max_metadata_size", max(16_384, soft * 5 // 4))
    options = Options(**values)
    return options if compression is None else replace(options, compression=_compression(compression))


def _report(key: str) -> None:
    if key not in _reported:
        _reported.add(key)
        _LOGGER.warning("the option %r is not supported and has no effect", key)
