from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.errors import StoreError, Violation, invalid
from pygrpc.services.orders import errors
from pygrpc.services.orders.store import BookFull, KeyReused, Order, OrderNotFound, Status, WrongState
from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown

ORDER = Order(1, "o", "ann", None, "EUR", (), Status.SHIPPED, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (OrderNotFound("o"), "NOT_FOUND", "ORDER_NOT_FOUND", 'there is no order "o"'),
        (
            KeyReused("o"),
            "ALREADY_EXISTS",
            "IDEMPOTENCY_KEY_REUSED",
            "the idempotency key was used for another order",
        ),
        (WrongState(ORDER, "is SHIPPED"), "FAILED_PRECONDITION", "WRONG_STATE", 'order "o" is SHIPPED'),
        (
            BookFull(9),
            "RESOURCE_EXHAUSTED",
            "BOOK_FULL",
            "9 orders wait on this side of the book, and there may not be more",
        ),
        (errors.too_large("too large"), "RESOURCE_EXHAUSTED", "IMPORT_TOO_LARGE", "too large"),
        (
            errors.too_many_orders(9),
            "RESOURCE_EXHAUSTED",
            "TOO_MANY_ORDERS",
            "9 orders of this call are in the book: cancel some, or use another call",
        ),
        (ReaderTooSlow(), "RESOURCE_EXHAUSTED", "READER_TOO_SLOW", "the client reads too slowly"),
        (ShuttingDown(), "UNAVAILABLE", "SHUTTING_DOWN", "the server is shutting down"),
        (StoreError("disk"), "UNAVAILABLE", "STORAGE_FAILED", "the order database does not work at the moment"),
    ],
)
def test_each_error_has_a_status(error: Exception, code: str, reason: str, message: str) -> None:
    failure = errors.translated(error)
    assert failure is not None
    assert (failure.code.name, failure.message) == (code, message)
    info = ErrorInfo()
    assert failure.as_status().details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "order.v1.OrderService")
    assert errors.reason_of(failure) == reason


def test_other_errors_are_not_translated() -> None:
    assert errors.translated(ZeroDivisionError()) is None


def test_an_error_may_have_no_reason() -> None:
    assert errors.reason_of(invalid([Violation("field", "is wrong")])) == ""
