"""What goes wrong in the user service, as the status of a call with details that a program can read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc import StatusCode, aio
from pygrpc.services import errors
from pygrpc.services.errors import RequestError
from pygrpc.services.users.store import EmailTaken, UserNotFound

DOMAIN = "user.v1.UserService"
_USER_TYPE = "user.v1.User"


def too_large(message: str) -> RequestError:
    """Returns the error of a request that is refused for its size: RESOURCE_EXHAUSTED."""
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, ErrorInfo(reason="BATCH_TOO_LARGE", domain=DOMAIN))


def email_taken(error: EmailTaken) -> RequestError:
    """Returns the error of an e-mail address that another user has: ALREADY_EXISTS."""
    return RequestError(
        StatusCode.ALREADY_EXISTS,
        str(error),
        ErrorInfo(reason="EMAIL_TAKEN", domain=DOMAIN, metadata={"existing_user_id": error.holder}),
        ResourceInfo(resource_type=_USER_TYPE, resource_name=error.email, description="belongs to another user"),
    )


def translated(error: Exception) -> RequestError | None:
    """Returns the status of an error that the parts of the service raise, None if it is not one of theirs."""
    match error:
        case UserNotFound():
            return RequestError(
                StatusCode.NOT_FOUND,
                str(error),
                ErrorInfo(reason="USER_NOT_FOUND", domain=DOMAIN),
                ResourceInfo(resource_type=_USER_TYPE, resource_name=error.user_id, description="does not exist"),
            )
        case EmailTaken():
            return email_taken(error)
        case _:
            return errors.common(error, DOMAIN, "user database")


def answering(context: aio.ServicerContext[Any, Any]) -> AbstractAsyncContextManager[None]:
    """Ends the call with the right status if the body raises one of the errors above."""
    return errors.answering(context, translated)
