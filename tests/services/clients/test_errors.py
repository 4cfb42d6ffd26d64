"""Errors of calls, as people and as programs read them."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from pygrpc import RpcError, StatusCode
from pygrpc.aio import AioRpcError, Metadata
from pygrpc.services.clients.errors import FieldViolation, ServiceError


def error(code: StatusCode, message: str, *details: Message) -> ServiceError:
    """Returns the error of a call that ended with a status."""
    status = Status(code=code.value[0], message=message)
    for each in details:
        packed = AnyMessage()
        packed.Pack(each)
        status.details.append(packed)
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()), ("other", "kept"))
    return ServiceError.of(AioRpcError(code, Metadata(), trailers, message), "host:1", "id-1")


def violations(*pairs: tuple[str, str]) -> BadRequest:
    found = BadRequest()
    for field, description in pairs:
        found.field_violations.add(field=field, description=description)
    return found


def test_a_program_finds_everything() -> None:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    found = error(
        StatusCode.RESOURCE_EXHAUSTED,
        "too fast",
        violations(("name", "must not be empty")),
        ErrorInfo(reason="RATE_LIMITED", domain="chat", metadata={"limit": "20"}),
        retry,
    )
    assert isinstance(found, RpcError)
    assert (found.code, found.message) == (StatusCode.RESOURCE_EXHAUSTED, "too fast")
    assert found.violations == (FieldViolation("name", "must not be empty"),)
    assert (found.reason, found.info) == ("RATE_LIMITED", {"limit": "20"})
    assert found.retry_after == 1.5
    assert (found.target, found.request_id) == ("host:1", "id-1")
    assert found.trailing_metadata["other"] == "kept"


def test_an_error_without_details() -> None:
    found = ServiceError.of(AioRpcError(StatusCode.INTERNAL), "host:1", "id-1")
    assert (found.violations, found.reason, found.info, found.retry_after) == ((), "", {}, None)
    assert str(found) == "the call ended with INTERNAL"


def test_damaged_and_unknown_details_are_left_out() -> None:
    status = Status(code=3, message="no")
    status.details.add(type_url="type.googleapis.com/some.Other", value=b"x")
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()), ("grpc-status-details-bin", b"\xff"))
    found = ServiceError.of(AioRpcError(StatusCode.INVALID_ARGUMENT, None, trailers, "no"), "host:1", "")
    assert found.details == ()
    assert str(found) == "no"


def test_a_delay_below_nothing_is_none() -> None:
    retry = RetryInfo()
    retry.retry_delay.seconds = -5
    assert error(StatusCode.UNAVAILABLE, "later", retry).retry_after == 0.0


@pytest.mark.parametrize(
    ("code", "message", "details", "sentence"),
    [
        (StatusCode.NOT_FOUND, 'there is no user "x"', (), 'there is no user "x"'),
        (StatusCode.UNAVAILABLE, "refused", (), "the server host:1 is not available: refused"),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", (), "the server host:1 did not answer in time"),
        (StatusCode.DEADLINE_EXCEEDED, "no message came", (), "no message came"),
        (
            StatusCode.UNIMPLEMENTED,
            "Method not found!",
            (),
            "the server host:1 does not serve this method: Method not found!",
        ),
        (StatusCode.UNAUTHENTICATED, "no token", (), "the server host:1 does not accept who this is: no token"),
        (
            StatusCode.INVALID_ARGUMENT,
            "name must not be empty",
            (violations(("name", "must not be empty")),),
            "name must not be empty",
        ),
        (
            StatusCode.INVALID_ARGUMENT,
            "name must not be empty (and 1 more)",
            (violations(("name", "must not be empty"), ("email", "must be an address")),),
            "the request was refused: name must not be empty; email must be an address",
        ),
    ],
)
def test_its_text_is_a_sentence(code: StatusCode, message: str, details: tuple[Message, ...], sentence: str) -> None:
    assert str(error(code, message, *details)) == sentence


def test_the_sentence_says_when_to_try_again() -> None:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(2500)
    assert str(error(StatusCode.RESOURCE_EXHAUSTED, "too fast", retry)) == "too fast; try again in 2.5 s"
