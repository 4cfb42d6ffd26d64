"""The client of the order service."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Unpack

from pygrpc.services.clients.connection import Connection, collected
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.matching import MatchSession
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.sessions import Interrupted
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc

_PAGE_SIZE = 200
_Stub = order_pb2_grpc.OrderServiceStub


class OrderClient:
    """Makes the calls of protos/order/v1/order.proto.

    Each method takes the options of `CallOptions` besides its own arguments, and raises ServiceError. Orders get an
    idempotency key, made up if there is none, so that a call which breaks off can be made again.
    """

    def __init__(self, connection: Connection) -> None:
        """Makes a client on a connection, which others may share and the caller closes."""
        self._connection = connection

    async def create(
        self, request: order_pb2.CreateOrderRequest, **how: Unpack[CallOptions]
    ) -> order_pb2.CreateOrderResponse:
        """Stores a new order; a limit order is matched at once."""
        response: order_pb2.CreateOrderResponse = await self._connection.unary(
            _Stub, "CreateOrder", keyed(request), how
        )
        return response

    async def get(self, order_id: str, **how: Unpack[CallOptions]) -> order_pb2.Order:
        """Returns an order."""
        request = order_pb2.GetOrderRequest(order_id=order_id)
        order: order_pb2.Order = (await self._connection.unary(_Stub, "GetOrder", request, how)).order
        return order

    async def list(
        self, user_id: str = "", status: int = 0, *, page_size: int = _PAGE_SIZE, **how: Unpack[CallOptions]
    ) -> AsyncIterator[order_pb2.Order]:
        """Iterates over orders in the order of their creation.

        Args:
            user_id: Only orders of this user; those of all if empty.
            status: Only orders with this status; 0 for all.
            page_size: How many orders to ask for at a time.
            **how: Hold for each page.
        """
        token = ""
        while True:
            request = order_pb2.ListOrdersRequest(user_id=user_id, page_size=page_size, page_token=token)
            request.status = status  # type: ignore[assignment]
            response = await self._connection.unary(_Stub, "ListOrders", request, how)
            for order in response.orders:
                yield order
            token = response.next_page_token
            if not token:
                return

    async def cancel(self, order_id: str, message: str = "", **how: Unpack[CallOptions]) -> order_pb2.Order:
        """Cancels a purchase that was not shipped, or what is left of a limit order."""
        request = order_pb2.CancelOrderRequest(order_id=order_id, message=message)
        order: order_pb2.Order = (await self._connection.unary(_Stub, "CancelOrder", request, how)).order
        return order

    async def update_status(
        self, order_id: str, status: int, message: str = "", **how: Unpack[CallOptions]
    ) -> order_pb2.Order:
        """Moves a purchase along."""
        request = order_pb2.UpdateOrderStatusRequest(order_id=order_id, message=message)
        request.status = status  # type: ignore[assignment]
        order: order_pb2.Order = (await self._connection.unary(_Stub, "UpdateOrderStatus", request, how)).order
        return order

    async def watch(self, order_id: str, **how: Unpack[CallOptions]) -> AsyncIterator[order_pb2.WatchOrderResponse]:
        """Iterates over the state of an order and then its changes, until the one that is final.

        A watch that breaks off is taken up again. What changed meanwhile comes as one update, with the order as it is
        then; if nothing changed, nothing comes.

        Args:
            order_id: The order.
            **how: Has no timeout unless one is given; that holds for all attempts together.
        """
        deadline = self._connection.deadline({"timeout": how.get("timeout")})
        pacing = self._connection.pacing()
        request = order_pb2.WatchOrderRequest(order_id=order_id)
        last: order_pb2.OrderStatusUpdate | None = None
        while True:
            try:
                responses = self._connection.responses(_Stub, "WatchOrder", request, how, deadline, pacing)
                async with aclosing(responses):
                    async for response in responses:
                        pacing.progressed()
                        if last is not None:
                            if response.update.revision <= last.revision:
                                continue
                            response.update.old_status = last.new_status
                        last = response.update
                        yield response
                return
            except ServiceError as error:
                await pacing.after(error)

    async def create_many(
        self,
        requests: Iterable[order_pb2.CreateOrderRequest] | AsyncIterable[order_pb2.CreateOrderRequest],
        **how: Unpack[CallOptions],
    ) -> order_pb2.ImportOrdersResponse:
        """Stores many orders together; the response says which of them were refused, and why."""
        # All of them are there before the call begins, so that one that is made again has all of them again.
        lines = [order_pb2.ImportOrdersRequest(order=keyed(each)) for each in await collected(requests)]
        response: order_pb2.ImportOrdersResponse = await self._connection.unary(_Stub, "ImportOrders", lines, how)
        return response

    async def book(
        self, product_id: str, currency_code: str, depth: int = 0, **how: Unpack[CallOptions]
    ) -> order_pb2.GetOrderBookResponse:
        """Returns what those who buy and those who sell a product would pay and take, the best prices first."""
        request = order_pb2.GetOrderBookRequest(product_id=product_id, currency_code=currency_code, depth=depth)
        response: order_pb2.GetOrderBookResponse = await self._connection.unary(_Stub, "GetOrderBook", request, how)
        return response

    async def trades(
        self, order_id: str, *, page_size: int = _PAGE_SIZE, **how: Unpack[CallOptions]
    ) -> AsyncIterator[order_pb2.Trade]:
        """Iterates over the trades of a limit order, in the order in which they were made."""
        token = ""
        while True:
            request = order_pb2.ListTradesRequest(order_id=order_id, page_size=page_size, page_token=token)
            response = await self._connection.unary(_Stub, "ListTrades", request, how)
            for trade in response.trades:
                yield trade
            token = response.next_page_token
            if not token:
                return

    def match(self, *, interrupted: Interrupted | None = None, **how: Unpack[CallOptions]) -> MatchSession:
        """Begins to place limit orders and to hear what becomes of them, as an asynchronous context manager.

        Args:
            interrupted: Called with the reason when the session breaks off and is taken up again, and with None when it
                goes on.
            **how: Hold for the session, which has no timeout.
        """
        return MatchSession(self._connection, interrupted, how)


def keyed(request: order_pb2.CreateOrderRequest) -> order_pb2.CreateOrderRequest:
    """Returns the request with an idempotency key, a copy of it if it has none."""
    if request.idempotency_key:
        return request
    copied = order_pb2.CreateOrderRequest()
    copied.CopyFrom(request)
    copied.idempotency_key = str(uuid.uuid4())
    return copied
