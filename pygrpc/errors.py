"""Errors of both APIs.

Exception
    RpcError                 a call ended with a status other than OK
        aio.AioRpcError      the same, raised by the asyncio API
"""


class RpcError(Exception):
    """Raised when a call ends with a status other than OK."""
