"""What goes wrong in the chat service, as the status of a call with details that a program can read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo, RetryInfo

from pygrpc import StatusCode, aio
from pygrpc.services import errors
from pygrpc.services.chat.store import KeyTaken, NotInRoom, RoomNotFound, RoomTaken, TooMany
from pygrpc.services.errors import RequestError

DOMAIN = "chat.v1.ChatService"
_ROOM_TYPE = "chat.v1.Room"


def too_fast(wait: int) -> RequestError:
    """Returns the error of a user who sends too much: RESOURCE_EXHAUSTED with RetryInfo.

    Args:
        wait: When the next message will be accepted, in nanoseconds from now.
    """
    retry = RetryInfo()
    retry.retry_delay.FromNanoseconds(wait)
    info = ErrorInfo(reason="RATE_LIMITED", domain=DOMAIN)
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, "too many messages in a short time", info, retry)


def translated(error: Exception) -> RequestError | None:
    """Returns the status of an error that the parts of the service raise, None if it is not one of theirs."""
    match error:
        case RoomNotFound():
            return RequestError(
                StatusCode.NOT_FOUND,
                str(error),
                ErrorInfo(reason="ROOM_NOT_FOUND", domain=DOMAIN),
                ResourceInfo(resource_type=_ROOM_TYPE, resource_name=error.room_id, description="does not exist"),
            )
        case RoomTaken():
            return RequestError(
                StatusCode.ALREADY_EXISTS,
                str(error),
                ErrorInfo(reason="ROOM_TAKEN", domain=DOMAIN),
                ResourceInfo(resource_type=_ROOM_TYPE, resource_name=error.room_id, description="exists already"),
            )
        case NotInRoom():
            info = ErrorInfo(reason="NOT_IN_ROOM", domain=DOMAIN)
            return RequestError(StatusCode.FAILED_PRECONDITION, str(error), info)
        case KeyTaken():
            info = ErrorInfo(reason="KEY_TAKEN", domain=DOMAIN)
            return RequestError(StatusCode.ALREADY_EXISTS, str(error), info)
        case TooMany():
            info = ErrorInfo(reason="LIMIT_REACHED", domain=DOMAIN)
            return RequestError(StatusCode.RESOURCE_EXHAUSTED, str(error), info)
        case _:
            return errors.common(error, DOMAIN, "chat database")


def answering(context: aio.ServicerContext[Any, Any]) -> AbstractAsyncContextManager[None]:
    """Ends the call with the right status if the body raises one of the errors above."""
    return errors.answering(context, translated)
