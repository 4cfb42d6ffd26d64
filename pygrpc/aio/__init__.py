"""gRPC for asyncio: the names of ``grpc.aio``."""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from pygrpc.aio.base import Channel, Server, ServicerContext
from pygrpc.aio.base_call import (
    EOF,
    Call,
    RpcContext,
    StreamStreamCall,
    StreamStreamMultiCallable,
    StreamUnaryCall,
    StreamUnaryMultiCallable,
    UnaryStreamCall,
    UnaryStreamMultiCallable,
    UnaryUnaryCall,
    UnaryUnaryMultiCallable,
)
from pygrpc.aio.channel import Channel as _Channel
from pygrpc.aio.errors import AbortError, AioRpcError, BaseError, InternalError, UsageError
from pygrpc.aio.server import Server as _Server
from pygrpc.compression import Compression
from pygrpc.handlers import GenericRpcHandler
from pygrpc.metadata import Metadata
from pygrpc.options import ChannelArguments, parse_options

__all__ = [
    "EOF",
    "AbortError",
    "AioRpcError",
    "BaseError",
    "Call",
    "Channel",
    "InternalError",
    "Metadata",
    "RpcContext",
    "Server",
    "ServicerContext",
    "StreamStreamCall",
    "StreamStreamMultiCallable",
    "StreamUnaryCall",
    "StreamUnaryMultiCallable",
    "UnaryStreamCall",
    "UnaryStreamMultiCallable",
    "UnaryUnaryCall",
    "UnaryUnaryMultiCallable",
    "UsageError",
    "init_grpc_aio",
    "insecure_channel",
    "server",
    "shutdown_grpc_aio",
]


def insecure_channel(
    target: str,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[Any] | None = None,
) -> Channel:
    """Makes a channel without encryption; it connects when it is first used.

    Args:
        target: Where the server is, for example ``localhost:50051`` or ``unix:/run/server.sock``.
        options: Pairs of option and value, as in grpcio.
        compression: The algorithm for the requests of calls that don't choose their own.
        interceptors: Not supported yet; must be empty.

    Raises:
        ValueError: The target or an option can't be understood; the text says why.
    """
    _refuse_interceptors(interceptors)
    return _Channel(target, parse_options(options, compression))


def server(
    migration_thread_pool: Executor | None = None,
    handlers: Sequence[GenericRpcHandler] | None = None,
    interceptors: Sequence[Any] | None = None,
    options: ChannelArguments | None = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Compression | None = None,
) -> Server:
    """Makes a server; add handlers and ports, then start it.

    Args:
        migration_thread_pool: Where handlers that are plain functions run; None for the loop's own executor.
        handlers: Generic handlers to begin with.
        interceptors: Not supported yet; must be empty.
        options: Pairs of option and value, as in grpcio.
        maximum_concurrent_rpcs: Calls beyond this number are refused with RESOURCE_EXHAUSTED; None for no limit.
        compression: The algorithm for the responses of calls that don't choose their own.

    Raises:
        ValueError: An option can't be understood; the text says why.
    """
    _refuse_interceptors(interceptors)
    return _Server(migration_thread_pool, handlers, parse_options(options, compression), maximum_concurrent_rpcs)


def _refuse_interceptors(interceptors: Sequence[Any] | None) -> None:
    if interceptors:
        raise UsageError("interceptors are not supported yet")


def init_grpc_aio() -> None:
    """Does nothing; grpcio needs it, this library has nothing global to set up."""


def shutdown_grpc_aio() -> None:
    """Does nothing, for the same reason."""
