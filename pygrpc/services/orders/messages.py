"""Records of the store as messages of the contract, and the other way."""

from __future__ import annotations

import uuid

from pygrpc.services.orders.book import Level, Side
from pygrpc.services.orders.money import money_of, ticks_of
from pygrpc.services.orders.store import Change, Item, NewOrder, Order, Placed, Status, Trade
from pygrpc.services.protos.order.v1 import order_pb2


def new_order(request: order_pb2.CreateOrderRequest) -> NewOrder:
    """Returns the order that a request, which was checked, asks for."""
    return NewOrder(
        str(uuid.uuid4()),
        request.user_id,
        Side(request.side) if request.side else None,
        request.items[0].price.currency_code,
        tuple(Item(item.product_id, item.quantity, ticks_of(item.price)) for item in request.items),
        request.idempotency_key,
    )


def order_message(order: Order) -> order_pb2.Order:
    """Returns an order."""
    message = order_pb2.Order(
        id=order.order_id,
        user_id=order.user_id,
        status=_status(order.status),
        total=money_of(order.total, order.currency),
        side=None if order.side is None else _side(order.side),
        filled_quantity=order.filled,
        revision=order.revision,
    )
    for item in order.items:
        price = money_of(item.price, order.currency)
        message.items.add(product_id=item.product_id, quantity=item.quantity, price=price)
    message.created_at.FromMicroseconds(order.created_at)
    message.updated_at.FromMicroseconds(order.updated_at)
    return message


def trade_message(trade: Trade) -> order_pb2.Trade:
    """Returns a trade."""
    message = order_pb2.Trade(
        id=trade.trade_id,
        product_id=trade.instrument.product_id,
        quantity=trade.quantity,
        price=money_of(trade.price, trade.instrument.currency),
        buy_order_id=trade.buy_order_id,
        sell_order_id=trade.sell_order_id,
        taker_side=_side(trade.taker_side),
    )
    message.traded_at.FromMicroseconds(trade.at)
    return message


def created_message(placed: Placed) -> order_pb2.CreateOrderResponse:
    """Returns what became of a new order."""
    trades = map(trade_message, placed.trades)
    return order_pb2.CreateOrderResponse(order=order_message(placed.order), trades=trades, existed=placed.existed)


def state_message(order: Order) -> order_pb2.OrderStatusUpdate:
    """Returns the state of an order as a watch begins with it."""
    message = order_pb2.OrderStatusUpdate(
        order_id=order.order_id,
        new_status=_status(order.status),
        revision=order.revision,
        filled_quantity=order.filled,
    )
    message.updated_at.FromMicroseconds(order.updated_at)
    return message


def update_message(change: Change) -> order_pb2.OrderStatusUpdate:
    """Returns a change of an order."""
    message = order_pb2.OrderStatusUpdate(
        order_id=change.order_id,
        old_status=_status(change.old_status),
        new_status=_status(change.new_status),
        message=change.message,
        revision=change.revision,
        filled_quantity=change.filled,
        trade=None if change.trade is None else trade_message(change.trade),
    )
    message.updated_at.FromMicroseconds(change.at)
    return message


def level_message(level: Level, currency: str) -> order_pb2.PriceLevel:
    """Returns what waits at a price."""
    return order_pb2.PriceLevel(
        price=money_of(level.price, currency), quantity=level.quantity, order_count=level.orders
    )


def _status(status: Status) -> str:
    return f"ORDER_STATUS_{status.name}"


def _side(side: Side) -> str:
    return f"SIDE_{side.name}"
