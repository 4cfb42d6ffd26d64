"""The services that `pygrpc serve` knows, one line each in SERVICES: what opens a service, and the contracts it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from pygrpc import aio
from pygrpc.services.callers import Identify, unknown
from pygrpc.services.chat import ChatRooms, ChatService, DatabaseChatStore, UnversionedChatService
from pygrpc.services.errors import StoreError
from pygrpc.services.fanout import Fanout
from pygrpc.services.files import open_files
from pygrpc.services.files.callers import user_id_of
from pygrpc.services.files.s3.address import is_address
from pygrpc.services.orders import DatabaseOrderStore, OrderService
from pygrpc.services.protos.chat import chat_pb2_grpc as unversioned_chat_pb2_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2_grpc
from pygrpc.services.protos.user import user_pb2_grpc as unversioned_user_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2_grpc
from pygrpc.services.serving.configuration import Configuration
from pygrpc.services.serving.watch import Dependency
from pygrpc.services.users import DatabaseUserStore, Passwords, UnversionedUserService, UserService


@dataclass(frozen=True, slots=True)
class Opened:
    """A service that is open.

    Attributes:
        add_to: Registers it with a server.
        shut_down: Ends the calls that would not end by themselves, so that a graceful stop need not wait for them.
        needs: What has to work for it to work.
    """

    add_to: Callable[[aio.Server], None]
    shut_down: Callable[[], None]
    needs: tuple[Dependency, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all services of a process are made with.

    Attributes:
        configuration: The settings.
        fanout: Is open, and closed after the services.
        identify: Knows who makes a call, if there is authentication.
    """

    configuration: Configuration
    fanout: Fanout
    identify: Identify = unknown

    def fanout_needed(self) -> tuple[Dependency, ...]:
        """Returns what a service needs that tells other processes what is new."""

        async def check() -> None:
            if not self.fanout.healthy:
                raise StoreError("the connection is lost")

        return (Dependency("fan-out by Redis", check),) if self.fanout.shared else ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be run.

    Attributes:
        contracts: The full names of the gRPC services that it registers.
        open: Makes it, until the end of the context; raises StoreError if its storage cannot be used.
        reads: The methods whose answers may be kept for a while, and for each those that change what it reads.
    """

    contracts: tuple[str, ...]
    open: Callable[[Shared], AbstractAsyncContextManager[Opened]]
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@asynccontextmanager
async def _users(shared: Shared) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        store = await DatabaseUserStore.open(shared.configuration.database)
        stack.push_async_callback(store.close)
        passwords = Passwords()
        stack.callback(passwords.close)
        service = UserService(store, passwords, fanout=shared.fanout, identify=shared.identify)

        def add_to(server: aio.Server) -> None:
            user_pb2_grpc.add_UserServiceServicer_to_server(service, server)
            unversioned = UnversionedUserService(store, service.events, service.chat, identify=shared.identify)
            unversioned_user_pb2_grpc.add_UserServiceServicer_to_server(unversioned, server)

        yield Opened(add_to, service.shut_down, (Dependency("user database", store.check), *shared.fanout_needed()))


@asynccontextmanager
async def _chat(shared: Shared) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        store = await DatabaseChatStore.open(shared.configuration.database)
        stack.push_async_callback(store.close)
        rooms = await stack.enter_async_context(ChatRooms(store, fanout=shared.fanout))

        def add_to(server: aio.Server) -> None:
            chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatService(rooms, identify=shared.identify), server)
            unversioned = UnversionedChatService(rooms, identify=shared.identify)
            unversioned_chat_pb2_grpc.add_ChatServiceServicer_to_server(unversioned, server)

        yield Opened(add_to, rooms.shut_down, (Dependency("chat database", store.check), *shared.fanout_needed()))


@asynccontextmanager
async def _files(shared: Shared) -> AsyncIterator[Opened]:
    place = shared.configuration.files
    # A folder has its catalog with it.
    database = shared.configuration.database if is_address(place) else ""
    # Without authentication the metadata tell friends apart.
    identify = shared.identify if shared.configuration.authenticates else user_id_of
    async with open_files(place, database=database, identify=identify) as files:
        needs = (
            Dependency("catalog of the files", files.catalog.check),
            Dependency("storage of the files", files.storage.check),
        )
        yield Opened(files.add_to, _nothing, needs)


@asynccontextmanager
async def _orders(shared: Shared) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        store = await DatabaseOrderStore.open(shared.configuration.database)
        stack.push_async_callback(store.close)
        service = await stack.enter_async_context(OrderService(store, fanout=shared.fanout, identify=shared.identify))
        needs = Dependency("order database", store.check), *shared.fanout_needed()
        yield Opened(service.add_to, service.shut_down, needs)


def _nothing() -> None:
    """Uploads and downloads end by themselves."""


_USER = ("user.v1.UserService", "user.UserService")
_CHAT = ("chat.v1.ChatService", "chat.ChatService")
_FILE = ("file.v1.FileService", "file.FileService")


def _reads(contracts: tuple[str, ...], read: str, *writers: str) -> dict[str, tuple[str, ...]]:
    """Returns a method that only reads, and those that change what it reads, in all contracts over the same data."""
    changing = tuple(f"/{contract}/{writer}" for contract in contracts for writer in writers)
    return {f"/{contract}/{read}": changing for contract in contracts}


#: All services, by the names that the setting `services` has for them.
SERVICES = {
    "user": Service(_USER, _users, _reads(_USER, "GetUser", "UpdateUser", "DeleteUser")),
    "chat": Service(_CHAT, _chat),
    "file": Service(_FILE, _files, _reads(_FILE, "GetFileInfo", "UploadFile", "DeleteFile")),
    "order": Service(("order.v1.OrderService",), _orders),
}
