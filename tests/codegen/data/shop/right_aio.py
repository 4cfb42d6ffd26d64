"""A client and a server of the asyncio API, as a user writes them; mypy must find nothing."""

from collections.abc import AsyncIterator
from typing import assert_type

import grpc.aio
from app.protos.shop.v1.money_pb2 import Money
from app.protos.shop.v1.shop_pb2 import Order
from app.protos.shop.v1.shop_pb2_grpc import ShopAsyncStub, ShopServicer, ShopStub, add_ShopServicer_to_server
from google.protobuf.empty_pb2 import Empty


async def buy(stub: ShopAsyncStub, orders: AsyncIterator[Order]) -> None:
    call = stub.Price(Order(), timeout=1)
    assert_type(await call, Money)
    assert_type(await stub.Price(Order()), Money)
    await call.code()
    async for line in stub.Watch(Order()):
        assert_type(line, Order.Line)
    assert_type(await stub.Import(orders), Empty)
    writer = stub.Import()
    await writer.write(Order())
    await writer.done_writing()
    chat = stub.Haggle()
    await chat.write(Money(cents=1))
    async for money in chat:
        assert_type(money, Money)
    assert_type(await stub.None_(Empty()), Empty)


class Shop(ShopServicer):
    async def Price(self, request: Order, context: grpc.aio.ServicerContext[Order, Money]) -> Money:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")

    async def Watch(
        self, request: Order, context: grpc.aio.ServicerContext[Order, Order.Line]
    ) -> AsyncIterator[Order.Line]:
        for line in request.lines:
            yield line

    async def Import(
        self, request_iterator: AsyncIterator[Order], context: grpc.aio.ServicerContext[Order, Empty]
    ) -> Empty:
        async for order in request_iterator:
            assert_type(order, Order)
        return Empty()

    async def Haggle(
        self, request_iterator: AsyncIterator[Money], context: grpc.aio.ServicerContext[Money, Money]
    ) -> None:
        await context.write(Money(cents=1))


class ShopWithAPlainMethod(Shop):
    def None_(self, request: Empty, context: grpc.ServicerContext) -> Empty:
        return request


async def serve(orders: AsyncIterator[Order]) -> None:
    server = grpc.aio.server()
    add_ShopServicer_to_server(ShopWithAPlainMethod(), server)
    async with grpc.aio.insecure_channel("localhost:1") as channel:
        stub = ShopStub(channel)
        assert_type(stub, ShopAsyncStub)
        await buy(stub, orders)
        await buy(ShopAsyncStub(channel), orders)
        assert_type(await stub.Price(Order()), Money)
