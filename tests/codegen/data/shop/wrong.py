"""Mistakes, each with the code of the error that mypy must report in its line, and in no other."""

from collections.abc import Iterator

import grpc
import grpc.aio
from app.protos.shop.v1.money_pb2 import Money
from app.protos.shop.v1.shop_pb2 import Order
from app.protos.shop.v1.shop_pb2_grpc import Shop, ShopAsyncStub, ShopServicer, ShopStub, add_ShopServicer_to_server
from google.protobuf.empty_pb2 import Empty


def sync_client(aio_channel: grpc.aio.Channel, stub: ShopStub, offers: Iterator[Money]) -> None:
    stub.Price(Money())  # E: arg-type
    stub.Price()  # E: call-arg
    stub.Price(Order(), deadline=1)  # E: call-arg
    stub.Prize(Order())  # E: attr-defined
    stub.Import(Order())  # E: arg-type
    stub.Import(offers)  # E: arg-type
    order: Order = stub.Price(Order())  # E: assignment
    for line in stub.Watch(order):
        print(line.cents)  # E: attr-defined
    ShopStub("localhost:1")  # E: type-var
    wants_sync(ShopStub(aio_channel))  # E: arg-type
    Shop.Price(Money(), "localhost:1")  # E: arg-type


async def aio_client(channel: grpc.Channel, stub: ShopAsyncStub) -> None:
    await stub.Price(Money())  # E: arg-type
    money: Money = stub.Price(Order())  # E: assignment
    money.cents += 1
    for line in stub.Watch(Order()):  # E: attr-defined
        print(line.article)
    async for line in stub.Watch(Order()):
        print(line.cents)  # E: attr-defined
    await stub.Import().write(Money())  # E: arg-type
    stub.Price.with_call(Order())  # E: attr-defined
    await ShopStub(channel).Price(Order())  # E: misc
    ShopAsyncStub(channel)  # E: arg-type
    wants_sync(stub)  # E: arg-type


def wants_sync(stub: ShopStub) -> None:
    assert stub


class WrongTypes(ShopServicer):
    def Price(self, request: Money, context: grpc.ServicerContext) -> Money:  # E: override
        return request

    def Watch(self, request: Order, context: grpc.ServicerContext) -> Iterator[Money]:  # E: override
        yield Money()

    def Import(self, request_iterator: Iterator[Money], context: grpc.ServicerContext) -> Empty:  # E: override
        return Empty()

    async def Haggle(self, request_iterator: Iterator[Money], context: grpc.ServicerContext) -> Money:  # E: override
        return Money()


class WrongArity(ShopServicer):
    def Price(self, request: Order) -> Money:  # E: override
        return Money()

    async def None_(self, request: Empty, context: str) -> Empty:  # E: override
        return request


class Unrelated:
    pass


def serve(server: grpc.Server, aio_server: grpc.aio.Server) -> None:
    add_ShopServicer_to_server(Unrelated(), server)  # E: arg-type
    add_ShopServicer_to_server(WrongTypes(), "localhost:1")  # E: arg-type
    add_ShopServicer_to_server(ShopServicer(), server)
    add_ShopServicer_to_server(ShopServicer(), aio_server)
