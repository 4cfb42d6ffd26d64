"""What stands for ``grpc._server``."""

from collections.abc import Iterable
from typing import Any

from pygrpc.sync.server import Server as _Server
from pygrpc.sync.server import _CallDetails as _HandlerCallDetails
from pygrpc.sync.servicer import ServicerContext as _Context
from pygrpc.sync.servicer import _Requests as _RequestIterator

__all__ = ["_Context", "_HandlerCallDetails", "_RequestIterator", "_Server", "_validate_generic_rpc_handlers"]


def _validate_generic_rpc_handlers(generic_rpc_handlers: Iterable[Any]) -> None:
    """Refuses what is no generic handler; servers that tests of programs make up call this.

    Raises:
        AttributeError: One of them has no method ``service``.
    """
    for handler in generic_rpc_handlers:
        if getattr(handler, "service", None) is None:
            raise AttributeError(
                f"{handler!r} has no method 'service', so it is no grpc.GenericRpcHandler: make handlers with "
                "grpc.method_handlers_generic_handler, or derive from grpc.GenericRpcHandler."
            )
