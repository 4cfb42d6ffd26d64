"""500 members in a room."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from pygrpc import aio
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from tests.services.chat.support import LEFT, USER, joined, opened, running, say

MEMBERS = 500
CONNECTIONS = 5
MESSAGES = 10


async def test_everybody_in_a_full_room_hears_everything_in_order() -> None:
    async with running(aio, bound=60.0) as server, AsyncExitStack() as stack:
        await opened(server.stub)
        stubs = []
        for _ in range(CONNECTIONS):
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = await stack.enter_async_context(aio.insecure_channel(server.address, options))
            stubs.append(chat_pb2_grpc.ChatServiceStub(channel))

        async def member(number: int) -> list[tuple[int, str]]:
            call = await joined(stubs[number % CONNECTIONS], f"u{number}", history=0)
            there.append(number)
            if len(there) == MEMBERS:
                complete.set()
            said = []
            while len(said) < MESSAGES:
                message = (await call.read()).message
                assert message.type != LEFT
                if message.type == USER:
                    said.append((message.sequence, message.content))
            await done.wait()
            call.cancel()
            return said

        there: list[int] = []
        complete, done = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            members = [group.create_task(member(number)) for number in range(MEMBERS)]
            await complete.wait()
            [room] = (await server.stub.ListRooms(chat_pb2.ListRoomsRequest())).rooms
            assert room.member_count == MEMBERS
            for number in range(MESSAGES):
                await say(stubs[0], "u0", str(number))
            done.set()
        expected = [(MEMBERS + 1 + number, str(number)) for number in range(MESSAGES)]
        for task in members:
            assert task.result() == expected
