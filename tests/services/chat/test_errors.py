from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.chat import errors
from pygrpc.services.chat.store import KeyTaken, NotInRoom, RoomNotFound, RoomTaken, TooMany
from pygrpc.services.errors import StoreError
from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (RoomNotFound("r"), "NOT_FOUND", "ROOM_NOT_FOUND", "Room r not found"),
        (RoomTaken("r"), "ALREADY_EXISTS", "ROOM_TAKEN", "Room r exists already"),
        (NotInRoom("u", "r"), "FAILED_PRECONDITION", "NOT_IN_ROOM", "User u not in room r"),
        (KeyTaken("k"), "ALREADY_EXISTS", "KEY_TAKEN", 'another message was sent with the idempotency key "k"'),
        (TooMany("room r is full"), "RESOURCE_EXHAUSTED", "LIMIT_REACHED", "room r is full"),
        (errors.too_fast(1_500_000_000), "RESOURCE_EXHAUSTED", "RATE_LIMITED", "too many messages in a short time"),
        (ReaderTooSlow(), "RESOURCE_EXHAUSTED", "READER_TOO_SLOW", "the client reads too slowly"),
        (ShuttingDown(), "UNAVAILABLE", "SHUTTING_DOWN", "the server is shutting down"),
        (StoreError("disk"), "UNAVAILABLE", "STORAGE_FAILED", "the chat database does not work at the moment"),
    ],
)
def test_each_error_has_a_status(error: Exception, code: str, reason: str, message: str) -> None:
    failure = errors.translated(error)
    assert failure is not None
    assert (failure.code.name, failure.message) == (code, message)
    info = ErrorInfo()
    assert failure.as_status().details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "chat.v1.ChatService")


def test_other_errors_are_not_translated() -> None:
    assert errors.translated(ZeroDivisionError()) is None
