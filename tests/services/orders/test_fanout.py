"""Hints about changes that other processes make, which are noticed at once then."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pygrpc.services.fanout.redis import RedisFanout
from pygrpc.services.orders import DatabaseOrderStore, OrderService
from pygrpc.services.orders.feed import OrderFeed
from pygrpc.services.orders.store import Status
from tests.services.orders.stores import placed, purchase
from tests.services.orders.support import BOUND
from tests.services.servers.redis import RedisServer

NEVER = 3600.0


async def test_a_change_of_another_process_comes_with_its_hint(tmp_path: Path, redis_server: RedisServer) -> None:
    path = str(tmp_path / "orders.db")
    here, there = await DatabaseOrderStore.open(path), await DatabaseOrderStore.open(path)
    fanouts = [RedisFanout(redis_server.url, channel=path) for _ in range(2)]
    for fanout in fanouts:
        await fanout.open()
    OrderService(there, fanout=fanouts[1])
    feed = OrderFeed(here, 8, NEVER, fanouts[0], poll_besides_hints=NEVER)
    running = asyncio.create_task(feed.run())
    async with asyncio.timeout(BOUND), feed.reading() as reader:
        order = (await placed(there, purchase())).order
        reader.follow(order.order_id, order.revision)
        changes = aiter(reader)
        for status in (Status.PROCESSING, Status.SHIPPED):
            await there.advance(order.order_id, status, "")
            assert (await anext(changes)).new_status is status
    running.cancel()
    await asyncio.wait((running,))
    for fanout in fanouts:
        await fanout.close()
    for store in (here, there):
        await store.close()
