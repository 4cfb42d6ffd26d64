"""Placing limit orders and hearing what becomes of them, over as many calls as it takes.

Each order is placed with an idempotency key. When a call breaks off, the next one repeats the orders that are open with
their keys: the server answers with each order as it is then, and tells its changes from there on. The revision of
an order tells what is new.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from typing import Any

from pygrpc import StatusCode
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.clients.sessions import Interrupted, Session
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc

FINAL = (order_pb2.ORDER_STATUS_CANCELLED, order_pb2.ORDER_STATUS_FILLED, order_pb2.ORDER_STATUS_DELIVERED)


class _Command:
    """A command on its way."""

    def __init__(self, request: order_pb2.MatchOrdersRequest) -> None:
        self.request = request
        self.written = False
        # Whether an earlier call may have carried it out.
        self.repeated = False
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class _Open:
    """An order of this session that is not final."""

    def __init__(self, request: order_pb2.CreateOrderRequest, order: order_pb2.Order) -> None:
        self.request = request
        self.revision = order.revision
        self.status = order.status


class MatchSession(Session[order_pb2.OrderStatusUpdate]):
    """One's own limit orders in the market. The changes of those that it has placed come by `async for`.

    The orders stay in the book when the session ends.
    """

    _stub = order_pb2_grpc.OrderServiceStub
    _method = "MatchOrders"
    _what = "the session of orders"

    def __init__(self, connection: Connection, interrupted: Interrupted | None, how: CallOptions) -> None:
        """For OrderClient.match."""
        super().__init__(connection, interrupted, how)
        self._numbers = itertools.count(1)
        self._commands: dict[str, _Command] = {}
        self._open: dict[str, _Open] = {}

    async def place(self, request: order_pb2.CreateOrderRequest) -> order_pb2.CreateOrderResponse:
        """Places a limit order.

        Args:
            request: The order; it gets an idempotency key if it has none.

        Returns:
            The order as it is after it was matched, and its trades, when all that is stored.

        Raises:
            ServiceError: The server refuses it, or the session is over.
        """
        keyed = order_pb2.CreateOrderRequest()
        keyed.CopyFrom(request)
        keyed.idempotency_key = keyed.idempotency_key or str(uuid.uuid4())
        placed: order_pb2.CreateOrderResponse = await self._do(order_pb2.MatchOrdersRequest(place=keyed))
        return placed

    async def cancel(self, order_id: str, message: str = "") -> order_pb2.Order:
        """Cancels what is left of a limit order, which may be anybody's.

        Raises:
            ServiceError: The server refuses it, or the session is over.
        """
        command = order_pb2.CancelOrderRequest(order_id=order_id, message=message)
        cancelled: order_pb2.CancelOrderResponse = await self._do(order_pb2.MatchOrdersRequest(cancel=command))
        return cancelled.order

    async def __aiter__(self) -> AsyncIterator[order_pb2.OrderStatusUpdate]:
        """Yields the changes of the orders of this session, for each order in the order of its revisions.

        What changed while the session was broken off comes as one update, with the order as it is then.

        Raises:
            ServiceError: The session broke off.
        """
        async for each in self._items():
            yield each

    async def _do(self, request: order_pb2.MatchOrdersRequest) -> Any:
        self._require_running()
        request.request_id = str(next(self._numbers))
        command = self._commands[request.request_id] = _Command(request)
        self._to_do.set()
        try:
            return await command.answer
        finally:
            # If the wait was cancelled. What is written already stays: its answer says which order to listen for.
            if not command.written:
                self._commands.pop(request.request_id, None)

    def _first_request(self) -> None:
        return None

    async def _catch_up(self) -> None:
        waiting = list(self._commands.values())
        self._commands.clear()
        # First the orders that are open already, then what was under way, in its order.
        for opened in self._open.values():
            self._repeat(_Command(order_pb2.MatchOrdersRequest(place=opened.request)))
        for each in waiting:
            each.repeated = each.repeated or each.written
            self._repeat(each)

    def _repeat(self, command: _Command) -> None:
        command.written = False
        command.request.request_id = str(next(self._numbers))
        self._commands[command.request.request_id] = command

    async def _take(self, response: order_pb2.MatchOrdersResponse) -> None:
        kind = response.WhichOneof("event")
        if kind == "update":
            await self._update(response.update)
            return
        command = self._commands.pop(response.request_id, None)
        if command is None:
            return
        if kind == "placed":
            await self._placed(command.request.place, response.placed.order)
            _answer(command, response.placed)
        elif kind == "cancelled":
            _answer(command, response.cancelled)
        elif kind == "error":
            await self._refused(command, response.error)

    async def _placed(self, request: order_pb2.CreateOrderRequest, order: order_pb2.Order) -> None:
        known = self._open.get(order.id)
        if known is None:
            if order.status not in FINAL:
                self._open[order.id] = _Open(request, order)
            return
        await self._update(
            order_pb2.OrderStatusUpdate(
                order_id=order.id,
                old_status=known.status,
                new_status=order.status,
                updated_at=order.updated_at,
                revision=order.revision,
                filled_quantity=order.filled_quantity,
            )
        )

    async def _update(self, update: order_pb2.OrderStatusUpdate) -> None:
        known = self._open.get(update.order_id)
        if known is None or update.revision <= known.revision:
            return
        known.revision, known.status = update.revision, update.new_status
        if update.new_status in FINAL:
            del self._open[update.order_id]
        await self._hand_out(update)

    async def _refused(self, command: _Command, error: order_pb2.CommandError) -> None:
        code = next((each for each in StatusCode if each.value[0] == error.code), StatusCode.UNKNOWN)
        if command.repeated and command.request.HasField("cancel") and code is StatusCode.FAILED_PRECONDITION:
            # It may be refused because the call that broke off has carried it out.
            request = order_pb2.GetOrderRequest(order_id=command.request.cancel.order_id)
            how: CallOptions = {"metadata": self._how.get("metadata", ())}
            order = (await self._connection.unary(self._stub, "GetOrder", request, how)).order
            if order.status == order_pb2.ORDER_STATUS_CANCELLED:
                _answer(command, order_pb2.CancelOrderResponse(order=order))
                return
        if not command.answer.done():
            command.answer.set_exception(ServiceError(code, error.message, target=self._connection.target))

    def _next_request(self) -> order_pb2.MatchOrdersRequest | None:
        for each in self._commands.values():
            if not each.written:
                each.written = True
                return each.request
        return None

    def _unacknowledged(self) -> bool:
        return bool(self._commands)

    def _give_up(self, error: ServiceError) -> None:
        for each in self._commands.values():
            if not each.answer.done():
                each.answer.set_exception(error)
        self._commands.clear()


def _answer(command: _Command, answer: Any) -> None:
    if not command.answer.done():
        command.answer.set_result(answer)
