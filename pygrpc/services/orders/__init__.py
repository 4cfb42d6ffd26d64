"""The order service: purchases, and limit orders that are matched with each other (protos/order/v1/order.proto)."""
