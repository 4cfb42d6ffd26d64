from __future__ import annotations

import pytest

from pygrpc.services.orders import lifecycle
from pygrpc.services.orders.book import Side
from pygrpc.services.orders.store import Change, Instrument, Item, Order, Status, Trade, WrongState

ITEMS = (Item("apple", 10, 3),)


def order(status: Status, side: Side | None = None, filled: int = 0) -> Order:
    return Order(1, "o", "ann", side, "EUR", ITEMS, status, filled, 1, 100, 100)


def test_a_purchase_goes_from_status_to_status() -> None:
    purchase, seen = order(Status.PENDING), []
    for number, status in enumerate((Status.PROCESSING, Status.SHIPPED, Status.DELIVERED), start=2):
        before = purchase.status
        purchase, change = lifecycle.advanced(purchase, status, 100 + number, "on its way")
        assert change == Change(0, "o", number, before, status, 0, 100 + number, "on its way", None)
        assert (purchase.status, purchase.revision, purchase.updated_at) == (status, number, 100 + number)
        seen.append(change.new_status)
    assert seen[-1] in lifecycle.FINAL


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("wanted", Status)
def test_only_the_next_status_can_be_reached(status: Status, wanted: Status) -> None:
    allowed = {(1, 2), (2, 3), (3, 4)}
    if (status, wanted) in allowed:
        lifecycle.advanced(order(status), wanted, 1, "")
    else:
        with pytest.raises(WrongState, match=f"is {status.name}, and cannot become {wanted.name}"):
            lifecycle.advanced(order(status), wanted, 1, "")
    with pytest.raises(WrongState, match="is a limit order"):
        lifecycle.advanced(order(status, Side.BUY), wanted, 1, "")


@pytest.mark.parametrize("status", Status)
def test_what_can_be_cancelled(status: Status) -> None:
    if status in (Status.PENDING, Status.PROCESSING, Status.PARTIALLY_FILLED):
        after, change = lifecycle.cancelled(order(status, Side.BUY, 4), 200, "no more")
        assert (after.status, after.filled, after.left) == (Status.CANCELLED, 4, 0)
        assert (change.old_status, change.new_status, change.message) == (status, Status.CANCELLED, "no more")
    else:
        with pytest.raises(WrongState, match="cannot be cancelled any more"):
            lifecycle.cancelled(order(status, Side.BUY, 4), 200, "")


def test_trades_fill_an_order() -> None:
    def trade(quantity: int, at: int) -> Trade:
        return Trade("t", Instrument("apple", "EUR"), 3, quantity, "o", "p", Side.SELL, at)

    waiting = order(Status.PENDING, Side.BUY)
    waiting, change = lifecycle.filled(waiting, trade(4, 150))
    assert (change.old_status, change.new_status, change.filled) == (Status.PENDING, Status.PARTIALLY_FILLED, 4)
    assert (waiting.left, waiting.status) == (6, Status.PARTIALLY_FILLED)
    # A clock that was set back.
    waiting, change = lifecycle.filled(waiting, trade(6, 120))
    assert (change.new_status, change.filled, change.at, change.revision) == (Status.FILLED, 10, 150, 3)
    assert (waiting.left, waiting.status) == (0, Status.FILLED)
