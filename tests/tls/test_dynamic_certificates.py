"""Servers whose certificates change while they run, and sessions that are resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.experimental.session_cache  # noqa: F401 - used as an attribute of the parameter
import pytest

import pygrpc
import pygrpc.experimental.session_cache
from pygrpc import _tls_contexts
from tests.tls import certificates
from tests.tls.peers import call, failure, ours, pairs, serving


def configuration(module: Any, ca: str) -> Any:
    identity = certificates.identity("localhost", ca=ca)
    return module.ssl_server_certificate_configuration([identity], certificates.roots())


def trusting(ca: str) -> Callable[[Any], Any]:
    return lambda module: module.ssl_channel_credentials(certificates.roots(ca))


@pairs
async def test_the_fetcher_is_asked_before_each_handshake(client: Any, server: Any) -> None:
    answers = [None, configuration(server, "new"), None]
    asked: list[int] = []

    def fetch() -> Any:
        asked.append(1)
        return answers.pop(0) if answers else None

    def credentials(module: Any) -> Any:
        return module.dynamic_ssl_server_credentials(configuration(module, "old"), fetch)

    async with serving(server, credentials) as (target, _):
        assert await call(client, target, trusting("old")) == b"ping"
        assert len(asked) == 1
        assert await call(client, target, trusting("new")) == b"ping"
        assert await call(client, target, trusting("new")) == b"ping"
        assert len(asked) == 3
        error = await failure(client, target, trusting("old"))
    assert error.code() is client.StatusCode.UNAVAILABLE


@ours
@pytest.mark.parametrize("answer", [ValueError("no certificates today"), "nonsense", "garbage"])
async def test_a_fetcher_that_fails_changes_nothing(api: Any, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fetch() -> Any:
        if isinstance(answer, Exception):
            raise answer
        if answer == "garbage":
            return pygrpc.ssl_server_certificate_configuration([(b"garbage", b"garbage")])
        return answer

    def credentials(module: Any) -> Any:
        return module.dynamic_ssl_server_credentials(configuration(module, "old"), fetch)

    async with serving(api, credentials) as (target, _):
        assert await call(api, target, trusting("old")) == b"ping"
    assert "the certificate fetcher failed" in caplog.text


@ours
async def test_clients_must_authenticate_themselves_behind_a_change_too(api: Any) -> None:
    def credentials(module: Any) -> Any:
        changed = configuration(module, "new")
        return module.dynamic_ssl_server_credentials(configuration(module, "old"), lambda: changed, True)

    def mutual(module: Any) -> Any:
        return module.ssl_channel_credentials(certificates.roots("new"), *certificates.client())

    async with serving(api, credentials) as (target, seen):
        with pytest.raises(pygrpc.RpcError):
            await call(api, target, trusting("new"))
        assert await call(api, target, mutual) == b"ping"
    assert seen.identities[0][0] == "x509_subject_alternative_name"


@pairs
async def test_sessions_are_resumed(client: Any, server: Any) -> None:
    cache = client.experimental.session_cache.ssl_session_cache_lru(1)
    options = [("grpc.ssl_session_cache", cache)]
    credentials = trusting("main")(client)

    def on_server(module: Any) -> Any:
        return module.ssl_server_credentials([certificates.server()])

    async with serving(server, on_server) as (target, seen):
        for _ in range(2):
            await call(client, target, lambda m: credentials, options)
        await call(client, target, lambda m: credentials)
    reused = [context["ssl_session_reused"] for context in seen.auth_contexts]
    assert reused == [[b"false"], [b"true"], [b"false"]]


@ours
async def test_sessions_with_client_certificates_are_resumed(api: Any) -> None:
    cache = pygrpc.experimental.session_cache.ssl_session_cache_lru(1)
    options = [("grpc.ssl_session_cache", cache)]
    credentials = pygrpc.ssl_channel_credentials(certificates.roots(), *certificates.client())

    def on_server(module: Any) -> Any:
        return module.ssl_server_credentials([certificates.server()], certificates.roots(), True)

    async with serving(api, on_server) as (target, seen):
        for _ in range(2):
            await call(api, target, lambda m: credentials, options)
    assert [context["ssl_session_reused"] for context in seen.auth_contexts] == [[b"false"], [b"true"]]
    # Who the client is stays known without its certificate being sent again.
    assert seen.identities[0] == seen.identities[1]


def test_the_least_recently_used_session_goes_first() -> None:
    cache = _tls_contexts.SessionCache(2)
    context: Any = object()
    for name in ("a", "b"):
        cache.put(context, name, f"session of {name}")  # type: ignore[arg-type]
    assert cache.get(context, "a") == "session of a"
    cache.put(context, "c", "session of c")  # type: ignore[arg-type]
    assert [cache.get(context, name) for name in "abc"] == ["session of a", None, "session of c"]
