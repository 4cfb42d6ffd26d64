"""Who may call what."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

import pygrpc
from pygrpc import aio
from pygrpc.health.v1 import health, health_pb2_grpc
from pygrpc.services.guards import Certificates, GuardError, Identity, JwtTokens, StaticTokens
from pygrpc.services.guards.authentication import REFLECTION, Access, Authentication
from tests.services.guards.jwts import ALGORITHMS, NOW, jwk, jwks, token
from tests.services.guards.support import KINDS, SERVICE, Clock, Methods, bearer, guarded, path
from tests.tls import certificates

ANN, BOB = "token-of-ann-0123456", "token-of-bob-0123456"
TOKENS = StaticTokens({ANN: Identity("ann", frozenset({"admin"})), BOB: Identity("bob", frozenset({"user"}))})
OPEN = Authentication([TOKENS])
ROLES = Authentication(
    [TOKENS],
    access=Access(
        {path("unary_unary"): {"admin"}, path("unary_stream"): (), path("stream_unary"): ["user", "admin"]},
        public=[path("stream_stream")],
    ),
)


def reason(failure: Any) -> tuple[str, str]:
    """The code and the reason of a failure."""
    info = failure.detail(ErrorInfo)
    assert info.domain == "pygrpc.services.guards"
    return failure.code, info.reason


@pytest.mark.parametrize("kind", KINDS)
async def test_handlers_know_who_calls(client_aio: ModuleType, kind: str) -> None:
    async with guarded(client_aio, OPEN) as server:
        await server.call(kind, metadata=bearer(ANN))
        assert server.methods.seen[-1].identity == Identity("ann", frozenset({"admin"}))


@pytest.mark.parametrize("kind", KINDS)
async def test_who_has_no_token_is_told_so(client_aio: ModuleType, kind: str) -> None:
    async with guarded(client_aio, OPEN) as server:
        failure = await server.failure(kind)
        assert reason(failure) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
        assert failure.message == "the call needs an authorization, such as a bearer token"
        assert server.methods.served == 0


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer unknown", "TOKEN_UNKNOWN"),
        (f"Bearer {ANN}x", "TOKEN_UNKNOWN"),
        (f"Bearer {ANN} x", "TOKEN_UNKNOWN"),
        ("Bearer", "CREDENTIALS_MALFORMED"),
        ("Bearer ", "CREDENTIALS_MALFORMED"),
        ("", "CREDENTIALS_MALFORMED"),
        (ANN, "CREDENTIALS_MALFORMED"),
        (f"Basic {ANN}", "CREDENTIALS_MALFORMED"),
    ],
)
async def test_wrong_credentials(authorization: str, expected: str) -> None:
    async with guarded(aio, OPEN) as server:
        failure = await server.failure("unary_unary", metadata=[("authorization", authorization)])
        assert reason(failure) == ("UNAUTHENTICATED", expected)


async def test_two_authorizations_are_none() -> None:
    async with guarded(aio, OPEN) as server:
        failure = await server.failure("unary_unary", metadata=[*bearer(ANN), *bearer(BOB)])
        assert reason(failure) == ("UNAUTHENTICATED", "CREDENTIALS_MALFORMED")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_name_of_the_scheme_is_in_any_case(scheme: str) -> None:
    async with guarded(aio, OPEN) as server:
        assert await server.call("unary_unary", metadata=[("authorization", f"{scheme}  {ANN}")]) == b"x"


@pytest.mark.parametrize(
    ("who", "kind", "expected"),
    [
        (ANN, "unary_unary", None),
        (BOB, "unary_unary", ("PERMISSION_DENIED", "ROLE_MISSING")),
        (BOB, "unary_stream", None),
        (BOB, "stream_unary", None),
        (BOB, "stream_stream", None),
        (None, "unary_unary", ("UNAUTHENTICATED", "CREDENTIALS_MISSING")),
        (None, "unary_stream", ("UNAUTHENTICATED", "CREDENTIALS_MISSING")),
        (None, "stream_stream", None),
        ("wrong", "stream_stream", None),
    ],
)
async def test_roles(who: str | None, kind: str, expected: tuple[str, str] | None) -> None:
    metadata = [] if who is None else bearer(who)
    async with guarded(aio, ROLES) as server:
        if expected is None:
            await server.call(kind, metadata=metadata)
            identity = server.methods.seen[-1].identity
            assert (None if identity is None else identity.name) == {ANN: "ann", BOB: "bob"}.get(who or "")
        else:
            assert reason(await server.failure(kind, metadata=metadata)) == expected
            assert server.methods.served == 0


async def test_a_method_without_a_rule_is_closed() -> None:
    guard = Authentication([TOKENS], access=Access({"/other.Service/*": ()}))
    async with guarded(aio, guard) as server:
        failure = await server.failure("unary_unary", metadata=bearer(ANN))
        assert reason(failure) == ("PERMISSION_DENIED", "METHOD_CLOSED")
        assert dict(failure.detail(ErrorInfo).metadata) == {"method": path("unary_unary")}


async def test_a_long_name_of_a_method_does_not_come_back_whole() -> None:
    guard = Authentication([TOKENS], access=Access({"/other.Service/*": ()}))
    async with guarded(aio, guard) as server:
        failure = await server.failure("unary_unary", method=f"/{'x' * 3000}/y", metadata=bearer(ANN))
        assert dict(failure.detail(ErrorInfo).metadata) == {"method": f"/{'x' * 255}"}


async def test_who_is_not_known_does_not_learn_which_methods_there_are() -> None:
    async with guarded(aio, OPEN) as server:
        assert reason(await server.failure("unary_unary", method="/no.Such/Method"))[0] == "UNAUTHENTICATED"
        failure = await server.failure("unary_unary", method="/no.Such/Method", metadata=bearer(ANN))
        assert failure.code == "UNIMPLEMENTED"


async def test_health_needs_no_caller(client_aio: ModuleType) -> None:
    server = aio.server(interceptors=[OPEN])
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with client_aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20) == b"\x08\x01"
    finally:
        await server.stop(None)


def test_reflection_may_be_public() -> None:
    assert not Access().is_public("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert Access(public=REFLECTION).is_public("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")


async def test_the_first_kind_of_token_that_knows_it_counts(tmp_path: Path, client_aio: ModuleType) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(jwks(jwk("ES256")))
    known = JwtTokens(keys, algorithms=ALGORITHMS, audience="services", issuer=None, clock=Clock(NOW))
    async with guarded(client_aio, Authentication([known, TOKENS])) as server:
        for each in (ANN, token()):
            await server.call("unary_unary", metadata=bearer(each))
        assert [call.identity.kind for call in server.methods.seen] == ["token", "jwt"]
        failure = await server.failure("unary_unary", metadata=bearer(token(exp=NOW - 60)))
        assert reason(failure) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")


async def test_a_certificate_in_place_of_a_token(client_aio: ModuleType) -> None:
    guard = Authentication([TOKENS], certificates=Certificates({"client.example": {"service"}}))
    methods = Methods()
    server = aio.server(handlers=[methods.handlers()], interceptors=[guard])
    own, other = certificates.server(), certificates.client()
    secured = pygrpc.ssl_server_credentials([own], certificates.roots(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", secured)
    await server.start()
    library: Any = pygrpc if client_aio is aio else __import__("grpc")
    credentials = library.ssl_channel_credentials(certificates.roots(), other.key, other.chain)
    try:
        async with client_aio.secure_channel(f"localhost:{port}", credentials) as channel:
            call = channel.unary_unary(path("unary_unary"))
            await call(b"x", timeout=20)
            await call(b"x", timeout=20, metadata=bearer(ANN))
            # Who shows a token means that one: there is no falling back.
            with pytest.raises(client_aio.AioRpcError) as caught:
                await call(b"x", timeout=20, metadata=bearer("wrong"))
            assert caught.value.code().name == "UNAUTHENTICATED"
    finally:
        await server.stop(None)
    assert [call.identity for call in methods.seen] == [
        Identity("client.example", frozenset({"service"}), "certificate"),
        Identity("ann", frozenset({"admin"}), "token"),
    ]


def test_there_has_to_be_something_to_know_callers_by() -> None:
    with pytest.raises(GuardError, match="needs tokens or certificates"):
        Authentication()


def test_roles_in_one_text_are_a_mistake() -> None:
    with pytest.raises(GuardError, match="must be a collection of texts"):
        Access({f"/{SERVICE}/*": "admin"})
