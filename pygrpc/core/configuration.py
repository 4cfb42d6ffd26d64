"""What the options of a channel or a server mean to its connections and calls.

Programs make thousands of channels with the same options, so these share what they were read into.
"""

import functools
import math

from pygrpc._version import PYGRPC_VERSION
from pygrpc.core.backoff import BackoffPolicy
from pygrpc.core.balancing import Balancer, PickFirst, find
from pygrpc.core.call import MessageLimits
from pygrpc.core.channel_shell import ChannelSettings
from pygrpc.core.compression import enabled_encodings
from pygrpc.core.connection_ages import AgeSettings
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.keepalive import KeepaliveSettings, PingLimits
from pygrpc.core.server_connection import Upkeep
from pygrpc.core.service_config import ServiceConfig, parse_service_config
from pygrpc.options import Options

#: Seconds after which a server asks a client that says nothing, unless the options say otherwise.
_SERVER_KEEPALIVE_TIME = 7200.0


@functools.lru_cache(maxsize=32)
def http2_settings(options: Options) -> Http2Settings:
    """What each connection of a channel or a server announces."""
    return Http2Settings(
        stream_window=options.stream_window,
        bdp_probe=options.bdp_probe,
        max_frame_size=options.max_frame_size,
        max_header_list_size=options.max_metadata_size,
        max_concurrent_streams=options.max_concurrent_streams,
        header_table_size=options.header_table_size,
        encoder_table_size=options.encoder_table_size,
    )


@functools.lru_cache(maxsize=32)
def message_limits(options: Options) -> MessageLimits:
    """What each call accepts and sends."""
    return MessageLimits(
        options.max_receive_message_length,
        options.max_send_message_length,
        options.max_metadata_size,
        enabled_encodings(options.compression_algorithms),
    )


#: How this library calls itself in the ``user-agent``.
USER_AGENT = f"grpc-python-pygrpc/{PYGRPC_VERSION}"


@functools.lru_cache(maxsize=32)
def user_agent(options: Options) -> bytes:
    """The ``user-agent`` of a channel's requests (PROTOCOL-HTTP2.md, "User Agents")."""
    agents = (options.primary_user_agent, USER_AGENT, options.secondary_user_agent)
    return " ".join(agent for agent in agents if agent).encode()


@functools.lru_cache(maxsize=32)
def channel_settings(options: Options) -> ChannelSettings:
    """The figures by which a channel decides."""
    return ChannelSettings(
        backoff=BackoffPolicy(options.initial_reconnect_backoff, options.max_reconnect_backoff),
        min_connect_timeout=max(options.min_reconnect_backoff, 0.1),
        min_time_between_resolutions=options.min_time_between_resolutions,
        idle_timeout=options.idle_timeout,
        enable_retries=options.enable_retries,
        retry_buffer=options.retry_buffer,
        head_start=options.head_start,
        take_configs=not options.ignore_resolver_config,
        max_connections=options.max_connections_per_subchannel,
        inhibit_health_checking=options.inhibit_health_checking,
        keepalive=KeepaliveSettings(
            time=options.keepalive_time or math.inf,
            timeout=options.keepalive_timeout,
            without_calls=options.keepalive_permit_without_calls,
            pings_without_data=options.max_pings_without_data,
        ),
    )


@functools.lru_cache(maxsize=32)
def upkeep(options: Options) -> Upkeep:
    """How a server keeps its connections."""
    return Upkeep(
        KeepaliveSettings(
            time=options.keepalive_time or _SERVER_KEEPALIVE_TIME,
            timeout=options.keepalive_timeout,
            # gRFC A9: a server asks whether or not there are calls, and doesn't count.
            without_calls=True,
            pings_without_data=0,
            least_interval=0.0,
        ),
        PingLimits(options.min_ping_interval, options.max_ping_strikes, options.keepalive_permit_without_calls),
        AgeSettings(options.max_connection_idle, options.max_connection_age, options.max_connection_age_grace),
    )


@functools.lru_cache(maxsize=32)
def service_config(options: Options) -> ServiceConfig:
    """The service config of a channel unless its resolver has one.

    Raises:
        InvalidServiceConfig: It can't be understood; the text names the field.
    """
    return ServiceConfig() if options.service_config is None else parse_service_config(options.service_config)


def default_policy(options: Options) -> type[Balancer]:
    """The load balancing policy of a channel unless its service config names one; as in grpcio, one that is known."""
    return find(options.lb_policy or "") or PickFirst
