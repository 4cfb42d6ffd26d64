"""gRPC over HTTP/2 in pure Python.

``pygrpc`` has the names of ``grpc``, ``pygrpc.aio`` those of ``grpc.aio``, ``pygrpc.experimental`` those of
``grpc.experimental``. ``install`` makes ``import grpc`` give them to the whole process. Beyond grpc there are
``ssl_context_channel_credentials``, ``ssl_context_server_credentials``, ``run_workers`` and ``PYGRPC_VERSION``.
"""

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pygrpc import _verbosity, compat
from pygrpc import aio as aio
from pygrpc._runtime_protos import protos, protos_and_services, services
from pygrpc._tls import ClientSecurity, split_options
from pygrpc._tls import ssl_context_channel_credentials as ssl_context_channel_credentials
from pygrpc._tls import ssl_context_server_credentials as ssl_context_server_credentials
from pygrpc._version import GRPC_API_VERSION as __version__  # noqa: F401
from pygrpc._version import PYGRPC_VERSION as PYGRPC_VERSION
from pygrpc.call_credentials import (
    CallCredentials,
    access_token_call_credentials,
    composite_call_credentials,
    metadata_call_credentials,
)
from pygrpc.compat import install as install
from pygrpc.compat import uninstall as uninstall
from pygrpc.compression import Compression
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.credentials import (
    ChannelCredentials,
    ServerCertificateConfiguration,
    ServerCredentials,
    alts_channel_credentials,
    alts_server_credentials,
    composite_channel_credentials,
    compute_engine_channel_credentials,
    dynamic_ssl_server_credentials,
    insecure_server_credentials,
    local_channel_credentials,
    local_server_credentials,
    ssl_channel_credentials,
    ssl_server_certificate_configuration,
    ssl_server_credentials,
    xds_channel_credentials,
    xds_server_credentials,
)
from pygrpc.errors import RpcError
from pygrpc.handlers import (
    GenericRpcHandler,
    HandlerCallDetails,
    RpcMethodHandler,
    ServiceRpcHandler,
    method_handlers_generic_handler,
    stream_stream_rpc_method_handler,
    stream_unary_rpc_method_handler,
    unary_stream_rpc_method_handler,
    unary_unary_rpc_method_handler,
)
from pygrpc.interceptors import intercept_channel
from pygrpc.interfaces import (
    AuthMetadataContext,
    AuthMetadataPlugin,
    AuthMetadataPluginCallback,
    Call,
    Channel,
    ClientCallDetails,
    Future,
    FutureCancelledError,
    FutureTimeoutError,
    LocalConnectionType,
    RpcContext,
    Server,
    ServerInterceptor,
    ServicerContext,
    Status,
    StreamStreamClientInterceptor,
    StreamStreamMultiCallable,
    StreamUnaryClientInterceptor,
    StreamUnaryMultiCallable,
    UnaryStreamClientInterceptor,
    UnaryStreamMultiCallable,
    UnaryUnaryClientInterceptor,
    UnaryUnaryMultiCallable,
)
from pygrpc.options import ChannelArguments, parse_options
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.workers import run_workers as run_workers

# As is custom for libraries: who configures no logging gets nothing on stderr, as with grpcio.
logging.getLogger("pygrpc").addHandler(logging.NullHandler())
# But for who asks for it by grpcio's environment variables.
_verbosity.apply(os.environ, logging.getLogger("pygrpc"))

# What ``from pygrpc import *`` gives is what ``from grpc import *`` gives.
__all__ = [
    "AuthMetadataContext",
    "AuthMetadataPlugin",
    "AuthMetadataPluginCallback",
    "Call",
    "CallCredentials",
    "Channel",
    "ChannelConnectivity",
    "ChannelCredentials",
    "ClientCallDetails",
    "Compression",
    "Future",
    "FutureCancelledError",
    "FutureTimeoutError",
    "GenericRpcHandler",
    "HandlerCallDetails",
    "LocalConnectionType",
    "RpcContext",
    "RpcError",
    "RpcMethodHandler",
    "Server",
    "ServerCertificateConfiguration",
    "ServerCredentials",
    "ServerInterceptor",
    "ServiceRpcHandler",
    "ServicerContext",
    "Status",
    "StatusCode",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
    "access_token_call_credentials",
    "alts_channel_credentials",
    "alts_server_credentials",
    "channel_ready_future",
    "composite_call_credentials",
    "composite_channel_credentials",
    "compute_engine_channel_credentials",
    "dynamic_ssl_server_credentials",
    "insecure_channel",
    "insecure_server_credentials",
    "intercept_channel",
    "local_channel_credentials",
    "local_server_credentials",
    "metadata_call_credentials",
    "method_handlers_generic_handler",
    "protos",
    "protos_and_services",
    "secure_channel",
    "server",
    "services",
    "ssl_channel_credentials",
    "ssl_server_certificate_configuration",
    "ssl_server_credentials",
    "stream_stream_rpc_method_handler",
    "stream_unary_rpc_method_handler",
    "unary_stream_rpc_method_handler",
    "unary_unary_rpc_method_handler",
    "xds_channel_credentials",
    "xds_server_credentials",
]


