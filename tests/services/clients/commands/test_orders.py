"""`pygrpc orders`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pygrpc.services.clients.commands.orders import item, money
from pygrpc.services.protos.order.v1 import order_pb2
from tests.services.clients.commands.support import Run, at_home, finished, ids, run, terminal
from tests.services.clients.support import world
from tests.services.orders.support import BUY, limit

__all__ = ["run"]


def test_the_life_of_a_purchase(run: Run) -> None:
    created = run("orders", "create", "apple:3:0.99", "pear:1:2.5", "--user", "ann")
    [order] = ids(created.lines)
    assert created.lines == [f"{order}  ann  3 apple at 0.99 EUR, 1 pear at 2.50 EUR  pending"]
    assert run("orders", "status", order, "processing", "--message", "soon").lines[0].endswith("  processing")
    assert run("orders", "get", order, "--json").output.count('"ORDER_STATUS_PROCESSING"') == 1
    assert ids(run("orders", "list", "--user", "ann", "--status", "processing").lines) == [order]
    assert run("orders", "list", "--limit", 1, "--status", "pending").output == ""
    assert run("orders", "cancel", order).lines[0].endswith("  cancelled")
    assert run("orders", "watch", order).lines[0].endswith(f"{order}  cancelled")
    failed = run("orders", "cancel", order)
    assert (failed.status, failed.errors.count("\n")) == (1, 1)


def test_limit_orders(run: Run) -> None:
    [sold] = ids(run("orders", "create", "apple:5:1.00", "--side", "sell", "--user", "ann").lines)
    bought = run("orders", "create", "apple:2:1.10", "--side", "buy", "--user", "bob", "--idempotency-key", "once")
    assert bought.lines[0].endswith("  bob  buy 2 apple at 1.10 EUR  filled, 2 filled")
    assert bought.lines[1].endswith("traded 2 apple at 1.00 EUR")
    # The same key makes no further order.
    assert ids(
        run("orders", "create", "apple:2:1.10", "--side", "buy", "--user", "bob", "--idempotency-key", "once").lines
    ) == ids(bought.lines[:1])
    run("orders", "create", "apple:1:0.90", "--side", "buy", "--user", "bob")
    assert [line.split() for line in run("orders", "book", "apple").lines] == [
        ["sell", "1.00", "EUR", "3", "1", "order"],
        ["buy", "0.90", "EUR", "1", "1", "order"],
    ]
    assert len(json.loads(run("orders", "book", "apple", "--json").output)["bids"]) == 1
    assert len(run("orders", "trades", sold).lines) == 1


def test_an_import_reports_each_bad_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    good = {
        "user_id": "ann",
        "items": [{"product_id": "apple", "quantity": 1, "price": {"currency_code": "EUR", "units": 1}}],
    }
    path.write_text("\n".join(json.dumps(each) for each in (good, {"user_id": "ann"}, good)))
    imported = run("orders", "import", path)
    assert (imported.status, len(imported.lines)) == (1, 2)
    assert imported.errors.startswith(f"pygrpc orders import: {path}, line 2: ")
    assert imported.errors.endswith("(INVALID_ARGUMENT)\n")


async def test_commands_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        lines = "sell apple 5 1.00\nbuy apple 2 1.00\n\nnonsense\nsell apple x 1\nsell apple 1 x\ncancel nothing\n"
        ended = await finished("orders", "match", "--user", "ann", input=lines.encode())
        assert ended.status == 1
        assert [line.split("  ")[-1] for line in ended.lines[:2]] == ["pending", "filled, 2 filled"]
        assert any("partially_filled, 2 filled" in line for line in ended.lines)
        wrong = [line.removeprefix("pygrpc orders match: ") for line in ended.errors.splitlines()]
        assert wrong[:3] == [
            "nonsense: must be buy PRODUCT QUANTITY PRICE, sell PRODUCT QUANTITY PRICE, or cancel ORDER",
            "sell apple x 1: must be PRODUCT:QUANTITY:PRICE, such as apple:3:0.99",
            "sell apple 1 x: 'x' is no price such as 0.99",
        ]
        assert wrong[3].startswith("cancel nothing: ")


async def test_a_session_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        async with terminal("orders", "match", "--user", "ann", "--wait") as shown:
            shown.types("sell apple 5 10\n")
            await shown.sees("sell 5 apple at 10.00 EUR  pending")
            await here.serving.restart()
            await shown.sees("away for a moment", "back again")
            await here.clients.orders.create(limit(BUY, 5, 1000), wait_for_ready=True)
            await shown.sees("filled, 5 filled")
            shown.types("\x03")
            assert await shown.ends() == 0
            assert "Traceback" not in shown.text


@pytest.mark.parametrize(
    ("text", "units", "nanos"),
    [("a:1:0.99", 0, 990_000_000), ("a/b.c:2:12", 12, 0), ("a:1:-1.5", -1, -500_000_000), ("a:1:0.0001", 0, 100_000)],
)
def test_an_item(text: str, units: int, nanos: int) -> None:
    made = item(text)
    assert (made.price.units, made.price.nanos) == (units, nanos)


@pytest.mark.parametrize(
    "text", ["", "a", "a:1", "a:x:1", "a:-1:1", ":1:1", "a:1:x", "a:1:nan", "a:1:1e-10", "a:1:1e30"]
)
def test_what_is_no_item(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        item(text)


@pytest.mark.parametrize(
    ("units", "nanos", "text"),
    [(1, 0, "1.00 EUR"), (0, 990_000_000, "0.99 EUR"), (0, 100_000, "0.0001 EUR"), (-1, -500_000_000, "-1.50 EUR")],
)
def test_money(units: int, nanos: int, text: str) -> None:
    assert money(order_pb2.Money(currency_code="EUR", units=units, nanos=nanos)) == text
