"""Servers in processes of their own: several on one database behave as one, and a killed one loses nothing."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

from sqlalchemy import select

from pygrpc.services.orders import schema
from pygrpc.services.orders.book import Side
from pygrpc.services.orders.database import DatabaseOrderStore, _trade
from pygrpc.services.orders.store import Order, Status, Trade
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc
from tests.services.orders.stores import APPLE, opened
from tests.services.orders.support import (
    BOUND,
    BUY,
    CANCELLED,
    FILLED,
    PARTIAL,
    PROCESSING,
    SELL,
    advance,
    book,
    cancel,
    create,
    get,
    limit,
    purchase,
    rest_of,
    running,
    watch,
)
from tests.services.program import serving

BATCH = 4


async def test_two_processes_on_one_database_behave_as_one(client_aio: ModuleType, shared_database: str) -> None:
    async with (
        asyncio.timeout(3 * BOUND),
        running(client_aio, database=shared_database, bound=3 * BOUND) as here,
        serving(shared_database, "--services", "order") as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        there = order_pb2_grpc.OrderServiceStub(channel)
        order = await create(here.stub, limit(SELL, 5, key="k"))
        watches = [watch(stub, order) for stub in (here.stub, there)]
        assert [(await call.read()).order for call in watches] == [order, order]
        match = there.MatchOrders()
        await match.write(order_pb2.MatchOrdersRequest(place=limit(BUY, 2, 1000)))
        [trade] = (await match.read()).placed.trades
        assert trade.sell_order_id == order.id
        assert [(await call.read()).update.trade for call in watches] == [trade, trade]
        # A repeated request finds the order, and so does a cancellation, wherever they come from.
        again = await there.CreateOrder(limit(SELL, 5, key="k"))
        assert (again.existed, again.order.status) == (True, PARTIAL)
        assert await book(here.stub) == await book(there) == ([], [(1000, 3, 1)])
        # What was placed there is told there when it trades here.
        await match.write(order_pb2.MatchOrdersRequest(place=limit(BUY, 9, 999)))
        mine = (await match.read()).placed.order
        assert (await create(here.stub, limit(SELL, 9, 990))).status == FILLED
        update = (await match.read()).update
        assert (update.order_id, update.new_status) == (mine.id, FILLED)
        await cancel(here.stub, order)
        for call in watches:
            assert [each.update.new_status for each in await rest_of(call, client_aio)] == [CANCELLED]
        assert await get(there, order) == await get(here.stub, order)
        match.cancel()


class Traders:
    """Clients that write without pause until the server is gone, and what the server has acknowledged to them."""

    def __init__(self, stub: Any, failure: type[Exception]) -> None:
        self.stub = stub
        self.failure = failure
        self.orders: dict[str, order_pb2.Order] = {}
        self.trades: dict[str, order_pb2.Trade] = {}
        self.keys: dict[str, str] = {}
        self.batches: Counter[str] = Counter()
        self.enough = asyncio.Event()
        self.chance = random.Random(0)

    async def run(self) -> None:
        works: list[Callable[[str], Coroutine[Any, Any, None]]]
        works = [self.trade, self.trade, self.trade_and_cancel, self.buy, self.import_lines]
        await asyncio.gather(
            *(self.repeat(work, f"w{number}") for number, work in enumerate(works)), self.match("match")
        )

    async def repeat(self, work: Callable[[str], Coroutine[Any, Any, None]], worker: str) -> None:
        for number in itertools.count():
            try:
                await work(f"{worker}-{number}")
            except self.failure:
                return

    def request(self, user_id: str, key: str = "") -> order_pb2.CreateOrderRequest:
        side = self.chance.choice((BUY, SELL))
        request = limit(side, self.chance.randint(1, 9), self.chance.randint(995, 1005), key=key)
        request.user_id = user_id
        return request

    def learn(self, order: order_pb2.Order) -> None:
        self.orders[order.id] = order
        if len(self.orders) >= 80 and len(self.trades) >= 30:
            self.enough.set()

    async def trade(self, name: str) -> None:
        response = await self.stub.CreateOrder(self.request("ann", name))
        self.keys[name] = response.order.id
        self.trades |= {trade.id: trade for trade in response.trades}
        self.learn(response.order)

    async def trade_and_cancel(self, name: str) -> None:
        order = (await self.stub.CreateOrder(self.request("cid"))).order
        self.learn(order)
        try:
            self.learn(await cancel(self.stub, order))
        except self.failure as error:
            # It may have been filled meanwhile.
            if error.code().name != "FAILED_PRECONDITION":  # type: ignore[attr-defined]
                raise

    async def buy(self, name: str) -> None:
        order = await create(self.stub, purchase())
        self.learn(order)
        self.learn(await advance(self.stub, order, PROCESSING))

    async def import_lines(self, name: str) -> None:
        lines = [order_pb2.ImportOrdersRequest(order=self.request(name)) for _ in range(BATCH)]
        response = await self.stub.ImportOrders(iter(lines))
        assert response.success_count == BATCH
        self.batches[name] = BATCH

    async def match(self, user_id: str) -> None:
        try:
            call = self.stub.MatchOrders()
            for number in itertools.count():
                request = order_pb2.MatchOrdersRequest(request_id=str(number), place=self.request(user_id))
                await call.write(request)
                answered = False
                while not answered:
                    response = await call.read()
                    answered = response.WhichOneof("event") == "placed"
                    if answered:
                        self.trades |= {trade.id: trade for trade in response.placed.trades}
                        self.learn(response.placed.order)
                    else:
                        self.trades[response.update.trade.id] = response.update.trade
        except (self.failure, asyncio.InvalidStateError):
            call.cancel()


async def everything(store: DatabaseOrderStore) -> tuple[dict[str, Order], dict[str, Trade]]:
    """Reads all orders and all trades."""
    orders: dict[str, Order] = {}
    after = 0
    while page := await store.page(limit=1000, after=after):
        orders |= {order.order_id: order for order in page}
        after = page[-1].number
    async with store._read() as connection:
        rows = (await connection.execute(select(schema.trades))).all()
    return orders, {row.id: _trade(row) for row in rows}


async def assert_whole(store: DatabaseOrderStore, orders: dict[str, Order], trades: dict[str, Trade]) -> None:
    """Checks that the orders, the trades, the changes and the book tell the same."""
    filled: Counter[str] = Counter()
    for trade in trades.values():
        assert trade.trade_id.rpartition(".")[0] in (trade.buy_order_id, trade.sell_order_id)
        for order_id in (trade.buy_order_id, trade.sell_order_id):
            filled[order_id] += trade.quantity
    changes = await store.after(0, 1_000_000)
    assert sorted(change.trade.trade_id for change in changes if change.trade) == sorted(trades)
    for order in orders.values():
        assert order.filled == filled[order.order_id]
        own = [change for change in changes if change.order_id == order.order_id]
        assert [change.revision for change in own] == list(range(2, order.revision + 1))
        if own:
            assert (own[-1].new_status, own[-1].filled) == (order.status, order.filled)
        if order.side is not None and order.status is not Status.CANCELLED:
            quantity = order.items[0].quantity
            expected = Status.FILLED if order.filled == quantity else Status.PARTIALLY_FILLED
            assert order.status is (expected if order.filled else Status.PENDING)
    for side in Side:
        levels: Counter[int] = Counter()
        for order in orders.values():
            if order.side is side and order.left:
                levels[order.items[0].price] += order.left
        assert {level.price: level.quantity for level in await store.levels(APPLE, side, 99)} == levels
    bids, asks = await store.levels(APPLE, Side.BUY, 1), await store.levels(APPLE, Side.SELL, 1)
    assert not bids or not asks or bids[0].price < asks[0].price


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    client_aio: ModuleType, shared_database: str
) -> None:
    async with asyncio.timeout(4 * BOUND):
        async with (
            serving(shared_database, "--services", "order") as program,
            client_aio.insecure_channel(program.address) as channel,
        ):
            traders = Traders(order_pb2_grpc.OrderServiceStub(channel), client_aio.AioRpcError)
            trading = asyncio.create_task(traders.run())
            await traders.enough.wait()
            program.process.kill()
            await trading
            assert (await program.finished())[0] == -9
        async with opened(shared_database) as store:
            orders, trades = await everything(store)
            await assert_whole(store, orders, trades)
        for order_id, known in traders.orders.items():
            found = orders[order_id]
            assert (found.revision, found.filled) >= (known.revision, known.filled_quantity)
            if known.status in (CANCELLED, FILLED):
                assert (found.revision, found.status.value) == (known.revision, known.status)
        for trade_id, acknowledged in traders.trades.items():
            kept = trades[trade_id]
            assert (kept.buy_order_id, kept.sell_order_id) == (acknowledged.buy_order_id, acknowledged.sell_order_id)
            assert (kept.quantity, kept.price) == (
                acknowledged.quantity,
                acknowledged.price.units * 10_000 + acknowledged.price.nanos // 100_000,
            )
        # An import is there as a whole or not at all.
        users = Counter(order.user_id for order in orders.values())
        imports = {user_id: count for user_id, count in users.items() if user_id.startswith("w4-")}
        assert set(imports.values()) == {BATCH}
        assert traders.batches.keys() <= imports.keys()
        # The next server goes on with the same book, and knows the keys.
        async with running(client_aio, database=shared_database, bound=4 * BOUND) as server:
            for name, order_id in list(traders.keys.items())[:10]:
                found = orders[order_id]
                cents = found.items[0].price // 100
                side = BUY if found.side is Side.BUY else SELL
                again = await server.stub.CreateOrder(limit(side, found.items[0].quantity, cents, key=name))
                assert (again.existed, again.order.id) == (True, order_id)
            before = await book(server.stub, depth=99)
            price = before[1][0][0] if before[1] else 2000
            order = await create(server.stub, limit(BUY, 1, price))
            assert order.filled_quantity == (1 if before[1] else 0)
        async with opened(shared_database) as store:
            await assert_whole(store, *await everything(store))
