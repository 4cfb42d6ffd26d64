"""What all calls of clients have in common: deadlines, metadata, tokens, retries, TLS, several channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.core.service_config import parse_service_config
from pygrpc.services.clients import ClientOptions, Connection, ServiceError, Tls, UserClient, token_from
from pygrpc.services.clients.connection import Deadline
from pygrpc.services.clients.options import IDEMPOTENT
from pygrpc.services.clients.pacing import Pacing, passes
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.faults.proxy import Proxy
from tests.services.clients.support import fails, until


class Scripted(user_pb2_grpc.UserServiceServicer):
    """A service that does what the test says with each call, and keeps what came with them."""

    def __init__(self, script: Callable[[int, Any], Any]) -> None:
        self.metadata: list[dict[str, Any]] = []
        self.peers: set[str] = set()
        self.remaining: list[float | None] = []
        self._script = script

    async def _do(self, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.add(context.peer())
        self.remaining.append(context.time_remaining())
        await self._script(len(self.metadata), context)

    async def GetUser(self, request: Any, context: Any) -> Any:
        await self._do(context)
        return user_pb2.GetUserResponse(user=user_pb2.User(id=request.id, name="Ann"))

    async def BatchCreateUsers(self, requests: Any, context: Any) -> Any:
        count = len([each async for each in requests])
        await self._do(context)
        return user_pb2.BatchCreateUsersResponse(success_count=count)

    async def CreateUser(self, request: Any, context: Any) -> Any:
        await self._do(context)
        return user_pb2.CreateUserResponse()


async def well(number: int, context: Any) -> None:
    """Lets each call succeed."""


def failing(code: StatusCode, times: int = 1_000, retry_after: float | None = None) -> Callable[[int, Any], Any]:
    """Lets the first calls fail."""

    async def script(number: int, context: Any) -> None:
        if number <= times:
            trailers = []
            if retry_after is not None:
                retry, packed = RetryInfo(), AnyMessage()
                retry.retry_delay.FromMilliseconds(round(retry_after * 1000))
                packed.Pack(retry)
                status = Status(code=code.value[0], details=[packed])
                trailers.append(("grpc-status-details-bin", status.SerializeToString()))
            await context.abort(code, f"attempt {number}", trailers)

    return script


@asynccontextmanager
async def serving(service: Scripted, credentials: Any = None) -> AsyncIterator[int]:
    """Serves on a free port, which it yields."""
    server = aio.server()
    user_pb2_grpc.add_UserServiceServicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def client(service: Scripted, **given: Any) -> AsyncIterator[UserClient]:
    """A client of a service."""
    async with serving(service) as port, Connection(f"127.0.0.1:{port}", ClientOptions(**given)) as connection:
        yield UserClient(connection)


CREATE = user_pb2.CreateUserRequest(name="Ann", email="ann@example.com")


async def test_each_call_has_a_deadline_metadata_and_an_id() -> None:
    service = Scripted(well)
    async with client(service, metadata=(("User-Id", "ann"),), token="secret") as users:
        await users.get("1")
        await users.get("1", timeout=5, metadata=(("x-more", "1"), ("x-data-bin", b"\0")))
        await users.get("1", timeout=None, metadata=(("x-request-id", "mine"), ("authorization", "Other")))
    first, second, third = service.metadata
    assert (first["user-id"], first["authorization"], len(first["x-request-id"])) == ("ann", "Bearer secret", 36)
    assert (second["user-id"], second["x-more"], second["x-data-bin"]) == ("ann", "1", b"\0")
    assert second["x-request-id"] != first["x-request-id"]
    assert (third["x-request-id"], third["authorization"]) == ("mine", "Other")
    assert 20 < (service.remaining[0] or 0) <= 30
    assert 0 < (service.remaining[1] or 0) <= 5
    assert service.remaining[2] is None


async def test_the_initial_metadata_of_the_response_are_told() -> None:
    async def script(number: int, context: Any) -> None:
        await context.send_initial_metadata((("x-served-by", "one"),))

    told: list[Any] = []
    async with client(Scripted(script)) as users:
        await users.get("1", on_metadata=told.append)
    assert [dict(each) for each in told] == [{"x-served-by": "one"}]


async def test_a_token_is_read_for_each_call(tmp_path: Path) -> None:
    path = tmp_path / "token"
    service = Scripted(well)
    async with client(service, token=token_from(path)) as users:
        for token in ("first", "second"):
            path.write_text(f"{token}\n")
            await users.get("1")
    assert [each["authorization"] for each in service.metadata] == ["Bearer first", "Bearer second"]


async def test_an_error_names_the_call_and_the_server() -> None:
    service = Scripted(failing(StatusCode.INTERNAL))
    async with client(service) as users:
        with fails("INTERNAL") as raised:
            await users.get("1")
    assert raised.value.request_id == service.metadata[0]["x-request-id"]
    assert raised.value.target.startswith("127.0.0.1:")
    assert isinstance(raised.value.__cause__, aio.AioRpcError)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.ABORTED])
async def test_a_call_that_does_no_harm_twice_is_retried(code: StatusCode) -> None:
    service = Scripted(failing(code, times=2))
    async with client(service) as users:
        assert (await users.get("1")).name == "Ann"
    assert len(service.metadata) == 3
    # By the channel: it says so to the server.
    assert service.metadata[2]["grpc-previous-rpc-attempts"] == "2"


@pytest.mark.parametrize(
    ("code", "attempts", "made"),
    [(StatusCode.UNAVAILABLE, 3, 3), (StatusCode.UNAVAILABLE, 1, 1), (StatusCode.NOT_FOUND, 4, 1)],
)
async def test_attempts_come_to_an_end(code: StatusCode, attempts: int, made: int) -> None:
    service = Scripted(failing(code))
    async with client(service, attempts=attempts) as users:
        with fails(code.name):
            await users.get("1")
    assert len(service.metadata) == made


async def test_a_call_that_may_have_been_carried_out_is_not_retried() -> None:
    service = Scripted(failing(StatusCode.UNAVAILABLE, times=1))
    async with client(service) as users:
        with fails("UNAVAILABLE"):
            await users.create(CREATE)
    assert len(service.metadata) == 1


async def test_any_call_is_repeated_that_the_server_asks_to_repeat() -> None:
    service = Scripted(failing(StatusCode.RESOURCE_EXHAUSTED, times=2, retry_after=0.01))
    async with client(service) as users:
        await users.create(CREATE)
    assert len(service.metadata) == 3


async def test_a_batch_that_is_repeated_is_whole() -> None:
    async def requests() -> AsyncIterator[user_pb2.CreateUserRequest]:
        for _ in range(3):
            yield CREATE

    service = Scripted(failing(StatusCode.RESOURCE_EXHAUSTED, times=1, retry_after=0.0))
    async with client(service) as users:
        assert (await users.create_many(requests())).success_count == 3
    assert len(service.metadata) == 2


async def test_a_server_that_never_stops_asking_is_not_asked_for_ever() -> None:
    service = Scripted(failing(StatusCode.RESOURCE_EXHAUSTED, retry_after=0.0))
    async with client(service, timeout=None, attempts=3) as users:
        with fails("RESOURCE_EXHAUSTED"):
            await users.create(CREATE)
    assert len(service.metadata) == 3


async def test_a_delay_beyond_the_deadline_is_not_waited_for() -> None:
    service = Scripted(failing(StatusCode.RESOURCE_EXHAUSTED, times=1, retry_after=3600))
    async with client(service) as users:
        with fails("RESOURCE_EXHAUSTED") as raised:
            await users.create(CREATE)
    assert str(raised.value).endswith("; try again in 3600 s")


async def test_a_call_can_be_cancelled() -> None:
    cancelled = asyncio.Event()

    async def script(number: int, context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    service = Scripted(script)
    async with client(service) as users:
        call = asyncio.create_task(users.get("1"))
        await until(lambda: len(service.metadata) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await cancelled.wait()


async def test_the_least_busy_channel_takes_a_call() -> None:
    go_on = asyncio.Event()

    async def script(number: int, context: Any) -> None:
        await go_on.wait()

    service = Scripted(script)
    async with client(service, channels=3) as users:
        calls = [asyncio.create_task(users.get("1")) for _ in range(6)]
        await until(lambda: len(service.metadata) == 6)
        assert len(service.peers) == 3
        assert [lane.busy for lane in users._connection._lanes] == [2, 2, 2]
        go_on.set()
        await asyncio.gather(*calls)
        assert [lane.busy for lane in users._connection._lanes] == [0, 0, 0]


async def test_waiting_for_a_server() -> None:
    service = Scripted(well)
    async with serving(service) as port:
        with Proxy(port) as proxy:
            proxy.refuse()
            async with Connection(proxy.target, ClientOptions(channels=2)) as connection:
                users = UserClient(connection)
                with fails("UNAVAILABLE") as raised:
                    await connection.ready(timeout=0.1)
                assert str(raised.value) == f"the server {proxy.target} is not available: no connection within 0.1 s"
                with fails("UNAVAILABLE"):
                    await users.create(CREATE)
                waiting = asyncio.create_task(users.create(CREATE, wait_for_ready=True))
                ready = asyncio.create_task(connection.ready())
                proxy.accept()
                await ready
                await waiting
                assert len(proxy.links) == 2


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls(mutual: bool) -> None:
    authority = trustme.CA()
    certificate, own = authority.issue_cert("server.example"), authority.issue_cert("client.example")
    ca = authority.cert_pem.bytes()
    credentials = pygrpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())],
        ca if mutual else None,
        mutual,
    )
    tls = Tls(ca=ca, server_name="server.example")
    if mutual:
        tls = Tls(
            ca=ca,
            server_name="server.example",
            certificate=own.cert_chain_pems[0].bytes(),
            key=own.private_key_pem.bytes(),
        )
    async with serving(Scripted(well), credentials) as port:
        async with Connection(f"127.0.0.1:{port}", ClientOptions(tls=tls, token="secret")) as connection:
            assert (await UserClient(connection).get("1")).name == "Ann"
        async with Connection(f"127.0.0.1:{port}", ClientOptions(tls=Tls(), attempts=1)) as connection:
            with fails("UNAVAILABLE"):
                await UserClient(connection).get("1")


def test_options_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="channels must be at least 1"):
        ClientOptions(channels=0)
    with pytest.raises(ValueError, match="attempts must be from 1 to 5"):
        ClientOptions(attempts=6)
    with pytest.raises(ValueError, match="belong together"):
        Tls(certificate=b"")


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ClientOptions(token="secret", tls=Tls(certificate=b"", key=b"secret")))


def test_the_service_config_is_one_that_channels_understand() -> None:
    config = parse_service_config(ClientOptions(attempts=3).service_config())
    for service, methods in IDEMPOTENT.items():
        for method in methods:
            policy = config.method(f"/{service}/{method}")
            assert policy is not None
            assert policy.retry is not None
            assert policy.retry.max_attempts == 3
    assert config.method("/user.v1.UserService/CreateUser") is None
    assert json.loads(ClientOptions(attempts=1).service_config()) == {}


async def test_a_deadline_comes_nearer() -> None:
    assert Deadline(None).left() is None
    assert Deadline(0.0).left() == 0.0
    assert 0 < (Deadline(5.0).left() or 0) <= 5


def retry_after(seconds: int) -> RetryInfo:
    info = RetryInfo()
    info.retry_delay.seconds = seconds
    return info


async def test_the_first_failure_of_a_stream_is_final() -> None:
    error = ServiceError(StatusCode.UNAVAILABLE, "gone")
    with pytest.raises(ServiceError) as raised:
        await Pacing(60).after(error)
    assert raised.value is error


async def test_patience_with_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        delays.append(seconds)
        now += seconds

    monkeypatch.setattr("pygrpc.services.clients.pacing.asyncio.sleep", sleep)
    pacing = Pacing(20)
    pacing._clock = lambda: now
    pacing.begin()
    error = ServiceError(StatusCode.UNAVAILABLE, "gone")
    with pytest.raises(ServiceError):
        while True:
            await pacing.after(error)
    assert delays[0] < 0.07
    assert max(delays) <= 2.4
    assert 15 < sum(delays) <= 20
    # With progress, it begins anew; and what the server asks for is kept to.
    pacing.progressed()
    await pacing.after(ServiceError(StatusCode.RESOURCE_EXHAUSTED, "wait", (retry_after(5),)))
    assert delays[-1] == 5
    with pytest.raises(ServiceError):
        await pacing.after(ServiceError(StatusCode.RESOURCE_EXHAUSTED, "wait", (retry_after(60),)))


def test_what_passes() -> None:
    assert passes(ServiceError(StatusCode.UNAVAILABLE, "gone"))
    assert passes(ServiceError(StatusCode.RESOURCE_EXHAUSTED, "wait", (retry_after(1),)))
    assert not passes(ServiceError(StatusCode.RESOURCE_EXHAUSTED, "too large"))
    assert not passes(ServiceError(StatusCode.NOT_FOUND, "nothing"))


@pytest.mark.parametrize("token", ["first\nsecond", "caf\u00e9", "\x00"])
def test_a_token_that_cannot_be_sent_is_said_and_not_shown(token: str) -> None:
    for given in (token, lambda: token):
        with pytest.raises(ValueError, match=r"^the token must be one line of ASCII$"):
            ClientOptions(token=given).bearer()
