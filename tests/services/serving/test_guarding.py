"""The guards that a configuration asks for, on a server with all its services."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from google.protobuf import descriptor_pool

import pygrpc
from pygrpc.health.v1.health_pb2 import HealthCheckRequest
from pygrpc.health.v1.health_pb2_grpc import HealthStub
from pygrpc.services.protos.file.v1 import file_pb2, file_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.serving import Configuration, Server, StartError
from pygrpc.services.serving.guarding import Guards
from pygrpc.services.serving.services import SERVICES
from tests.services.program import scraped
from tests.services.support import create
from tests.tls import certificates

SECRET = b"a secret of the tests, and of 32 bytes or more"
GetUser = user_pb2.GetUserRequest


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Configuration]:
    """Makes configurations whose data are in a folder of the test."""

    def make(**given: Any) -> Configuration:
        defaults = {"port": 0, "database": str(tmp_path / "services.db"), "files": str(tmp_path / "files")}
        return Configuration(**(defaults | given))

    return make


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """A JWK set of one secret."""
    path = tmp_path / "keys.json"
    k = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    path.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": k, "kid": "1"}]}))
    return str(path)


def bearer(name: str, *roles: str, **claims: object) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of a caller."""
    given = {"sub": name, "roles": list(roles), "exp": int(time.time()) + 3600} | claims
    return (("authorization", f"Bearer {jwt.encode(given, SECRET, 'HS256', headers={'kid': '1'})}"),)


async def code_of(call: Any) -> str:
    name: str = (await call.code()).name
    return name


