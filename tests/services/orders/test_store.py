"""The store of the orders, without a server."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from pygrpc.services.errors import StoreError
from pygrpc.services.orders import DatabaseOrderStore, schema
from pygrpc.services.orders.book import Level, Limit, Side
from pygrpc.services.orders.store import (
    BookFull,
    Change,
    Instrument,
    Item,
    KeyReused,
    NewOrder,
    OrderNotFound,
    Placed,
    Status,
    WrongState,
)
from tests.services.orders.naive import NaiveBook
from tests.services.orders.stores import APPLE, BUY, MOST, SELL, limit, opened, placed, purchase
from tests.services.stores import Clock


async def test_a_purchase_and_its_changes(database: str) -> None:
    clock = Clock()
    async with opened(database, clock) as store:
        heard: list[list[Change]] = []
        store.listen(heard.append)
        new = purchase()
        order, trades, existed = await placed(store, new)
        assert (trades, existed, heard) == ([], False, [])
        assert (order.total, order.status, order.revision, order.left) == (30_000, Status.PENDING, 1, 0)
        assert (await store.get(order.order_id))._replace(number=0) == order
        clock.now += 5
        after = await store.advance(order.order_id, Status.PROCESSING, "packing")
        assert (after.status, after.revision, after.updated_at - after.created_at) == (Status.PROCESSING, 2, 5)
        assert await store.get(order.order_id) == after
        assert (await store.cancel(order.order_id, "")).status is Status.CANCELLED
        with pytest.raises(WrongState):
            await store.cancel(order.order_id, "")
        with pytest.raises(WrongState):
            await store.advance(order.order_id, Status.SHIPPED, "")
        first, second = await store.after(0, 10)
        assert first == Change(1, new.order_id, 2, Status.PENDING, Status.PROCESSING, 0, clock.now, "packing", None)
        assert (second.position, second.new_status) == (2, Status.CANCELLED)
        assert (await store.after(1, 10), await store.after(0, 1)) == ([second], [first])
        assert await store.since(new.order_id, 1, 10) == [first, second]
        assert (await store.since(new.order_id, 2, 10), await store.since(new.order_id, 1, 1)) == ([second], [first])
        assert await store.since("another", 0, 10) == []
        assert await store.latest() == 2
        assert [change._replace(position=0) for [change] in heard] == [
            first._replace(position=0),
            second._replace(position=0),
        ]


async def test_limit_orders_and_their_trades(database: str) -> None:
    async with opened(database) as store:
        cheap = (await placed(store, limit(SELL, 3, 9))).order
        dear = (await placed(store, limit(SELL, 3, 11))).order
        taker, trades, _ = await placed(store, limit(BUY, 5, 11))
        assert [(trade.sell_order_id, trade.quantity, trade.price) for trade in trades] == [
            (cheap.order_id, 3, 9),
            (dear.order_id, 2, 11),
        ]
        assert (taker.status, taker.filled, taker.revision) == (Status.FILLED, 5, 1)
        assert (await store.get(taker.order_id))._replace(number=0) == taker
        states = [await store.get(order.order_id) for order in (cheap, dear)]
        assert [(order.status, order.filled, order.revision) for order in states] == [
            (Status.FILLED, 3, 2),
            (Status.PARTIALLY_FILLED, 2, 2),
        ]
        assert [(change.order_id, change.trade) for change in await store.after(0, 10)] == [
            (cheap.order_id, trades[0]),
            (dear.order_id, trades[1]),
        ]
        numbered = await store.trades(taker.order_id, limit=10)
        assert [trade for _, trade in numbered] == trades
        assert await store.trades(taker.order_id, limit=10, after=numbered[0][0]) == numbered[1:]
        assert await store.trades(dear.order_id, limit=10) == numbered[1:]
        assert await store.levels(APPLE, SELL, 10) == [Level(11, 1, 1)]
        assert (await store.cancel(dear.order_id, "")).filled == 2
        assert await store.levels(APPLE, SELL, 10) == []
        for call in (store.get("none"), store.cancel("none", ""), store.trades("none", limit=1)):
            with pytest.raises(OrderNotFound):
                await call


async def test_a_key_is_for_one_order_of_a_user(database: str) -> None:
    async with opened(database) as store:
        first = await placed(store, limit(SELL, 5, 10, key="k"))
        await placed(store, limit(BUY, 2, 10))
        again = await placed(store, limit(SELL, 5, 10, key="k"))
        assert (again.order.order_id, again.order.filled, again.trades, again.existed) == (
            first.order.order_id,
            2,
            [],
            True,
        )
        assert await store.levels(APPLE, SELL, 10) == [Level(10, 3, 1)]
        for other in (limit(SELL, 4, 10, key="k"), limit(BUY, 5, 10, key="k"), purchase(key="k")):
            [reused] = await store.create([other], most=MOST)
            assert isinstance(reused, KeyReused)
            assert reused.order_id == first.order.order_id
        assert not (await placed(store, purchase("bob", key="k"))).existed
        # And within one call.
        one, two, three = await store.create([purchase(key="n"), purchase(key="n"), purchase()], most=MOST)
        assert isinstance(one, Placed) and isinstance(two, Placed) and isinstance(three, Placed)
        assert (one.existed, two.existed, three.existed) == (False, True, False)
        assert two.order.order_id == one.order.order_id != three.order.order_id


async def test_many_orders_of_one_call_are_matched_in_turn(database: str) -> None:
    async with opened(database) as store:
        waiting = (await placed(store, limit(SELL, 4, 8))).order
        new = [limit(BUY, 2, 9), limit(SELL, 1, 9), purchase(), limit(BUY, 3, 10), limit(SELL, 9, 20)]
        results = await store.create(new, most=2)
        assert isinstance(results[1], Placed) and isinstance(results[3], Placed)
        assert [type(result) for result in results] == [Placed] * 4 + [Placed]
        # Each is told as it is in the end: the second one was met by the fourth.
        assert (results[1].order.status, results[1].order.revision) == (Status.FILLED, 2)
        assert [(trade.sell_order_id, trade.quantity, trade.price) for trade in results[3].trades] == [
            (waiting.order_id, 2, 8),
            (new[1].order_id, 1, 9),
        ]
        for order, result in zip(new, results, strict=True):
            assert isinstance(result, Placed)
            assert (await store.get(order.order_id))._replace(number=0) == result.order
        assert [change.order_id for change in await store.after(0, 10)] == [
            waiting.order_id,
            waiting.order_id,
            new[1].order_id,
        ]
        assert isinstance((await store.create([limit(SELL, 1, 30), limit(SELL, 1, 40)], most=2))[1], BookFull)


async def test_an_order_reaches_as_many_as_it_needs(database: str) -> None:
    async with opened(database) as store:
        for begin in range(0, 700, 100):
            await store.create([limit(SELL, 2, 1 + number % 7) for number in range(begin, begin + 100)], most=MOST)
        levels = await store.levels(APPLE, SELL, 10)
        assert levels == [Level(price, 200, 100) for price in range(1, 8)]
        assert await store.levels(APPLE, SELL, 3) == levels[:3]
        order, trades, _ = await placed(store, limit(BUY, 1001, 6))
        assert (order.filled, order.status, len(trades)) == (1001, Status.FILLED, 501)
        assert [trade.price for trade in trades] == sorted(trade.price for trade in trades)
        assert await store.levels(APPLE, SELL, 10) == [Level(6, 199, 100), Level(7, 200, 100)]
        assert (await placed(store, limit(BUY, 1000, 100))).order.filled == 399
        assert await store.levels(APPLE, BUY, 10) == [Level(100, 601, 1)]


async def test_the_largest_amounts_are_stored(database: str) -> None:
    quantity, price = 10**5, 10**13
    async with opened(database) as store:
        await store.create([limit(SELL, quantity, price) for _ in range(3)], most=MOST)
        order = (await placed(store, limit(BUY, quantity, price))).order
        assert (order.total, order.status) == (10**18, Status.FILLED)
        assert await store.levels(APPLE, SELL, 1) == [Level(price, 2 * quantity, 2)]


async def test_pages_of_orders(database: str) -> None:
    async with opened(database) as store:
        for user_id in ("ann", "bob", "ann", "ann"):
            await placed(store, purchase(user_id))
        everything = await store.page(limit=10)
        assert [order.user_id for order in everything] == ["ann", "bob", "ann", "ann"]
        assert await store.page(limit=2, after=everything[0].number) == everything[1:3]
        assert await store.page(limit=10, user_id="bob") == [everything[1]]
        changed = await store.cancel(everything[2].order_id, "")
        assert await store.page(limit=10, status=Status.CANCELLED) == [changed]
        assert await store.page(limit=10, user_id="bob", status=Status.CANCELLED) == []


async def test_a_write_that_fails_leaves_nothing_behind(database: str) -> None:
    async with opened(database) as store:
        seller = (await placed(store, limit(SELL, 5, 10))).order
        before = await store.get(seller.order_id)
        async with store._write() as connection:
            # The last of all that a trade writes.
            await connection.execute(text("ALTER TABLE order_changes RENAME TO elsewhere"))
        with pytest.raises(StoreError):
            await placed(store, limit(BUY, 5, 10, key="k"))
        async with store._write() as connection:
            await connection.execute(text("ALTER TABLE elsewhere RENAME TO order_changes"))
        assert await store.get(seller.order_id) == before
        assert (await store.page(limit=9), await store.after(0, 9)) == ([before], [])
        assert await store.trades(seller.order_id, limit=9) == []
        assert (await placed(store, limit(BUY, 5, 10, key="k"))).trades


@pytest.mark.parametrize("seed", range(3))
async def test_two_stores_on_one_database_are_one_book(shared_database: str, seed: int) -> None:
    chance, naive, traded = random.Random(seed), NaiveBook(), 0
    async with opened(shared_database) as one, opened(shared_database) as two:
        for number in range(80):
            store = chance.choice((one, two))
            if chance.random() < 0.2:
                await cancel_both(store, naive, f"n{chance.randrange(80)}")
                continue
            side, price, quantity = chance.choice((BUY, SELL)), chance.randint(1, 5), chance.randint(1, 9)
            fills = naive.place(Limit(f"n{number}", side, price, quantity, number))
            order = NewOrder(f"n{number}", "ann", side, "EUR", (Item("apple", quantity, price),))
            result = await placed(store, order)
            assert [(trade.quantity, trade.price) for trade in result.trades] == [
                (fill.quantity, fill.price) for fill in fills
            ]
            traded += len(fills)
        for side in Side:
            levels: dict[int, list[int]] = {}
            for waiting in naive.waiting(side):
                levels.setdefault(waiting.price, []).append(waiting.quantity)
            expected = [Level(price, sum(wanted), len(wanted)) for price, wanted in levels.items()]
            assert await two.levels(APPLE, side, 99) == expected
        told = [change.trade for change in await one.after(0, 999) if change.trade is not None]
        assert len({trade.trade_id for trade in told}) == len(told) == traded > 0


async def test_stores_that_write_at_once_make_each_trade_once(shared_database: str) -> None:
    async with opened(shared_database) as one, opened(shared_database) as two:
        orders = [limit(BUY if number % 2 else SELL, 1 + number % 3, 9 + number % 4) for number in range(60)]
        results = await asyncio.gather(
            *(placed(one if number % 3 else two, order) for number, order in enumerate(orders))
        )
        trades = [trade for result in results for trade in result.trades]
        told = await two.after(0, 999)
        assert [change.position for change in told] == sorted({change.position for change in told})
        assert sorted(trades) == sorted(change.trade for change in told if change.trade is not None)
        for order in await one.page(limit=100):
            own = [trade for trade in trades if order.order_id in (trade.buy_order_id, trade.sell_order_id)]
            assert sum(trade.quantity for trade in own) == order.filled
        [bid, *_], [ask, *_] = [await one.levels(APPLE, side, 9) or [None] for side in Side]
        assert bid is None or ask is None or bid.price < ask.price


async def cancel_both(store: DatabaseOrderStore, naive: NaiveBook, order_id: str) -> None:
    left = naive.cancel(order_id)
    try:
        order = await store.cancel(order_id, "")
    except (OrderNotFound, WrongState):
        assert left == 0
    else:
        assert order.items[0].quantity - order.filled == left


async def test_books_are_read_by_their_index(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    statements: list[Any] = []
    async with opened(str(path)) as store:
        event.listen(
            store._engine.sync_engine, "before_cursor_execute", lambda *given: statements.append((given[2], given[3]))
        )
        await placed(store, limit(BUY, 1, 10, Instrument("pear", "EUR")))
        await store.levels(APPLE, SELL, 5)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    books = [each for each in statements if each[0].startswith("SELECT") and "waiting >" in each[0]]
    assert len(books) == 3
    async with engine.connect() as connection:
        for statement, parameters in books:
            found = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plan = " ".join(str(row) for row in found)
            assert "orders_waiting" in plan
            assert "TEMP B-TREE" not in plan
    await engine.dispose()


async def test_the_migrations_make_the_tables_that_are_used(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    async with opened(str(path)):
        pass
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.connect() as connection:
        for table in (schema.orders, schema.trades, schema.changes):
            columns = await connection.run_sync(lambda sync, name=table.name: inspect(sync).get_columns(name))
            found = [(column["name"], column["nullable"]) for column in columns]
            # SQLite takes a primary key of integers for nullable, which it is not.
            assert found[1:] == [(column.name, column.nullable) for column in table.columns][1:]
            assert found[0][0] == table.columns[0].name
    await engine.dispose()
