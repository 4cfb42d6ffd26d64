"""TLS through an HTTP proxy, which sees nothing of it."""

from __future__ import annotations

from typing import Any

from tests.http_proxy import http_proxy
from tests.tls import certificates
from tests.tls.peers import call, failure, pairs, serving

NAME = "server.invalid"


def server_credentials(module: Any) -> Any:
    return module.ssl_server_credentials([tuple(certificates.identity(NAME))])


def client_credentials(module: Any) -> Any:
    return module.ssl_channel_credentials(certificates.roots())


@pairs
async def test_the_certificate_is_for_the_server_and_not_for_the_proxy(client: Any, server: Any) -> None:
    async with serving(server, server_credentials) as (target, seen):
        with http_proxy({f"{NAME}:1": int(target.rpartition(":")[2])}) as proxy:
            options = [("grpc.http_proxy", proxy.url)]
            assert await call(client, f"{NAME}:1", client_credentials, options, b"x" * 50_000) == b"x" * 50_000
            assert [head.split()[1] for head in proxy.heads] == [f"{NAME}:1"]
    assert len(seen.metadata) == 1


@pairs
async def test_a_server_behind_the_proxy_that_is_another_one(client: Any, server: Any) -> None:
    async with serving(server, server_credentials) as (target, seen):
        with http_proxy({"other.invalid:1": int(target.rpartition(":")[2])}) as proxy:
            options = [("grpc.http_proxy", proxy.url)]
            error = await failure(client, "other.invalid:1", client_credentials, options)
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert not seen.metadata
