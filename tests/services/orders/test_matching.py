from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.orders.book import Limit, Side
from pygrpc.services.orders.matching import Market
from pygrpc.services.orders.store import BookFull, Instrument, Item, NewOrder, Order, Placed, Status
from tests.services.orders.naive import NaiveBook

BUY, SELL = Side.BUY, Side.SELL
APPLE = Instrument("apple", "EUR")


def new(order_id: str, side: Side | None, quantity: int = 1, price: int = 10, book: Instrument = APPLE) -> NewOrder:
    return NewOrder(order_id, "ann", side, book.currency, (Item(book.product_id, quantity, price),))


def placed(market: Market, order: NewOrder, now: int = 100) -> Placed:
    result = market.place(order, now)
    assert isinstance(result, Placed)
    return result


def test_a_new_order_trades_with_one_that_waited() -> None:
    waiting = Order(7, "w", "bob", SELL, "EUR", (Item("apple", 5, 9),), Status.PENDING, 2, 3, 50, 60)
    market = Market([waiting], {(APPLE, SELL): 1}, 10)
    result = placed(market, new("n", BUY, 4))
    assert (result.order.status, result.order.filled, result.order.revision) == (Status.PARTIALLY_FILLED, 3, 1)
    [trade] = result.trades
    assert (trade.price, trade.quantity, trade.buy_order_id, trade.sell_order_id) == (9, 3, "n", "w")
    assert (trade.taker_side, trade.at, trade.trade_id) == (BUY, 100, "n.1")
    [change] = market.changes
    assert (change.order_id, change.revision, change.new_status, change.trade) == ("w", 4, Status.FILLED, trade)
    assert market.orders["w"] == waiting._replace(status=Status.FILLED, filled=5, revision=4, updated_at=100)
    assert market.new == {"n"}
    # The next one meets what is left of it.
    assert placed(market, new("m", SELL, 1)).trades[0].buy_order_id == "n"
    assert market.orders["n"].status is Status.FILLED
    assert [each.order_id for each in market.changes] == ["w", "n"]


def test_purchases_and_other_books_are_not_matched() -> None:
    market = Market([], {}, 10)
    books = (APPLE, Instrument("apple", "USD"), Instrument("pear", "EUR"))
    for number, book in enumerate(books):
        placed(market, new(f"s{number}", SELL, book=book))
    assert placed(market, new("p", None)).trades == []
    assert placed(market, new("b", BUY, book=Instrument("pear", "USD"))).trades == []
    assert [trade.sell_order_id for trade in placed(market, new("c", BUY, book=books[1])).trades] == ["s1"]


def test_a_side_of_a_book_has_a_limit() -> None:
    market = Market([], {(APPLE, BUY): 1}, 2)
    assert isinstance(market.place(new("a", BUY), 1), Placed)
    assert isinstance(market.place(new("b", BUY), 1), BookFull)
    assert "b" not in market.orders
    # The other side and other books have room, and so has this one when an order is filled.
    placed(market, new("c", BUY, book=Instrument("pear", "EUR")))
    placed(market, new("d", SELL))
    placed(market, new("e", BUY))


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 5), st.integers(1, 9)), max_size=30))
def test_many_orders_do_what_the_naive_book_does(arriving: list[tuple[Side, int, int]]) -> None:
    market, naive = Market([], {}, 1000), NaiveBook()
    for number, (side, price, quantity) in enumerate(arriving):
        fills = naive.place(Limit(str(number), side, price, quantity, number))
        result = placed(market, new(str(number), side, quantity, price), number)
        makers = [trade.sell_order_id if side is BUY else trade.buy_order_id for trade in result.trades]
        got = [(maker, trade.quantity, trade.price) for maker, trade in zip(makers, result.trades, strict=True)]
        assert got == [(fill.order_id, fill.quantity, fill.price) for fill in fills]
    for side in Side:
        waiting = {order.order_id: order.quantity for order in naive.waiting(side)}
        assert waiting == {o.order_id: o.left for o in market.orders.values() if o.side is side and o.left}
    for order in market.orders.values():
        own = [change for change in market.changes if change.order_id == order.order_id]
        assert [change.revision for change in own] == list(range(2, order.revision + 1))
