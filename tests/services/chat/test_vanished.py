"""Clients that are gone without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

import pytest

from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from tests.services.chat.support import chatting, heard, joined, opened, running


class Relay:
    """A way to the server that can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, server_writer]
        await asyncio.gather(self.pump(reader, server_writer), self.pump(server_reader, writer))

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def relayed(address: str) -> AsyncIterator[tuple[Relay, str]]:
    relay = Relay(int(address.rpartition(":")[2]))
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    async with server:
        yield relay, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        relay.cut()


@pytest.mark.parametrize("enter", [joined, chatting], ids=["JoinRoom", "Chat"])
async def test_a_client_whose_connection_breaks_has_left(client_aio: ModuleType, enter: object) -> None:
    assert callable(enter)
    async with running(client_aio) as server, relayed(server.address) as (relay, address):
        await opened(server.stub)
        ann = await joined(server.stub, "ann")
        async with client_aio.insecure_channel(address) as channel:
            bob = await enter(chat_pb2_grpc.ChatServiceStub(channel), "bob")
            assert await heard(ann, 2) == [("ann", "ann joined the room"), ("bob", "bob joined the room")]
            relay.cut()
            assert await heard(ann) == [("bob", "bob left the room")]
            bob.cancel()
        ann.cancel()


async def test_a_client_that_cancels_while_it_arrives_does_not_stay(client_aio: ModuleType) -> None:
    async with running(client_aio) as server:
        await opened(server.stub)
        ann = await joined(server.stub, "ann")
        for turns in range(30):
            call = server.stub.JoinRoom(chat_pb2.JoinRoomRequest(room_id="room-1", user_id=f"u{turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
        # What was sent before this on the same connection has been received when it is answered.
        request = chat_pb2.GetRoomHistoryRequest(room_id="room-1", page_size=200)
        await server.stub.GetRoomHistory(request)
        while (await server.store.rooms(1))[0][0].members > 1 or server.rooms.feed.readers > 1:
            await asyncio.sleep(0)
        # Whoever has come has left.
        there = set()
        for message in (await server.stub.GetRoomHistory(request)).messages:
            there ^= {message.user_id}
        assert there == {"ann"}
        ann.cancel()
