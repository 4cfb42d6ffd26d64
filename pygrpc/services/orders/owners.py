"""What only the owner of an order may do, where the server knows who calls."""

from __future__ import annotations

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc import StatusCode
from pygrpc.services.callers import require_self
from pygrpc.services.errors import RequestError
from pygrpc.services.orders.errors import DOMAIN
from pygrpc.services.orders.store import Order, OrderStore
from pygrpc.services.protos.order.v1 import order_pb2


def require_own(who: str, request: order_pb2.CreateOrderRequest) -> None:
    """Lets nobody who is known place an order for somebody else.

    Args:
        who: Who makes the call; empty if that is not known.
        request: The order.

    Raises:
        RequestError: PERMISSION_DENIED; it is for somebody else.
    """
    require_self(who, request.user_id, "user_id", DOMAIN)


async def cancel_own(store: OrderStore, who: str, request: order_pb2.CancelOrderRequest) -> Order:
    """Cancels an order, but for nobody who is known and does not own it.

    Args:
        store: Where it is.
        who: Who makes the call; empty if that is not known.
        request: Which order, and why.

    Raises:
        RequestError: PERMISSION_DENIED; it is somebody else's.
        OrderNotFound: There is none.
        WrongState: It cannot be cancelled any more.
    """
    # An order never changes hands, so nothing can come between the question and the answer.
    if who and (await store.get(request.order_id)).user_id != who:
        info = ErrorInfo(reason="NOT_OWNER", domain=DOMAIN)
        raise RequestError(StatusCode.PERMISSION_DENIED, "the order belongs to somebody else", info)
    return await store.cancel(request.order_id, request.message)
