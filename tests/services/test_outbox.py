from __future__ import annotations

import asyncio

import pytest

from pygrpc.services.outbox import Outbox, ReaderTooSlow, ShuttingDown
from tests.services.support import all_of


async def test_items_come_out_in_order() -> None:
    outbox = Outbox[int](3)
    assert all(outbox.offer(number) for number in range(3))
    outbox.finish()
    assert await all_of(outbox) == [0, 1, 2]


async def test_a_reader_waits_for_the_next_item() -> None:
    outbox = Outbox[int](1)
    reading = asyncio.create_task(anext(outbox))
    await asyncio.sleep(0)
    assert not reading.done()
    outbox.offer(7)
    assert await reading == 7


async def test_an_offer_without_room_fails_the_outbox_and_drops_what_it_held() -> None:
    outbox = Outbox[int](2)
    assert outbox.offer(1)
    assert outbox.offer(2)
    assert not outbox.offer(3)
    assert not outbox.offer(4)
    with pytest.raises(ReaderTooSlow):
        await anext(outbox)


async def test_a_failure_wakes_the_reader_and_is_the_last_word() -> None:
    outbox = Outbox[int](2)
    reading = asyncio.create_task(anext(outbox))
    await asyncio.sleep(0)
    outbox.fail(ShuttingDown())
    outbox.fail(ReaderTooSlow())
    with pytest.raises(ShuttingDown):
        await reading
    with pytest.raises(ShuttingDown):
        await anext(outbox)


async def test_a_finished_outbox_takes_nothing_more() -> None:
    outbox = Outbox[int](2)
    outbox.finish()
    assert not outbox.offer(1)
    assert await all_of(outbox) == []


async def test_room_is_made_by_the_reader() -> None:
    outbox = Outbox[int](1)
    outbox.offer(1)
    waiting = asyncio.create_task(outbox.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await anext(outbox) == 1
    await waiting
    assert outbox.offer(2)


@pytest.mark.parametrize("end", [Outbox.finish, lambda outbox: outbox.fail(ShuttingDown())], ids=["finish", "fail"])
async def test_waiting_for_room_ends_with_the_outbox(end: object) -> None:
    outbox = Outbox[int](1)
    outbox.offer(1)
    waiting = asyncio.create_task(outbox.wait_for_room())
    await asyncio.sleep(0)
    assert callable(end)
    end(outbox)
    await waiting
