"""gRPC over HTTP/2 in pure Python.

``pygrpc`` has the names of ``grpc``, ``pygrpc.aio`` those of ``grpc.aio``.
"""

from pygrpc import aio
from pygrpc._version import GRPC_API_VERSION as __version__
from pygrpc._version import PYGRPC_VERSION
from pygrpc.compression import Compression
from pygrpc.connectivity import ChannelConnectivity
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
from pygrpc.status import StatusCode

__all__ = [
    "PYGRPC_VERSION",
    "ChannelConnectivity",
    "Compression",
    "GenericRpcHandler",
    "HandlerCallDetails",
    "RpcError",
    "RpcMethodHandler",
    "ServiceRpcHandler",
    "StatusCode",
    "__version__",
    "aio",
    "method_handlers_generic_handler",
    "stream_stream_rpc_method_handler",
    "stream_unary_rpc_method_handler",
    "unary_stream_rpc_method_handler",
    "unary_unary_rpc_method_handler",
]
