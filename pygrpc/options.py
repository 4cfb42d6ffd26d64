"""Channel and server options: the ``("grpc.…", value)`` pairs of grpcio, read into one dataclass.

Nothing here raises for a key: one that is unknown, or known and without effect in this library, is reported once on the
``pygrpc`` logger. docs/options.md is the table of all of them.
"""

import logging
import math
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
        bdp_probe: Whether that window grows while the path is measured to need it.
        max_frame_size: The largest HTTP/2 frame accepted.
        header_table_size: The table of header compression for what comes.
        encoder_table_size: The table of header compression for what is sent, at most.
        max_connections: Connections that a server has at once; None for no limit.
        so_reuseport: Whether several sockets may listen on one port.
        handshake_timeout: Time that a client has for its TLS handshake and its HTTP/2 preface.
        default_authority: The ``:authority`` of requests, in place of the target's.
        primary_user_agent: What to put before the library's own user-agent.
        secondary_user_agent: What to put behind it.
        compression: The algorithm for messages of calls that don't choose their own.
        compression_algorithms: Those that are enabled: bit n stands for the algorithm with that number.
        compression_level: What chooses that algorithm on a server instead, from 0 for none to 3; or None.
        initial_reconnect_backoff: The first delay between attempts to connect.
        min_reconnect_backoff: The time that an attempt to connect has at least.
        max_reconnect_backoff: The longest delay between attempts to connect.
        min_time_between_resolutions: The time between two looks at the same name.
        idle_timeout: The time without a call after which a channel lets its connections go; None for never.
        keepalive_time: How long nothing may come from the peer before it is asked whether it is there; infinite for any
            time, and None for what is usual at this end.
        keepalive_timeout: How long its answer may take; infinite for any time.
        keepalive_permit_without_calls: Whether a channel asks, and a server may be asked, while there is no call.
        max_pings_without_data: How often a channel asks before it sends something else; 0 for any number.
        min_ping_interval: The time between two PINGs of a client that a server puts up with.
        max_ping_strikes: How many PINGs may come earlier than that; 0 for any number.
        max_connection_idle: How long a server keeps a connection without calls; infinite for any time.
        max_connection_age: How long a server keeps a connection; infinite for any time.
        max_connection_age_grace: How long calls may go on beyond that; infinite for any time.
        enable_retries: Whether calls are tried again.
        retry_buffer: Bytes of requests that a call keeps for further attempts.
        service_config: The service config as JSON, or None.
        lb_policy: The load balancing policy unless the service config names one, or None.
        ignore_resolver_config: Whether service configs that resolvers have are passed over.
        head_start: The time that an address has for itself before the next one is tried too.
        enable_http_proxy: Whether the target may be reached through an HTTP proxy.
        http_proxy: The URL of that proxy, or empty for none; None for what the environment says.
        max_connections_per_subchannel: Connections to one address at most, whatever the service config says.
        inhibit_health_checking: Whether the health of servers is not watched, whatever the service config says.
    """

    max_receive_message_length: int = 4 << 20
    max_send_message_length: int = -1
    max_concurrent_streams: int | None = None
    max_metadata_size: int = 16_384
    stream_window: int = 1 << 20
    bdp_probe: bool = True
    max_frame_size: int = 1 << 17
    header_table_size: int = 4096
    encoder_table_size: int = 4096
    max_connections: int | None = None
    so_reuseport: bool = True
    handshake_timeout: float = 120.0
    default_authority: str | None = None
    primary_user_agent: str = ""
    secondary_user_agent: str = ""
    compression: int = 0
    compression_algorithms: int = 0b111
    compression_level: int | None = None
    initial_reconnect_backoff: float = 1.0
    min_reconnect_backoff: float = 20.0
    max_reconnect_backoff: float = 120.0
    min_time_between_resolutions: float = 30.0
    idle_timeout: float | None = 1800.0
    keepalive_time: float | None = None
    keepalive_timeout: float = 20.0
    keepalive_permit_without_calls: bool = False
    max_pings_without_data: int = 2
    min_ping_interval: float = 300.0
    max_ping_strikes: int = 2
    max_connection_idle: float = math.inf
    max_connection_age: float = math.inf
    max_connection_age_grace: float = math.inf
    enable_retries: bool = True
    retry_buffer: int = 262_144
    service_config: str | None = None
    lb_policy: str | None = None
    ignore_resolver_config: bool = False
    head_start: float = 0.25
    enable_http_proxy: bool = True
    http_proxy: str | None = None
    max_connections_per_subchannel: int = 10
    inhibit_health_checking: bool = False

    @property
    def request_compression(self) -> int:
        """The algorithm for the requests of calls that don't choose their own."""
        return self._enabled(self.compression)

    @property
    def response_compression(self) -> int:
        """The algorithm for the responses of calls that don't choose their own."""
        return self._enabled(self.compression if self.compression_level is None else _LEVELS[self.compression_level])

    def _enabled(self, algorithm: int) -> int:
        # A default that is disabled means none, as in grpcio.
        return algorithm if self.compression_algorithms >> algorithm & 1 else Compression.NoCompression


