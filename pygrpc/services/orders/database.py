"""Orders in a database.

The writes of all processes follow each other (DatabaseStore), and what a write needs to know it reads from the tables.
No process keeps a book in memory, so none can have one that is out of date, and there is nothing to restore at a start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, insert, literal_column, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pygrpc.services.database import DatabaseStore
from pygrpc.services.orders import lifecycle, schema
from pygrpc.services.orders.book import Level, Side
from pygrpc.services.orders.matching import Market
from pygrpc.services.orders.schema import MIGRATIONS, changes, orders
from pygrpc.services.orders.store import (
    BookFull,
    Change,
    Instrument,
    Item,
    KeyReused,
    NewOrder,
    Order,
    OrderNotFound,
    Placed,
    Status,
    Trade,
)

# Orders that wait are read in pieces, as most new orders reach only a few of them.
_FIRST_PIECE = 64
_PIECES_GROW = 8
_KEYS_AT_ONCE = 100

# Written out, not as a parameter, as SQLite uses the index of the books only if it sees that its condition holds.
_WAITS = orders.c.waiting > literal_column("0")


class DatabaseOrderStore(DatabaseStore):
    """An OrderStore in one database. Use `open` to make one."""

    title = "order database"
    migrations = MIGRATIONS
    version_table = "order_schema_version"

    async def create(self, orders: Sequence[NewOrder], *, most: int) -> list[Placed | KeyReused | BookFull]:
        """See OrderStore."""
        return await self._finish(self._create(orders, most))

    async def get(self, order_id: str) -> Order:
        """See OrderStore."""
        return await self._finish(self._get(order_id))

    async def cancel(self, order_id: str, message: str) -> Order:
        """See OrderStore."""
        return await self._finish(self._cancel(order_id, message))

    async def advance(self, order_id: str, status: Status, message: str) -> Order:
        """See OrderStore."""
        return await self._finish(self._advance(order_id, status, message))

    async def page(self, *, limit: int, after: int = 0, user_id: str = "", status: int = 0) -> list[Order]:
        """See OrderStore."""
        return await self._finish(self._page(limit, after, user_id, status))

    async def trades(self, order_id: str, *, limit: int, after: int = 0) -> list[tuple[int, Trade]]:
        """See OrderStore."""
        return await self._finish(self._trades(order_id, limit, after))

    async def levels(self, instrument: Instrument, side: Side, limit: int) -> list[Level]:
        """See OrderStore."""
        return await self._finish(self._levels(instrument, side, limit))

    async def after(self, position: int, limit: int) -> list[Change]:
        """See OrderStore."""
        return await self._finish(self._after(position, limit))

    async def since(self, order_id: str, revision: int, limit: int) -> list[Change]:
        """See OrderStore."""
        return await self._finish(self._since(order_id, revision, limit))

    async def latest(self) -> int:
        """See OrderStore."""
        return await self._finish(self._latest())

    async def _create(self, new: Sequence[NewOrder], most: int) -> list[Placed | KeyReused | BookFull]:
        results: list[Placed | KeyReused | BookFull] = []
        async with self._write() as connection:
            known = await _with_keys(connection, new)
            fresh = [order for order in new if (order.user_id, order.key) not in known]
            waiting, counts = await _reachable(connection, fresh)
            market = Market(waiting, counts, most)
            for order in new:
                first = known.get((order.user_id, order.key)) if order.key else None
                if first is not None:
                    results.append(_repeated(order, first))
                    continue
                placed = market.place(order, self._clock())
                results.append(placed)
                if order.key and isinstance(placed, Placed):
                    known[order.user_id, order.key] = placed.order
            keys = {order.order_id: order.key for order in new}
            await _store_orders(connection, market, keys)
            await _store_trades(connection, market.trades)
            await self._store_changes(connection, market.changes)
        # Later orders of the same call may have traded with earlier ones.
        return [_as_it_is_then(result, market) for result in results]

    async def _get(self, order_id: str) -> Order:
        async with self._read() as connection:
            return await _fetch(connection, order_id)

    async def _cancel(self, order_id: str, message: str) -> Order:
        async with self._write() as connection:
            order = await _fetch(connection, order_id)
            return await self._store_change(connection, *lifecycle.cancelled(order, self._clock(), message))

    async def _advance(self, order_id: str, status: Status, message: str) -> Order:
        async with self._write() as connection:
            order = await _fetch(connection, order_id)
            return await self._store_change(connection, *lifecycle.advanced(order, status, self._clock(), message))

    async def _page(self, limit: int, after: int, user_id: str, status: int) -> list[Order]:
        query = select(orders).where(orders.c.number > after).order_by(orders.c.number).limit(limit)
        if user_id:
            query = query.where(orders.c.user_id == user_id)
        if status:
            query = query.where(orders.c.status == status)
        async with self._read() as connection:
            return [_order(row) for row in await connection.execute(query)]

    async def _trades(self, order_id: str, limit: int, after: int) -> list[tuple[int, Trade]]:
        async with self._read() as connection:
            order = await _fetch(connection, order_id)
            own = schema.trades.c.buy_order_id if order.side is Side.BUY else schema.trades.c.sell_order_id
            query = select(schema.trades).where(own == order_id, schema.trades.c.number > after)
            found = await connection.execute(query.order_by(schema.trades.c.number).limit(limit))
            return [(row.number, _trade(row)) for row in found]

    async def _levels(self, instrument: Instrument, side: Side, limit: int) -> list[Level]:
        columns = orders.c.price, func.sum(orders.c.waiting), func.count()
        query = select(*columns).where(_in_book(instrument, side)).group_by(orders.c.price).limit(limit)
        query = query.order_by(orders.c.price.desc() if side is Side.BUY else orders.c.price)
        async with self._read() as connection:
            return [Level(price, int(quantity), count) for price, quantity, count in await connection.execute(query)]

    async def _after(self, position: int, limit: int) -> list[Change]:
        query = _changes().where(changes.c.position > position).order_by(changes.c.position).limit(limit)
        async with self._read() as connection:
            return [_change(row) for row in await connection.execute(query)]

    async def _since(self, order_id: str, revision: int, limit: int) -> list[Change]:
        query = _changes().where(changes.c.order_id == order_id, changes.c.revision > revision)
        async with self._read() as connection:
            found = await connection.execute(query.order_by(changes.c.revision).limit(limit))
            return [_change(row) for row in found]

    async def _latest(self) -> int:
        async with self._read() as connection:
            return (await connection.execute(select(func.max(changes.c.position)))).scalar_one() or 0

    async def _store_change(self, connection: AsyncConnection, order: Order, change: Change) -> Order:
        await connection.execute(update(orders).where(orders.c.id == order.order_id).values(_changing(order)))
        await self._store_changes(connection, [change])
        return order

    async def _store_changes(self, connection: AsyncConnection, new: list[Change]) -> None:
        if new:
            await connection.execute(insert(changes), list(map(_change_row, new)))
            self._tell(new)


def _changes() -> Select[Any]:
    """Selects changes, with their trades."""
    joined = changes.outerjoin(schema.trades, changes.c.trade_id == schema.trades.c.id)
    return select(changes, schema.trades).select_from(joined)


async def _fetch(connection: AsyncConnection, order_id: str) -> Order:
    row = (await connection.execute(select(orders).where(orders.c.id == order_id))).one_or_none()
    if row is None:
        raise OrderNotFound(order_id)
    return _order(row)


async def _with_keys(connection: AsyncConnection, new: Sequence[NewOrder]) -> dict[tuple[str, str], Order]:
    """Returns the orders that have the idempotency keys of new ones, by user and key."""
    keys = list({(order.user_id, order.key) for order in new if order.key})
    found: dict[tuple[str, str], Order] = {}
    for begin in range(0, len(keys), _KEYS_AT_ONCE):
        among = tuple_(orders.c.user_id, orders.c.idempotency_key).in_(keys[begin : begin + _KEYS_AT_ONCE])
        for row in await connection.execute(select(orders).where(among)):
            found[row.user_id, row.idempotency_key] = _order(row)
    return found


def _repeated(new: NewOrder, first: Order) -> Placed | KeyReused:
    if (new.side, new.currency, new.items) != (first.side, first.currency, first.items):
        return KeyReused(first.order_id)
    return Placed(first, [], existed=True)


def _as_it_is_then(result: Placed | KeyReused | BookFull, market: Market) -> Placed | KeyReused | BookFull:
    if not isinstance(result, Placed):
        return result
    return result._replace(order=market.orders.get(result.order.order_id, result.order))


async def _reachable(
    connection: AsyncConnection, new: Sequence[NewOrder]
) -> tuple[list[Order], dict[tuple[Instrument, Side], int]]:
    """Reads what the books have for new orders.

    Returns:
        The orders that wait and may trade with the new ones, and how many wait on their own sides.
    """
    arriving: dict[tuple[Instrument, Side], list[Item]] = {}
    for order in new:
        if order.side is not None:
            book = Instrument(order.items[0].product_id, order.currency)
            arriving.setdefault((book, order.side), []).append(order.items[0])
    waiting: list[Order] = []
    counts: dict[tuple[Instrument, Side], int] = {}
    for (book, side), items in arriving.items():
        waiting += await _first_in_line(connection, book, side, items)
        count = select(func.count()).select_from(orders).where(_in_book(book, side))
        counts[book, side] = (await connection.execute(count)).scalar_one()
    return waiting, counts


async def _first_in_line(
    connection: AsyncConnection, book: Instrument, side: Side, items: Sequence[Item]
) -> list[Order]:
    """Reads the orders that wait for the items of one side, in their order, until these have all they want."""
    price = orders.c.price
    query = select(orders).where(_in_book(book, side.other))
    if side is Side.BUY:
        query = query.where(price <= max(item.price for item in items)).order_by(price, orders.c.number)
    else:
        query = query.where(price >= min(item.price for item in items)).order_by(price.desc(), orders.c.number)
    wanted = sum(item.quantity for item in items)
    found: list[Order] = []
    piece = _FIRST_PIECE
    while wanted > 0:
        # Each order has at least one to trade.
        piece = min(piece, wanted)
        rows = (await connection.execute(query.limit(piece).offset(len(found)))).all()
        found += map(_order, rows)
        if len(rows) < piece:
            break
        wanted -= sum(row.waiting for row in rows)
        piece *= _PIECES_GROW
    return found


def _in_book(book: Instrument, side: Side) -> ColumnElement[bool]:
    same = and_(orders.c.product_id == book.product_id, orders.c.currency == book.currency)
    return and_(same, orders.c.side == side.value, _WAITS)


async def _store_orders(connection: AsyncConnection, market: Market, keys: dict[str, str]) -> None:
    new, old = [], []
    for order in market.orders.values():
        if order.order_id in market.new:
            new.append(_order_row(order) | {"idempotency_key": keys[order.order_id] or None})
        else:
            old.append(_changing(order) | {"which": order.order_id})
    # The numbers are given in the order of the rows, which is that of arrival.
    if new:
        await connection.execute(insert(orders), new)
    if old:
        # The columns to set are those that the rows have.
        await connection.execute(update(orders).where(orders.c.id == bindparam("which")), old)


async def _store_trades(connection: AsyncConnection, new: Iterable[Trade]) -> None:
    rows = [
        {
            "id": trade.trade_id,
            "product_id": trade.instrument.product_id,
            "currency": trade.instrument.currency,
            "price": trade.price,
            "quantity": trade.quantity,
            "buy_order_id": trade.buy_order_id,
            "sell_order_id": trade.sell_order_id,
            "taker_side": trade.taker_side.value,
            "traded_at": trade.at,
        }
        for trade in new
    ]
    if rows:
        await connection.execute(insert(schema.trades), rows)


def _order_row(order: Order) -> dict[str, object]:
    [first, *_] = order.items
    return _changing(order) | {
        "id": order.order_id,
        "user_id": order.user_id,
        "side": 0 if order.side is None else order.side.value,
        "product_id": "" if order.side is None else first.product_id,
        "currency": order.currency,
        "price": 0 if order.side is None else first.price,
        "items": json.dumps(order.items, separators=(",", ":")),
        "created_at": order.created_at,
    }


def _changing(order: Order) -> dict[str, object]:
    """Returns the columns that a change may touch."""
    return {
        "status": order.status.value,
        "filled": order.filled,
        "waiting": order.left,
        "revision": order.revision,
        "updated_at": order.updated_at,
    }


def _change_row(change: Change) -> dict[str, object]:
    return {
        "order_id": change.order_id,
        "revision": change.revision,
        "old_status": change.old_status.value,
        "new_status": change.new_status.value,
        "filled": change.filled,
        "changed_at": change.at,
        "message": change.message,
        "trade_id": None if change.trade is None else change.trade.trade_id,
    }


def _order(row: Row[Any]) -> Order:
    return Order(
        row.number,
        row.id,
        row.user_id,
        Side(row.side) if row.side else None,
        row.currency,
        tuple(Item(*item) for item in json.loads(row.items)),
        Status(row.status),
        row.filled,
        row.revision,
        row.created_at,
        row.updated_at,
    )


def _trade(row: Row[Any]) -> Trade:
    return Trade(
        row.id,
        Instrument(row.product_id, row.currency),
        row.price,
        row.quantity,
        row.buy_order_id,
        row.sell_order_id,
        Side(row.taker_side),
        row.traded_at,
    )


def _change(row: Row[Any]) -> Change:
    return Change(
        row.position,
        row.order_id,
        row.revision,
        Status(row.old_status),
        Status(row.new_status),
        row.filled,
        row.changed_at,
        row.message,
        None if row.trade_id is None else _trade(row),
    )
