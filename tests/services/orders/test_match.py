"""MatchOrders over a socket."""

from __future__ import annotations

import asyncio
import random
from types import ModuleType
from typing import Any

import pytest

from pygrpc.services.orders import Limits
from pygrpc.services.orders.book import Limit, Side
from pygrpc.services.orders.messages import new_order
from pygrpc.services.orders.store import Order
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.naive import NaiveBook
from tests.services.orders.support import (
    BUY,
    CANCELLED,
    FILLED,
    PARTIAL,
    PENDING,
    SELL,
    advance,
    book,
    cancel,
    create,
    euros,
    failure_at_read,
    get,
    limit,
    purchase,
    rest_of,
    running,
)
from tests.services.support import until


def place(order: order_pb2.CreateOrderRequest, request_id: str = "") -> order_pb2.MatchOrdersRequest:
    return order_pb2.MatchOrdersRequest(request_id=request_id, place=order)


def cancelling(order_id: str, request_id: str = "", message: str = "") -> order_pb2.MatchOrdersRequest:
    request = order_pb2.CancelOrderRequest(order_id=order_id, message=message)
    return order_pb2.MatchOrdersRequest(request_id=request_id, cancel=request)


async def ask(call: Any, request: order_pb2.MatchOrdersRequest) -> order_pb2.MatchOrdersResponse:
    """Sends a command and reads one response."""
    await call.write(request)
    response: order_pb2.MatchOrdersResponse = await call.read()
    return response


