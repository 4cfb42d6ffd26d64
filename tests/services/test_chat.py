from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from pygrpc.services.outbox import ReaderTooSlow, ShuttingDown
from pygrpc.services.users.chat import ChatRoom, Words


async def test_a_newcomer_is_welcomed() -> None:
    room = ChatRoom(8)
    with room.join() as ann:
        welcome = await anext(ann)
        assert (welcome.words.user_id, welcome.words.content) == ("system", "Welcome to the chat!")
        assert not welcome.echo and welcome.at > 1_700_000_000_000_000
        assert room.members == 1
    assert room.members == 0


async def test_a_message_goes_to_the_others_and_its_echo_to_the_sender() -> None:
    room = ChatRoom(8)
    with room.join() as ann, room.join() as bob, room.join() as cid:
        for outbox in (ann, bob, cid):
            await anext(outbox)
        await room.say(ann, Words("ann", "hello"))
        said = await anext(bob)
        assert (said.words, said.echo) == (Words("ann", "hello"), False)
        assert said.at > 1_700_000_000_000_000
        assert [await anext(cid), await anext(ann)] == [said, said._replace(echo=True)]


async def test_a_client_that_does_not_keep_up_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    room = ChatRoom(2)
    with room.join() as ann, room.join() as slow, caplog.at_level(logging.WARNING, "pygrpc"):
        await anext(ann)
        for number in range(2):
            await room.say(ann, Words("ann", str(number)))
            assert (await anext(ann)).words.content == str(number)
        with pytest.raises(ReaderTooSlow):
            await anext(slow)
        assert room.members == 1
    assert [record.getMessage() for record in caplog.records] == ["A client in the chat is too slow and was dropped."]


async def test_a_client_that_only_sends_is_held_up_by_its_echoes() -> None:
    room = ChatRoom(2)
    with room.join() as ann, room.join() as bob:
        await anext(bob)
        await room.say(ann, Words("ann", "first"))
        saying = asyncio.create_task(room.say(ann, Words("ann", "second")))
        await asyncio.sleep(0)
        assert not saying.done()
        assert (await anext(bob)).words.content == "first"
        assert (await anext(ann)).words.user_id == "system"
        await saying
        echoes = [await anext(ann) for _ in range(2)]
        assert [(said.words.content, said.echo) for said in echoes] == [("first", True), ("second", True)]
        assert (await anext(bob)).words.content == "second"


async def test_closing_ends_the_chat_and_refuses_newcomers() -> None:
    room = ChatRoom(2)
    with room.join() as ann:
        room.close()
        with pytest.raises(ShuttingDown):
            await anext(ann)
    with pytest.raises(ShuttingDown), room.join():
        pass


async def test_a_visit_ends_with_the_talk() -> None:
    async def talk() -> AsyncIterator[Words]:
        yield Words("ann", "hello", 7, "Ann")

    room = ChatRoom(8)
    with room.join() as bob:
        heard = [(said.words.content, said.echo) async for said in room.visit(talk())]
        assert heard == [("Welcome to the chat!", False), ("hello", True)]
        assert room.members == 1
        await anext(bob)
        assert (await anext(bob)).words == Words("ann", "hello", 7, "Ann")


async def test_a_visit_ends_with_the_error_of_the_talk() -> None:
    async def talk() -> AsyncIterator[Words]:
        raise ValueError("no words")
        yield

    room = ChatRoom(8)
    async with aclosing(room.visit(talk())) as heard:
        assert (await anext(heard)).words.content == "Welcome to the chat!"
        with pytest.raises(ValueError, match="no words"):
            await anext(heard)
    assert room.members == 0
