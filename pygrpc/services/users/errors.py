"""What went wrong, as the status of a call with details that a program can read.

The details follow google.rpc.Status in the trailing metadata "grpc-status-details-bin": BadRequest names each broken
rule, ErrorInfo and ResourceInfo say what is missing or taken. See google/rpc/error_details.proto and AIP-193.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo
from google.rpc.status_pb2 import Status

from pygrpc import StatusCode, aio
from pygrpc.services.users.outbox import ReaderTooSlow, ShuttingDown
from pygrpc.services.users.store import EmailTaken, StoreError, UserNotFound
from pygrpc.services.users.validation import Violation

_log = logging.getLogger(__name__)

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "user.v1.UserService"
_USER_TYPE = "user.v1.User"
# The details travel in the trailers, for which clients allow 8 KiB in all.
_MOST_VIOLATIONS = 10


class RequestError(Exception):
    """A call that ends with an error status."""

    def __init__(self, code: StatusCode, message: str, *details: Message) -> None:
        """Describes the status.

        Args:
            code: The status code; not OK.
            message: For people.
            *details: Messages of google.rpc, for programs.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_status(self) -> Status:
        """Returns the error as the message that travels in the trailing metadata."""
        status = Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        return status


def invalid(violations: Sequence[Violation]) -> RequestError:
    """Returns the error of a request that breaks rules: INVALID_ARGUMENT with BadRequest.

    Args:
        violations: At least one. No more than ten are reported.
    """
    reported = violations[:_MOST_VIOLATIONS]
    details = BadRequest()
    for violation in reported:
        details.field_violations.add(field=violation.field, description=violation.description)
    message = f"{violations[0].field} {violations[0].description}"
    if len(violations) > 1:
        message += f" (and {len(violations) - 1} more)"
    return RequestError(StatusCode.INVALID_ARGUMENT, message, details)


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
        case RequestError():
            return error
        case UserNotFound():
            return RequestError(
                StatusCode.NOT_FOUND,
                str(error),
                ErrorInfo(reason="USER_NOT_FOUND", domain=DOMAIN),
                ResourceInfo(resource_type=_USER_TYPE, resource_name=error.user_id, description="does not exist"),
            )
        case EmailTaken():
            return email_taken(error)
        case ReaderTooSlow():
            info = ErrorInfo(reason="READER_TOO_SLOW", domain=DOMAIN)
            return RequestError(StatusCode.RESOURCE_EXHAUSTED, "the client reads too slowly", info)
        case ShuttingDown():
            info = ErrorInfo(reason="SHUTTING_DOWN", domain=DOMAIN)
            return RequestError(StatusCode.UNAVAILABLE, "the server is shutting down", info)
        case StoreError():
            _log.error("The user database failed: %s", error)
            info = ErrorInfo(reason="STORAGE_FAILED", domain=DOMAIN)
            return RequestError(StatusCode.UNAVAILABLE, "the user database does not work at the moment", info)
        case _:
            return None


@asynccontextmanager
async def answering(context: aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Ends the call with the right status if the body raises one of the errors above."""
    try:
        yield
    except Exception as error:
        failure = translated(error)
        if failure is None:
            raise
        trailers = ((DETAILS_KEY, failure.as_status().SerializeToString()),)
        await context.abort(failure.code, failure.message, trailers)
