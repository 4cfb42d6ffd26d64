"""An id for each request, by which it is found in the logs of all who had to do with it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from pygrpc import aio
from pygrpc.services.guards.calls import current_request_id, entered

KEY = "x-request-id"

_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def new_request_id() -> str:
    """Makes an id that nobody else has: 32 hexadecimal digits."""
    return secrets.token_hex(16)


class RequestIds(aio.ServerInterceptor):
    """Gives each call the id that its client has sent, or a new one, and tells the client.

    What a client sends counts if it is 1 to 128 letters, digits and `._:/+=@-`. The id goes back in the initial
    metadata; a call that fails before it has any has it in the trailing metadata. `current_request_id()` returns it.
    """

    def __init__(self, key: str = KEY, make: Callable[[], str] = new_request_id) -> None:
        """Makes the guard.

        Args:
            key: Of the metadata.
            make: Makes a new id.
        """
        self._key = key
        self._make = make

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Lets each call pass."""
        call = entered(handler_call_details)
        call.request_id = self._sent(call.details.invocation_metadata) or self._make()
        call.details.add_initial_metadata(((self._key, call.request_id),))
        return await continuation(handler_call_details)

    def _sent(self, metadata: Any) -> str:
        for key, value in metadata:
            if key == self._key and isinstance(value, str) and _SANE.fullmatch(value):
                return value
        return ""


class PropagatedRequestIds(
    aio.UnaryUnaryClientInterceptor,
    aio.UnaryStreamClientInterceptor,
    aio.StreamUnaryClientInterceptor,
    aio.StreamStreamClientInterceptor,
):
    """Sends the id of the request that is being served with the calls that its handler makes."""

    def __init__(self, key: str = KEY) -> None:
        """Makes the interceptor, for channels of `pygrpc.aio`.

        Args:
            key: Of the metadata.
        """
        self._key = key

    def _with_id(self, details: Any) -> Any:
        request_id = current_request_id()
        sent = tuple(details.metadata or ())
        if not request_id or any(key == self._key for key, _ in sent):
            return details
        return details._replace(metadata=aio.Metadata(*sent, (self._key, request_id)))

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Adds the id."""
        return await continuation(self._with_id(client_call_details), request)

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Adds the id."""
        return await continuation(self._with_id(client_call_details), request)

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Adds the id."""
        return await continuation(self._with_id(client_call_details), request_iterator)

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Adds the id."""
        return await continuation(self._with_id(client_call_details), request_iterator)
