"""The program that runs the services on pygrpc.aio."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pygrpc import aio
from pygrpc.services.chat import ChatRooms, ChatService, SqliteChatStore, UnversionedChatService
from pygrpc.services.errors import StoreError
from pygrpc.services.files import open_files
from pygrpc.services.protos.chat import chat_pb2_grpc as unversioned_chat_pb2_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2_grpc
from pygrpc.services.users import Passwords, SqliteUserStore, UserService

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The server cannot start; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the server.

    Attributes:
        host: A name or address to listen on.
        port: 0 lets the system choose.
        database: A path, an SQLAlchemy URL of SQLite, or `:memory:`.
        files: The folder of the file service, which is not served if this is empty.
        grace: How long calls may go on after the signal to stop, in seconds.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    database: str = "users.db"
    files: str = ""
    grace: float = 5.0


async def run(options: Options, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, then lets the running calls finish within the grace.

    Args:
        options: How to run.
        ready: Called with the address, `host:port`, once calls are accepted.

    Raises:
        StartError: The database, the folder or the port cannot be used.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(_user_service(options.database))
        rooms = await stack.enter_async_context(_chat_rooms(options.database))
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        user_pb2_grpc.add_UserServiceServicer_to_server(service, server)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatService(rooms), server)
        unversioned_chat_pb2_grpc.add_ChatServiceServicer_to_server(UnversionedChatService(rooms), server)
        if options.files:
            await _add_files(server, options.files, stack)
        address = await _listen(server, options)
        _log.info("Serving on %s with the user database %s.", address, options.database)
        if options.files:
            _log.info("Files are in %s.", options.files)
        ready(address)
        await stopping.wait()
        _log.info("Stopping; running calls have %g seconds.", options.grace)
        service.shut_down()
        rooms.shut_down()
        await server.stop(options.grace)
    _log.info("Stopped.")


@asynccontextmanager
async def _user_service(database: str) -> AsyncIterator[UserService]:
    try:
        store = await SqliteUserStore.open(database)
    except StoreError as error:
        raise StartError(str(error)) from error
    passwords = Passwords()
    try:
        yield UserService(store, passwords)
    finally:
        passwords.close()
        await store.close()


async def _add_files(server: aio.Server, folder: str, stack: AsyncExitStack) -> None:
    """Registers the file services; they are open until the stack is closed."""
    try:
        files = await stack.enter_async_context(open_files(folder))
    except StoreError as error:
        raise StartError(str(error)) from error
    files.add_to(server)


@asynccontextmanager
async def _chat_rooms(database: str) -> AsyncIterator[ChatRooms]:
    try:
        store = await SqliteChatStore.open(database)
    except StoreError as error:
        raise StartError(str(error)) from error
    try:
        async with ChatRooms(store) as rooms:
            yield rooms
    finally:
        await store.close()


async def _listen(server: aio.Server, options: Options) -> str:
    """Starts the server and returns its address."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        # The server has no SO_REUSEPORT, which gRPC sets by default: a port that another server has shall be an error,
        # not a port that two servers share.
        port = server.add_insecure_port(f"{host}:{options.port}")
        await server.start()
    except (OSError, RuntimeError) as error:
        raise StartError(str(error)) from error
    return f"{host}:{port}"
