"""The book of one product in one currency: which orders wait, and who trades with whom at which price.

Pure: no clock and no storage. Time is the sequence of an order, a number that grows from order to order, and money and
quantities are whole numbers.

The rules are those of price-time priority:

- An order trades with the other side as long as their prices cross: what a buyer gives at most is not below what a
  seller takes at least.
- The best price of the other side goes first, and among orders with the same price the one with the lower sequence.
- A trade is made at the price of the order that waited, so whoever comes may get better than what it has asked for.
- What is left of an order waits. So after each order the book is not crossed: the best price to buy is below the best
  price to sell.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable
from typing import NamedTuple


class Side(enum.IntEnum):
    """Whether an order buys or sells. The numbers are those of order.v1.Side, and are stored."""

    BUY = 1
    SELL = 2

    @property
    def other(self) -> Side:
        """The side that this one trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Limit(NamedTuple):
    """An order to buy or to sell at a price or a better one.

    Attributes:
        order_id: Its name.
        side: Buy or sell.
        price: The worst price that it takes, in whatever unit the book has; more than 0.
        quantity: How much it (still) wants; more than 0.
        sequence: Its place in time.
    """

    order_id: str
    side: Side
    price: int
    quantity: int
    sequence: int


class Fill(NamedTuple):
    """What an order trades with one that waited.

    Attributes:
        order_id: The order that waited.
        quantity: How much changes hands.
        price: The price of the order that waited.
        left: How much the order that waited still wants.
    """

    order_id: str
    quantity: int
    price: int
    left: int


class Level(NamedTuple):
    """All that waits at one price."""

    price: int
    quantity: int
    orders: int


class Book:
    """The orders that wait, and the matching of those that come."""

    def __init__(self, waiting: Iterable[Limit] = ()) -> None:
        """Makes a book.

        Args:
            waiting: The orders that wait already, in any order; those of one side may be left out from some priority
                on, as long as none of them is reached.

        Raises:
            ValueError: Two of them would trade with each other, or have the same name.
        """
        # The best order of a side is first. Orders that do not wait any more are dropped when they get there.
        self._sides: dict[Side, list[tuple[int, int, Limit]]] = {Side.BUY: [], Side.SELL: []}
        self._left: dict[str, int] = {}
        self._latest = -1
        for order in sorted(waiting, key=lambda order: order.sequence):
            if self.place(order):
                raise ValueError("the book is crossed")

    def place(self, order: Limit) -> list[Fill]:
        """Matches an order with those that wait, and lets what is left of it wait.

        Args:
            order: One with a sequence above those of all orders before it.

        Returns:
            What it trades, the best price first.

        Raises:
            ValueError: The quantity or the price is not positive, the sequence does not grow, or the name is in use.
        """
        self._check(order)
        self._latest = order.sequence
        fills: list[Fill] = []
        wanted = order.quantity
        while wanted:
            best = self._best(order.side.other)
            if best is None or not _crosses(order, best.price):
                break
            waited = self._left[best.order_id]
            quantity = min(wanted, waited)
            wanted -= quantity
            fills.append(Fill(best.order_id, quantity, best.price, waited - quantity))
            if waited > quantity:
                self._left[best.order_id] = waited - quantity
            else:
                del self._left[best.order_id]
        if wanted:
            self._left[order.order_id] = wanted
            heapq.heappush(self._sides[order.side], (*_priority(order), order))
        return fills

    def cancel(self, order_id: str) -> int:
        """Takes an order out.

        Returns:
            How much it still wanted; 0 if it did not wait.
        """
        return self._left.pop(order_id, 0)

    def left(self, order_id: str) -> int:
        """Returns how much an order still wants; 0 if it does not wait."""
        return self._left.get(order_id, 0)

    def best(self, side: Side) -> int | None:
        """Returns the best price of a side, None if nobody waits there."""
        order = self._best(side)
        return None if order is None else order.price

    def waiting(self, side: Side) -> list[Limit]:
        """Returns the orders of a side with what they still want, the first to trade first."""
        entries = sorted(entry for entry in self._sides[side] if self._waits(entry[2]))
        return [order._replace(quantity=self._left[order.order_id]) for _, _, order in entries]

    def levels(self, side: Side) -> list[Level]:
        """Returns what waits on a side, the best price first."""
        found: list[Level] = []
        for order in self.waiting(side):
            if found and found[-1].price == order.price:
                price, quantity, orders = found[-1]
                found[-1] = Level(price, quantity + order.quantity, orders + 1)
            else:
                found.append(Level(order.price, order.quantity, 1))
        return found

    def _check(self, order: Limit) -> None:
        if order.quantity <= 0 or order.price <= 0:
            raise ValueError("the quantity and the price of an order must be more than 0")
        if order.sequence <= self._latest:
            raise ValueError("the sequence of an order must be above those before it")
        if order.order_id in self._left:
            raise ValueError("there is an order with this name")

    def _best(self, side: Side) -> Limit | None:
        entries = self._sides[side]
        while entries:
            order = entries[0][2]
            if self._waits(order):
                return order
            heapq.heappop(entries)
        return None

    def _waits(self, order: Limit) -> bool:
        return order.order_id in self._left


def _priority(order: Limit) -> tuple[int, int]:
    return (-order.price if order.side is Side.BUY else order.price), order.sequence


def _crosses(order: Limit, price: int) -> bool:
    return price <= order.price if order.side is Side.BUY else price >= order.price
