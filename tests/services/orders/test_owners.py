"""A caller who is known places and cancels orders of nobody else."""

from __future__ import annotations

from types import ModuleType

import pytest

from pygrpc import aio
from pygrpc.services.errors import RequestError
from pygrpc.services.orders import DatabaseOrderStore, OrderService
from pygrpc.services.orders.owners import require_own
from pygrpc.services.protos.order.v1 import order_pb2, order_pb2_grpc
from tests.services.orders.support import BUY, CANCELLED, limit
from tests.services.support import failure_of

DENIED = "PERMISSION_DENIED"


def of(user_id: str, key: str = "") -> order_pb2.CreateOrderRequest:
    request = limit(BUY, key=key)
    request.user_id = user_id
    return request


def test_orders_of_those_who_are_not_known() -> None:
    require_own("", of("bob"))
    with pytest.raises(RequestError, match="user_id must be the name of the caller"):
        require_own("ann", of("bob"))


async def test_each_way_to_act_for_somebody_else(client_aio: ModuleType) -> None:
    who = "bob"
    store = await DatabaseOrderStore.open(":memory:")
    server = aio.server()
    async with OrderService(store, identify=lambda context: who) as service:
        service.add_to(server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        async with client_aio.insecure_channel(address) as channel:
            stub = order_pb2_grpc.OrderServiceStub(channel)
            bobs = (await stub.CreateOrder(of("bob"), timeout=20)).order
            who = "ann"
            cancel = order_pb2.CancelOrderRequest(order_id=bobs.id)
            assert (await failure_of(stub.CreateOrder(of("bob"), timeout=20), client_aio)).code == DENIED
            denied = await failure_of(stub.CancelOrder(cancel, timeout=20), client_aio)
            assert (denied.code, denied.message) == (DENIED, "the order belongs to somebody else")
            missing = order_pb2.CancelOrderRequest(order_id="missing")
            assert (await failure_of(stub.CancelOrder(missing, timeout=20), client_aio)).code == "NOT_FOUND"

            lines = [order_pb2.ImportOrdersRequest(order=of(user)) for user in ("ann", "bob")]
            imported = await stub.ImportOrders(iter(lines), timeout=20)
            assert [each.line for each in imported.orders] == [1]
            assert [(each.line, each.code) for each in imported.errors] == [(2, 7)]

            call = stub.MatchOrders(timeout=20)
            for request_id, command in (
                ("1", {"place": of("bob")}),
                ("2", {"cancel": cancel}),
                ("3", {"place": of("ann")}),
            ):
                await call.write(order_pb2.MatchOrdersRequest(request_id=request_id, **command))
            answers = [await call.read() for _ in range(3)]
            await call.done_writing()
            assert [(each.request_id, each.error.code, each.error.reason) for each in answers] == [
                ("1", 7, "NOT_THE_CALLER"),
                ("2", 7, "NOT_OWNER"),
                ("3", 0, ""),
            ]
            who = "bob"
            assert (await stub.CancelOrder(cancel, timeout=20)).order.status == CANCELLED
        service.shut_down()
        await server.stop(None)
    await store.close()
