"""An order service on a real socket, a client of either library, and what the tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pygrpc import aio
from pygrpc.services.fanout import Fanout
from pygrpc.services.orders import DatabaseOrderStore, Limits, OrderService, OrderStore
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc
from tests.services.support import Failure, failed

BOUND = 20.0
BUY, SELL = order_pb2.SIDE_BUY, order_pb2.SIDE_SELL
PENDING, PROCESSING = order_pb2.ORDER_STATUS_PENDING, order_pb2.ORDER_STATUS_PROCESSING
SHIPPED, DELIVERED = order_pb2.ORDER_STATUS_SHIPPED, order_pb2.ORDER_STATUS_DELIVERED
CANCELLED, FILLED = order_pb2.ORDER_STATUS_CANCELLED, order_pb2.ORDER_STATUS_FILLED
PARTIAL = order_pb2.ORDER_STATUS_PARTIALLY_FILLED


@dataclass(frozen=True)
class Running:
    """A server in this process, and a client connected to it."""

    stub: Any
    service: OrderService
    store: Any
    server: Any
    address: str


@asynccontextmanager
async def running(
    client_aio: ModuleType = aio,
    *,
    limits: Limits | None = None,
    queue_limit: int = 256,
    poll: float = 0.005,
    fanout: Fanout | None = None,
    database: str = ":memory:",
    wrap: Callable[[OrderStore], OrderStore] = lambda store: store,
    bound: float = BOUND,
) -> AsyncIterator[Running]:
    """Runs the service on a free port."""
    store = await DatabaseOrderStore.open(database)
    wrapped = wrap(store)
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    async with OrderService(wrapped, fanout=fanout, limits=limits, queue_limit=queue_limit, poll=poll) as service:
        service.add_to(server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with asyncio.timeout(bound), client_aio.insecure_channel(address) as channel:
                yield Running(order_pb2_grpc.OrderServiceStub(channel), service, wrapped, server, address)
        finally:
            service.shut_down()
            await server.stop(None)
    await store.close()


def euros(cents: int) -> order_pb2.Money:
    return order_pb2.Money(currency_code="EUR", units=cents // 100, nanos=cents % 100 * 10_000_000)


def item(product_id: str = "apple", quantity: int = 1, cents: int = 1000) -> order_pb2.OrderItem:
    return order_pb2.OrderItem(product_id=product_id, quantity=quantity, price=euros(cents))


def limit(
    side: order_pb2.Side, quantity: int = 1, cents: int = 1000, product_id: str = "apple", key: str = ""
) -> order_pb2.CreateOrderRequest:
    """A request for a limit order."""
    items = [item(product_id, quantity, cents)]
    return order_pb2.CreateOrderRequest(user_id="ann", side=side, items=items, idempotency_key=key)


def purchase(user_id: str = "ann", key: str = "") -> order_pb2.CreateOrderRequest:
    """A request for a purchase."""
    items = [item("apple", 2, 150), item("pear", 1, 5)]
    return order_pb2.CreateOrderRequest(user_id=user_id, items=items, idempotency_key=key)


async def create(stub: Any, request: order_pb2.CreateOrderRequest) -> order_pb2.Order:
    """Creates an order."""
    response: order_pb2.CreateOrderResponse = await stub.CreateOrder(request)
    return response.order


async def get(stub: Any, order: order_pb2.Order) -> order_pb2.Order:
    """Reads an order."""
    response: order_pb2.GetOrderResponse = await stub.GetOrder(order_pb2.GetOrderRequest(order_id=order.id))
    return response.order


async def advance(stub: Any, order: order_pb2.Order, *statuses: order_pb2.OrderStatus) -> order_pb2.Order:
    """Moves a purchase along."""
    for status in statuses:
        request = order_pb2.UpdateOrderStatusRequest(order_id=order.id, status=status)
        order = (await stub.UpdateOrderStatus(request)).order
    return order


async def cancel(stub: Any, order: order_pb2.Order, message: str = "") -> order_pb2.Order:
    """Cancels an order."""
    request = order_pb2.CancelOrderRequest(order_id=order.id, message=message)
    response: order_pb2.CancelOrderResponse = await stub.CancelOrder(request)
    return response.order


def watch(stub: Any, order: order_pb2.Order) -> Any:
    return stub.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.id))


async def book(stub: Any, product_id: str = "apple", depth: int = 0) -> tuple[list[Any], list[Any]]:
    """Reads a book: price in cents, quantity and number of orders, for those who buy and those who sell."""
    request = order_pb2.GetOrderBookRequest(product_id=product_id, currency_code="EUR", depth=depth)
    response = await stub.GetOrderBook(request)
    sides = [
        [(level.price.units * 100 + level.price.nanos // 10**7, level.quantity, level.order_count) for level in levels]
        for levels in (response.bids, response.asks)
    ]
    return sides[0], sides[1]


async def failure_at_read(call: Any, client_aio: ModuleType) -> tuple[list[Any], Failure]:
    """Reads a call to its end, which has to be an error."""
    read = []
    try:
        while (response := await call.read()) is not client_aio.EOF:
            read.append(response)
    except client_aio.AioRpcError as error:
        return read, failed(error)
    raise AssertionError("the call did not fail")


async def rest_of(call: Any, client_aio: ModuleType) -> list[Any]:
    """Reads a call to its end, which has to be OK."""
    found = []
    while (response := await call.read()) is not client_aio.EOF:
        found.append(response)
    assert (await call.code()).name == "OK"
    return found
