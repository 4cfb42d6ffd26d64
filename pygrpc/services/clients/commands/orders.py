"""`pygrpc orders`: creates, shows, watches, imports and matches orders."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from pygrpc import StatusCode
from pygrpc.services.clients.commands import standard_input
from pygrpc.services.clients.commands.common import (
    CommandError,
    Commands,
    choices,
    code_name,
    complain,
    count,
    name_of,
    plain,
    sentence,
    show,
    user_option,
)
from pygrpc.services.clients.commands.records import batches_of
from pygrpc.services.clients.commands.standard_input import lines_of
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.matching import MatchSession
from pygrpc.services.clients.together import Clients
from pygrpc.services.protos.order.v1 import order_pb2

STATUSES = choices(order_pb2.OrderStatus, "ORDER_STATUS_")
SIDES = choices(order_pb2.Side, "SIDE_")
_NANOS = 10**9
#: Orders that are stored together; a server takes 1000.
_BATCH = 500
_CURRENCY = "EUR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `pygrpc orders`; returns the exit status."""
    commands = Commands("orders", "Creates, shows, watches, imports and matches the orders of a server.")
    create = commands.add("create", "create a purchase, or a limit order with --side", _create)
    create.add_argument("items", nargs="+", type=item, metavar="PRODUCT:QUANTITY:PRICE")
    create.add_argument("--side", choices=SIDES, help="make it a limit order of the one item")
    create.add_argument(
        "--idempotency-key", default="", metavar="KEY", help="with it, the order is created once (default: made up)"
    )
    _currency_option(create)
    user_option(create)
    get = commands.add("get", "show an order", _get)
    get.add_argument("id")
    listing = commands.add("list", "list orders", _list)
    listing.add_argument("--user", default="", metavar="ID", help="only orders of this user")
    listing.add_argument("--status", choices=STATUSES, help="only orders with this status")
    listing.add_argument("--limit", type=count, default=0, help="show no more than so many; 0 for all")
    watch = commands.add("watch", "show an order and all changes until the final one", _watch, interruptible=True)
    watch.add_argument("id")
    cancel = commands.add("cancel", "cancel an order", _cancel)
    cancel.add_argument("id")
    cancel.add_argument("--message", default="", help="why, for those who watch it")
    status = commands.add("status", "move a purchase along", _status)
    status.add_argument("id")
    status.add_argument("status", choices=STATUSES)
    status.add_argument("--message", default="", help="for those who watch it")
    importing = commands.add("import", "create many orders", _import)
    importing.add_argument("file", help="a file with a CreateOrderRequest as JSON on each line; - for standard input")
    match = commands.add(
        "match",
        "place limit orders and show what becomes of them: each line of standard input is "
        "buy PRODUCT QUANTITY PRICE, sell PRODUCT QUANTITY PRICE, or cancel ORDER",
        _match,
        interruptible=True,
    )
    match.add_argument("--wait", action="store_true", help="go on after the end of the input, until Ctrl-C")
    _currency_option(match)
    user_option(match)
    book = commands.add("book", "show what those who buy and sell a product ask for", _book)
    book.add_argument("product")
    book.add_argument("--depth", type=count, default=0, help="the most prices on a side")
    _currency_option(book)
    trades = commands.add("trades", "show the trades of a limit order", _trades)
    trades.add_argument("id")
    return commands.run(arguments)


def _currency_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--currency", default=_CURRENCY, metavar="CODE", help="of the prices (default: %(default)s)")


async def _create(clients: Clients, given: argparse.Namespace) -> int:
    request = order_pb2.CreateOrderRequest(user_id=given.user, items=given.items, idempotency_key=given.idempotency_key)
    for each in request.items:
        each.price.currency_code = given.currency
    if given.side:
        request.side = SIDES[given.side]  # type: ignore[assignment]
    response = await clients.orders.create(request)
    show(given, response.order, in_words)
    if not given.json:
        for trade in response.trades:
            show(given, trade, _trade)
    return 0


async def _get(clients: Clients, given: argparse.Namespace) -> int:
    show(given, await clients.orders.get(given.id), in_words)
    return 0


async def _list(clients: Clients, given: argparse.Namespace) -> int:
    shown = 0
    async for order in clients.orders.list(given.user, STATUSES[given.status] if given.status else 0):
        show(given, order, in_words)
        shown += 1
        if shown == given.limit:
            break
    return 0


async def _watch(clients: Clients, given: argparse.Namespace) -> int:
    async for response in clients.orders.watch(given.id):
        show(given, response.update, _update)
    return 0


async def _cancel(clients: Clients, given: argparse.Namespace) -> int:
    show(given, await clients.orders.cancel(given.id, given.message), in_words)
    return 0


async def _status(clients: Clients, given: argparse.Namespace) -> int:
    order = await clients.orders.update_status(given.id, STATUSES[given.status], given.message)
    show(given, order, in_words)
    return 0


async def _import(clients: Clients, given: argparse.Namespace) -> int:
    failed = 0
    for batch in batches_of(given.file, order_pb2.CreateOrderRequest, _BATCH):
        try:
            response = await clients.orders.create_many([request for _, request in batch])
        except ServiceError as error:
            raise CommandError(f"{batch[0][0]}: nothing is imported from here on: {error}") from error
        for order in response.orders:
            show(given, order, _imported)
        # mypy takes the message ImportError for the exception of that name.
        errors: Any = response.errors
        for refused in errors:
            place, _ = batch[refused.line - 1]
            complain(given, f"{place}: {plain(refused.message)} ({code_name(refused.code)})")
        failed += response.failure_count
    return 1 if failed else 0


