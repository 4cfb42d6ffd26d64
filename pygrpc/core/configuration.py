"""What the options of a channel or a server mean to its connections and calls.

Programs make thousands of channels with the same options, so these share what they were read into.
"""

import functools

from pygrpc._version import PYGRPC_VERSION
from pygrpc.core.call import MessageLimits
from pygrpc.core.compression import enabled_encodings
from pygrpc.core.http2 import Http2Settings
from pygrpc.options import Options


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


@functools.lru_cache(maxsize=32)
def user_agent(options: Options) -> bytes:
    """The ``user-agent`` of a channel's requests (PROTOCOL-HTTP2.md, "User Agents")."""
    agents = (options.primary_user_agent, f"grpc-python-pygrpc/{PYGRPC_VERSION}", options.secondary_user_agent)
    return " ".join(agent for agent in agents if agent).encode()
