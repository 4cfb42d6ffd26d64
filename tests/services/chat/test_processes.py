"""Servers in processes of their own: several on one file behave as one, and a killed one loses nothing."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

from pygrpc.services.chat import Limits
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from tests.services.chat.support import BOUND, chatting, heard, joined, messages, opened, running, say
from tests.services.program import serving


async def test_two_processes_on_one_file_behave_as_one(client_aio: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "services.db"
    async with (
        asyncio.timeout(3 * BOUND),
        running(client_aio, database=str(path)) as here,
        serving(path) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        there = chat_pb2_grpc.ChatServiceStub(channel)
        await opened(here.stub)
        ann, bob = await chatting(here.stub, "ann"), await chatting(there, "bob")
        await ann.write(chat_pb2.ChatRequest(content="hello there"))
        assert await heard(bob, 2) == [("bob", "bob joined the room"), ("ann", "hello there")]
        await bob.write(chat_pb2.ChatRequest(content="hello here"))
        assert await heard(bob) == [("bob", "hello here")]
        expected = ["ann joined the room", "bob joined the room", "hello there", "hello here"]
        seen = await messages(ann, 4)
        assert [each.content for each in seen] == expected
        assert [each.sequence for each in seen] == [1, 2, 3, 4]
        # A room, and who is in it, do not depend on the process that is asked.
        assert (await say(here.stub, "bob", "from elsewhere")).sequence == 5
        assert await heard(bob) == [("bob", "from elsewhere")]
        [room] = (await there.ListRooms(chat_pb2.ListRoomsRequest())).rooms
        assert room.member_count == 2
        assert (await here.stub.LeaveRoom(chat_pb2.LeaveRoomRequest(room_id="room-1", user_id="bob"))).was_member
        assert await heard(bob) == [("bob", "bob left the room")]
        assert await bob.read() is client_aio.EOF
        ann.cancel()


class Speakers:
    """Clients that talk without pause until the server is gone, and what the server has acknowledged to them."""

    def __init__(self, stub: Any, failure: type[Exception]) -> None:
        self.stub = stub
        self.failure = failure
        self.acknowledged: dict[int, str] = {}
        self.seen: dict[int, str] = {}
        self.enough = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self.talk(f"u{number}") for number in range(4)), self.chat("c"))

    async def talk(self, user_id: str) -> None:
        try:
            call = await joined(self.stub, user_id)
            for number in itertools.count():
                message = await say(self.stub, user_id, f"{user_id} {number}")
                self.acknowledged[message.sequence] = message.content
                if len(self.acknowledged) >= 60:
                    self.enough.set()
        except self.failure:
            call.cancel()

    async def chat(self, user_id: str) -> None:
        try:
            call = await chatting(self.stub, user_id)
            for number in itertools.count():
                await call.write(chat_pb2.ChatRequest(content=f"{user_id} {number}"))
                content = ""
                while content != f"{user_id} {number}":
                    message = (await call.read()).message
                    content = message.content
                    self.seen[message.sequence] = content
        except (self.failure, asyncio.InvalidStateError):
            call.cancel()


async def test_nothing_acknowledged_or_shown_is_lost_when_the_server_is_killed(
    client_aio: ModuleType, shared_database: str
) -> None:
    async with asyncio.timeout(3 * BOUND):
        async with serving(shared_database) as program, client_aio.insecure_channel(program.address) as channel:
            stub = chat_pb2_grpc.ChatServiceStub(channel)
            await opened(stub)
            speakers = Speakers(stub, client_aio.AioRpcError)
            talking = asyncio.create_task(speakers.run())
            await speakers.enough.wait()
            program.process.kill()
            await talking
            assert (await program.finished())[0] == -9
        found: dict[int, str] = {}
        async with running(client_aio, database=shared_database, limits=Limits(members=100)) as server:
            before, more = "", True
            while more:
                request = chat_pb2.GetRoomHistoryRequest(room_id="room-1", page_size=200, before_message_id=before)
                page = await server.stub.GetRoomHistory(request)
                found |= {each.sequence: each.content for each in page.messages}
                before, more = page.messages[0].message_id, page.has_more
            # The dead server's lease is over at once here, and so are the stays in it.
            await server.store.renew(server.rooms.server_id, -1)
            [room] = (await server.stub.ListRooms(chat_pb2.ListRoomsRequest())).rooms
            assert room.member_count == 0
        assert sorted(found) == list(range(1, len(found) + 1))
        assert len(speakers.acknowledged) >= 60 and speakers.seen
        for known in (speakers.acknowledged, speakers.seen):
            assert {sequence: found.get(sequence) for sequence in known} == known