#: The algorithm for each level, as grpcio ranks them.
_LEVELS = (Compression.NoCompression, Compression.Gzip, Compression.Deflate, Compression.Deflate)


def _milliseconds(value: Any) -> float:
    return max(int(value), 0) / 1000.0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _message_length(value: Any) -> int:
    # Whatever is negative is no limit, as in grpcio.
    return max(int(value), -1)


def _window(value: Any) -> int:
    return min(max(int(value), 65_535), 2**31 - 1)


def _handshake(value: Any) -> float:
    # asyncio takes no zero; a millisecond is as good as none.
    return max(_milliseconds(value), 0.001)


def _backoff(value: Any) -> float:
    # The least that grpcio takes too: without a pause a refused connection is tried again and again at full speed.
    return max(_milliseconds(value), 0.1)


def _perhaps_for_ever(value: Any) -> float:
    # As in grpcio, the largest number is any time.
    return math.inf if int(value) >= 2**31 - 1 else _milliseconds(value)


def _some_time(value: Any) -> float:
    # As in grpcio, at least a millisecond.
    return max(_perhaps_for_ever(value), 0.001)


def _idle_timeout(value: Any) -> float | None:
    # As in grpcio: the largest number is never, and less than a second is a second.
    return None if int(value) >= 2**31 - 1 else max(_milliseconds(value), 1.0)


def _head_start(value: Any) -> float:
    # gRFC A61: from 100 ms to 2 s.
    return min(max(_milliseconds(value), 0.1), 2.0)


def _streams(value: Any) -> int | None:
    # What SETTINGS_MAX_CONCURRENT_STREAMS can't say is no limit.
    number = int(value)
    return number if 0 <= number < 2**31 else None


def _size(value: Any) -> int:
    return min(max(int(value), 0), 2**31 - 1)


def _at_least_one(value: Any) -> int:
    return max(int(value), 1)


def _frame_size(value: Any) -> int:
    # RFC 9113, section 6.5.2: SETTINGS_MAX_FRAME_SIZE is between 2^14 and 2^24-1.
    return min(max(int(value), 16_384), 2**24 - 1)


def _compression(value: Any) -> int:
    return int(Compression(value))


def _algorithms(value: Any) -> int:
    # No compression can't be disabled.
    return int(value) | 1 << Compression.NoCompression


def _level(value: Any) -> int:
    return min(max(int(value), 0), len(_LEVELS) - 1)


#: What becomes part of ``max_metadata_size``; it has no field of its own.
_SOFT_METADATA_SIZE = "soft_metadata_size"

#: What acts: the field of each key, and how its value is read.
_KNOWN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "grpc.max_receive_message_length": ("max_receive_message_length", _message_length),
    "grpc.max_send_message_length": ("max_send_message_length", _message_length),
    "grpc.max_concurrent_streams": ("max_concurrent_streams", _streams),
    "grpc.absolute_max_metadata_size": ("max_metadata_size", _size),
    "grpc.max_metadata_size": (_SOFT_METADATA_SIZE, _size),
    "grpc.http2.lookahead_bytes": ("stream_window", _window),
    "grpc.http2.bdp_probe": ("bdp_probe", bool),
    "grpc.http2.max_frame_size": ("max_frame_size", _frame_size),
    "grpc.http2.hpack_table_size.decoder": ("header_table_size", _size),
    "grpc.http2.hpack_table_size.encoder": ("encoder_table_size", _size),
    "grpc.max_allowed_incoming_connections": ("max_connections", _streams),
    "grpc.so_reuseport": ("so_reuseport", bool),
    "grpc.server_handshake_timeout_ms": ("handshake_timeout", _handshake),
    "grpc.default_authority": ("default_authority", _text),
    "grpc.primary_user_agent": ("primary_user_agent", _text),
    "grpc.secondary_user_agent": ("secondary_user_agent", _text),
    "grpc.default_compression_algorithm": ("compression", _compression),
    "grpc.compression_enabled_algorithms_bitset": ("compression_algorithms", _algorithms),
    "grpc.default_compression_level": ("compression_level", _level),
    "grpc.initial_reconnect_backoff_ms": ("initial_reconnect_backoff", _backoff),
    "grpc.min_reconnect_backoff_ms": ("min_reconnect_backoff", _backoff),
    "grpc.max_reconnect_backoff_ms": ("max_reconnect_backoff", _backoff),
    "grpc.dns_min_time_between_resolutions_ms": ("min_time_between_resolutions", _milliseconds),
    "grpc.client_idle_timeout_ms": ("idle_timeout", _idle_timeout),
    "grpc.keepalive_time_ms": ("keepalive_time", _some_time),
    "grpc.keepalive_timeout_ms": ("keepalive_timeout", _perhaps_for_ever),
    "grpc.keepalive_permit_without_calls": ("keepalive_permit_without_calls", bool),
    "grpc.http2.max_pings_without_data": ("max_pings_without_data", _size),
    "grpc.http2.min_recv_ping_interval_without_data_ms": ("min_ping_interval", _perhaps_for_ever),
    "grpc.http2.max_ping_strikes": ("max_ping_strikes", _size),
    "grpc.max_connection_idle_ms": ("max_connection_idle", _some_time),
    "grpc.max_connection_age_ms": ("max_connection_age", _some_time),
    "grpc.max_connection_age_grace_ms": ("max_connection_age_grace", _perhaps_for_ever),
    "grpc.enable_retries": ("enable_retries", bool),
    "grpc.per_rpc_retry_buffer_size": ("retry_buffer", _size),
    "grpc.service_config": ("service_config", _text),
    "grpc.lb_policy_name": ("lb_policy", _text),
    "grpc.service_config_disable_resolution": ("ignore_resolver_config", bool),
    "grpc.enable_http_proxy": ("enable_http_proxy", bool),
    "grpc.http_proxy": ("http_proxy", _text),
    "grpc.happy_eyeballs_connection_attempt_delay_ms": ("head_start", _head_start),
    "grpc.max_connections_per_subchannel_cap": ("max_connections_per_subchannel", _at_least_one),
    "grpc.inhibit_health_checking": ("inhibit_health_checking", bool),
}

