"""gRPC for asyncio: the names of ``grpc.aio``."""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from pygrpc._tls import ClientSecurity, split_options
from pygrpc.aio._typing import ChannelArgumentType  # noqa: F401 - as in grpc.aio, for annotations
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
from pygrpc.aio.intercepted_call import InterceptedUnaryUnaryCall
from pygrpc.aio.interceptor import (
    ClientCallDetails,
    ClientInterceptor,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from pygrpc.aio.server import Server as _Server
from pygrpc.compression import Compression
from pygrpc.credentials import ChannelCredentials
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
    "ClientCallDetails",
    "ClientInterceptor",
    "InterceptedUnaryUnaryCall",
    "InternalError",
    "Metadata",
    "RpcContext",
    "Server",
    "ServerInterceptor",
    "ServicerContext",
    "StreamStreamCall",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryCall",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamCall",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryCall",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
    "UsageError",
    "init_grpc_aio",
    "insecure_channel",
    "secure_channel",
    "server",
    "shutdown_grpc_aio",
]


def insecure_channel(
    target: str,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """Makes a channel without encryption; it connects when it is first used.

    Args:
        target: Where the server is, for example ``localhost:50051`` or ``unix:/run/server.sock``. One that can't be
            understood fails the calls, with UNAVAILABLE, and not the channel.
        options: Pairs of option and value, as in grpcio.
        compression: The algorithm for the requests of calls that don't choose their own.
        interceptors: Step between the user and the calls; the first one is asked first.

    Raises:
        ValueError: An option can't be understood, or an interceptor is none; the text says why.
    """
    others, _ = split_options(options)
    return _Channel(target, parse_options(others, compression), interceptors)


def secure_channel(
    target: str,
    credentials: ChannelCredentials,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """Makes a channel that is secured by credentials; it connects when it is first used.

    Args:
        target: Where the server is, for example ``localhost:50051``; as for ``insecure_channel``.
        credentials: For example ``pygrpc.ssl_channel_credentials()``.
        options: Pairs of option and value, as in grpcio.
        compression: The algorithm for the requests of calls that don't choose their own.
        interceptors: Step between the user and the calls; the first one is asked first.

    Raises:
        ValueError: An option can't be understood, or an interceptor is none; the text says why.
        TypeError: The credentials are none.
        NotImplementedError: The credentials can't be used here; the text says why.
    """
    others, tls_options = split_options(options)
    security = ClientSecurity(credentials, tls_options)
    return _Channel(target, parse_options(others, compression), interceptors, security)


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
        interceptors: Step between the server and its handlers; the first one is asked first.
        options: Pairs of option and value, as in grpcio.
        maximum_concurrent_rpcs: Calls beyond this number are refused with RESOURCE_EXHAUSTED; None for no limit.
        compression: The algorithm for the responses of calls that don't choose their own.

    Raises:
        ValueError: An option can't be understood, or an interceptor is none; the text says why.
    """
    parsed = parse_options(options, compression)
    return _Server(migration_thread_pool, handlers, parsed, maximum_concurrent_rpcs, interceptors)


def init_grpc_aio() -> None:
    """Does nothing; grpcio needs it, this library has nothing global to set up."""


def shutdown_grpc_aio() -> None:
    """Does nothing, for the same reason."""
