"""The services in this process: what a client of either library gets from them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pygrpc
from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pygrpc.health.v1.health_pb2_grpc import HealthStub
from pygrpc.reflection.v1.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pygrpc.services.protos.chat import chat_pb2 as unversioned_chat_pb2
from pygrpc.services.protos.chat import chat_pb2_grpc as unversioned_chat_pb2_grpc
from pygrpc.services.protos.chat.v1 import chat_pb2, chat_pb2_grpc
from pygrpc.services.protos.file import file_pb2 as unversioned_file_pb2
from pygrpc.services.protos.file import file_pb2_grpc as unversioned_file_pb2_grpc
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.serving import Configuration, Server, StartError
from pygrpc.services.serving.server import listen_address, server_options
from pygrpc.services.serving.services import SERVICES
from tests.services.support import create
from tests.tls import certificates

Made = Callable[..., Configuration]


@pytest.fixture
def configured(tmp_path: Path) -> Made:
    """Makes configurations whose data are in a folder of the test."""

    def make(**given: Any) -> Configuration:
        defaults = {"port": 0, "database": str(tmp_path / "services.db"), "files": str(tmp_path / "files")}
        return Configuration(**(defaults | given))

    return make


async def is_serving(channel: Any) -> bool:
    answer = await HealthStub(channel).Check(HealthCheckRequest())
    return bool(answer.status == HealthCheckResponse.SERVING)


async def test_all_services_are_there(client_aio: ModuleType, configured: Made) -> None:
    async with Server(configured()) as server, client_aio.insecure_channel(server.address) as channel:
        assert (await create(user_pb2_grpc.UserServiceStub(channel))).name == "Ann"
        await chat_pb2_grpc.ChatServiceStub(channel).ListRooms(chat_pb2.ListRoomsRequest())
        rooms = unversioned_chat_pb2_grpc.ChatServiceStub(channel)
        await rooms.ListRooms(unversioned_chat_pb2.ListRoomsRequest())
        await file_pb2_grpc.FileServiceStub(channel).ListFiles(file_pb2.ListFilesRequest())
        files = unversioned_file_pb2_grpc.FileServiceStub(channel)
        await files.ListFiles(unversioned_file_pb2.ListFilesRequest())
        health = HealthStub(channel)
        for contract in ("", *(contract for each in SERVICES.values() for contract in each.contracts)):
            answer = await health.Check(HealthCheckRequest(service=contract))
            assert answer.status == HealthCheckResponse.SERVING


async def test_only_the_services_that_are_asked_for(client_aio: ModuleType, configured: Made) -> None:
    server = Server(configured(services="user"))
    async with server, client_aio.insecure_channel(server.address) as channel:
        await create(user_pb2_grpc.UserServiceStub(channel))
        for call in (
            chat_pb2_grpc.ChatServiceStub(channel).ListRooms(chat_pb2.ListRoomsRequest()),
            HealthStub(channel).Check(HealthCheckRequest(service="chat.v1.ChatService")),
        ):
            with pytest.raises(client_aio.AioRpcError):
                await call
            assert (await call.code()).name in ("UNIMPLEMENTED", "NOT_FOUND")
    assert not Path(configured().files).exists()


@pytest.mark.parametrize("reflection", [True, False])
async def test_reflection(configured: Made, reflection: bool) -> None:
    def services(address: str) -> set[str]:
        with pygrpc.insecure_channel(address) as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    async with Server(configured(reflection=reflection)) as server:
        if not reflection:
            with pytest.raises(pygrpc.RpcError):
                await asyncio.to_thread(services, server.address)
            return
        assert await asyncio.to_thread(services, server.address) == {
            *(contract for each in SERVICES.values() for contract in each.contracts),
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }


async def test_the_limit_of_messages(client_aio: ModuleType, configured: Made) -> None:
    server = Server(configured(max_receive_message=1000))
    async with server, client_aio.insecure_channel(server.address) as channel:
        users = user_pb2_grpc.UserServiceStub(channel)
        long = users.CreateUser(user_pb2.CreateUserRequest(name="x" * 1000, email="ann@example.com"))
        assert (await long.code()).name == "RESOURCE_EXHAUSTED"
        assert "larger than max" in await long.details()


async def test_the_limit_of_calls(client_aio: ModuleType, configured: Made) -> None:
    server = Server(configured(max_calls=1))
    async with server, client_aio.insecure_channel(server.address) as channel:
        users = user_pb2_grpc.UserServiceStub(channel)
        chat = users.UserChat()
        await chat.read()
        second = users.ListUsers(user_pb2.ListUsersRequest())
        assert (await second.code()).name == "RESOURCE_EXHAUSTED"
        chat.cancel()


def test_the_options_of_a_server() -> None:
    never = 2147483647
    options = dict(server_options(Configuration(), share_port=False))
    assert options == {
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": 4194304,
        "grpc.max_send_message_length": 4194304,
        "grpc.keepalive_time_ms": 30000,
        "grpc.keepalive_timeout_ms": 20000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_recv_ping_interval_without_data_ms": 9000,
        "grpc.max_connection_age_ms": never,
        "grpc.max_connection_idle_ms": never,
        "grpc.max_concurrent_streams": 1000,
        "grpc.max_allowed_incoming_connections": 10000,
    }
    given = Configuration(
        keepalive_time=0, max_calls_per_connection=0, max_connections=0, max_connection_age=1.5, max_connection_idle=1e9
    )
    options = dict(server_options(given, share_port=True))
    assert "grpc.max_concurrent_streams" not in options
    assert "grpc.max_allowed_incoming_connections" not in options
    assert options["grpc.so_reuseport"] == 1
    assert options["grpc.keepalive_time_ms"] == options["grpc.max_connection_idle_ms"] == never
    assert options["grpc.max_connection_age_ms"] == 1500


def test_the_address_to_listen_on() -> None:
    assert listen_address(Configuration(host="::1", port=1)) == "[::1]:1"
    assert listen_address(Configuration(host="localhost", port=1)) == "localhost:1"


# TLS.


class Tls:
    """The settings of a server with TLS, and channels to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(certificates.server())
        (folder / "ca.crt").write_bytes(certificates.roots())

    def write(self, identity: certificates.Identity) -> None:
        for name, content in (("server.crt", identity.chain), ("server.key", identity.key)):
            (self.folder / name).write_bytes(content)

    def settings(self, *, mutual: bool) -> dict[str, str]:
        given = {"tls_certificate": str(self.folder / "server.crt"), "tls_key": str(self.folder / "server.key")}
        return given | ({"tls_ca": str(self.folder / "ca.crt")} if mutual else {})

    def channel(
        self, client_aio: ModuleType, address: str, own: certificates.Identity | None = None, ca: str = "main"
    ) -> Any:
        library = pygrpc if client_aio is pygrpc.aio else pytest.importorskip("grpc")
        key, chain = (own.key, own.chain) if own else (None, None)
        return client_aio.secure_channel(address, library.ssl_channel_credentials(certificates.roots(ca), key, chain))


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


