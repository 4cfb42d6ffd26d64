"""Matching by price and time as simple as it can be: a list of all orders, looked through for each step."""

from __future__ import annotations

from dataclasses import dataclass

from pygrpc.services.orders.book import Fill, Limit, Side


@dataclass
class Waiting:
    """An order and what it still wants."""

    order: Limit
    left: int


class NaiveBook:
    """What Book has to do."""

    def __init__(self) -> None:
        self.orders: list[Waiting] = []

    def place(self, order: Limit) -> list[Fill]:
        arriving = Waiting(order, order.quantity)
        fills = []
        while arriving.left:
            takers = [each for each in self.orders if self._trade(order, each.order)]
            if not takers:
                self.orders.append(arriving)
                break
            sign = 1 if order.side is Side.BUY else -1
            best = min(takers, key=lambda each: (sign * each.order.price, each.order.sequence))
            quantity = min(arriving.left, best.left)
            arriving.left -= quantity
            best.left -= quantity
            fills.append(Fill(best.order.order_id, quantity, best.order.price, best.left))
            if not best.left:
                self.orders.remove(best)
        return fills

    def cancel(self, order_id: str) -> int:
        left = sum(each.left for each in self.orders if each.order.order_id == order_id)
        self.orders = [each for each in self.orders if each.order.order_id != order_id]
        return left

    def waiting(self, side: Side) -> list[Limit]:
        found = [each.order._replace(quantity=each.left) for each in self.orders if each.order.side is side]
        sign = 1 if side is Side.SELL else -1
        return sorted(found, key=lambda order: (sign * order.price, order.sequence))

    @staticmethod
    def _trade(order: Limit, other: Limit) -> bool:
        if order.side is other.side:
            return False
        return order.price >= other.price if order.side is Side.BUY else order.price <= other.price
