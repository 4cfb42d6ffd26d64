"""Amounts of money as whole numbers.

Inside the service an amount is a number of *ticks*, of which 10,000 make one unit of the currency: no currency of ISO
4217 has more than four decimal places. On the wire it is order.v1.Money.
"""

from __future__ import annotations

from pygrpc.services.protos.order.v1 import order_pb2

TICKS_PER_UNIT = 10_000
NANOS_PER_TICK = 1_000_000_000 // TICKS_PER_UNIT


def ticks_of(money: order_pb2.Money) -> int:
    """Returns an amount in ticks; nanos must be a whole number of them."""
    return money.units * TICKS_PER_UNIT + money.nanos // NANOS_PER_TICK


def money_of(ticks: int, currency_code: str) -> order_pb2.Money:
    """Returns an amount, which is not negative, as a message."""
    units, rest = divmod(ticks, TICKS_PER_UNIT)
    return order_pb2.Money(currency_code=currency_code, units=units, nanos=rest * NANOS_PER_TICK)
