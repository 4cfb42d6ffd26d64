"""The RPCs of order.v1.OrderService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from pygrpc import aio
from pygrpc.services import callers
from pygrpc.services.callers import Identify
from pygrpc.services.errors import RequestError, require
from pygrpc.services.fanout import Fanout
from pygrpc.services.orders import errors, lifecycle, messages, validation
from pygrpc.services.orders.book import Side
from pygrpc.services.orders.feed import OrderFeed
from pygrpc.services.orders.owners import cancel_own, require_own
from pygrpc.services.orders.sessions import MatchSession
from pygrpc.services.orders.store import Instrument, NewOrder, OrderStore, Placed, Status, create_one
from pygrpc.services.orders.validation import Limits
from pygrpc.services.paging import decode_token, encode_token
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc

DEFAULT_PAGE_SIZE = 50
DEFAULT_DEPTH = 20

_Context: TypeAlias = aio.ServicerContext[Any, Any]


class OrderService(order_pb2_grpc.OrderServiceServicer):
    """Serves the RPCs of protos/order/v1/order.proto, which says what each of them does.

    One instance belongs to one event loop. It is an asynchronous context manager, to be entered before the server
    starts, and to be left when that has ended its calls.
    """

    def __init__(
        self,
        store: OrderStore,
        *,
        fanout: Fanout | None = None,
        limits: Limits | None = None,
        queue_limit: int = 256,
        poll: float = 0.05,
        identify: Identify = callers.unknown,
    ) -> None:
        """Makes the service on an open store.

        Args:
            store: Where the orders are. The caller closes it after the service.
            fanout: Passes hints on between processes. The caller opens it before and closes it afterwards.
            limits: The largest requests that are accepted.
            queue_limit: The most changes, and the most answers, that wait in memory for one client of WatchOrder or
                MatchOrders.
            poll: How often to look for changes of other processes, in seconds, while no hints come from there.
            identify: Knows who makes a call, and may place and cancel orders of nobody else.
        """
        self._store = store
        self._limits = limits or Limits()
        self._queue_limit = queue_limit
        self._identify = identify
        self.feed = OrderFeed(store, queue_limit, poll, fanout)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> OrderService:
        """Begins to hand changes on."""
        self._running = asyncio.create_task(self.feed.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops that."""
        self.shut_down()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
            if not self._running.cancelled():
                self._running.result()

    def add_to(self, server: aio.Server) -> None:
        """Registers the service."""
        order_pb2_grpc.add_OrderServiceServicer_to_server(self, server)

    def shut_down(self) -> None:
        """Ends the calls that would not end by themselves, so that a graceful stop need not wait for them."""
        self.feed.close()

    async def CreateOrder(
        self, request: order_pb2.CreateOrderRequest, context: _Context
    ) -> order_pb2.CreateOrderResponse:
        """Stores a new order, and matches it."""
        async with errors.answering(context):
            require(validation.check_create(request, self._limits))
            require_own(self._identify(context), request)
            new = messages.new_order(request)
            placed = await create_one(self._store, new, most=self._limits.book_orders)
            return messages.created_message(placed)

    async def GetOrder(self, request: order_pb2.GetOrderRequest, context: _Context) -> order_pb2.GetOrderResponse:
        """Returns one order."""
        async with errors.answering(context):
            require(validation.check_id(request.order_id, self._limits))
            order = await self._store.get(request.order_id)
            return order_pb2.GetOrderResponse(order=messages.order_message(order))

    async def ListOrders(self, request: order_pb2.ListOrdersRequest, context: _Context) -> order_pb2.ListOrdersResponse:
        """Returns one page of orders."""
        async with errors.answering(context):
            require(validation.check_list(request, self._limits))
            of = validation.list_of(request)
            after = decode_token(request.page_token, of)
            size = min(request.page_size or DEFAULT_PAGE_SIZE, self._limits.page_size)
            # One more than wanted tells whether there is another page.
            found = await self._store.page(limit=size + 1, after=after, user_id=request.user_id, status=request.status)
            token = encode_token(found[size - 1].number, of) if len(found) > size else ""
            return order_pb2.ListOrdersResponse(orders=map(messages.order_message, found[:size]), next_page_token=token)

    async def CancelOrder(
        self, request: order_pb2.CancelOrderRequest, context: _Context
    ) -> order_pb2.CancelOrderResponse:
        """Cancels an order, or what is left of it."""
        async with errors.answering(context):
            require(validation.check_change(request.order_id, request.message, self._limits))
            order = await cancel_own(self._store, self._identify(context), request)
            return order_pb2.CancelOrderResponse(order=messages.order_message(order))

    async def UpdateOrderStatus(
        self, request: order_pb2.UpdateOrderStatusRequest, context: _Context
    ) -> order_pb2.UpdateOrderStatusResponse:
        """Moves a purchase along."""
        async with errors.answering(context):
            violations = validation.check_change(request.order_id, request.message, self._limits)
            require(violations + validation.check_status(request.status))
            order = await self._store.advance(request.order_id, Status(request.status), request.message)
            return order_pb2.UpdateOrderStatusResponse(order=messages.order_message(order))

    async def WatchOrder(self, request: order_pb2.WatchOrderRequest, context: _Context) -> None:
        """Streams the state of an order and then its changes."""
        async with errors.answering(context):
            require(validation.check_id(request.order_id, self._limits))
            async with self.feed.reading() as reader:
                # The order is followed before it is read, and what is in both is sent once: so there is no gap.
                reader.follow(request.order_id, 0)
                order = await self._store.get(request.order_id)
                reader.follow(request.order_id, order.revision)
                state = messages.state_message(order)
                await context.write(order_pb2.WatchOrderResponse(update=state, order=messages.order_message(order)))
                if order.status in lifecycle.FINAL:
                    return
                async for change in reader:
                    await context.write(order_pb2.WatchOrderResponse(update=messages.update_message(change)))
                    if change.new_status in lifecycle.FINAL:
                        return

    async def ImportOrders(
        self, request_iterator: AsyncIterator[order_pb2.ImportOrdersRequest], context: _Context
    ) -> order_pb2.ImportOrdersResponse:
        """Stores the orders of a stream together."""
        async with errors.answering(context):
            who = self._identify(context)
            failures: dict[int, RequestError] = {}
            accepted: dict[int, NewOrder] = {}
            size = line = 0
            async for request in request_iterator:
                line += 1
                size += request.ByteSize()
                if line > self._limits.import_lines:
                    raise errors.too_large(f"an import may have up to {self._limits.import_lines} orders")
                if size > self._limits.import_bytes:
                    raise errors.too_large(f"an import may have up to {self._limits.import_bytes} bytes")
                try:
                    require(validation.check_create(request.order, self._limits))
                    require_own(who, request.order)
                    accepted[line] = messages.new_order(request.order)
                except RequestError as error:
                    failures[line] = error
            return await self._import(accepted, failures)

    async def MatchOrders(
        self, request_iterator: AsyncIterator[order_pb2.MatchOrdersRequest], context: _Context
    ) -> None:
        """Carries out commands, and tells what becomes of the orders that they place."""
        async with errors.answering(context), self.feed.reading() as reader:
            session = MatchSession(self._store, reader, self._limits, self._queue_limit, self._identify(context))
            await context.send_initial_metadata(())
            tasks = [asyncio.create_task(each) for each in (session.listen(request_iterator), session.tell())]
            try:
                async for response in session.outbox:
                    await context.write(response)
                # The one that has finished the outbox may have failed.
                for task in (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def GetOrderBook(
        self, request: order_pb2.GetOrderBookRequest, context: _Context
    ) -> order_pb2.GetOrderBookResponse:
        """Returns what is in a book."""
        async with errors.answering(context):
            require(validation.check_book(request, self._limits))
            book = Instrument(request.product_id, request.currency_code)
            depth = min(request.depth or DEFAULT_DEPTH, self._limits.depth)
            response = order_pb2.GetOrderBookResponse()
            for side, levels in ((Side.BUY, response.bids), (Side.SELL, response.asks)):
                found = await self._store.levels(book, side, depth)
                levels.extend(messages.level_message(level, book.currency) for level in found)
            return response

    async def ListTrades(self, request: order_pb2.ListTradesRequest, context: _Context) -> order_pb2.ListTradesResponse:
        """Returns one page of the trades of an order."""
        async with errors.answering(context):
            require(validation.check_trades(request, self._limits))
            after = decode_token(request.page_token, request.order_id)
            size = min(request.page_size or DEFAULT_PAGE_SIZE, self._limits.trades)
            found = await self._store.trades(request.order_id, limit=size + 1, after=after)
            token = encode_token(found[size - 1][0], request.order_id) if len(found) > size else ""
            trades = [messages.trade_message(trade) for _, trade in found[:size]]
            return order_pb2.ListTradesResponse(trades=trades, next_page_token=token)

    async def _import(
        self, accepted: dict[int, NewOrder], failures: dict[int, RequestError]
    ) -> order_pb2.ImportOrdersResponse:
        """Stores what is good, and reports line by line."""
        response = order_pb2.ImportOrdersResponse()
        results = await self._store.create(list(accepted.values()), most=self._limits.book_orders)
        for line, result in zip(accepted, results, strict=True):
            if isinstance(result, Placed):
                order = result.order
                response.orders.add(
                    line=line, order_id=order.order_id, status=order.status.value, existed=result.existed
                )
            else:
                failure = errors.translated(result)
                assert failure is not None
                failures[line] = failure
        response.success_count, response.failure_count = len(response.orders), len(failures)
        for line, failure in sorted(failures.items()):
            response.errors.add(line=line, code=failure.code.value[0], message=failure.message)
        return response