# The sync shell is imported when it is first needed: a program that only uses asyncio does without its threads.


def insecure_channel(
    target: str, options: ChannelArguments | None = None, compression: Compression | None = None
) -> Channel:
    """Makes a channel without encryption; it connects when it is first used, and may be used by any thread.

    Args:
        target: Where the server is, for example ``localhost:50051`` or ``unix:/run/server.sock``.
        options: Pairs of option and value, as in grpcio.
        compression: The algorithm for the requests of calls that don't choose their own.

    Raises:
        ValueError: An option can't be understood; the text says why.
    """
    from pygrpc import sync

    others, _ = split_options(options)
    return sync.Channel(target, parse_options(others, compression))


def secure_channel(
    target: str,
    credentials: ChannelCredentials,
    options: ChannelArguments | None = None,
    compression: Compression | None = None,
) -> Channel:
    """Makes a channel that is secured by credentials; it connects when it is first used, and may be used by any thread.

    Args:
        target: Where the server is, for example ``localhost:50051``.
        credentials: For example ``ssl_channel_credentials()``.
        options: Pairs of option and value, as in grpcio.
        compression: The algorithm for the requests of calls that don't choose their own.

    Raises:
        ValueError: An option can't be understood; the text says why.
        TypeError: The credentials are none.
        NotImplementedError: The credentials can't be used here; the text says why.
    """
    from pygrpc import sync

    others, tls_options = split_options(options)
    return sync.Channel(target, parse_options(others, compression), ClientSecurity(credentials, tls_options))


def server(
    thread_pool: Executor,
    handlers: Sequence[GenericRpcHandler] | None = None,
    interceptors: Sequence[ServerInterceptor] | None = None,
    options: ChannelArguments | None = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Compression | None = None,
    xds: bool = False,
) -> Server:
    """Makes a server; add handlers and ports, then start it.

    Args:
        thread_pool: Where handlers run, for example a ThreadPoolExecutor.
        handlers: Generic handlers to begin with.
        interceptors: Step between the server and its handlers; the first one is asked first.
        options: Pairs of option and value, as in grpcio.
        maximum_concurrent_rpcs: Calls beyond this number are refused with RESOURCE_EXHAUSTED; None for no limit.
        compression: The algorithm for the responses of calls that don't choose their own.
        xds: Has no effect: there is never an xDS control plane that the server could ask.

    Raises:
        ValueError: An option can't be understood, or an interceptor is none; the text says why.
    """
    from pygrpc import sync

    return sync.server(thread_pool, handlers, interceptors, options, maximum_concurrent_rpcs, compression)


def channel_ready_future(channel: Channel) -> Future:
    """Makes a future that is done when the channel is connected; the channel connects if it is idle.

    Args:
        channel: The channel. Cancelling the future leaves it as it is.
    """
    from pygrpc import sync

    return sync.channel_ready_future(channel)


def __getattr__(name: str) -> Any:
    if name == "run_workers":
        # Only the program at the top needs it, and multiprocessing with it.
        from pygrpc.workers import run_workers

        return run_workers
    # Programs use modules without importing them: generated code grpc.experimental, others grpc._channel.
    try:
        return compat.load(f"grpc.{name}")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


class _CallableModule(ModuleType):
    """The package ``pygrpc.services``, which must also be what ``grpc.services`` is: a function."""

    def __call__(self, protobuf_path: str) -> ModuleType:
        """Does what the function does."""
        return _services(protobuf_path)


class _Module(ModuleType):
    """This module, where the import system puts the package in place of the function of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Keeps what is put there callable."""
        if name == "services" and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


_services = services
sys.modules[__name__].__class__ = _Module
