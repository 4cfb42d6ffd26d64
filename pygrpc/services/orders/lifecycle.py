"""Which status an order may have after which.

purchase      PENDING -> PROCESSING -> SHIPPED -> DELIVERED, by `advance`
              PENDING, PROCESSING -> CANCELLED
limit order   PENDING -> PARTIALLY_FILLED -> FILLED, by trades, without the middle one if one trade fills it
              PENDING, PARTIALLY_FILLED -> CANCELLED
"""

from __future__ import annotations

from pygrpc.services.orders.store import Change, Order, Status, Trade, WrongState

FINAL = frozenset({Status.DELIVERED, Status.CANCELLED, Status.FILLED})
_NEXT = {
    Status.PENDING: Status.PROCESSING,
    Status.PROCESSING: Status.SHIPPED,
    Status.SHIPPED: Status.DELIVERED,
}
_CANCELLED_FROM = frozenset({Status.PENDING, Status.PROCESSING, Status.PARTIALLY_FILLED})


def advanced(order: Order, status: Status, now: int, message: str) -> tuple[Order, Change]:
    """Moves a purchase to its next status.

    Raises:
        WrongState: It is no purchase, or that is not its next status.
    """
    if order.side is not None:
        raise WrongState(order, "is a limit order, which only trades move along")
    if _NEXT.get(order.status) is not status:
        raise WrongState(order, f"is {order.status.name}, and cannot become {status.name} from there")
    return _changed(order, status, order.filled, now, message, None)


def cancelled(order: Order, now: int, message: str) -> tuple[Order, Change]:
    """Cancels an order, or what is left of it.

    Raises:
        WrongState: It cannot be cancelled any more.
    """
    if order.status not in _CANCELLED_FROM:
        raise WrongState(order, f"is {order.status.name}, and cannot be cancelled any more")
    return _changed(order, Status.CANCELLED, order.filled, now, message, None)


def filled(order: Order, trade: Trade) -> tuple[Order, Change]:
    """Fills an order that waits with a trade."""
    total = order.filled + trade.quantity
    return _changed(order, status_of_fill(total, order.items[0].quantity), total, trade.at, "", trade)


def status_of_fill(filled: int, quantity: int) -> Status:
    """Returns the status of a limit order that was not cancelled."""
    if filled == quantity:
        return Status.FILLED
    return Status.PARTIALLY_FILLED if filled else Status.PENDING


def _changed(
    order: Order, status: Status, filled: int, now: int, message: str, trade: Trade | None
) -> tuple[Order, Change]:
    # The clock may have been set back, or be behind that of another server.
    at = max(now, order.updated_at)
    after = order._replace(status=status, filled=filled, revision=order.revision + 1, updated_at=at)
    return after, Change(0, order.order_id, after.revision, order.status, status, filled, at, message, trade)
