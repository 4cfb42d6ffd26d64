"""What stands for ``grpc._cython.cygrpc``: the few names in it that programs and other packages use.

It is not grpcio's core under another name; whatever else is in there is not here.
"""

import enum
from typing import Any

from pygrpc.aio import init_grpc_aio as init_grpc_aio
from pygrpc.aio import shutdown_grpc_aio as shutdown_grpc_aio
from pygrpc.aio.base_call import EOF as EOF
from pygrpc.aio.errors import AbortError as AbortError
from pygrpc.aio.errors import BaseError as BaseError
from pygrpc.aio.errors import InternalError as InternalError
from pygrpc.aio.errors import UsageError as UsageError
from pygrpc.core.metadata import Metadatum as _Metadatum
from pygrpc.status import StatusCode as _StatusCode

__all__ = [
    "EOF",
    "AbortError",
    "BaseError",
    "ChannelArgKey",
    "CompressionAlgorithm",
    "CompressionLevel",
    "ConnectivityState",
    "InternalError",
    "StatusCode",
    "UsageError",
    "_Metadatum",
    "dump_xds_configs",
    "init_grpc_aio",
    "shutdown_grpc_aio",
]

StatusCode = enum.IntEnum("StatusCode", {code.name.lower(): code.value[0] for code in _StatusCode})  # type: ignore[misc]


class ConnectivityState:
    """The numbers of the states of a channel."""

    idle = 0
    connecting = 1
    ready = 2
    transient_failure = 3
    shutdown = 4


class CompressionAlgorithm:
    """The values of the option ``grpc.default_compression_algorithm``."""

    none = 0
    deflate = 1
    gzip = 2


class CompressionLevel:
    """The values of the option ``grpc.default_compression_level``."""

    none = 0
    low = 1
    medium = 2
    high = 3


class ChannelArgKey:
    """The names of some options of channels and servers, as bytes."""

    enable_census = b"grpc.census"
    max_concurrent_streams = b"grpc.max_concurrent_streams"
    max_receive_message_length = b"grpc.max_receive_message_length"
    max_send_message_length = b"grpc.max_send_message_length"
    http2_initial_sequence_number = b"grpc.http2.initial_sequence_number"
    default_authority = b"grpc.default_authority"
    primary_user_agent_string = b"grpc.primary_user_agent"
    secondary_user_agent_string = b"grpc.secondary_user_agent"
    ssl_session_cache = b"grpc.ssl_session_cache"
    ssl_target_name_override = b"grpc.ssl_target_name_override"


class CompositeChannelCredentials:
    """Has no instances here; fakes of channels ask for it with ``isinstance``."""


def dump_xds_configs() -> bytes:
    """The state of xDS as a serialized ClientStatusResponse: there is never any, and so it is an empty message."""
    return b""


def reset_grpc_config_vars() -> None:
    """Does nothing: environment variables are read when they are needed, and not kept."""


def _no_channelz(*_: Any) -> str:
    raise NotImplementedError("pygrpc keeps no channelz data")


channelz_get_top_channels = _no_channelz
channelz_get_channel = _no_channelz
channelz_get_subchannel = _no_channelz
channelz_get_servers = _no_channelz
channelz_get_server = _no_channelz
channelz_get_server_sockets = _no_channelz
channelz_get_socket = _no_channelz
