from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.orders.money import money_of, ticks_of
from pygrpc.services.protos.order.v1 import order_pb2


@given(st.integers(0, 2**63 - 1))
def test_amounts_are_exact(ticks: int) -> None:
    money = money_of(ticks, "EUR")
    assert ticks_of(money) == ticks
    assert money.units * 10**9 + money.nanos == ticks * 100_000
    assert money.currency_code == "EUR"


def test_an_amount() -> None:
    assert ticks_of(order_pb2.Money(units=12, nanos=345_600_000)) == 123_456
    assert money_of(123_456, "EUR") == order_pb2.Money(currency_code="EUR", units=12, nanos=345_600_000)
