"""Help for tests of services."""

from collections.abc import Sequence
from typing import Any

from pygrpc import aio
from pygrpc.aio.in_process import InProcessChannel
from pygrpc.aio.server import Server
from pygrpc.compression import Compression
from pygrpc.options import ChannelArguments, parse_options

__all__ = ["in_process_channel"]


def in_process_channel(
    server: aio.Server,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[Any] | None = None,
) -> aio.Channel:
    """Makes a channel to an asyncio server in the same event loop, over memory in place of a socket.

    Everything else is as over a network: messages are serialized, framed and flow-controlled, deadlines and
    cancellations travel. The server needs no port; it must be started before the first call.

    Args:
        server: A server of ``pygrpc.aio.server``.
        options: Pairs of option and value, as for ``pygrpc.aio.insecure_channel``.
        compression: The algorithm for the requests of calls that don't choose their own.
        interceptors: Client interceptors, as for ``pygrpc.aio.insecure_channel``.

    Raises:
        TypeError: The server is not one of ``pygrpc.aio.server``.
    """
    if not isinstance(server, Server):
        raise TypeError(f"in_process_channel needs a server made by pygrpc.aio.server, not {type(server).__name__}")
    return InProcessChannel(server, parse_options(options, compression), interceptors)
