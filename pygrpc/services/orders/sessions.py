"""One call of MatchOrders: its commands, and what becomes of the orders that it has placed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

from pygrpc.services.errors import Violation, invalid, require
from pygrpc.services.orders import errors, lifecycle, messages, validation
from pygrpc.services.orders.feed import Reader
from pygrpc.services.orders.owners import cancel_own, require_own
from pygrpc.services.orders.store import OrderStore, Placed, create_one
from pygrpc.services.orders.validation import Limits
from pygrpc.services.outbox import Outbox
from pygrpc.services.protos.order.v1 import order_pb2

_Response: TypeAlias = order_pb2.MatchOrdersResponse


class MatchSession:
    """Carries out the commands, and puts the answers and the updates into the outbox.

    An order is followed before it is stored, and no update is told while an order is placed. So no change is missed,
    and none comes before the order's own answer; the revisions tell which of them the answer contains already.

    Attributes:
        outbox: What goes to the client. It never overflows: who has something to tell waits for room.
    """

    def __init__(self, store: OrderStore, reader: Reader, limits: Limits, queue_limit: int, who: str = "") -> None:
        """Makes a session without orders.

        Args:
            store: Where the orders are.
            reader: Follows the orders that are placed.
            limits: The largest requests that are accepted.
            queue_limit: The most responses that wait for the client.
            who: Who makes the call, and may place and cancel orders of nobody else; empty if that is not known.
        """
        self.outbox: Outbox[_Response] = Outbox(queue_limit)
        self._store = store
        self._reader = reader
        self._limits = limits
        self._who = who
        # Held while an order is placed, and while an update is told.
        self._turn = asyncio.Lock()

    async def listen(self, requests: AsyncIterator[order_pb2.MatchOrdersRequest]) -> None:
        """Carries out all commands, then finishes the outbox."""
        try:
            async for request in requests:
                require(validation.check_request_id(request.request_id, self._limits))
                try:
                    await self._carry_out(request)
                except Exception as error:
                    failure = errors.translated(error)
                    if failure is None:
                        raise
                    command_error = order_pb2.CommandError(
                        code=failure.code.value[0], message=failure.message, reason=errors.reason_of(failure)
                    )
                    await self._put(_Response(request_id=request.request_id, error=command_error))
        finally:
            self.outbox.finish()

    async def tell(self) -> None:
        """Tells the changes until it is cancelled, or cannot go on; then it finishes the outbox."""
        try:
            async for change in self._reader:
                async with self._turn:
                    # It may have become known while an order was placed.
                    if self._reader.is_news(change):
                        await self._put(_Response(update=messages.update_message(change)))
                        if change.new_status in lifecycle.FINAL:
                            self._reader.forget(change.order_id)
        finally:
            self.outbox.finish()

    async def _carry_out(self, request: order_pb2.MatchOrdersRequest) -> None:
        match request.WhichOneof("command"):
            case "place":
                await self._place(request.request_id, request.place)
            case "cancel":
                cancel = request.cancel
                require(validation.check_change(cancel.order_id, cancel.message, self._limits))
                order = await cancel_own(self._store, self._who, cancel)
                cancelled = order_pb2.CancelOrderResponse(order=messages.order_message(order))
                await self._put(_Response(request_id=request.request_id, cancelled=cancelled))
            case _:
                raise invalid([Violation("command", "must be given")])

    async def _place(self, request_id: str, request: order_pb2.CreateOrderRequest) -> None:
        require(validation.check_limit_order(request, self._limits))
        require_own(self._who, request)
        if len(self._reader.known) >= self._limits.session_orders:
            raise errors.too_many_orders(self._limits.session_orders)
        async with self._turn:
            placed = await self._followed(request)
            await self._put(_Response(request_id=request_id, placed=messages.created_message(placed)))
            if placed.order.status in lifecycle.FINAL:
                self._reader.forget(placed.order.order_id)

    async def _followed(self, request: order_pb2.CreateOrderRequest) -> Placed:
        """Creates an order and follows it, from the revision that is returned."""
        new = messages.new_order(request)
        self._reader.follow(new.order_id, 1)
        try:
            placed = await create_one(self._store, new, most=self._limits.book_orders)
        except BaseException:
            self._reader.forget(new.order_id)
            raise
        if not placed.existed:
            return placed
        self._reader.forget(new.order_id)
        order_id = placed.order.order_id
        if order_id in self._reader.known:
            return placed
        self._reader.follow(order_id, 0)
        try:
            # It is followed from here on, so its state has to be read once more.
            order = await self._store.get(order_id)
        except BaseException:
            self._reader.forget(order_id)
            raise
        self._reader.follow(order_id, order.revision)
        return placed._replace(order=order)

    async def _put(self, response: _Response) -> None:
        await self.outbox.wait_for_room()
        self.outbox.offer(response)
