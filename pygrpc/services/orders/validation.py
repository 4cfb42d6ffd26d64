"""Every rule about what a request may hold. Each check returns the list of what is wrong, empty for a good request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pygrpc.services.errors import Violation, check_text
from pygrpc.services.orders.money import NANOS_PER_TICK, ticks_of
from pygrpc.services.paging import decode_token
from pygrpc.services.protos.order.v1 import order_pb2

_CURRENCY = re.compile(r"[A-Z]{3}")
_PRODUCT = re.compile(r"[A-Za-z0-9._/-]+")
_NANOS_PER_UNIT = 1_000_000_000
_BY_HAND = (order_pb2.ORDER_STATUS_PROCESSING, order_pb2.ORDER_STATUS_SHIPPED, order_pb2.ORDER_STATUS_DELIVERED)


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest values that are accepted. Lengths are in characters.

    With these, every amount is below 2**63 ticks, and a page of the largest orders stays below the 4 MiB that a client
    accepts.

    Attributes:
        id_length: Of the ids of orders, users and requests, and of idempotency keys.
        product_length: Of the ids of products.
        message_length: Of the message that goes with a change.
        items: In one order.
        quantity: Of one item.
        price: For one, in units of the currency.
        total: Of an order, in units of the currency.
        page_size: Orders in one response.
        trades: In one response.
        depth: Prices on a side of a book in one response.
        book_orders: How many orders may wait on a side of a book.
        import_lines: Orders in one import.
        import_bytes: Of the requests of one import.
        session_orders: How many orders that one MatchOrders has placed may wait.
    """

    id_length: int = 64
    product_length: int = 64
    message_length: int = 500
    items: int = 100
    quantity: int = 1_000_000_000
    price: int = 1_000_000_000
    total: int = 100_000_000_000_000
    page_size: int = 200
    trades: int = 1000
    depth: int = 1000
    book_orders: int = 10_000
    import_lines: int = 1000
    import_bytes: int = 2 * 1024 * 1024
    session_orders: int = 1000


def check_create(request: order_pb2.CreateOrderRequest, limits: Limits) -> list[Violation]:
    """Checks a request to create an order."""
    found = list(check_text("user_id", request.user_id, limits.id_length))
    found += check_text("idempotency_key", request.idempotency_key, limits.id_length, required=False)
    if request.side not in order_pb2.Side.values():
        found.append(Violation("side", "must be SIDE_BUY, SIDE_SELL, or not given"))
    if not request.items:
        found.append(Violation("items", "must not be empty"))
    elif request.side and len(request.items) > 1:
        found.append(Violation("items", "must have exactly one entry in an order that buys or sells"))
    elif len(request.items) > limits.items:
        found.append(Violation("items", f"must not have more than {limits.items} entries"))
    else:
        found += _check_items(request, limits)
    return found


def check_limit_order(request: order_pb2.CreateOrderRequest, limits: Limits) -> list[Violation]:
    """Checks a request to create an order, which has to be one that is matched."""
    found = check_create(request, limits)
    if not request.side:
        found.append(Violation("side", "must be SIDE_BUY or SIDE_SELL"))
    return found


def check_id(order_id: str, limits: Limits) -> list[Violation]:
    """Checks the id of an order. Whether there is such an order is the store's to say."""
    return list(check_text("order_id", order_id, limits.id_length))


def check_change(order_id: str, message: str, limits: Limits) -> list[Violation]:
    """Checks the order that is to be changed, and what is said about it."""
    found = check_id(order_id, limits)
    return found + list(check_text("message", message, limits.message_length, required=False, one_line=False))


def check_status(status: int) -> list[Violation]:
    """Checks the status that a purchase shall have."""
    if status in _BY_HAND:
        return []
    names = ", ".join(order_pb2.OrderStatus.Name(each) for each in _BY_HAND)
    return [Violation("status", f"must be one of {names}")]