async def test_only_those_who_are_known_may_call(client_aio: ModuleType, configured: Any, keys: str) -> None:
    settings = configured(auth_keys=keys, auth_audience="pygrpc", auth_issuer="us", services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        ours = {"aud": "pygrpc", "iss": "us"}
        assert await code_of(stub.GetUser(GetUser(id="x"))) == "UNAUTHENTICATED"
        assert await code_of(stub.GetUser(GetUser(id="x"), metadata=bearer("ann", iss="us"))) == "UNAUTHENTICATED"
        assert await code_of(stub.GetUser(GetUser(id="x"), metadata=bearer("ann", **ours))) == "NOT_FOUND"
        # Health is public, so that those who watch it need no token.
        assert await code_of(HealthStub(channel).Check(HealthCheckRequest())) == "OK"


async def test_roles(client_aio: ModuleType, configured: Any, keys: str) -> None:
    roles = "/user.v1.UserService/DeleteUser=admin; /user.v1.UserService/*=user admin"
    settings = configured(auth_keys=keys, auth_roles=roles, auth_public="/user.v1.UserService/ListUsers")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        delete = user_pb2.DeleteUserRequest(id="x")
        assert await code_of(stub.DeleteUser(delete, metadata=bearer("ann", "user"))) == "PERMISSION_DENIED"
        assert await code_of(stub.DeleteUser(delete, metadata=bearer("eve", "admin"))) == "NOT_FOUND"
        assert await code_of(stub.GetUser(GetUser(id="x"), metadata=bearer("ann", "user"))) == "NOT_FOUND"
        assert await code_of(stub.ListUsers(user_pb2.ListUsersRequest())) == "OK"
        assert await code_of(HealthStub(channel).Check(HealthCheckRequest())) == "UNAUTHENTICATED"


async def test_a_rule_of_one_contract_holds_for_the_other(client_aio: ModuleType, configured: Any, keys: str) -> None:
    roles = (
        "*=user admin; /user.v1.UserService/DeleteUser=admin; /user.UserService/GetUser=admin; "
        "/user.v1.UserService/GetUser=user; /chat.ChatService/*=admin; "
        "/file.v1.FileService/*=user; /file.FileService/*=admin"
    )
    rates = "*=1000/1000; /user.v1.UserService/CreateUser=0.001/1"
    settings = configured(auth_keys=keys, auth_roles=roles, rate_limits=rates, services="user,chat,file")
    metadata = bearer("ann", "user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        for method, code in (
            ("user.v1.UserService/DeleteUser", "PERMISSION_DENIED"),
            ("user.UserService/DeleteUser", "PERMISSION_DENIED"),
            # Two rules of their own.
            ("user.v1.UserService/GetUser", "INVALID_ARGUMENT"),
            ("user.UserService/GetUser", "PERMISSION_DENIED"),
            # Rules for a whole contract.
            ("chat.v1.ChatService/ListRooms", "PERMISSION_DENIED"),
            ("file.v1.FileService/ListFiles", "OK"),
            ("file.FileService/ListFiles", "PERMISSION_DENIED"),
            # The rate is that of the first contract; each has a bucket of its own.
            ("user.UserService/CreateUser", "INVALID_ARGUMENT"),
            ("user.UserService/CreateUser", "RESOURCE_EXHAUSTED"),
        ):
            assert (method, await code_of(channel.unary_unary(f"/{method}")(b"", metadata=metadata))) == (method, code)


async def test_what_no_rule_speaks_of_stays_closed(client_aio: ModuleType, configured: Any, keys: str) -> None:
    settings = configured(auth_keys=keys, auth_roles="/user.v1.UserService/GetUser=user", services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        for contract, code in (("user.v1", "INVALID_ARGUMENT"), ("user", "PERMISSION_DENIED")):
            call = channel.unary_unary(f"/{contract}.UserService/GetUser")(b"", metadata=bearer("ann", "user"))
            assert await code_of(call) == code


async def test_tokens_of_a_list(client_aio: ModuleType, configured: Any, tmp_path: Path) -> None:
    token = "a token that nobody can guess"
    listed = tmp_path / "tokens.json"
    listed.write_text(json.dumps([{"sha256": hashlib.sha256(token.encode()).hexdigest(), "name": "ann", "roles": []}]))
    settings = configured(auth_tokens=str(listed), services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        for given, code in ((token, "NOT_FOUND"), (f"{token}!", "UNAUTHENTICATED")):
            call = stub.GetUser(GetUser(id="x"), metadata=(("authorization", f"Bearer {given}"),))
            assert await code_of(call) == code


async def test_certificates_say_who_calls(client_aio: ModuleType, configured: Any, tmp_path: Path) -> None:
    own, client = certificates.server(), certificates.client()
    for name, content in (("server.crt", own.chain), ("server.key", own.key), ("ca.crt", certificates.roots())):
        (tmp_path / name).write_bytes(content)
    settings = configured(
        tls_certificate=str(tmp_path / "server.crt"),
        tls_key=str(tmp_path / "server.key"),
        tls_ca=str(tmp_path / "ca.crt"),
        auth_certificates=True,
        services="user",
    )
    library = pygrpc if client_aio is pygrpc.aio else pytest.importorskip("grpc")
    credentials = library.ssl_channel_credentials(certificates.roots(), client.key, client.chain)
    async with Server(settings) as server, client_aio.secure_channel(server.address, credentials) as channel:
        assert await code_of(user_pb2_grpc.UserServiceStub(channel).GetUser(GetUser(id="x"))) == "NOT_FOUND"


async def test_files_belong_to_whom_the_token_names(client_aio: ModuleType, configured: Any, keys: str) -> None:
    async with (
        Server(configured(auth_keys=keys, services="file")) as server,
        client_aio.insecure_channel(server.address) as channel,
    ):
        stub = file_pb2_grpc.FileServiceStub(channel)
        upload = stub.UploadFile(metadata=(*bearer("ann"), ("user-id", "bob")))
        begin = file_pb2.UploadFileRequest(header=file_pb2.UploadFileHeader(filename="a.txt", size=1))
        for request in (begin, file_pb2.UploadFileRequest(chunk=file_pb2.FileChunk(data=b"x"))):
            await upload.write(request)
        await upload.done_writing()
        file = (await upload).file
        assert file.uploaded_by == "ann"
        request = file_pb2.GetFileInfoRequest(file_id=file.file_id)
        assert await code_of(stub.GetFileInfo(request, metadata=bearer("ann"))) == "OK"
        for metadata in (bearer("bob"), (*bearer("bob"), ("user-id", "ann"))):
            assert await code_of(stub.GetFileInfo(request, metadata=metadata)) == "PERMISSION_DENIED"


async def test_rates(client_aio: ModuleType, configured: Any) -> None:
    settings = configured(rate_limits="/user.v1.UserService/GetUser=0.001/2", services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        codes = [await code_of(stub.GetUser(GetUser(id="x"))) for _ in range(3)]
        assert codes == ["NOT_FOUND", "NOT_FOUND", "RESOURCE_EXHAUSTED"]
        assert await code_of(stub.ListUsers(user_pb2.ListUsersRequest())) == "OK"


@pytest.mark.parametrize("request_ids", [True, False])
async def test_ids_of_requests_and_the_log_of_calls(
    client_aio: ModuleType, configured: Any, request_ids: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pygrpc.services.calls")
    settings = configured(log_calls=True, request_ids=request_ids, services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        call = user_pb2_grpc.UserServiceStub(channel).ListUsers(
            user_pb2.ListUsersRequest(), metadata=(("x-request-id", "of-the-test"),)
        )
        assert await code_of(call) == "OK"
        # A stream without a message has no initial metadata of its own.
        sent = dict(await call.initial_metadata()) | dict(await call.trailing_metadata())
        assert sent.get("x-request-id") == ("of-the-test" if request_ids else None)
    [record] = [each for each in caplog.records if each.name == "pygrpc.services.calls"]
    assert record.getMessage() == "/user.v1.UserService/ListUsers OK"
    assert record.call["request_id"] == ("of-the-test" if request_ids else "")  # type: ignore[attr-defined]


async def test_answers_are_kept_until_they_change(client_aio: ModuleType, configured: Any) -> None:
    settings = configured(cache_time=3600, services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        stub = user_pb2_grpc.UserServiceStub(channel)
        user = await create(stub)

        async def get() -> tuple[str, str]:
            call = stub.GetUser(GetUser(id=user.id))
            answer = await call
            return str(dict(await call.initial_metadata())["x-cache"]), answer.user.name

        assert [await get(), await get()] == [("miss", "Ann"), ("hit", "Ann")]
        user.name = "Anna"
        await stub.UpdateUser(user_pb2.UpdateUserRequest(id=user.id, name="Anna"))
        assert [await get(), await get()] == [("miss", "Anna"), ("hit", "Anna")]


async def test_metrics_can_be_read_while_it_runs(client_aio: ModuleType, configured: Any) -> None:
    settings = configured(metrics=True, metrics_port=0, services="user")
    async with Server(settings) as server, client_aio.insecure_channel(server.address) as channel:
        assert await code_of(user_pb2_grpc.UserServiceStub(channel).GetUser(GetUser(id="x"))) == "NOT_FOUND"
        labels = 'grpc_method="GetUser",grpc_service="user.v1.UserService",grpc_type="unary"'
        # The call is counted when its handler has ended, which the client may see before.
        while f'{{grpc_code="NOT_FOUND",{labels}}} 1.0' not in (text := await scraped(server.metrics_address)):
            await asyncio.sleep(0)
        assert f"grpc_server_started_total{{{labels}}} 1.0" in text
        assert 'grpc_service="grpc.health.v1.Health"' in text
    with pytest.raises(ConnectionRefusedError):
        await scraped(server.metrics_address)


async def test_metrics_that_cannot_be_served(configured: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = Server(configured(metrics=True, metrics_port=port))
        with pytest.raises(StartError) as raised:
            await server.start()
    assert str(raised.value) == f"the metrics cannot be served on 127.0.0.1:{port}: Address already in use"


async def test_a_process_that_does_not_serve_the_metrics(configured: Any) -> None:
    server = Server(configured(metrics=True, services="user"), serve_metrics=False)
    async with server:
        assert server.metrics_address == ""


@pytest.mark.parametrize("name", ["auth_keys", "auth_tokens"])
def test_a_file_that_is_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "missing"
    with pytest.raises(StartError) as raised:
        Guards(Configuration(**{name: str(path)}))  # type: ignore[arg-type]
    assert str(raised.value) == f"{path} cannot be read: No such file or directory"


def test_what_is_not_asked_for_is_not_there() -> None:
    assert Guards(Configuration()).interceptors == []
    assert len(Guards(Configuration(request_ids=True)).interceptors) == 1
    made = Guards(Configuration(metrics=True, log_calls=True, rate_limits=(("*", "1/1"),), cache_time=1)).interceptors
    names = [type(each).__name__ for each in made]
    assert names == ["RequestIds", "AccessLog", "Metrics", "RateLimit", "Cache"]


def test_the_methods_that_are_kept_are_methods_of_the_services() -> None:
    pool = descriptor_pool.Default()
    for service in SERVICES.values():
        for method in (each for read, writers in service.reads.items() for each in (read, *writers)):
            contract, _, name = method.lstrip("/").partition("/")
            assert contract in service.contracts
            assert name in pool.FindServiceByName(contract).methods_by_name
