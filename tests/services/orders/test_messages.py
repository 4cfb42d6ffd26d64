from __future__ import annotations

from pygrpc.services.orders import messages
from pygrpc.services.orders.book import Level, Side
from pygrpc.services.orders.store import Change, Instrument, Item, Order, Placed, Status, Trade
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.orders.support import BUY, PARTIAL, PENDING, euros, limit, purchase

TRADE = Trade("t", Instrument("apple", "EUR"), 15_000, 2, "o", "p", Side.SELL, 1_000_001)
ORDER = Order(7, "o", "ann", Side.BUY, "EUR", (Item("apple", 3, 20_000),), Status.PARTIALLY_FILLED, 2, 4, 1, 2_000_000)


def test_requests_become_orders() -> None:
    new = messages.new_order(limit(BUY, 3, 1050, key="k"))
    assert new[1:] == ("ann", Side.BUY, "EUR", (Item("apple", 3, 105_000),), "k")
    other = messages.new_order(purchase())
    assert other[1:] == ("ann", None, "EUR", (Item("apple", 2, 15_000), Item("pear", 1, 500)), "")
    assert len({new.order_id, other.order_id, messages.new_order(purchase()).order_id}) == 3


def test_an_order() -> None:
    message = messages.order_message(ORDER)
    assert (message.id, message.status, message.side, message.filled_quantity, message.revision) == (
        "o",
        PARTIAL,
        BUY,
        2,
        4,
    )
    assert (message.total, message.items[0].price, message.items[0].quantity) == (euros(600), euros(200), 3)
    assert (message.created_at.ToMicroseconds(), message.updated_at.seconds) == (1, 2)
    assert messages.order_message(ORDER._replace(side=None)).side == order_pb2.SIDE_UNSPECIFIED


def test_what_becomes_of_an_order() -> None:
    created = messages.created_message(Placed(ORDER, [TRADE], existed=False))
    assert (created.order.id, created.trades[0].id, created.existed) == ("o", "t", False)
    assert (created.trades[0].price, created.trades[0].taker_side) == (euros(150), order_pb2.SIDE_SELL)
    state = messages.state_message(ORDER)
    assert (state.old_status, state.new_status, state.revision) == (0, PARTIAL, 4)
    change = Change(9, "o", 4, Status.PENDING, Status.PARTIALLY_FILLED, 2, 1_000_001, "", TRADE)
    update = messages.update_message(change)
    assert (update.old_status, update.new_status, update.trade) == (PENDING, PARTIAL, created.trades[0])
    assert not messages.update_message(change._replace(trade=None)).HasField("trade")


def test_a_level() -> None:
    assert messages.level_message(Level(15_000, 7, 2), "EUR") == order_pb2.PriceLevel(
        price=euros(150), quantity=7, order_count=2
    )
