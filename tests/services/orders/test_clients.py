"""The synchronous clients of both libraries, in a thread beside the server."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import grpc
import pytest

import pygrpc
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    FILLED,
    PENDING,
    PROCESSING,
    SELL,
    limit,
    purchase,
    running,
)

clients = pytest.mark.parametrize("client", [pygrpc, grpc], ids=["pygrpc-client", "grpcio-client"])


def trade(client: ModuleType, address: str) -> None:
    with client.insecure_channel(address) as channel:
        stub: Any = order_pb2_grpc.OrderServiceStub(channel)
        bought = stub.CreateOrder(purchase(), timeout=20).order
        assert stub.GetOrder(order_pb2.GetOrderRequest(order_id=bought.id), timeout=20).order == bought
        watch = stub.WatchOrder(order_pb2.WatchOrderRequest(order_id=bought.id), timeout=20)
        assert next(watch).order == bought
        request = order_pb2.UpdateOrderStatusRequest(order_id=bought.id, status=PROCESSING)
        assert stub.UpdateOrderStatus(request, timeout=20).order.revision == 2
        assert stub.CancelOrder(order_pb2.CancelOrderRequest(order_id=bought.id), timeout=20).order.revision == 3
        assert [each.update.new_status for each in watch] == [PROCESSING, CANCELLED]

        lines = [order_pb2.ImportOrdersRequest(order=each) for each in (limit(SELL, 2, 900), limit(SELL, 0))]
        imported = stub.ImportOrders(iter(lines), timeout=20)
        assert (imported.success_count, [each.line for each in imported.errors]) == (1, [2])

        requests: queue.SimpleQueue[order_pb2.MatchOrdersRequest | None] = queue.SimpleQueue()

        def sent() -> Iterator[order_pb2.MatchOrdersRequest]:
            yield from iter(requests.get, None)

        match = stub.MatchOrders(sent(), timeout=20)
        requests.put(order_pb2.MatchOrdersRequest(request_id="a", place=limit(BUY, 3, 1000)))
        placed = next(match).placed
        assert (placed.order.filled_quantity, placed.trades[0].sell_order_id) == (2, imported.orders[0].order_id)
        book = order_pb2.GetOrderBookRequest(product_id="apple", currency_code="EUR")
        assert stub.GetOrderBook(book, timeout=20).bids[0].quantity == 1
        assert stub.CreateOrder(limit(SELL, 1, 1000), timeout=20).order.status == FILLED
        assert next(match).update.new_status == FILLED
        requests.put(None)
        assert list(match) == []

        trades = stub.ListTrades(order_pb2.ListTradesRequest(order_id=placed.order.id), timeout=20).trades
        assert [each.quantity for each in trades] == [2, 1]
        listed = stub.ListOrders(order_pb2.ListOrdersRequest(status=PENDING), timeout=20)
        assert list(listed.orders) == []
        with pytest.raises(client.RpcError) as raised:
            stub.GetOrder(order_pb2.GetOrderRequest(order_id="none"), timeout=20)
        assert raised.value.code() is client.StatusCode.NOT_FOUND


@clients
async def test_a_synchronous_client(client: ModuleType) -> None:
    async with running() as server:
        await asyncio.to_thread(trade, client, server.address)
