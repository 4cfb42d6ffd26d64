from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.orders.book import Book, Fill, Level, Limit, Side
from tests.services.orders.naive import NaiveBook

BUY, SELL = Side.BUY, Side.SELL

#: Few prices, so that orders meet; and some of the largest values.
prices = st.one_of(st.integers(1, 6), st.just(10**13))
quantities = st.one_of(st.integers(1, 9), st.just(10**9))
places = st.tuples(st.sampled_from(Side), prices, quantities)
#: What to do, one after the other: an order, or the cancellation of the order that came n-th.
commands = st.lists(st.one_of(places, places, places, st.integers(0, 30)), max_size=40)


def limit(number: int, side: Side, price: int, quantity: int) -> Limit:
    return Limit(f"o{number}", side, price, quantity, number)


@given(commands)
def test_the_book_does_what_the_naive_one_does(given_commands: list[tuple[Side, int, int] | int]) -> None:
    book, naive = Book(), NaiveBook()
    for number, command in enumerate(given_commands):
        if isinstance(command, int):
            assert book.cancel(f"o{command}") == naive.cancel(f"o{command}")
        else:
            order = limit(number, *command)
            assert book.place(order) == naive.place(order)
        for side in Side:
            assert book.waiting(side) == naive.waiting(side)


@given(commands)
def test_what_holds_for_any_book(given_commands: list[tuple[Side, int, int] | int]) -> None:
    book = Book()
    orders: dict[str, Limit] = {}
    filled: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    for number, command in enumerate(given_commands):
        if isinstance(command, int):
            cancelled[f"o{command}"] += book.cancel(f"o{command}")
            continue
        order = orders[f"o{number}"] = limit(number, *command)
        queue = book.waiting(order.side.other)
        for index, fill in enumerate(book.place(order)):
            maker = queue[index]
            # Price-time priority is exact: the queue is taken from its front, and nobody is passed over.
            assert fill.order_id == maker.order_id
            # Trades are made at the price of the order that waited, and nobody gets worse than what it asked for.
            assert fill.price == maker.price == orders[fill.order_id].price
            assert fill.price <= order.price if order.side is BUY else fill.price >= order.price
            assert fill.left == maker.quantity - fill.quantity >= 0
            filled[order.order_id] += fill.quantity
            filled[fill.order_id] += fill.quantity
        # The book is never crossed.
        bid, ask = book.best(BUY), book.best(SELL)
        assert bid is None or ask is None or bid < ask
    # Nothing is made or lost: what was traded, cancelled and waits is what was ordered; each trade has two sides.
    for name, order in orders.items():
        assert filled[name] + cancelled[name] + book.left(name) == order.quantity
    assert sum(filled[name] for name in orders if orders[name].side is BUY) == sum(
        filled[name] for name in orders if orders[name].side is SELL
    )


@given(commands, places)
def test_a_book_is_rebuilt_from_the_orders_that_wait(
    given_commands: list[tuple[Side, int, int] | int], last: tuple[Side, int, int]
) -> None:
    book = Book()
    for number, command in enumerate(given_commands):
        if isinstance(command, int):
            book.cancel(f"o{command}")
        else:
            book.place(limit(number, *command))
    waiting = [*book.waiting(SELL), *book.waiting(BUY)]
    again = Book(waiting)
    # The orders that are reached are enough.
    arriving = limit(1000, *last)
    reached = [each for each in waiting if each.side is not arriving.side]
    fills = book.place(arriving)
    assert again.place(arriving) == fills
    assert Book(reached).place(arriving) == fills
    for side in Side:
        assert again.waiting(side) == book.waiting(side)
        assert again.levels(side) == book.levels(side)


@given(commands)
def test_levels_are_what_waits_by_price(given_commands: list[tuple[Side, int, int] | int]) -> None:
    book = Book()
    for number, command in enumerate(given_commands):
        if not isinstance(command, int):
            book.place(limit(number, *command))
    for side in Side:
        expected = []
        for price, group in groupby(book.waiting(side), key=lambda order: order.price):
            wanted = [order.quantity for order in group]
            expected.append(Level(price, sum(wanted), len(wanted)))
        assert book.levels(side) == expected
        assert book.best(side) == (expected[0].price if expected else None)


def test_an_order_sweeps_the_book_and_waits_with_the_rest() -> None:
    book = Book([limit(0, SELL, 12, 5), limit(1, SELL, 10, 5), limit(2, SELL, 11, 5), limit(3, SELL, 10, 5)])
    fills = book.place(limit(4, BUY, 11, 20))
    assert fills == [Fill("o1", 5, 10, 0), Fill("o3", 5, 10, 0), Fill("o2", 5, 11, 0)]
    assert (book.best(BUY), book.best(SELL), book.left("o4")) == (11, 12, 5)
    assert book.place(limit(5, SELL, 1, 2)) == [Fill("o4", 2, 11, 3)]
    assert book.cancel("o4") == 3
    assert (book.cancel("o4"), book.left("o4"), book.best(BUY)) == (0, 0, None)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (limit(2, BUY, 10, 0), "more than 0"),
        (limit(2, BUY, 0, 10), "more than 0"),
        (limit(2, BUY, -1, 10), "more than 0"),
        (limit(1, BUY, 1, 1), "sequence"),
        (Limit("o1", BUY, 1, 1, 2), "this name"),
    ],
)
def test_orders_that_no_book_takes(order: Limit, reason: str) -> None:
    book = Book([limit(1, SELL, 10, 1)])
    with pytest.raises(ValueError, match=reason):
        book.place(order)
    assert (book.best(SELL), book.best(BUY)) == (10, None)


def test_a_crossed_book_is_refused() -> None:
    with pytest.raises(ValueError, match="crossed"):
        Book([limit(0, SELL, 10, 1), limit(1, BUY, 10, 1)])
