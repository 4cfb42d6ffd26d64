"""Between the history and what is said now, nothing is lost and nothing comes twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pygrpc.services.chat import DatabaseChatStore
from pygrpc.services.chat.rooms import ChatRooms
from pygrpc.services.chat.store import Session
from tests.services.chat.support import chatting, joined, opened, running, say

HISTORY = 3


class Interleaved:
    """A store in which others say something before and after each of its first operations."""

    def __init__(self, store: DatabaseChatStore, plan: dict[str, list[tuple[int, int]]]) -> None:
        self.inner = store
        self.plan = plan
        self.number = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def say(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            await self.inner.send("room-1", "ann", str(self.number), keep=1000)

    async def around(self, name: str, *arguments: Any, **named: Any) -> Any:
        before, after = self.plan[name].pop(0) if self.plan[name] else (0, 0)
        await self.say(before)
        result = await getattr(self.inner, name)(*arguments, **named)
        await self.say(after)
        return result

    async def latest(self) -> int:
        return int(await self.around("latest"))

    async def after(self, position: int, limit: int) -> Any:
        return await self.around("after", position, limit)

    async def join(self, session: Session, *, history: int, most: int) -> Any:
        return await self.around("join", session, history=history, most=most)


pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3)


@settings(max_examples=40, deadline=None)
@given(plan=st.fixed_dictionaries({"latest": pairs, "after": pairs, "join": pairs}), before=st.integers(0, 5))
async def test_no_interleaving_leaves_a_gap(plan: dict[str, list[tuple[int, int]]], before: int) -> None:
    store = await DatabaseChatStore.open(":memory:")
    interleaved = Interleaved(store, plan)
    await store.create_room("Room", "", "ann", "room-1", 10)
    async with asyncio.timeout(20), ChatRooms(interleaved) as rooms:
        await store.join(Session("s", rooms.server_id, "room-1", "ann", "Ann"), history=0, most=10)
        await interleaved.say(before)
        async with rooms.stay("room-1", "bob", "Bob", HISTORY) as stay:
            await store.send("room-1", "ann", "end", keep=1000)
            seen = list(stay.history)
            async for message in stay:
                seen.append(message)
                if message.content == "end":
                    break
    await store.close()
    history = len(stay.history)
    sequences = [message.sequence for message in seen]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert history == min(HISTORY, seen[history].sequence - 1)
    assert seen[history].content == "Bob joined the room"


async def test_newcomers_among_many_who_talk(client_aio: ModuleType, tmp_path: Path) -> None:
    """Half of them talk to another server on the same file, in another order of commits than the first one tells."""
    path = str(tmp_path / "chat.db")
    async with running(client_aio, database=path) as one, running(client_aio, database=path) as two:
        await opened(one.stub)
        speakers = [await chatting(server.stub, f"s{number}") for number, server in enumerate((one, two))]
        total = 20

        async def talk(server: Any, user_id: str) -> None:
            for number in range(total):
                await say(server.stub, user_id, f"{user_id} {number}")

        async def listen(server: Any, user_id: str) -> list[tuple[int, str]]:
            call = await joined(server.stub, user_id, history=10)
            seen: list[tuple[int, str]] = []
            while not seen or seen[-1][1] != "end":
                message = (await call.read()).message
                seen.append((message.sequence, message.content))
            call.cancel()
            return seen

        talking = asyncio.gather(talk(one, "s0"), talk(two, "s1"))
        listening = []
        for number in range(6):
            listening.append(asyncio.create_task(listen((one, two)[number % 2], f"l{number}")))
            await say(two.stub, "s1", f"between {number}")
        await talking
        await say(one.stub, "s0", "end")
        everything: dict[int, str] = {}
        said_by = {speaker: [f"{speaker} {number}" for number in range(total)] for speaker in ("s0", "s1")}
        for seen in await asyncio.gather(*listening):
            sequences = [sequence for sequence, _ in seen]
            assert sequences == list(range(sequences[0], sequences[-1] + 1))
            for sequence, content in seen:
                assert everything.setdefault(sequence, content) == content
        for speaker in ("s0", "s1"):
            said = [content for _, content in sorted(everything.items()) if content in said_by[speaker]]
            assert said == said_by[speaker][total - len(said) :]
        for call in speakers:
            call.cancel()
