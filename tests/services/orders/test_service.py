"""The RPCs with one request and one response."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc.services.errors import StoreError
from pygrpc.services.orders import Limits
from pygrpc.services.orders.service import DEFAULT_DEPTH, DEFAULT_PAGE_SIZE
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    DELIVERED,
    FILLED,
    PARTIAL,
    PENDING,
    PROCESSING,
    SELL,
    SHIPPED,
    advance,
    book,
    cancel,
    create,
    euros,
    get,
    limit,
    purchase,
    running,
)
from tests.services.support import failure_of


async def test_a_purchase_from_its_creation_to_its_delivery(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        response = await server.stub.CreateOrder(purchase())
        order = response.order
        assert (response.existed, list(response.trades)) == (False, [])
        assert (order.user_id, order.status, order.side, order.revision) == ("ann", PENDING, 0, 1)
        assert (list(order.items), order.total) == (list(purchase().items), euros(305))
        assert order.created_at == order.updated_at
        assert await get(server.stub, order) == order
        after = await advance(server.stub, order, PROCESSING, SHIPPED, DELIVERED)
        assert (after.status, after.revision) == (DELIVERED, 4)
        assert after.updated_at.ToNanoseconds() >= order.created_at.ToNanoseconds()
        assert await get(server.stub, order) == after


async def test_limit_orders_trade(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        first, second = await create(server.stub, limit(SELL, 3, 950)), await create(server.stub, limit(SELL, 3, 1000))
        assert await book(server.stub) == ([], [(950, 3, 1), (1000, 3, 1)])
        response = await server.stub.CreateOrder(limit(BUY, 5, 1050))
        order = response.order
        assert (order.status, order.filled_quantity, order.total) == (FILLED, 5, euros(5250))
        one, two = response.trades
        assert (one.quantity, one.price, one.sell_order_id, one.buy_order_id) == (3, euros(950), first.id, order.id)
        assert (two.quantity, two.price, two.sell_order_id, two.taker_side) == (2, euros(1000), second.id, BUY)
        assert one.product_id == "apple" and one.traded_at == order.created_at
        left = await get(server.stub, second)
        assert (left.status, left.filled_quantity, left.revision) == (PARTIAL, 2, 2)
        assert await book(server.stub) == ([], [(1000, 1, 1)])
        trades = await server.stub.ListTrades(order_pb2.ListTradesRequest(order_id=second.id))
        assert list(trades.trades) == [two]
        assert (await cancel(server.stub, second)).status == CANCELLED
        assert await book(server.stub) == ([], [])


async def test_a_repeated_request_with_a_key_returns_the_first_order(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        requests = [limit(SELL, 5, key="k"), limit(SELL, 5, key="k"), limit(SELL, 5, key="k")]
        responses = await asyncio.gather(*map(server.stub.CreateOrder, requests))
        assert sorted(response.existed for response in responses) == [False, True, True]
        assert len({response.order.id for response in responses}) == 1
        assert await book(server.stub) == ([], [(1000, 5, 1)])
        failure = await failure_of(server.stub.CreateOrder(limit(SELL, 6, key="k")), client_aio)
        assert (failure.code, failure.message) == ("ALREADY_EXISTS", "the idempotency key was used for another order")
        assert failure.detail(ErrorInfo).reason == "IDEMPOTENCY_KEY_REUSED"
        assert failure.detail(ResourceInfo).resource_name == responses[0].order.id


async def test_what_the_state_of_an_order_does_not_allow(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        order, resting = await create(server.stub, purchase()), await create(server.stub, limit(BUY))
        await advance(server.stub, order, PROCESSING, SHIPPED)
        for call, message, status in (
            (cancel(server.stub, order), "is SHIPPED, and cannot be cancelled any more", SHIPPED),
            (advance(server.stub, order, PROCESSING), "is SHIPPED, and cannot become PROCESSING from there", SHIPPED),
            (advance(server.stub, resting, SHIPPED), "is a limit order, which only trades move along", PENDING),
        ):
            failure = await failure_of(call, client_aio)
            assert failure.code == "FAILED_PRECONDITION"
            assert failure.message.endswith(message)
            info = failure.detail(ErrorInfo)
            assert (info.reason, info.domain) == ("WRONG_STATE", "order.v1.OrderService")
            assert info.metadata["status"] == order_pb2.OrderStatus.Name(status)


@pytest.mark.parametrize("rpc", ["GetOrder", "CancelOrder", "UpdateOrderStatus", "ListTrades"])
async def test_an_order_that_does_not_exist(client_aio: ModuleType, rpc: str) -> None:
    async with running(client_aio) as server:
        kind = getattr(order_pb2, f"{rpc}Request")
        request = kind(order_id="none", **({"status": SHIPPED} if rpc == "UpdateOrderStatus" else {}))
        failure = await failure_of(getattr(server.stub, rpc)(request), client_aio)
        assert (failure.code, failure.message) == ("NOT_FOUND", 'there is no order "none"')
        assert failure.detail(ErrorInfo).reason == "ORDER_NOT_FOUND"
        assert failure.detail(ResourceInfo).resource_name == "none"


@pytest.mark.parametrize(
    ("rpc", "request_message", "fields"),
    [
        ("CreateOrder", order_pb2.CreateOrderRequest(), {"user_id", "items"}),
        ("GetOrder", order_pb2.GetOrderRequest(), {"order_id"}),
        ("ListOrders", order_pb2.ListOrdersRequest(page_size=-1, page_token="x"), {"page_size", "page_token"}),
        ("CancelOrder", order_pb2.CancelOrderRequest(message="x" * 501), {"order_id", "message"}),
        ("UpdateOrderStatus", order_pb2.UpdateOrderStatusRequest(order_id="o", status=CANCELLED), {"status"}),
        ("GetOrderBook", order_pb2.GetOrderBookRequest(depth=-1), {"product_id", "currency_code", "depth"}),
        ("ListTrades", order_pb2.ListTradesRequest(page_size=-1), {"order_id", "page_size"}),
    ],
)
async def test_a_bad_request_is_told_field_by_field(
    client_aio: ModuleType, rpc: str, request_message: Any, fields: set[str]
) -> None:
    async with running(client_aio) as server:
        failure = await failure_of(getattr(server.stub, rpc)(request_message), client_aio)
        assert failure.code == "INVALID_ARGUMENT"
        assert failure.violations.keys() == fields


async def test_a_full_book(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(book_orders=2)) as server:
        await create(server.stub, limit(BUY, 1, 10))
        await create(server.stub, limit(BUY, 1, 10))
        failure = await failure_of(server.stub.CreateOrder(limit(BUY, 1, 10)), client_aio)
        assert (failure.code, failure.detail(ErrorInfo).reason) == ("RESOURCE_EXHAUSTED", "BOOK_FULL")
        await create(server.stub, limit(BUY, 1, 10, "pear"))
        await create(server.stub, limit(SELL, 1, 10))
        await create(server.stub, limit(BUY, 1, 10))


async def test_orders_and_trades_are_listed_page_by_page(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(page_size=2, trades=2)) as server:
        created = [await create(server.stub, purchase(user_id)) for user_id in ("ann", "bob", "ann", "ann")]
        request = order_pb2.ListOrdersRequest(user_id="ann", page_size=1000)
        page = await server.stub.ListOrders(request)
        assert list(page.orders) == [created[0], created[2]]
        token = request.page_token = page.next_page_token
        page = await server.stub.ListOrders(request)
        assert (list(page.orders), page.next_page_token) == ([created[3]], "")
        other = order_pb2.ListOrdersRequest(user_id="bob", page_token=token)
        assert (await failure_of(server.stub.ListOrders(other), client_aio)).violations == {
            "page_token": "is not a page token of this list"
        }
        await cancel(server.stub, created[1])
        page = await server.stub.ListOrders(order_pb2.ListOrdersRequest(status=CANCELLED))
        assert [order.id for order in page.orders] == [created[1].id]
        seller = await create(server.stub, limit(SELL, 3))
        trades = [(await server.stub.CreateOrder(limit(BUY))).trades[0] for _ in range(3)]
        request = order_pb2.ListTradesRequest(order_id=seller.id)
        page = await server.stub.ListTrades(request)
        assert list(page.trades) == trades[:2]
        request.page_token = page.next_page_token
        page = await server.stub.ListTrades(request)
        assert (list(page.trades), page.next_page_token) == (trades[2:], "")
    assert (DEFAULT_PAGE_SIZE, DEFAULT_DEPTH) == (50, 20)


async def test_a_book_is_told_down_to_a_depth(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(depth=3)) as server:
        for cents in range(100, 500, 100):
            await create(server.stub, limit(BUY, 2, cents))
            await create(server.stub, limit(SELL, 1, 1000 + cents))
            await create(server.stub, limit(SELL, 5, 1000 + cents))
        bids, asks = await book(server.stub, depth=1000)
        assert bids == [(400, 2, 1), (300, 2, 1), (200, 2, 1)]
        assert asks == [(1100, 6, 2), (1200, 6, 2), (1300, 6, 2)]
        assert await book(server.stub, depth=1) == (bids[:1], asks[:1])


class Broken:
    """A store that cannot be read or written."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def create(self, orders: Any, *, most: int) -> Any:

        raise StoreError("disk I/O error")


async def test_a_database_that_fails(client_aio: ModuleType) -> None:
    async with running(client_aio, wrap=Broken) as server:
        failure = await failure_of(server.stub.CreateOrder(purchase()), client_aio)
        assert (failure.code, failure.message) == ("UNAVAILABLE", "the order database does not work at the moment")
