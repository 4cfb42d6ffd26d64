"""What the order service needs of a storage, and the errors that one may report.

The errors:

    errors.StoreError       the storage cannot do its work (disk full, file locked or damaged, ...)
    OrderNotFound           there is no order with that id
    WrongState              the order is in a state in which this cannot be done to it
    KeyReused               the idempotency key belongs to another order
    BookFull                as many orders wait on this side of the book as there may be
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pygrpc.services.orders.book import Level, Side


class Status(enum.IntEnum):
    """What has become of an order. The numbers are those of order.v1.OrderStatus, and are stored."""

    PENDING = 1
    PROCESSING = 2
    SHIPPED = 3
    DELIVERED = 4
    CANCELLED = 5
    PARTIALLY_FILLED = 6
    FILLED = 7


class OrderNotFound(Exception):
    """There is no order with this id."""

    def __init__(self, order_id: str) -> None:
        """Names the id that was asked for."""
        super().__init__(f'there is no order "{order_id}"')
        self.order_id = order_id


class WrongState(Exception):
    """The order is in a state in which this cannot be done to it."""

    def __init__(self, order: Order, problem: str) -> None:
        """Names the order and says what its state does not allow."""
        super().__init__(f'order "{order.order_id}" {problem}')
        self.status = order.status


class KeyReused(Exception):
    """The idempotency key belongs to another order."""

    def __init__(self, order_id: str) -> None:
        """Names the order that has the key."""
        super().__init__("the idempotency key was used for another order")
        self.order_id = order_id


class BookFull(Exception):
    """As many orders wait on this side of the book as there may be."""

    def __init__(self, most: int) -> None:
        """Tells the limit."""
        super().__init__(f"{most} orders wait on this side of the book, and there may not be more")


class Item(NamedTuple):
    """So many of a product, at so many ticks for one."""

    product_id: str
    quantity: int
    price: int


class Instrument(NamedTuple):
    """What a book is for."""

    product_id: str
    currency: str


class NewOrder(NamedTuple):
    """An order to be stored.

    Attributes:
        order_id: The id that it gets.
        user_id: Whose it is.
        side: None for a purchase.
        currency: Of all prices.
        items: At least one; exactly one if there is a side.
        key: Makes it the only one with this key of its user, unless empty.
    """

    order_id: str
    user_id: str
    side: Side | None
    currency: str
    items: tuple[Item, ...]
    key: str = ""


class Order(NamedTuple):
    """An order as it is stored.

    Attributes:
        number: Its place among all orders; 0 in what `create` returns.
        order_id: See NewOrder, here and below.
        user_id: -
        side: -
        currency: -
        items: -
        status: What has become of it.
        filled: How much of it was traded.
        revision: 1, and one more with each change.
        created_at: Microseconds since 1970-01-01 UTC.
        updated_at: Of the last change, in the same unit.
    """

    number: int
    order_id: str
    user_id: str
    side: Side | None
    currency: str
    items: tuple[Item, ...]
    status: Status
    filled: int
    revision: int
    created_at: int
    updated_at: int

    @property
    def total(self) -> int:
        """What all of it costs, in ticks."""
        return sum(item.quantity * item.price for item in self.items)

    @property
    def left(self) -> int:
        """How much of a limit order waits in the book."""
        waits = self.side is not None and self.status in (Status.PENDING, Status.PARTIALLY_FILLED)
        return self.items[0].quantity - self.filled if waits else 0

    @property
    def instrument(self) -> Instrument:
        """The book of a limit order."""
        return Instrument(self.items[0].product_id, self.currency)


class Trade(NamedTuple):
    """What two orders have traded with each other.

    Attributes:
        trade_id: Its name.
        instrument: The book.
        price: For one, in ticks.
        quantity: How much.
        buy_order_id: Who bought.
        sell_order_id: Who sold.
        taker_side: The side of the order that came to the other one.
        at: Microseconds since 1970-01-01 UTC.
    """

    trade_id: str
    instrument: Instrument
    price: int
    quantity: int
    buy_order_id: str
    sell_order_id: str
    taker_side: Side
    at: int


class Change(NamedTuple):
    """A change of an order after its creation.

    Attributes:
        position: Its place among all changes, in the order of the commits; 0 before it is stored.
        order_id: The order.
        revision: The order's, after the change.
        old_status: Before the change.
        new_status: After the change.
        filled: How much of the order was traded, after the change.
        at: Microseconds since 1970-01-01 UTC.
        message: For people.
        trade: What has changed the order, if it was a trade.
    """

    position: int
    order_id: str
    revision: int
    old_status: Status
    new_status: Status
    filled: int
    at: int
    message: str
    trade: Trade | None


class Placed(NamedTuple):
    """What became of a new order.

    Attributes:
        order: As it is after the transaction.
        trades: What it has traded on its arrival.
        existed: Whether it is an earlier order with the same key.
    """

    order: Order
    trades: list[Trade]
    existed: bool


class OrderStore(Protocol):
    """A storage for orders, that several processes may share.

    A method that writes returns after the change is durable. Once begun, a write is finished even if the task that
    asked for it is cancelled. Every method may raise StoreError.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""

    def listen(self, listener: Callable[[list[Change]], None]) -> None:
        """Calls `listener` with the changes of each commit of this store, after it and in the order of the commits."""

    async def create(self, orders: Sequence[NewOrder], *, most: int) -> list[Placed | KeyReused | BookFull]:
        """Stores orders and matches those that have a side, one after the other, all in one transaction.

        Args:
            orders: With ids that nobody has yet.
            most: How many orders may wait on a side of a book.

        Returns:
            For each of them, in their order, what became of it, or the error that kept it out.
        """

    async def get(self, order_id: str) -> Order:
        """Returns one order.

        Raises:
            OrderNotFound: There is none with this id.
        """

    async def cancel(self, order_id: str, message: str) -> Order:
        """Cancels an order, or what is left of it.

        Raises:
            OrderNotFound: There is none with this id.
            WrongState: It cannot be cancelled any more.
        """

    async def advance(self, order_id: str, status: Status, message: str) -> Order:
        """Moves a purchase to its next status.

        Raises:
            OrderNotFound: There is none with this id.
            WrongState: It is no purchase, or that is not its next status.
        """

    async def page(self, *, limit: int, after: int = 0, user_id: str = "", status: int = 0) -> list[Order]:
        """Returns orders with a larger number than `after`; of one user, or with one status, if these are given."""

    async def trades(self, order_id: str, *, limit: int, after: int = 0) -> list[tuple[int, Trade]]:
        """Returns trades of one order with a larger number than `after`, each with its number.

        Raises:
            OrderNotFound: There is none with this id.
        """

    async def levels(self, instrument: Instrument, side: Side, limit: int) -> list[Level]:
        """Returns what waits on a side of a book, the best price first."""

    async def after(self, position: int, limit: int) -> list[Change]:
        """Returns the first changes of all orders behind a position."""

    async def since(self, order_id: str, revision: int, limit: int) -> list[Change]:
        """Returns the first changes of one order after a revision."""

    async def latest(self) -> int:
        """Returns the position of the last change, 0 if there is none."""

    async def close(self) -> None:
        """Waits for the writes that were begun, and lets go of the storage."""


async def create_one(store: OrderStore, order: NewOrder, *, most: int) -> Placed:
    """Stores one order; see OrderStore.create.

    Raises:
        KeyReused: Another order has the idempotency key.
        BookFull: As many orders wait as may.
    """
    [result] = await store.create([order], most=most)
    if not isinstance(result, Placed):
        raise result
    return result
