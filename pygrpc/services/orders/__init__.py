"""The order service: purchases, and limit orders that are matched with each other (protos/order/v1/order.proto).

How the parts fit together:

    service      one method for each RPC
    sessions     one call of MatchOrders
    feed         stored changes on their way to those who follow orders, from whatever process they come
    validation   every rule about what a request may hold
    messages     records as messages and back; money as whole numbers
    errors       what goes wrong, as a status with details
    store        what the service needs of a storage; database implements it, schema has the tables
    matching     what new orders do within one transaction
    book         the matching itself, by price and time
    owners       what only the owner of an order may do
    lifecycle    which status an order may have after which

matching, book and lifecycle are pure: no clock, no storage, no waiting.
"""

from pygrpc.services.orders.database import DatabaseOrderStore
from pygrpc.services.orders.service import OrderService
from pygrpc.services.orders.store import OrderStore
from pygrpc.services.orders.validation import Limits

__all__ = ["DatabaseOrderStore", "Limits", "OrderService", "OrderStore"]
