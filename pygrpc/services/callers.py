"""Who makes a call, for services whose requests name a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc import StatusCode, aio
from pygrpc.services.errors import RequestError

#: Returns who makes a call; empty if that is not known.
Identify: TypeAlias = Callable[[aio.ServicerContext[Any, Any]], str]


def unknown(context: aio.ServicerContext[Any, Any]) -> str:
    """Knows nobody, so that users are who they say they are."""
    return ""


def require_self(who: str, claimed: str, field: str, domain: str) -> None:
    """Lets nobody who is known act as somebody else.

    Args:
        who: Who makes the call; empty if that is not known, and then anybody may be claimed.
        claimed: Who the request says it is.
        field: Of the request that says so.
        domain: Full name of the service, for ErrorInfo.

    Raises:
        RequestError: PERMISSION_DENIED; they are not the same.
    """
    if who and claimed != who:
        info = ErrorInfo(reason="NOT_THE_CALLER", domain=domain)
        raise RequestError(StatusCode.PERMISSION_DENIED, f"{field} must be the name of the caller", info)
