"""The clients of programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pygrpc.services.clients import BlockingClients, ClientOptions
from pygrpc.services.clients.together import Clients
from pygrpc.services.protos.chat.v1 import chat_pb2
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.clients.support import BOUND, Serving, fails


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serves from an event loop in another thread."""
    address: concurrent.futures.Future[str] = concurrent.futures.Future()
    stopping: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def serve() -> None:
        serving = Serving(folder, None, None, 256)
        await serving.start()
        address.set_result(f"127.0.0.1:{serving.port}")
        await asyncio.wrap_future(stopping)
        await serving.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield address.result(BOUND)
    finally:
        stopping.set_result(None)
        thread.join(BOUND)


def request(name: str) -> user_pb2.CreateUserRequest:
    return user_pb2.CreateUserRequest(name=name, email=f"{name.lower()}@example.com")


def test_calls_streams_and_stays(tmp_path: Path) -> None:
    with server(tmp_path) as address, BlockingClients(address, ClientOptions(timeout=BOUND)) as clients:
        clients.connection.ready()
        ann = clients.users.create(request("Ann"))
        assert clients.users.get(ann.id) == ann
        clients.users.create_many([request("Bob")])
        assert [each.name for each in clients.users.list(page_size=1)] == ["Ann", "Bob"]
        with fails("NOT_FOUND"):
            clients.files.info("nothing")
        # A stream that is given up is cancelled.
        for event in clients.users.watch(ann.id):
            assert event.user == ann
            break
        clients.chat.create_room(chat_pb2.CreateRoomRequest(name="Room", created_by="ann", room_id="room"))
        with clients.chat.join("room", "ann") as stay:
            assert stay.send("hello").content == "hello"
            stay.leave()
            assert [each.content for each in stay if each.type == chat_pb2.MESSAGE_TYPE_USER] == ["hello"]


def test_a_call_can_be_cancelled(tmp_path: Path) -> None:
    with server(tmp_path) as address, BlockingClients(address) as clients:
        ann = clients.users.create(request("Ann"))
        events = clients.users.asynchronous.watch(ann.id)
        assert clients.start(lambda: anext(events)).result(BOUND).user == ann
        waiting = clients.start(lambda: anext(events))
        assert waiting.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(BOUND)


def test_what_is_left_ends_with_the_clients(tmp_path: Path) -> None:
    with server(tmp_path) as address:
        clients = BlockingClients(address)
        waiting = clients.start(lambda: asyncio.Event().wait())
        clients.close()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(BOUND)
        clients.close()


def test_options_that_make_no_sense_leave_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="keepalive_time_ms"):
        BlockingClients("127.0.0.1:1", ClientOptions(channel_options=[("grpc.keepalive_time_ms", "soon")]))
    assert threading.active_count() == before


async def test_clients_share_a_connection() -> None:
    async with Clients("127.0.0.1:1", ClientOptions(attempts=1)) as clients:
        with fails("UNAVAILABLE"):
            await clients.users.get("1")
        with fails("UNAVAILABLE"):
            await clients.files.info("1")
