from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.orders import Limits, validation
from pygrpc.services.orders.money import ticks_of
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.support import BUY, limit, purchase

LIMITS = Limits()


def money(units: int = 1, nanos: int = 0, currency_code: str = "EUR") -> order_pb2.Money:
    return order_pb2.Money(currency_code=currency_code, units=units, nanos=nanos)


def with_item(side: int = 0, **given: Any) -> order_pb2.CreateOrderRequest:
    """A request that is good but for what is given."""
    item = order_pb2.OrderItem(**({"product_id": "apple", "quantity": 1, "price": money()} | given))
    return order_pb2.CreateOrderRequest(user_id="ann", side=side, items=[item])


@pytest.mark.parametrize(
    "request_message",
    [
        purchase(),
        limit(BUY),
        with_item(product_id="a" * 64),
        with_item(product_id="BTC/EUR.spot_1-2"),
        with_item(quantity=10**5, price=money(10**9)),
        with_item(price=money(0)),
        with_item(BUY, price=money(0, 100_000)),
        with_item(price=money(0, 999_900_000)),
    ],
)
def test_good_orders(request_message: order_pb2.CreateOrderRequest) -> None:
    assert validation.check_create(request_message, LIMITS) == []


@pytest.mark.parametrize(
    ("request_message", "field", "description"),
    [
        (with_item(product_id=""), "items[0].product_id", "must not be empty"),
        (with_item(product_id="a" * 65), "items[0].product_id", "must not be longer than 64 characters"),
        (with_item(product_id="ä"), "items[0].product_id", "may hold only letters, digits"),
        (with_item(quantity=0), "items[0].quantity", "must be from 1 to 1000000000"),
        (with_item(quantity=-1), "items[0].quantity", "must be from 1 to"),
        (with_item(quantity=10**9 + 1), "items[0].quantity", "must be from 1 to"),
        (with_item(price=money(10**9, 100_000)), "items[0].price", "must be at least 0 and at most 1000000000"),
        (with_item(price=money(-1)), "items[0].price", "must be at least 0"),
        (with_item(price=money(-(2**63))), "items[0].price", "must be at least 0"),
        (with_item(price=money(2**63 - 1)), "items[0].price", "at most"),
        (with_item(BUY, price=money(0)), "items[0].price", "must be more than 0"),
        (with_item(price=money(1, 1)), "items[0].price.nanos", "must be a multiple of 100000 from 0 to 999900000"),
        (with_item(price=money(1, -100_000)), "items[0].price.nanos", "must be a multiple"),
        (with_item(price=money(1, 10**9)), "items[0].price.nanos", "must be a multiple"),
        (with_item(price=money(1, 0, "eur")), "items[0].price.currency_code", "three capital letters"),
        (with_item(price=money(1, 0, "EURO")), "items[0].price.currency_code", "three capital letters"),
        (with_item(quantity=10**5 + 1, price=money(10**9)), "items", "must not cost more than 100000000000000 in all"),
        (with_item(side=3), "side", "must be SIDE_BUY, SIDE_SELL, or not given"),
    ],
)
def test_bad_orders(request_message: order_pb2.CreateOrderRequest, field: str, description: str) -> None:
    [violation] = validation.check_create(request_message, LIMITS)
    assert violation.field == field
    assert description in violation.description


def test_the_items_of_an_order() -> None:
    request = purchase()
    request.items[1].price.currency_code = "USD"
    [violation] = validation.check_create(request, LIMITS)
    assert violation == ("items[1].price.currency_code", "must be that of the first item")
    request = purchase()
    request.side = BUY
    [violation] = validation.check_create(request, LIMITS)
    assert violation == ("items", "must have exactly one entry in an order that buys or sells")
    request = order_pb2.CreateOrderRequest(user_id="ann", items=[purchase().items[0]] * 101)
    [violation] = validation.check_create(request, LIMITS)
    assert violation == ("items", "must not have more than 100 entries")


def test_the_largest_orders_fit_into_64_bits_and_a_page() -> None:
    assert ticks_of(money(LIMITS.total)) < 2**63
    item = order_pb2.OrderItem(product_id="x" * 64, quantity=LIMITS.quantity, price=money(LIMITS.price, 999_900_000))
    order = order_pb2.Order(id="x" * 64, user_id="\U0001f600" * 64, items=[item] * LIMITS.items)
    assert order.ByteSize() * LIMITS.page_size < 4 * 1024 * 1024
    trade = order_pb2.Trade(
        id="x" * 64,
        product_id="x" * 64,
        price=item.price,
        quantity=2**62,
        buy_order_id="x" * 36,
        sell_order_id="x" * 36,
    )
    trade.traded_at.GetCurrentTime()
    assert trade.ByteSize() * LIMITS.book_orders < 4 * 1024 * 1024


def test_what_matching_asks_for() -> None:
    assert validation.check_limit_order(limit(BUY), LIMITS) == []
    [violation] = validation.check_limit_order(purchase(), LIMITS)
    assert violation == ("side", "must be SIDE_BUY or SIDE_SELL")
    assert validation.check_request_id("", LIMITS) == []
    assert validation.check_request_id("r", LIMITS) == []
    assert validation.check_request_id("r" * 65, LIMITS)
    assert validation.check_request_id("r\n", LIMITS)


@pytest.mark.parametrize(("status", "good"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 0), (6, 0), (7, 0), (8, 0)])
def test_the_status_of_a_purchase(status: int, good: int) -> None:
    assert (validation.check_status(status) == []) is bool(good)


def test_lists() -> None:
    request = order_pb2.ListOrdersRequest(user_id="u" * 65, page_size=-1, page_token="nonsense")
    assert {each.field for each in validation.check_list(request, LIMITS)} == {"user_id", "page_size", "page_token"}
    request = order_pb2.ListOrdersRequest()
    request.MergeFromString(b"\x10\x63")
    assert {each.field for each in validation.check_list(request, LIMITS)} == {"status"}