#: What asks for something that this library does in any case, or that no call can tell.
_ALWAYS_SO = frozenset(
    [
        # Reading a stream of responses never takes a thread here.
        "SingleThreadedUnaryStream",
        # Hedging needs no more than a policy here.
        "grpc.experimental.enable_hedging",
        # Channels share no connections here.
        "grpc.use_local_subchannel_pool",
        # In grpcio, too, it counts only for messages that are written with a hint which Python has no name for.
        "grpc.http2.write_buffer_size",
        # Calls are taken at once, so none is ever pending; maximum_concurrent_rpcs limits those that run or wait.
        "grpc.server.max_pending_requests",
        "grpc.server.max_pending_requests_hard_limit",
    ]
)

#: What grpcio knows and this library doesn't act on.
_WITHOUT_EFFECT = frozenset(
    [
        "grpc.http2.min_ping_interval_without_data_ms",
        "grpc.http2.min_time_between_pings_ms",
        "grpc.dns_ares_query_timeout",
        "grpc.dns_enable_srv_queries",
        "grpc.enable_channelz",
        "grpc.max_channel_trace_event_memory_per_node",
        "grpc.http2.true_binary",
        "grpc.census",
        "grpc.minimal_stack",
        "grpc.optimization_target",
        "grpc.resource_quota",
        "grpc.ssl_session_cache",
        "grpc.ssl_target_name_override",
        "grpc.socket_mutator",
        "grpc.socket_factory",
    ]
)
#: The beginnings of more such keys.
_FAMILIES_WITHOUT_EFFECT = ("grpc.experimental.", "grpc.tcp_", "grpc.grpclb_", "grpc.internal.", "grpc.xds_")


_DEFAULTS = Options()


def parse_options(arguments: Iterable[tuple[str, Any]] | None, compression: int | None = None) -> Options:
    """Reads channel or server options.

    Args:
        arguments: The pairs as a user gives them, or None. A later pair overrides an earlier one.
        compression: The channel's or server's algorithm; it wins over the option.

    Raises:
        TypeError: A key is no text, or a value is neither a number nor text; the same in grpcio.
        ValueError: An option for a number has a value that is none; the text names the option. Or there is no
            such algorithm.
    """
    pairs = list(arguments or ())
    if not pairs and compression is None:
        # Programs make thousands of channels without options, which share what that means.
        return _DEFAULTS
    values: dict[str, Any] = {}
    for key, value in pairs:
        name = _checked_key(key, value)
        known = _KNOWN.get(name)
        if known is None:
            _report(name)
            continue
        field, convert = known
        try:
            values[field] = convert(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"the option {name!r} can't be {value!r}") from None
    if _SOFT_METADATA_SIZE in values:
        soft = values.pop(_SOFT_METADATA_SIZE)
        # grpcio has a soft limit, above which it refuses at random, and an absolute one. One limit is enough here: the
        # absolute one, which is a quarter above the soft one (and at least 16 KiB) where only that is given.
        values.setdefault("max_metadata_size", max(16_384, soft * 5 // 4))
    options = Options(**values)
    if compression is None:
        return options
    return replace(options, compression=_compression(compression), compression_level=None)


def _checked_key(key: Any, value: Any) -> str:
    if not isinstance(key, str | bytes):
        raise TypeError(f"the key of an option must be a str, not {key!r}")
    name = _text(key)
    if not isinstance(value, str | bytes) and not hasattr(value, "__int__"):
        raise TypeError(f"the option {name!r} can't be {value!r}: expected an int, a str or bytes")
    return name


def _report(key: str) -> None:
    if key in _ALWAYS_SO or key in _reported:
        return
    _reported.add(key)
    if key in _WITHOUT_EFFECT or key.startswith(_FAMILIES_WITHOUT_EFFECT):
        _LOGGER.warning("the option %r is not supported and has no effect", key)
    else:
        _LOGGER.warning("the option %r is unknown and has no effect; is it misspelt?", key)
