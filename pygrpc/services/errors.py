"""What every service says when something went wrong: a status with details that a program can read.

The details follow google.rpc.Status in the trailing metadata "grpc-status-details-bin": BadRequest names each broken
rule, ErrorInfo and ResourceInfo say what is missing or taken. See google/rpc/error_details.proto and AIP-193.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from pygrpc import StatusCode, aio
from pygrpc.services.outbox import ChangesMissed, ReaderTooSlow, ShuttingDown

_log = logging.getLogger(__name__)

DETAILS_KEY = "grpc-status-details-bin"
# The details travel in the trailers, for which clients allow 8 KiB in all.
_MOST_VIOLATIONS = 10
_LINE_BREAKS = "\t\n\r"


class StoreError(Exception):
    """The storage cannot be opened, read or written; the text is one sentence that says why."""


class Violation(NamedTuple):
    """One broken rule: `field` is the path in the request, as google.rpc.BadRequest has it.

    The description never repeats the value, which may be long or secret.
    """

    field: str
    description: str


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

    def as_abort(self) -> tuple[StatusCode, str, tuple[tuple[str, bytes], ...]]:
        """Returns the error as the arguments of `context.abort`."""
        return self.code, self.message, ((DETAILS_KEY, self.as_status().SerializeToString()),)


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


def common(error: Exception, domain: str, store: str) -> RequestError | None:
    """Returns the status of an error that any service may meet, None if it is not one of these.

    Args:
        error: What was raised.
        domain: Full name of the service, for ErrorInfo.
        store: What the storage is called in a sentence: "user database".
    """
    match error:
        case RequestError():
            return error
        case ReaderTooSlow():
            info = ErrorInfo(reason="READER_TOO_SLOW", domain=domain)
            return RequestError(StatusCode.RESOURCE_EXHAUSTED, "the client reads too slowly", info)
        case ChangesMissed():
            info = ErrorInfo(reason="CHANGES_MISSED", domain=domain)
            return RequestError(StatusCode.UNAVAILABLE, "the server has missed changes: begin anew", info)
        case ShuttingDown():
            info = ErrorInfo(reason="SHUTTING_DOWN", domain=domain)
            return RequestError(StatusCode.UNAVAILABLE, "the server is shutting down", info)
        case StoreError():
            _log.error("The %s failed: %s", store, error)
            info = ErrorInfo(reason="STORAGE_FAILED", domain=domain)
            return RequestError(StatusCode.UNAVAILABLE, f"the {store} does not work at the moment", info)
        case _:
            return None


@asynccontextmanager
async def answering(
    context: aio.ServicerContext[Any, Any], translated: Callable[[Exception], RequestError | None]
) -> AsyncIterator[None]:
    """Ends the call with the right status if the body raises an error that `translated` knows."""
    try:
        yield
    except Exception as error:
        failure = translated(error)
        if failure is None:
            raise
        await context.abort(*failure.as_abort())


def require(violations: Sequence[Violation]) -> None:
    """Raises INVALID_ARGUMENT if there is a violation."""
    if violations:
        raise invalid(violations)


def check_text(
    field: str, value: str, length: int, *, required: bool = True, one_line: bool = True
) -> Iterable[Violation]:
    """Checks a text: not empty, not too long, no control characters (line breaks and tabs may be in a long text)."""
    if required and not value.strip():
        yield Violation(field, "must not be empty")
    elif len(value) > length:
        yield Violation(field, f"must not be longer than {length} characters")
    elif any(unicodedata.category(char) == "Cc" and (one_line or char not in _LINE_BREAKS) for char in value):
        yield Violation(field, "must not contain control characters")
