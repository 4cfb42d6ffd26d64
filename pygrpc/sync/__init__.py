"""The threaded shell: channels and servers of the sync API.

``pygrpc`` has the functions that make them. A channel has no thread that reads for it: see ``driver``. A server has
one, whatever the number of its connections: see ``io_thread``.
"""

from collections.abc import Sequence
from concurrent.futures import Executor

from pygrpc.compression import Compression
from pygrpc.handlers import GenericRpcHandler
from pygrpc.interfaces import ServerInterceptor
from pygrpc.options import ChannelArguments, parse_options
from pygrpc.sync.channel import Channel
from pygrpc.sync.ready import channel_ready_future
from pygrpc.sync.server import Server

__all__ = ["Channel", "Server", "channel_ready_future", "server"]


def server(
    thread_pool: Executor,
    handlers: Sequence[GenericRpcHandler] | None = None,
    interceptors: Sequence[ServerInterceptor] | None = None,
    options: ChannelArguments | None = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Compression | None = None,
) -> Server:
    """Makes a server; see ``pygrpc.server``."""
    return Server(thread_pool, handlers, interceptors, parse_options(options, compression), maximum_concurrent_rpcs)