async def test_tls(client_aio: ModuleType, configured: Made, tls: Tls) -> None:
    async with Server(configured(**tls.settings(mutual=False))) as server:
        async with tls.channel(client_aio, server.address) as channel:
            assert await is_serving(channel)
        async with client_aio.insecure_channel(server.address) as channel:
            call = HealthStub(channel).Check(HealthCheckRequest())
            assert (await call.code()).name == "UNAVAILABLE"


async def test_mutual_tls_refuses_those_whom_nobody_vouches_for(
    client_aio: ModuleType, configured: Made, tls: Tls
) -> None:
    async with Server(configured(**tls.settings(mutual=True))) as server:
        async with tls.channel(client_aio, server.address, certificates.client()) as channel:
            assert await is_serving(channel)
        stranger = certificates.identity("client.example", ca="another")
        for own in (None, stranger):
            async with tls.channel(client_aio, server.address, own) as channel:
                call = HealthStub(channel).Check(HealthCheckRequest())
                assert (await call.code()).name == "UNAVAILABLE"


async def test_a_client_without_a_certificate_where_none_is_asked_for(
    client_aio: ModuleType, configured: Made, tls: Tls
) -> None:
    settings = tls.settings(mutual=True) | {"tls_client_auth": False}
    async with Server(configured(**settings)) as server, tls.channel(client_aio, server.address) as channel:
        assert await is_serving(channel)


async def test_certificates_are_replaced_while_it_runs(client_aio: ModuleType, configured: Made, tls: Tls) -> None:
    async with (
        Server(configured(**tls.settings(mutual=False))) as server,
        tls.channel(client_aio, server.address) as before,
    ):
        assert await is_serving(before)
        tls.write(certificates.identity("localhost", "127.0.0.1", ca="another"))
        async with tls.channel(client_aio, server.address, ca="another") as after:
            assert await is_serving(after)
        # Connections that there are go on.
        assert await is_serving(before)


# What keeps it from starting.


async def test_nothing_is_left_behind_when_it_cannot_start(configured: Made, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("This is no folder.")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    server = Server(configured(port=port, files=str(tmp_path / "text" / "files")))
    with pytest.raises(StartError, match=r"the file folder .* cannot be used"):
        await server.start()
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert len(asyncio.all_tasks()) == 1
    await server.stop()


async def test_a_storage_that_does_not_open_in_time(configured: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        def __init__(self, shared: object) -> None: ...

        async def __aenter__(self) -> None:
            await asyncio.get_running_loop().create_future()

        async def __aexit__(self, *error: object) -> None: ...

    monkeypatch.setitem(SERVICES, "chat", type(SERVICES["chat"])(("chat.v1.ChatService",), Hanging))  # type: ignore
    with pytest.raises(StartError, match=r"^the chat service could not be opened within 0.01 seconds$"):
        await Server(configured(start_timeout=0.01, services="chat")).start()


async def test_a_server_is_started_once(configured: Made) -> None:
    async with Server(configured(services="user")) as server:
        with pytest.raises(RuntimeError, match="started once"):
            await server.start()


async def test_a_server_that_was_never_started_can_be_stopped(configured: Made) -> None:
    server = Server(configured())
    assert server.address == ""
    await server.stop()
