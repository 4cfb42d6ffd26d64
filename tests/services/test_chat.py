from __future__ import annotations

import asyncio
import logging

import pytest

from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from pygrpc.services.users.chat import ChatRoom


async def test_a_newcomer_is_welcomed() -> None:
    room = ChatRoom(8)
    with room.join() as ann:
        welcome = await anext(ann)
        assert (welcome.user_id, welcome.content) == ("system", "Welcome to the chat!")
        assert welcome.HasField("timestamp")
        assert room.members == 1
    assert room.members == 0


async def test_a_message_goes_to_the_others_and_its_echo_to_the_sender() -> None:
    room = ChatRoom(8)
    with room.join() as ann, room.join() as bob, room.join() as cid:
        for outbox in (ann, bob, cid):
            await anext(outbox)
        await room.say(ann, "ann", "hello")
        for outbox, content in ((bob, "hello"), (cid, "hello"), (ann, "Echo: hello")):
            message = await anext(outbox)
            assert (message.user_id, message.content) == ("ann", content)
            assert message.HasField("timestamp")


async def test_a_client_that_does_not_keep_up_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    room = ChatRoom(2)
    with room.join() as ann, room.join() as slow, caplog.at_level(logging.WARNING, "pygrpc"):
        await anext(ann)
        for number in range(2):
            await room.say(ann, "ann", str(number))
            assert (await anext(ann)).content == f"Echo: {number}"
        with pytest.raises(ReaderTooSlow):
            await anext(slow)
        assert room.members == 1
    assert [record.getMessage() for record in caplog.records] == ["A client in the chat is too slow and was dropped."]


async def test_a_client_that_only_sends_is_held_up_by_its_echoes() -> None:
    room = ChatRoom(2)
    with room.join() as ann, room.join() as bob:
        await anext(bob)
        await room.say(ann, "ann", "first")
        saying = asyncio.create_task(room.say(ann, "ann", "second"))
        await asyncio.sleep(0)
        assert not saying.done()
        assert (await anext(bob)).content == "first"
        assert (await anext(ann)).user_id == "system"
        await saying
        assert [(await anext(ann)).content for _ in range(2)] == ["Echo: first", "Echo: second"]
        assert (await anext(bob)).content == "second"


async def test_closing_ends_the_chat_and_refuses_newcomers() -> None:
    room = ChatRoom(2)
    with room.join() as ann:
        room.close()
        with pytest.raises(ShuttingDown):
            await anext(ann)
    with pytest.raises(ShuttingDown), room.join():
        pass