async def test_two_clients_trade(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        seller, buyer = server.stub.MatchOrders(), server.stub.MatchOrders()
        answer = await ask(seller, place(limit(SELL, 5, 900), "s1"))
        assert (answer.request_id, answer.WhichOneof("event")) == ("s1", "placed")
        sold = answer.placed.order
        assert (sold.status, list(answer.placed.trades)) == (PENDING, [])
        answer = await ask(buyer, place(limit(BUY, 2, 1000), "b1"))
        [trade] = answer.placed.trades
        assert (answer.placed.order.status, trade.price, trade.quantity) == (FILLED, euros(900), 2)
        update = await seller.read()
        assert (update.request_id, update.update.trade, update.update.order_id) == ("", trade, sold.id)
        assert (update.update.old_status, update.update.new_status) == (PENDING, PARTIAL)
        # Orders of others are traded with too, and their changes are not told.
        await create(server.stub, limit(BUY, 1, 900))
        assert (await seller.read()).update.filled_quantity == 3
        await seller.write(cancelling(sold.id, "s2", "enough"))
        both = [await seller.read(), await seller.read()]
        [answer] = [each for each in both if each.request_id == "s2"]
        [update] = [each for each in both if not each.request_id]
        assert (answer.cancelled.order.status, answer.cancelled.order.filled_quantity) == (CANCELLED, 3)
        assert (update.update.new_status, update.update.message) == (CANCELLED, "enough")
        for call in (seller, buyer):
            await call.done_writing()
            assert await rest_of(call, client_aio) == []
        assert server.service.feed.readers == 0
        assert server.service.feed.followed == 0


async def test_a_command_that_fails_does_not_end_the_call(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(book_orders=2)) as server:
        bought = await create(server.stub, purchase())
        await advance(server.stub, bought, order_pb2.ORDER_STATUS_PROCESSING, order_pb2.ORDER_STATUS_SHIPPED)
        call = server.stub.MatchOrders()
        for request, code, reason, message in (
            (order_pb2.MatchOrdersRequest(), 3, "", "command must be given"),
            (place(purchase()), 3, "", "side must be SIDE_BUY or SIDE_SELL"),
            (place(limit(BUY, 0)), 3, "", "items[0].quantity must be from 1 to 1000000000"),
            (cancelling(""), 3, "", "order_id must not be empty"),
            (cancelling("none"), 5, "ORDER_NOT_FOUND", 'there is no order "none"'),
            (cancelling(bought.id), 9, "WRONG_STATE", "cannot be cancelled any more"),
        ):
            request.request_id = "r"
            response = await ask(call, request)
            assert response.request_id == "r"
            assert (response.error.code, response.error.reason) == (code, reason)
            assert message in response.error.message
        assert (await ask(call, place(limit(BUY)))).WhichOneof("event") == "placed"
        assert (await ask(call, place(limit(BUY)))).WhichOneof("event") == "placed"
        assert (await ask(call, place(limit(BUY)))).error.reason == "BOOK_FULL"
        await call.done_writing()
        assert await rest_of(call, client_aio) == []


async def test_a_call_follows_so_many_orders(client_aio: ModuleType) -> None:
    async with running(client_aio, limits=Limits(session_orders=2)) as server:
        call = server.stub.MatchOrders()
        first = (await ask(call, place(limit(BUY)))).placed.order
        await ask(call, place(limit(BUY)))
        error = (await ask(call, place(limit(BUY)))).error
        assert (error.code, error.reason) == (8, "TOO_MANY_ORDERS")
        # One that is done makes room.
        await cancel(server.stub, first)
        assert (await call.read()).update.new_status == CANCELLED
        assert (await ask(call, place(limit(BUY)))).WhichOneof("event") == "placed"
        call.cancel()


async def test_the_id_of_a_request_is_not_too_long(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        call = server.stub.MatchOrders()
        await call.write(place(limit(BUY), "r" * 65))
        read, failure = await failure_at_read(call, client_aio)
        assert (read, failure.code) == ([], "INVALID_ARGUMENT")
        assert failure.violations.keys() == {"request_id"}


async def test_all_commands_before_the_half_close_are_answered(client_aio: ModuleType) -> None:
    async with running(client_aio, queue_limit=4) as server:
        call = server.stub.MatchOrders()
        for number in range(50):
            await call.write(place(limit(SELL, 1, 1000 + number), str(number)))
        await call.done_writing()
        answers = await rest_of(call, client_aio)
        assert [each.request_id for each in answers] == [str(number) for number in range(50)]
        # The orders stay.
        assert len((await book(server.stub, depth=100))[1]) == 50


async def test_orders_stay_when_the_client_vanishes_and_are_found_again(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        call = server.stub.MatchOrders()
        order = (await ask(call, place(limit(SELL, 5), "a"))).placed.order
        keyed = (await ask(call, place(limit(SELL, 5, key="k"), "b"))).placed.order
        call.cancel()
        await until(lambda: server.service.feed.readers == 0)
        assert await get(server.stub, order) == order
        await create(server.stub, limit(BUY, 7))
        call = server.stub.MatchOrders()
        again = (await ask(call, place(limit(SELL, 5, key="k"), "c"))).placed
        assert (again.existed, again.order.id, again.order.filled_quantity) == (True, keyed.id, 2)
        # Once more: it is followed already, and nothing is told twice.
        twice = (await ask(call, place(limit(SELL, 5, key="k"), "d"))).placed
        assert twice == again
        await create(server.stub, limit(BUY, 3))
        update = (await call.read()).update
        assert (update.order_id, update.revision, update.new_status) == (keyed.id, 3, FILLED)
        # It is final by now.
        last = (await ask(call, place(limit(SELL, 5, key="k"), "e"))).placed.order
        assert (last.status, last.revision) == (FILLED, 3)
        await call.done_writing()
        assert await rest_of(call, client_aio) == []


class Meanwhile:
    """A store in which something happens once, when an order was stored, or before or after it is read."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.events: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def create(self, orders: Any, *, most: int) -> Any:
        results = await self.store.create(orders, most=most)
        await self._then("create")
        return results

    async def get(self, order_id: str) -> Order:
        await self._then("before get")
        order: Order = await self.store.get(order_id)
        await self._then("get")
        return order

    async def _then(self, what: str) -> None:
        if what in self.events:
            await self.events.pop(what)()


@pytest.mark.parametrize(
    ("key", "after", "in_answer"),
    [("", "create", 0), ("k", "create", 1), ("k", "before get", 1), ("k", "get", 0)],
    ids=str,
)
async def test_what_happens_before_an_answer_is_told_once_and_after_it(
    client_aio: ModuleType, key: str, after: str, in_answer: int
) -> None:
    async with running(client_aio, wrap=Meanwhile) as server:

        async def trade() -> None:
            """Fills one of the order, and waits until the feed has handed that on."""
            await server.store.store.create([new_order(limit(BUY))], most=9)
            latest = await server.store.latest()
            await until(lambda: server.service.feed._position >= latest)

        if key:
            await create(server.stub, limit(SELL, 5, key=key))
        server.store.events[after] = trade
        call = server.stub.MatchOrders()
        answer = await ask(call, place(limit(SELL, 5, key=key), "a"))
        assert (answer.request_id, answer.placed.existed) == ("a", bool(key))
        assert answer.placed.order.filled_quantity == in_answer
        await server.store.store.create([new_order(limit(BUY, 4))], most=9)
        told = [(await call.read()).update.filled_quantity for _ in range(2 - in_answer)]
        assert told == [1, 5][in_answer:]
        call.cancel()


async def test_many_clients_trade_as_the_naive_book_would(client_aio: ModuleType) -> None:
    traders, each = 6, 30
    async with running(client_aio, bound=60.0) as server:
        placed: dict[str, order_pb2.Order] = {}
        filled: dict[str, int] = {}
        trades: dict[str, order_pb2.Trade] = {}

        def learn(response: order_pb2.MatchOrdersResponse) -> bool:
            if response.WhichOneof("event") == "placed":
                order = response.placed.order
                placed[order.id], filled[order.id] = order, order.filled_quantity
                trades.update({trade.id: trade for trade in response.placed.trades})
                return True
            update = response.update
            # In sequence, from the answer on.
            assert update.filled_quantity == filled[update.order_id] + update.trade.quantity
            filled[update.order_id] = update.filled_quantity
            trades[update.trade.id] = update.trade
            return False

        async def trade(number: int) -> None:
            chance = random.Random(number)
            call = server.stub.MatchOrders()
            for _ in range(each):
                side = chance.choice((BUY, SELL))
                await call.write(place(limit(side, chance.randint(1, 9), chance.randint(995, 1005))))
            answers = 0
            while answers < each:
                answers += learn(await call.read())
            ready.append(number)
            while True:
                if len(ready) == traders:
                    everybody.set()
                reading = asyncio.ensure_future(call.read())
                ended = asyncio.ensure_future(everybody.wait())
                await asyncio.wait((reading, ended), return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if everybody.is_set() and not reading.done():
                    await call.done_writing()
                response = await reading
                if response is client_aio.EOF:
                    return
                learn(response)

        ready: list[int] = []
        everybody = asyncio.Event()
        await asyncio.gather(*map(trade, range(traders)))
        # The orders in the order in which they came do the same in the naive book.
        arrived, token = [], ""
        while True:
            page = await server.stub.ListOrders(order_pb2.ListOrdersRequest(page_size=200, page_token=token))
            arrived += page.orders
            token = page.next_page_token
            if not token:
                break
        naive, expected = NaiveBook(), []
        for number, order in enumerate(arrived):
            cents = order.items[0].price.units * 100 + order.items[0].price.nanos // 10**7
            fills = naive.place(Limit(order.id, Side(order.side), cents, order.items[0].quantity, number))
            expected += [(order.id, fill.order_id, fill.quantity, euros(fill.price)) for fill in fills]
        assert len(arrived) == traders * each == len(placed)
        by_taker = {}
        for trade_id, made in trades.items():
            taker = trade_id.rpartition(".")[0]
            maker = made.sell_order_id if made.taker_side == BUY else made.buy_order_id
            by_taker[trade_id] = (taker, maker, made.quantity, made.price)
        assert sorted(map(repr, by_taker.values())) == sorted(map(repr, expected))


async def test_a_client_that_does_not_read_takes_no_memory_and_misses_nothing(client_aio: ModuleType) -> None:
    # Large updates fill the windows of HTTP/2 sooner.
    limits = Limits(product_length=8000, import_lines=100, import_bytes=2**20, quantity=10**6)
    product_id = "x" * 8000
    async with running(client_aio, limits=limits, queue_limit=64, bound=60.0) as server:
        call = server.stub.MatchOrders()
        order = (await ask(call, place(limit(SELL, 10**6, product_id=product_id)))).placed.order
        changes = 0
        line = order_pb2.ImportOrdersRequest(order=limit(BUY, product_id=product_id))
        while server.service.feed.followed:
            changes += 100
            assert changes < 10_000
            assert (await server.stub.ImportOrders(iter([line] * 100))).success_count == 100
        # Its commands wait, too.
        await call.write(cancelling(order.id, "c"))
        seen, answers = [], []
        while len(seen) < changes + 1:
            response = await call.read()
            if response.request_id:
                answers.append(response.cancelled.order)
            else:
                seen.append(response.update)
        assert [each.revision for each in seen] == list(range(2, changes + 3))
        await call.done_writing()
        answers += [each.cancelled.order for each in await rest_of(call, client_aio)]
        assert [(each.status, each.filled_quantity) for each in answers] == [(CANCELLED, changes)]


async def test_calls_end_when_the_server_shuts_down(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        call = server.stub.MatchOrders()
        order = (await ask(call, place(limit(SELL)))).placed.order
        server.service.shut_down()
        for ended in (call, server.stub.MatchOrders()):
            read, failure = await failure_at_read(ended, client_aio)
            assert (read, failure.code, failure.message) == ([], "UNAVAILABLE", "the server is shutting down")
        assert await get(server.stub, order) == order
