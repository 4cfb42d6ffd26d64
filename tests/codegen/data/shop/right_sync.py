"""A client and a server of the sync API, as a user writes them; mypy must find nothing."""

from collections.abc import Iterator
from concurrent import futures
from typing import assert_type

import grpc
from app.protos.shop.v1 import shop_pb2_grpc
from app.protos.shop.v1.money_pb2 import Money
from app.protos.shop.v1.shop_pb2 import Order
from app.protos.shop.v1.shop_pb2_grpc import ShopServicer, ShopStub, add_ShopServicer_to_server
from google.protobuf.empty_pb2 import Empty


def buy(stub: ShopStub, orders: Iterator[Order]) -> None:
    price = stub.Price(Order(), timeout=1, metadata=(("key", "value"),), wait_for_ready=True)
    assert_type(price, Money)
    answer, call = stub.Price.with_call(Order())
    assert_type(answer, Money)
    call.trailing_metadata()
    future = stub.Price.future(Order())
    assert_type(future.result(timeout=1), Money)
    for line in stub.Watch(Order()):
        assert_type(line, Order.Line)
    assert_type(stub.Import(orders), Empty)
    for money in stub.Haggle(iter([Money(cents=1)])):
        assert_type(money, Money)
    assert_type(stub.None_(Empty()), Empty)


def call_without_a_stub() -> None:
    assert_type(shop_pb2_grpc.Shop.Price(Order(), "localhost:1", insecure=True, timeout=1.5), Money)
    for line in shop_pb2_grpc.Shop.Watch(Order(), "localhost:1"):
        assert_type(line, Order.Line)
    assert_type(shop_pb2_grpc.Shop.Import(iter([Order()]), target="localhost:1"), Empty)


class Shop(ShopServicer):
    def Price(self, request: Order, context: grpc.ServicerContext) -> Money:
        context.set_trailing_metadata((("key", "value"),))
        return sum_of(request)

    def Watch(self, request: Order, context: grpc.ServicerContext) -> Iterator[Order.Line]:
        yield from request.lines

    def Import(self, request_iterator: Iterator[Order], context: grpc.ServicerContext) -> Empty:
        for order in request_iterator:
            assert_type(order, Order)
        return Empty()

    def Haggle(self, offers: Iterator[Money], context: grpc.ServicerContext) -> Iterator[Money]:
        return offers


def sum_of(order: Order) -> Money:
    return Money(cents=sum(line.price.cents for line in order.lines))


def serve() -> None:
    server = grpc.server(futures.ThreadPoolExecutor())
    add_ShopServicer_to_server(Shop(), server)
    with grpc.insecure_channel("localhost:1") as channel:
        stub = ShopStub(channel)
        assert_type(stub, ShopStub)
        buy(stub, iter([]))
        Cache(stub).stub.Price(Order())


class Cache:
    def __init__(self, stub: ShopStub) -> None:
        self.stub = stub
