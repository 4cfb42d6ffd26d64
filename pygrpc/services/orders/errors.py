"""What goes wrong in the order service, as the status of a call with details that a program can read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc import StatusCode, aio
from pygrpc.services import errors
from pygrpc.services.errors import RequestError
from pygrpc.services.orders.store import BookFull, KeyReused, OrderNotFound, WrongState
from pygrpc.services.protos.order.v1 import order_pb2

DOMAIN = "order.v1.OrderService"
_ORDER_TYPE = "order.v1.Order"


def _info(reason: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)


def too_large(message: str) -> RequestError:
    """Returns the error of an import that is refused for its size: RESOURCE_EXHAUSTED."""
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, _info("IMPORT_TOO_LARGE"))


def too_many_orders(most: int) -> RequestError:
    """Returns the error of a MatchOrders that has enough orders to follow: RESOURCE_EXHAUSTED."""
    message = f"{most} orders of this call are in the book: cancel some, or use another call"
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, _info("TOO_MANY_ORDERS"))


def translated(error: Exception) -> RequestError | None:
    """Returns the status of an error that the parts of the service raise, None if it is not one of theirs."""
    match error:
        case OrderNotFound():
            resource = ResourceInfo(
                resource_type=_ORDER_TYPE, resource_name=error.order_id, description="does not exist"
            )
            return RequestError(StatusCode.NOT_FOUND, str(error), _info("ORDER_NOT_FOUND"), resource)
        case KeyReused():
            resource = ResourceInfo(
                resource_type=_ORDER_TYPE, resource_name=error.order_id, description="has the idempotency key"
            )
            return RequestError(StatusCode.ALREADY_EXISTS, str(error), _info("IDEMPOTENCY_KEY_REUSED"), resource)
        case WrongState():
            info = _info("WRONG_STATE", status=order_pb2.OrderStatus.Name(error.status.value))
            return RequestError(StatusCode.FAILED_PRECONDITION, str(error), info)
        case BookFull():
            return RequestError(StatusCode.RESOURCE_EXHAUSTED, str(error), _info("BOOK_FULL"))
        case _:
            return errors.common(error, DOMAIN, "order database")


def reason_of(failure: RequestError) -> str:
    """Returns the reason of the ErrorInfo, empty if there is none."""
    return next((detail.reason for detail in failure.details if isinstance(detail, ErrorInfo)), "")


def answering(context: aio.ServicerContext[Any, Any]) -> AbstractAsyncContextManager[None]:
    """Ends the call with the right status if the body raises one of the errors above."""
    return errors.answering(context, translated)
