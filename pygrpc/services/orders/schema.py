"""The tables of the orders, and the steps that bring an older database up to date."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

_metadata = MetaData()

orders = Table(
    "orders",
    _metadata,
    Column("number", BigInteger, primary_key=True),
    Column("id", String, nullable=False),
    Column("user_id", String, nullable=False),
    # 0 for a purchase; then product_id is empty, and price and waiting are 0.
    Column("side", BigInteger, nullable=False),
    Column("product_id", String, nullable=False),
    Column("currency", String, nullable=False),
    # In ticks, here and below.
    Column("price", BigInteger, nullable=False),
    # A list in JSON: [product_id, quantity, price] for each. Nothing is looked up by it.
    Column("items", String, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("filled", BigInteger, nullable=False),
    # How much of it is in the book.
    Column("waiting", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    # Microseconds since 1970-01-01 UTC, here and below.
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("idempotency_key", String, nullable=True),
)

trades = Table(
    "order_trades",
    _metadata,
    Column("number", BigInteger, primary_key=True),
    Column("id", String, nullable=False),
    Column("product_id", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("buy_order_id", String, nullable=False),
    Column("sell_order_id", String, nullable=False),
    Column("taker_side", BigInteger, nullable=False),
    Column("traded_at", BigInteger, nullable=False),
)

# What happened to orders after their creation.
changes = Table(
    "order_changes",
    _metadata,
    Column("position", BigInteger, primary_key=True),
    Column("order_id", String, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("old_status", BigInteger, nullable=False),
    Column("new_status", BigInteger, nullable=False),
    Column("filled", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("message", String, nullable=False),
    Column("trade_id", String, nullable=True),
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE orders (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            user_id TEXT NOT NULL,
            side INTEGER NOT NULL,
            product_id TEXT NOT NULL,
            currency TEXT NOT NULL,
            price INTEGER NOT NULL,
            items TEXT NOT NULL,
            status INTEGER NOT NULL,
            filled INTEGER NOT NULL,
            waiting INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            idempotency_key TEXT,
            UNIQUE (user_id, idempotency_key)
        )
        """,
        "CREATE INDEX orders_by_user ON orders (user_id, number)",
        "CREATE INDEX orders_by_status ON orders (status, number)",
        # The books.
        "CREATE INDEX orders_waiting ON orders (product_id, currency, side, price, number) WHERE waiting > 0",
        """
        CREATE TABLE order_trades (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            product_id TEXT NOT NULL,
            currency TEXT NOT NULL,
            price INTEGER NOT NULL,
            quantity INTEGER NOT NULL,
            buy_order_id TEXT NOT NULL,
            sell_order_id TEXT NOT NULL,
            taker_side INTEGER NOT NULL,
            traded_at INTEGER NOT NULL
        )
        """,
        "CREATE INDEX order_trades_by_buyer ON order_trades (buy_order_id, number)",
        "CREATE INDEX order_trades_by_seller ON order_trades (sell_order_id, number)",
        """
        CREATE TABLE order_changes (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            order_id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            old_status INTEGER NOT NULL,
            new_status INTEGER NOT NULL,
            filled INTEGER NOT NULL,
            changed_at INTEGER NOT NULL,
            message TEXT NOT NULL,
            trade_id TEXT,
            UNIQUE (order_id, revision)
        )
        """,
    ),
)
