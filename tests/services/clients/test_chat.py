"""The client of the chat service: each call, and stays that go on after a connection broke."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pygrpc.services.chat import Limits
from pygrpc.services.clients import chat, chatting, sessions
from pygrpc.services.protos.chat.v1 import chat_pb2
from tests.services.clients.support import collected, fails, quick, until, world

__all__ = ["quick"]

ROOM = "room-1"


@asynccontextmanager
async def room(folder: Path, **given: Any) -> Any:
    """Serves a room."""
    async with world(folder, **given) as here:
        await here.clients.chat.create_room(chat_pb2.CreateRoomRequest(name="Room", created_by="ann", room_id=ROOM))
        yield here


@asynccontextmanager
async def two(folder: Path, **given: Any) -> Any:
    """Serves a room that Ann is in by way of the proxy, and Bob is in directly."""
    async with (
        room(folder, **given) as here,
        here.more() as others,
        here.clients.chat.join(ROOM, "ann") as ann,
        others.chat.join(ROOM, "bob") as bob,
    ):
        yield here, ann, bob


class Reader:
    """Reads a stay in the background, so that what is sent is acknowledged."""

    def __init__(self, session: chatting.ChatSession) -> None:
        self.messages: list[chat_pb2.ChatMessage] = []
        self.task = asyncio.create_task(self._read(session))

    async def _read(self, session: chatting.ChatSession) -> None:
        async for message in session:
            self.messages.append(message)

    def said(self) -> list[str]:
        return [each.content for each in self.messages if each.type == chat_pb2.MESSAGE_TYPE_USER]

    def complete(self) -> bool:
        """Whether there is no gap and no duplicate."""
        sequences = [each.sequence for each in self.messages]
        return sequences == list(range(sequences[0], sequences[0] + len(sequences)))


async def test_every_call_but_the_stay(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        client = here.clients.chat
        await client.create_room(chat_pb2.CreateRoomRequest(name="Other", created_by="ann"))
        assert [each.name for each in await collected(client.rooms(page_size=1))] == ["Room", "Other"]
        async with client.join(ROOM, "ann"):
            message = await client.send(ROOM, "ann", "hello")
            assert message.content == "hello"
            assert await client.leave(ROOM, "ann")
            assert not await client.leave(ROOM, "ann")
        with fails("FAILED_PRECONDITION"):
            await client.send(ROOM, "ann", "hello?")


async def test_history_over_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_PAGE_SIZE", 3)
    async with room(tmp_path) as here:
        client = here.clients.chat
        async with client.join(ROOM, "ann"):
            for number in range(10):
                await client.send(ROOM, "ann", str(number))
        history = await client.history(ROOM, 8)
        assert [each.sequence for each in history] == list(range(5, 13))
        assert len(await client.history(ROOM, 100)) == 12
        before = await client.history(ROOM, 2, before_message_id=history[0].message_id)
        assert [each.sequence for each in before] == [3, 4]


async def test_a_stay_has_history_and_then_what_is_said(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        client = here.clients.chat
        async with client.join(ROOM, "ann", username="Ann") as ann:
            assert (await ann.send("hello")).username == "Ann"
            async with client.join(ROOM, "bob", history=1) as bob:
                said = Reader(bob)
                await ann.send("hello, Bob")
                await until(lambda: len(said.messages) == 3)
                kinds = [chat_pb2.MessageType.Name(each.type) for each in said.messages]
                assert kinds == ["MESSAGE_TYPE_USER", "MESSAGE_TYPE_JOINED", "MESSAGE_TYPE_USER"]
                await until(lambda: said.said() == ["hello", "hello, Bob"])
                ann.leave()
                assert (await collected(ann))[-1].type == chat_pb2.MESSAGE_TYPE_LEFT
                with fails("FAILED_PRECONDITION"):
                    await ann.send("too late")
                bob.leave()
                await said.task
                assert said.complete()


async def test_no_history_if_none_is_wanted(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        async with here.clients.chat.join(ROOM, "ann") as ann:
            await ann.send("hello")
        async with here.clients.chat.join(ROOM, "bob", history=0) as bob:
            bob.leave()
            messages = await collected(bob)
        assert [each.user_id for each in messages] == ["bob", "bob"]


async def test_leaving_is_announced_when_the_context_ends(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        async with here.clients.chat.join(ROOM, "ann"):
            pass
        # Without waiting for anything: who leaves politely is gone when the call has ended.
        assert (await here.clients.chat.history(ROOM))[-1].type == chat_pb2.MESSAGE_TYPE_LEFT


async def test_equal_messages_are_told_apart(tmp_path: Path) -> None:
    async with room(tmp_path) as here, here.clients.chat.join(ROOM, "ann") as ann:
        said = Reader(ann)
        elsewhere = await here.clients.chat.send(ROOM, "ann", "hello")
        both = await asyncio.gather(ann.send("hello"), ann.send("hello"))
        assert [each.sequence - elsewhere.sequence for each in both] == [1, 2]
        assert len({each.idempotency_key for each in (elsewhere, *both)} - {""}) == 3
        ann.leave()
        await said.task


@pytest.mark.usefixtures("quick")
async def test_a_stay_goes_on_without_gap_and_duplicate(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, ann, bob):
        said, heard = Reader(ann), Reader(bob)
        for turn in range(3):
            await ann.send(f"before {turn}")
            here.proxy.refuse()
            here.cut()
            for number in range(5):
                await bob.send(f"missed {turn}.{number}")
            here.proxy.accept()
            await ann.send(f"after {turn}")
        await until(lambda: len(said.said()) == len(heard.said()) == 3 * 7)
        assert said.said() == heard.said()
        assert said.complete()
        assert heard.complete()
        ann.leave()
        bob.leave()
        await asyncio.gather(said.task, heard.task)


@pytest.mark.usefixtures("quick")
async def test_a_stay_survives_the_restart_of_the_server(tmp_path: Path) -> None:
    async with room(tmp_path) as here, here.clients.chat.join(ROOM, "ann") as ann:
        said = Reader(ann)
        await ann.send("before")
        await here.serving.restart()
        await ann.send("after")
        await until(lambda: said.said() == ["before", "after"])
        assert said.complete()
        ann.leave()
        await said.task


@pytest.mark.usefixtures("quick")
async def test_more_was_missed_than_a_page_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatting, "_PAGE_SIZE", 3)
    async with two(tmp_path) as (here, ann, bob):
        said, heard = Reader(ann), Reader(bob)
        await until(lambda: len(said.messages) == 2)
        here.proxy.refuse()
        here.cut()
        for number in range(10):
            await bob.send(str(number))
        here.proxy.accept()
        await until(lambda: len(said.said()) == 10)
        assert said.complete()
        for each in (ann, bob):
            each.leave()
        await asyncio.gather(said.task, heard.task)


@pytest.mark.usefixtures("quick")
async def test_what_was_stored_is_not_sent_again_and_what_was_lost_is(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, ann, bob):
        said, heard = Reader(ann), Reader(bob)
        await until(lambda: len(said.messages) == 2)
        # The message arrives, its acknowledgement does not.
        link = here.proxy.open_links[0]
        link.hold(link.down)
        sending = asyncio.create_task(ann.send("stored"))
        await until(lambda: heard.said() == ["stored"])
        here.cut()
        await sending
        # The message does not arrive.
        await until(lambda: here.proxy.open_links != [])
        link = here.proxy.open_links[0]
        before = link.up.received
        link.hold(link.up)
        sending = asyncio.create_task(ann.send("lost"))
        await until(lambda: link.up.received > before)
        here.cut()
        await sending
        await until(lambda: said.said() == ["stored", "lost"])
        await until(lambda: heard.said() == ["stored", "lost"])
        assert said.complete()
        for each in (ann, bob):
            each.leave()
        await asyncio.gather(said.task, heard.task)


@pytest.mark.usefixtures("quick")
async def test_the_limits_of_the_server_slow_the_sender_down(tmp_path: Path) -> None:
    async with room(tmp_path, chat=Limits(rate=50.0, burst=5)) as here, here.clients.chat.join(ROOM, "ann") as ann:
        said = Reader(ann)
        texts = [str(number) for number in range(20)]
        await asyncio.gather(*(ann.send(each) for each in texts))
        await until(lambda: said.said() == texts)
        assert said.complete()
        ann.leave()
        await said.task


@pytest.mark.usefixtures("quick")
async def test_a_message_that_is_refused_does_not_end_the_stay(tmp_path: Path) -> None:
    async with room(tmp_path) as here, here.clients.chat.join(ROOM, "ann") as ann:
        said = Reader(ann)
        outcomes = await asyncio.gather(
            *(ann.send(each) for each in ("one", "x" * 5000, "two", "\0", "three")), return_exceptions=True
        )
        assert [getattr(each, "content", None) for each in outcomes] == ["one", None, "two", None, "three"]
        assert "content must not be longer than 4096 characters" in str(outcomes[1])
        await until(lambda: said.said() == ["one", "two", "three"])
        assert said.complete()
        ann.leave()
        await said.task


@pytest.mark.usefixtures("quick")
async def test_a_slow_reader_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_QUEUE_SIZE", 2)
    small = [("grpc.http2.lookahead_bytes", 65_535), ("grpc.http2.bdp_probe", 0)]
    async with two(tmp_path, queue_limit=8, channel_options=small) as (_here, ann, bob):
        heard = Reader(bob)
        # More than the windows and all queues on the way hold.
        for number in range(100):
            await bob.send(f"{number} {'x' * 4000}")
        said = Reader(ann)
        await until(lambda: len(said.said()) == 100)
        assert said.complete()
        assert said.said() == heard.said()
        for each in (ann, bob):
            each.leave()
        await asyncio.gather(said.task, heard.task)


async def test_a_room_that_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with fails("NOT_FOUND"):
            async with here.clients.chat.join("nowhere", "ann"):
                raise AssertionError("the room was entered")


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.proxy.refuse()
        with fails("UNAVAILABLE"):
            async with here.clients.chat.join(ROOM, "ann"):
                raise AssertionError("the room was entered")


async def test_somebody_else_ends_the_stay(tmp_path: Path) -> None:
    async with room(tmp_path) as here, here.clients.chat.join(ROOM, "ann") as ann:
        await here.clients.chat.leave(ROOM, "ann")
        assert (await collected(ann))[-1].type == chat_pb2.MESSAGE_TYPE_LEFT
        with fails("FAILED_PRECONDITION"):
            await ann.send("too late")


@pytest.mark.usefixtures("quick")
async def test_patience_comes_to_its_end(tmp_path: Path) -> None:
    async with room(tmp_path, patience=0.2) as here, here.clients.chat.join(ROOM, "ann") as ann:
        here.proxy.refuse()
        here.cut()
        with fails("UNAVAILABLE"):
            await ann.send("hello?")
        with fails("UNAVAILABLE"):
            await collected(ann)


async def test_entering_can_be_cancelled(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.cut()
        here.limit_next(0)
        entering = asyncio.create_task(here.clients.chat.join(ROOM, "ann").__aenter__())
        await until(lambda: len(here.proxy.links) == 2 and here.proxy.links[1].down.received > 0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering


async def test_a_send_that_is_given_up_is_not_made(tmp_path: Path) -> None:
    async with room(tmp_path) as here, here.clients.chat.join(ROOM, "ann") as ann:
        said = Reader(ann)
        here.proxy.refuse()
        here.cut()
        await until(lambda: not ann._inside.is_set())
        sending = asyncio.create_task(ann.send("never mind"))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        here.proxy.accept()
        await ann.send("hello")
        await until(lambda: said.said() == ["hello"])
        ann.leave()
        await said.task
