"""ImportOrders over a socket."""

from __future__ import annotations

import asyncio
from types import ModuleType

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc.services.orders import Limits
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    FILLED,
    PARTIAL,
    PENDING,
    SELL,
    book,
    create,
    get,
    limit,
    purchase,
    running,
)
from tests.services.support import failure_of, until


def lines(*orders: order_pb2.CreateOrderRequest) -> list[order_pb2.ImportOrdersRequest]:
    return [order_pb2.ImportOrdersRequest(order=order) for order in orders]


async def test_good_lines_are_stored_and_bad_ones_reported(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        waiting = await create(server.stub, limit(SELL, 1, 900))
        first = await create(server.stub, purchase(key="known"))
        requests = lines(
            purchase(),
            limit(SELL, 0),
            limit(BUY, 3, 1000),
            purchase("", key="k"),
            limit(SELL, 1, 1000),
            purchase(key="known"),
            limit(BUY, 3, 1000, key="known"),
        )
        requests.insert(2, order_pb2.ImportOrdersRequest())
        response = await server.stub.ImportOrders(iter(requests))
        assert (response.success_count, response.failure_count) == (4, 4)
        assert [(each.line, each.status, each.existed) for each in response.orders] == [
            (1, PENDING, False),
            (4, PARTIAL, False),
            (6, FILLED, False),
            (7, PENDING, True),
        ]
        assert response.orders[3].order_id == first.id
        assert [(each.line, each.code, each.message) for each in response.errors] == [
            (2, 3, "items[0].quantity must be from 1 to 1000000000"),
            (3, 3, "user_id must not be empty (and 1 more)"),
            (5, 3, "user_id must not be empty"),
            (8, 6, "the idempotency key was used for another order"),
        ]
        assert (await get(server.stub, waiting)).status == FILLED
        assert await book(server.stub) == ([(1000, 1, 1)], [])
        page = await server.stub.ListOrders(order_pb2.ListOrdersRequest())
        assert [order.id for order in page.orders] == [
            waiting.id,
            first.id,
            *(each.order_id for each in response.orders[:3]),
        ]


async def test_an_import_that_is_too_large_stores_nothing(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(import_lines=2, import_bytes=1000)) as server:
        large = purchase("u" * 64)
        large.items.extend(large.items[0] for _ in range(40))
        for requests, message in (
            (lines(purchase(), purchase(), purchase()), "an import may have up to 2 orders"),
            (lines(large, large), "an import may have up to 1000 bytes"),
        ):
            failure = await failure_of(server.stub.ImportOrders(iter(requests)), client_aio)
            assert (failure.code, failure.message) == ("RESOURCE_EXHAUSTED", message)
            assert failure.detail(ErrorInfo).reason == "IMPORT_TOO_LARGE"
        assert not (await server.stub.ListOrders(order_pb2.ListOrdersRequest())).orders
        response = await server.stub.ImportOrders(iter(lines(purchase(), purchase())))
        assert response.success_count == 2


async def test_an_import_that_is_broken_off_stores_nothing(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        call = server.stub.ImportOrders()
        await call.write(lines(purchase())[0])
        call.cancel()
        await until(call.done)
        assert not (await server.stub.ListOrders(order_pb2.ListOrdersRequest())).orders


async def test_an_empty_import(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        assert await server.stub.ImportOrders(iter([])) == order_pb2.ImportOrdersResponse()


async def test_the_largest_import_among_other_calls(client_aio: ModuleType) -> None:
    async with running(client_aio, bound=60.0) as server:
        orders = [limit(BUY if number % 2 else SELL, 1 + number % 7, 900 + number % 150) for number in range(1000)]
        response, order = await asyncio.gather(
            server.stub.ImportOrders(iter(lines(*orders))), create(server.stub, limit(BUY, 1, 1))
        )
        assert response.success_count == 1000
        assert order.status == PENDING
        bids, asks = await book(server.stub, depth=1000)
        assert bids[0][0] < asks[0][0]
        request = order_pb2.CancelOrderRequest(order_id=order.id)
        assert (await server.stub.CancelOrder(request)).order.status == CANCELLED
