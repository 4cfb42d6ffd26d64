"""Help for tests of services."""

from collections.abc import Sequence
from typing import Any, overload

from pygrpc import aio, interfaces
from pygrpc.aio.in_process import InProcessChannel as AioInProcessChannel
from pygrpc.aio.server import Server as AioServer
from pygrpc.compression import Compression
from pygrpc.interceptors import intercept_channel
from pygrpc.options import ChannelArguments, parse_options
from pygrpc.sync.in_process import InProcessChannel
from pygrpc.sync.server import Server

__all__ = ["in_process_channel"]


@overload
def in_process_channel(
    server: aio.Server,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[Any] | None = None,
) -> aio.Channel: ...


@overload
def in_process_channel(
    server: interfaces.Server,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[Any] | None = None,
) -> interfaces.Channel: ...


def in_process_channel(
    server: Any,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[Any] | None = None,
) -> Any:
    """Makes a channel to a server in the same process, over memory in place of a socket.

    Everything else is as over a network: messages are serialized, framed and flow-controlled, deadlines and
    cancellations travel. The server needs no port; it must be started before the first call.

    Args:
        server: A server of ``pygrpc.aio.server``, in the same event loop, or of ``pygrpc.server``.
        options: Pairs of option and value, as for ``insecure_channel``.
        compression: The algorithm for the requests of calls that don't choose their own.
        interceptors: Client interceptors of the server's API; the first one is the outermost.

    Returns:
        A channel of the same API as the server.

    Raises:
        TypeError: The server is neither.
    """
    parsed = parse_options(options, compression)
    if isinstance(server, AioServer):
        return AioInProcessChannel(server, parsed, interceptors)
    if isinstance(server, Server):
        return intercept_channel(InProcessChannel(server, parsed), *interceptors or ())
    kind = type(server).__name__
    raise TypeError(f"in_process_channel needs a server made by pygrpc.aio.server or pygrpc.server, not {kind}")
