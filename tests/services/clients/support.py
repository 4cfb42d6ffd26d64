"""The services on a real socket behind a proxy that can fail, and clients of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pygrpc import aio
from pygrpc.services.chat import ChatRooms, ChatService, DatabaseChatStore
from pygrpc.services.chat import Limits as ChatLimits
from pygrpc.services.clients import ClientOptions, Clients, ServiceError, pacing
from pygrpc.services.files import Limits as FileLimits
from pygrpc.services.files import open_files
from pygrpc.services.orders import DatabaseOrderStore, OrderService
from pygrpc.services.protos.chat.v1 import chat_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2_grpc
from pygrpc.services.users import DatabaseUserStore, UserService
from tests.faults.proxy import Link, Proxy
from tests.services.support import cheap_passwords

BOUND = 40.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are taken up again without much delay."""
    monkeypatch.setattr(pacing, "_FIRST_DELAY", 0.001)


class Serving:
    """All services in this process, on a port that they keep when they are stopped and started again."""

    def __init__(self, folder: Path, chat: ChatLimits | None, files: FileLimits | None, queue_limit: int) -> None:
        self.folder = folder
        self._queue_limit = queue_limit
        self.port = 0
        self._chat = chat or ChatLimits(rate=1e6, burst=1_000_000)
        self._files = files
        self._stack = AsyncExitStack()
        self.users: Any = None
        self.rooms: Any = None
        self.uploads: Any = None

    async def start(self) -> None:
        stack = self._stack
        users = await DatabaseUserStore.open(str(self.folder / "users.db"))
        stack.push_async_callback(users.close)
        passwords = cheap_passwords()
        stack.callback(passwords.close)
        self.users = UserService(users, passwords)
        chat = await DatabaseChatStore.open(str(self.folder / "chat.db"))
        stack.push_async_callback(chat.close)
        self.rooms = await stack.enter_async_context(
            ChatRooms(chat, limits=self._chat, queue_limit=self._queue_limit, poll=0.005)
        )
        files = await stack.enter_async_context(open_files(self.folder / "files", limits=self._files))
        self.uploads = files.uploads
        orders = await DatabaseOrderStore.open(str(self.folder / "orders.db"))
        stack.push_async_callback(orders.close)
        self.orders = await stack.enter_async_context(OrderService(orders, poll=0.005))
        self.server = aio.server()
        self.orders.add_to(self.server)
        user_pb2_grpc.add_UserServiceServicer_to_server(self.users, self.server)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatService(self.rooms), self.server)
        files.add_to(self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def stop(self) -> None:
        self.users.shut_down()
        self.rooms.shut_down()
        self.orders.shut_down()
        await self.server.stop(None)
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


@dataclass(frozen=True)
class World:
    """A server, the proxy before it, and clients that go through the proxy."""

    serving: Serving
    proxy: Proxy
    clients: Clients

    def cut(self) -> None:
        """Ends all connections."""
        for link in self.proxy.open_links:
            link.cut()

    def limit_next(self, size: int) -> None:
        """Lets so many bytes of the server through on the next connection, and all on those behind it."""

        def limit(link: Link) -> None:
            link.down.budget = size
            self.proxy.on_connect = lambda link: None

        self.proxy.on_connect = limit

    def limit_next_up(self, size: int) -> None:
        """Lets so many bytes of the client through on the next connection, and all on those behind it."""

        def limit(link: Link) -> None:
            link.up.budget = size
            self.proxy.on_connect = lambda link: None

        self.proxy.on_connect = limit

    @asynccontextmanager
    async def more(self, **given: Any) -> AsyncIterator[Clients]:
        """Further clients, which go to the server itself."""
        async with Clients(f"127.0.0.1:{self.serving.port}", ClientOptions(**given)) as clients:
            yield clients


@asynccontextmanager
async def world(
    folder: Path,
    *,
    chat: ChatLimits | None = None,
    files: FileLimits | None = None,
    queue_limit: int = 256,
    **given: Any,
) -> AsyncIterator[World]:
    """Serves everything from a folder; `given` are options of the clients."""
    serving = Serving(folder, chat, files, queue_limit)
    await serving.start()
    try:
        with Proxy(serving.port) as proxy:
            async with (
                asyncio.timeout(BOUND),
                Clients(proxy.target, ClientOptions(**{"timeout": 20.0, **given})) as clients,
            ):
                yield World(serving, proxy, clients)
    finally:
        await serving.stop()


@contextmanager
def fails(code: str) -> Any:
    """Expects a ServiceError with a code."""
    with pytest.raises(ServiceError) as raised:
        yield raised
    assert raised.value.code.name == code


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something has happened; the bound of the test ends it if it never does."""
    while not condition():
        await asyncio.sleep(0)


async def collected(results: AsyncIterator[Any]) -> list[Any]:
    """Reads an iterator to its end."""
    return [each async for each in results]
