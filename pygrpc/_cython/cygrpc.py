"""What stands for ``grpc._cython.cygrpc``: the few names in it that programs and other packages use.

It is not grpcio's core under another name; whatever else is in there is not here.
"""

from typing import Any

from pygrpc.aio.base_call import EOF as EOF
from pygrpc.aio.errors import AbortError as AbortError
from pygrpc.aio.errors import BaseError as BaseError
from pygrpc.aio.errors import InternalError as InternalError
from pygrpc.aio.errors import UsageError as UsageError


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
