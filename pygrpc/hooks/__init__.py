"""One kind of interceptor for all calls: client and server, sync and asyncio, whatever streams.

The interceptors of grpc have eight methods with different parameters, and see a call only at its beginning. Here, a
function is told that a call begins, and returns an object whose methods are told of each request, each response and the
end, with status and trailing metadata. So logging, metrics, tracing and the like are written once::

    class Timing(hooks.CallHooks):
        def __init__(self, call):
            self.method, self.begun = call.method, time.monotonic()

        def on_end(self, end):
            print(self.method, end.code, time.monotonic() - self.begun)

    channel = pygrpc.intercept_channel(channel, hooks.client_interceptor(Timing))
    channel = pygrpc.aio.insecure_channel(target, interceptors=[hooks.aio_client_interceptor(Timing)])
    server = pygrpc.server(pool, interceptors=[hooks.server_interceptor(Timing)])
    server = pygrpc.aio.server(interceptors=[hooks.aio_server_interceptor(Timing)])

The methods must not block: those for asyncio run in the event loop.
"""

from pygrpc.hooks._aio_client import aio_client_interceptor
from pygrpc.hooks._aio_server import aio_server_interceptor
from pygrpc.hooks._client import client_interceptor
from pygrpc.hooks._server import server_interceptor
from pygrpc.hooks._types import Begin, CallEnd, CallHooks, CallInfo

__all__ = [
    "Begin",
    "CallEnd",
    "CallHooks",
    "CallInfo",
    "aio_client_interceptor",
    "aio_server_interceptor",
    "client_interceptor",
    "server_interceptor",
]
