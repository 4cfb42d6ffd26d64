from __future__ import annotations

import logging
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo
from google.rpc.status_pb2 import Status

from pygrpc import StatusCode
from pygrpc.services.errors import RequestError, StoreError, Violation, invalid
from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from pygrpc.services.users import errors
from pygrpc.services.users.store import EmailTaken, UserNotFound


class Aborted(Exception):
    pass


class Context:
    """Notes how the call was ended."""

    def __init__(self) -> None:
        self.ended: tuple[Any, ...] = ()

    async def abort(self, *ended: Any) -> None:
        self.ended = ended
        raise Aborted


def details_of(failure: RequestError) -> list[str]:
    return [detail.TypeName() for detail in failure.as_status().details]


def test_a_bad_request_names_each_rule() -> None:
    failure = invalid([Violation("name", "must not be empty"), Violation("email", "is odd")])
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.message == "name must not be empty (and 1 more)"
    status = failure.as_status()
    assert (status.code, status.message) == (3, failure.message)
    bad_request = BadRequest()
    assert status.details[0].Unpack(bad_request)
    assert [(entry.field, entry.description) for entry in bad_request.field_violations] == [
        ("name", "must not be empty"),
        ("email", "is odd"),
    ]


def test_the_details_of_the_worst_request_fit_into_the_trailers() -> None:
    key = "\U0001f600" * 64
    violation = Violation(f'metadata["{key}"]', "must not be longer than 1024 characters")
    failure = invalid([violation] * 64)
    assert len(failure.as_status().details) == 1
    percent_coded = 3 * len(failure.message.encode())
    base64_coded = len(failure.as_status().SerializeToString()) * 4 // 3
    assert percent_coded + base64_coded < 8000


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (UserNotFound("17"), "NOT_FOUND", "USER_NOT_FOUND", 'there is no user "17"'),
        (EmailTaken("a@b.org", "17"), "ALREADY_EXISTS", "EMAIL_TAKEN", 'the e-mail address "a@b.org" is already taken'),
        (ReaderTooSlow(), "RESOURCE_EXHAUSTED", "READER_TOO_SLOW", "the client reads too slowly"),
        (ShuttingDown(), "UNAVAILABLE", "SHUTTING_DOWN", "the server is shutting down"),
        (StoreError("disk"), "UNAVAILABLE", "STORAGE_FAILED", "the user database does not work at the moment"),
        (errors.too_large("too much"), "RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE", "too much"),
    ],
)
async def test_each_error_has_a_status(error: Exception, code: str, reason: str, message: str) -> None:
    context: Any = Context()
    with pytest.raises(Aborted):
        async with errors.answering(context):
            raise error
    assert context.ended[:2] == (StatusCode[code], message)
    [(key, value)] = context.ended[2]
    assert key == "grpc-status-details-bin"
    status = Status.FromString(value)
    assert (status.code, status.message) == (StatusCode[code].value[0], message)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "user.v1.UserService")


@pytest.mark.parametrize(("error", "name"), [(UserNotFound("17"), "17"), (EmailTaken("a@b.org", "17"), "a@b.org")])
def test_the_resource_is_named(error: Exception, name: str) -> None:
    failure = errors.translated(error)
    assert failure is not None
    assert details_of(failure) == ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo"]
    resource = ResourceInfo()
    failure.as_status().details[1].Unpack(resource)
    assert (resource.resource_type, resource.resource_name) == ("user.v1.User", name)


async def test_other_errors_pass() -> None:
    context: Any = Context()
    with pytest.raises(ZeroDivisionError):
        async with errors.answering(context):
            raise ZeroDivisionError
    assert context.ended == ()


async def test_the_cause_of_a_storage_error_is_logged_and_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    context: Any = Context()
    with caplog.at_level(logging.ERROR, "pygrpc"), pytest.raises(Aborted):
        async with errors.answering(context):
            raise StoreError("disk I/O error")
    assert [record.getMessage() for record in caplog.records] == ["The user database failed: disk I/O error"]
    assert "disk" not in str(context.ended)
