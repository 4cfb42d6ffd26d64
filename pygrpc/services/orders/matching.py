"""What new orders do within one transaction, decided without the storage.

The storage gives a Market the orders that wait and may be reached, lets it place the new ones one after the other, and
writes down what came of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pygrpc.services.orders import lifecycle
from pygrpc.services.orders.book import Book, Fill, Limit, Side
from pygrpc.services.orders.store import BookFull, Change, Instrument, NewOrder, Order, Placed, Status, Trade


class Market:
    """The books that a transaction touches.

    Attributes:
        orders: The orders that are new or were changed, as they are at the end; the new ones in the order of arrival.
        new: The ids of those that are new.
        trades: The trades, in the order in which they were made.
        changes: What happened to orders after their creation, in order.
    """

    def __init__(self, waiting: Iterable[Order], counts: Mapping[tuple[Instrument, Side], int], most: int) -> None:
        """Makes the books.

        Args:
            waiting: Of each side of a book that a new order may reach, all orders that it may reach.
            counts: How many orders wait on each side of a book that a new order may join.
            most: How many may wait there.

        Raises:
            ValueError: The orders that wait would trade with each other.
        """
        self.orders: dict[str, Order] = {}
        self.new: set[str] = set()
        self.trades: list[Trade] = []
        self.changes: list[Change] = []
        self._waiting = {order.order_id: order for order in waiting}
        self._counts = Counter(counts)
        self._most = most
        limits: dict[Instrument, list[Limit]] = {}
        for order in self._waiting.values():
            limits.setdefault(order.instrument, []).append(_limit(order, order.number))
        self._books = {instrument: Book(each) for instrument, each in limits.items()}
        # New orders come after all others.
        self._sequence = max((order.number for order in self._waiting.values()), default=0)

    def place(self, new: NewOrder, now: int) -> Placed | BookFull:
        """Adds a new order, and matches it if it has a side."""
        order = Order(0, new.order_id, new.user_id, new.side, new.currency, new.items, Status.PENDING, 0, 1, now, now)
        trades: list[Trade] = []
        if order.side is not None:
            queue = order.instrument, order.side
            if self._counts[queue] >= self._most:
                return BookFull(self._most)
            self._sequence += 1
            book = self._books.setdefault(order.instrument, Book())
            fills = book.place(_limit(order, self._sequence))
            trades = [self._trade(order, fill, number, now) for number, fill in enumerate(fills, start=1)]
            traded = sum(trade.quantity for trade in trades)
            order = order._replace(filled=traded, status=lifecycle.status_of_fill(traded, order.items[0].quantity))
            if order.left:
                self._waiting[order.order_id] = order
                self._counts[queue] += 1
        self.orders[order.order_id] = order
        self.new.add(order.order_id)
        self.trades += trades
        return Placed(order, trades, existed=False)

    def _trade(self, taker: Order, fill: Fill, number: int, now: int) -> Trade:
        """Makes a trade, and fills the order that waited."""
        assert taker.side is not None
        ids = (taker.order_id, fill.order_id) if taker.side is Side.BUY else (fill.order_id, taker.order_id)
        trade_id = f"{taker.order_id}.{number}"
        trade = Trade(trade_id, taker.instrument, fill.price, fill.quantity, *ids, taker.side, now)
        maker, change = lifecycle.filled(self._waiting[fill.order_id], trade)
        self._waiting[fill.order_id] = self.orders[fill.order_id] = maker
        self.changes.append(change)
        if not maker.left:
            self._counts[taker.instrument, taker.side.other] -= 1
        return trade


def _limit(order: Order, sequence: int) -> Limit:
    assert order.side is not None
    return Limit(order.order_id, order.side, order.items[0].price, order.left, sequence)
