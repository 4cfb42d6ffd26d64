"""Stores for the tests, and orders to put into them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pygrpc.services.orders.book import Side
from pygrpc.services.orders.database import DatabaseOrderStore
from pygrpc.services.orders.store import Instrument, Item, NewOrder, Placed, create_one
from tests.services.stores import Clock

BUY, SELL = Side.BUY, Side.SELL
APPLE = Instrument("apple", "EUR")
MOST = 1000

_numbers = itertools.count()


@asynccontextmanager
async def opened(database: str = ":memory:", clock: Clock | None = None) -> AsyncIterator[DatabaseOrderStore]:
    store = await DatabaseOrderStore.open(database, clock=clock or Clock())
    try:
        yield store
    finally:
        await store.close()


def limit(side: Side, quantity: int = 1, price: int = 10, book: Instrument = APPLE, key: str = "") -> NewOrder:
    item = Item(book.product_id, quantity, price)
    return NewOrder(f"o{next(_numbers)}", "ann", side, book.currency, (item,), key)


def purchase(user_id: str = "ann", key: str = "") -> NewOrder:
    items = (Item("apple", 2, 15_000), Item("pear", 1, 0))
    return NewOrder(f"o{next(_numbers)}", user_id, None, "EUR", items, key)


async def placed(store: DatabaseOrderStore, order: NewOrder) -> Placed:
    return await create_one(store, order, most=MOST)