async def _match(clients: Clients, given: argparse.Namespace) -> int:
    def interrupted(error: ServiceError | None) -> None:
        if error is None:
            complain(given, "back again")
        elif error.code is StatusCode.UNAVAILABLE:
            complain(given, f"away for a moment: {sentence(error)}")

    failures: list[str] = []
    async with clients.orders.match(interrupted=interrupted) as session:
        commanding = asyncio.create_task(_command(session, given, failures))
        try:
            async for update in session:
                show(given, update, _update)
        finally:
            commanding.cancel()
            await asyncio.gather(commanding, return_exceptions=True)
    return 1 if failures else 0


async def _command(session: MatchSession, given: argparse.Namespace, failures: list[str]) -> None:
    """Carries out each line of standard input."""
    async with contextlib.aclosing(lines_of(standard_input.INPUT)) as lines:
        async for line in lines:
            if line.strip():
                try:
                    await _carry_out(session, given, line.split())
                except (ServiceError, CommandError) as error:
                    failures.append(line)
                    complain(given, f"{plain(line)}: {sentence(error)}")
    if not given.wait:
        session.leave()


async def _carry_out(session: MatchSession, given: argparse.Namespace, words: Sequence[str]) -> None:
    match words:
        case ("buy" | "sell") as side, product, quantity, price:
            try:
                wanted = item(f"{product}:{quantity}:{price}")
            except argparse.ArgumentTypeError as error:
                raise CommandError(str(error)) from None
            wanted.price.currency_code = given.currency
            request = order_pb2.CreateOrderRequest(user_id=given.user, items=[wanted])
            request.side = SIDES[side]  # type: ignore[assignment]
            response = await session.place(request)
            show(given, response.order, in_words)
            if not given.json:
                for trade in response.trades:
                    show(given, trade, _trade)
        case "cancel", order_id:
            show(given, await session.cancel(order_id), in_words)
        case _:
            raise CommandError("must be buy PRODUCT QUANTITY PRICE, sell PRODUCT QUANTITY PRICE, or cancel ORDER")


async def _book(clients: Clients, given: argparse.Namespace) -> int:
    book = await clients.orders.book(given.product, given.currency, given.depth)
    if given.json:
        show(given, book, str)
        return 0
    for side, levels in (("sell", reversed(book.asks)), ("buy", iter(book.bids))):
        for level in levels:
            orders = "1 order" if level.order_count == 1 else f"{level.order_count} orders"
            print(f"{side:<4}  {money(level.price):>16}  {level.quantity:>10}  {orders}")
    return 0


async def _trades(clients: Clients, given: argparse.Namespace) -> int:
    async for trade in clients.orders.trades(given.id):
        show(given, trade, _trade)
    return 0


def item(text: str) -> order_pb2.OrderItem:
    """Reads an argument of the form PRODUCT:QUANTITY:PRICE; the currency is left open."""
    product, _, rest = text.partition(":")
    quantity, _, price = rest.partition(":")
    if not product or not re.fullmatch(r"[0-9]{1,18}", quantity):
        raise argparse.ArgumentTypeError("must be PRODUCT:QUANTITY:PRICE, such as apple:3:0.99")
    try:
        nanos = Decimal(price) * _NANOS
        if not nanos.is_finite() or nanos != int(nanos) or abs(nanos) >= 2**63:
            raise InvalidOperation
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{price!r} is no price such as 0.99") from None
    units, rest_nanos = divmod(abs(int(nanos)), _NANOS)
    sign = -1 if nanos < 0 else 1
    made = order_pb2.OrderItem(product_id=product, quantity=int(quantity))
    made.price.units, made.price.nanos = sign * units, sign * rest_nanos
    return made


def money(amount: order_pb2.Money) -> str:
    """Writes an amount of money with two decimals, or more if there are more."""
    value = Decimal(amount.units) + Decimal(amount.nanos) / _NANOS
    text = f"{value:f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2} {amount.currency_code}"


def in_words(order: order_pb2.Order) -> str:
    """Describes an order on one line."""
    side = f"{name_of(order_pb2.Side, 'SIDE_', order.side)} " if order.side else ""
    items = ", ".join(f"{each.quantity} {each.product_id} at {money(each.price)}" for each in order.items)
    status = name_of(order_pb2.OrderStatus, "ORDER_STATUS_", order.status)
    filled = f", {order.filled_quantity} filled" if order.filled_quantity else ""
    return f"{order.id}  {order.user_id}  {side}{items}  {status}{filled}"


def _update(update: order_pb2.OrderStatusUpdate) -> str:
    when = update.updated_at.ToDatetime().isoformat(" ", "seconds")
    status = name_of(order_pb2.OrderStatus, "ORDER_STATUS_", update.new_status)
    filled = f", {update.filled_quantity} filled" if update.filled_quantity else ""
    message = f"  {update.message}" if update.message else ""
    return f"{when}Z  {update.order_id}  {status}{filled}{message}"


def _trade(trade: order_pb2.Trade) -> str:
    when = trade.traded_at.ToDatetime().isoformat(" ", "seconds")
    return f"{when}Z  traded {trade.quantity} {trade.product_id} at {money(trade.price)}"


def _imported(order: order_pb2.ImportedOrder) -> str:
    existed = "  existed" if order.existed else ""
    return f"{order.order_id}  {name_of(order_pb2.OrderStatus, 'ORDER_STATUS_', order.status)}{existed}"