def check_list(request: order_pb2.ListOrdersRequest, limits: Limits) -> list[Violation]:
    """Checks a request for a page of orders, page token included."""
    found = list(check_text("user_id", request.user_id, limits.id_length, required=False))
    if request.status not in order_pb2.OrderStatus.values():
        found.append(Violation("status", "is not known"))
    return found + check_page(request.page_size, request.page_token, list_of(request))


def check_trades(request: order_pb2.ListTradesRequest, limits: Limits) -> list[Violation]:
    """Checks a request for a page of trades, page token included."""
    return check_id(request.order_id, limits) + check_page(request.page_size, request.page_token, request.order_id)


def list_of(request: order_pb2.ListOrdersRequest) -> str:
    """Returns which list a request asks for, for page tokens."""
    return f"{request.status} {request.user_id}"


def check_page(size: int, token: str, of: str) -> list[Violation]:
    """Checks the size and the token of a page of a list."""
    found = [Violation("page_size", "must not be negative")] if size < 0 else []
    try:
        decode_token(token, of)
    except ValueError as error:
        found.append(Violation("page_token", str(error)))
    return found


def check_book(request: order_pb2.GetOrderBookRequest, limits: Limits) -> list[Violation]:
    """Checks which book is asked for."""
    found = list(_check_product("product_id", request.product_id, limits))
    found += _check_currency("currency_code", request.currency_code)
    if request.depth < 0:
        found.append(Violation("depth", "must not be negative"))
    return found


def check_request_id(request_id: str, limits: Limits) -> list[Violation]:
    """Checks the id that comes back in an answer."""
    length = limits.id_length
    return list(check_text("request_id", request_id, length, required=False)) if request_id else []


def _check_items(request: order_pb2.CreateOrderRequest, limits: Limits) -> Iterable[Violation]:
    found: list[Violation] = []
    for index, item in enumerate(request.items):
        found += _check_item(f"items[{index}]", item, limits, least=1 if request.side else 0)
        if item.price.currency_code != request.items[0].price.currency_code:
            found.append(Violation(f"items[{index}].price.currency_code", "must be that of the first item"))
    if not found:
        total = sum(item.quantity * ticks_of(item.price) for item in request.items)
        if total > ticks_of(order_pb2.Money(units=limits.total)):
            found.append(Violation("items", f"must not cost more than {limits.total} in all"))
    return found


def _check_item(field: str, item: order_pb2.OrderItem, limits: Limits, *, least: int) -> Iterable[Violation]:
    yield from _check_product(f"{field}.product_id", item.product_id, limits)
    if not 1 <= item.quantity <= limits.quantity:
        yield Violation(f"{field}.quantity", f"must be from 1 to {limits.quantity}")
    price = item.price
    yield from _check_currency(f"{field}.price.currency_code", price.currency_code)
    if not 0 <= price.nanos < _NANOS_PER_UNIT or price.nanos % NANOS_PER_TICK:
        last = _NANOS_PER_UNIT - NANOS_PER_TICK
        yield Violation(f"{field}.price.nanos", f"must be a multiple of {NANOS_PER_TICK} from 0 to {last}")
    elif not least <= ticks_of(price) <= ticks_of(order_pb2.Money(units=limits.price)):
        lowest = "more than 0" if least else "at least 0"
        yield Violation(f"{field}.price", f"must be {lowest} and at most {limits.price}")


def _check_currency(field: str, code: str) -> Iterable[Violation]:
    if not _CURRENCY.fullmatch(code):
        yield Violation(field, "must be three capital letters as in ISO 4217")


def _check_product(field: str, product_id: str, limits: Limits) -> Iterable[Violation]:
    found = list(check_text(field, product_id, limits.product_length))
    if not found and not _PRODUCT.fullmatch(product_id):
        found.append(Violation(field, 'may hold only letters, digits, ".", "-", "_" and "/"'))
    return found
