"""TLS and call credentials in the sync API, with either implementation at either end."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

import pygrpc
from tests.tls import certificates
from tests.tls.peers import METHOD, NAMES, PAIRS, RPC_ERRORS, Make, Seen
from tests.tls.test_dynamic_certificates import configuration, trusting
from tests.tls.test_tls import mtls_client, mtls_server, tls_client, tls_server

pairs = pytest.mark.parametrize(("client", "server"), PAIRS, ids=NAMES)


class Generic:
    """Serves any method as an echo."""

    def __init__(self, module: Any, seen: Seen) -> None:
        self._handler = module.unary_unary_rpc_method_handler(self.handle)
        self._seen = seen

    def service(self, details: Any) -> Any:
        return self._handler

    def handle(self, request: bytes, context: Any) -> bytes:
        seen = self._seen
        seen.auth_contexts.append({key: list(values) for key, values in context.auth_context().items()})
        identities = context.peer_identities()
        seen.identities.append((context.peer_identity_key(), None if identities is None else list(identities)))
        seen.metadata.append([(key, value) for key, value in context.invocation_metadata()])
        return request


@contextlib.contextmanager
def serving(module: Any, credentials: Make | None, address: str = "localhost:0") -> Iterator[tuple[str, Seen]]:
    seen = Seen()
    with futures.ThreadPoolExecutor(4) as pool:
        server = module.server(pool)
        server.add_generic_rpc_handlers((Generic(module, seen),))
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials(module))
        server.start()
        try:
            yield (address if address.startswith("unix:") else f"localhost:{port}"), seen
        finally:
            server.stop(None).wait(20)


def call(
    module: Any, target: str, credentials: Make | None, options: Any = (), request: bytes = b"ping", own: Any = None
) -> bytes:
    if credentials is None:
        channel = module.insecure_channel(target, options=options)
    else:
        channel = module.secure_channel(target, credentials(module), options=options)
    with channel:
        response: bytes = channel.unary_unary(METHOD)(request, timeout=15, credentials=own)
        return response


def failure(module: Any, target: str, credentials: Make | None, options: Any = (), own: Any = None) -> Any:
    with pytest.raises(RPC_ERRORS) as caught:
        call(module, target, credentials, options, own=own)
    return caught.value


@pairs
def test_tls(client: Any, server: Any) -> None:
    large = b"x" * 1_000_000
    with serving(server, tls_server) as (target, seen):
        assert call(client, target, tls_client, request=large) == large
    assert seen.auth_contexts[0]["transport_security_type"] == [b"ssl"]
    assert seen.identities == [(None, None)]


@pairs
def test_mutual_tls(client: Any, server: Any) -> None:
    with serving(server, mtls_server) as (target, seen):
        assert call(client, target, mtls_client) == b"ping"
        assert failure(client, target, tls_client).code() is client.StatusCode.UNAVAILABLE
    names = [b"someone@example.org", b"client.example", b"10.1.2.3"]
    assert seen.identities == [("x509_subject_alternative_name", names)]


@pairs
def test_who_is_not_trusted(client: Any, server: Any) -> None:
    strangers = certificates.roots("strangers")
    with serving(server, tls_server) as (target, seen):
        error = failure(client, target, lambda m: m.ssl_channel_credentials(strangers))
        assert error.code() is client.StatusCode.UNAVAILABLE
        if client is pygrpc:
            assert "the server's certificate was refused" in error.details()
        override = [("grpc.ssl_target_name_override", "other.example")]
        assert failure(client, target, tls_client, override).code() is client.StatusCode.UNAVAILABLE
        assert failure(client, target, None).code() is client.StatusCode.UNAVAILABLE
    assert not seen.auth_contexts


@pairs
def test_local_credentials(client: Any, server: Any, tmp_path: Path) -> None:
    with serving(server, lambda m: m.local_server_credentials()) as (target, tcp):
        call(client, target, lambda m: m.local_channel_credentials())
    uds = "UDS"
    with serving(server, lambda m: m.local_server_credentials(m.LocalConnectionType[uds]), f"unix:{tmp_path}/s") as (
        target,
        unix,
    ):
        call(client, target, lambda m: m.local_channel_credentials(m.LocalConnectionType[uds]))
    assert tcp.identities == unix.identities == [("transport_security_type", [b"local"])]


@pairs
def test_sessions_are_resumed(client: Any, server: Any) -> None:
    session_cache = importlib.import_module(f"{client.__name__}.experimental.session_cache")
    options = [("grpc.ssl_session_cache", session_cache.ssl_session_cache_lru(1))]
    credentials = tls_client(client)
    with serving(server, tls_server) as (target, seen):
        for _ in range(2):
            call(client, target, lambda m: credentials, options)
    assert [context["ssl_session_reused"] for context in seen.auth_contexts] == [[b"false"], [b"true"]]


@pairs
def test_certificates_change_while_the_server_runs(client: Any, server: Any) -> None:
    answers = [None, configuration(server, "new")]

    def fetch() -> Any:
        return answers.pop(0) if answers else None

    def credentials(module: Any) -> Any:
        return module.dynamic_ssl_server_credentials(configuration(module, "old"), fetch)

    with serving(server, credentials) as (target, _):
        assert call(client, target, trusting("old")) == b"ping"
        assert call(client, target, trusting("new")) == b"ping"
        assert failure(client, target, trusting("old")).code() is client.StatusCode.UNAVAILABLE


@pairs
def test_call_credentials(client: Any, server: Any) -> None:
    contexts = []

    class Plugin(client.AuthMetadataPlugin):
        def __call__(self, context: Any, callback: Any) -> None:
            contexts.append((context.service_url, context.method_name))
            threading.Thread(target=callback, args=((("token", "t"),), None)).start()

    def on_channel(module: Any) -> Any:
        token = module.access_token_call_credentials("channel")
        return module.composite_channel_credentials(tls_client(module), token)

    own = client.metadata_call_credentials(Plugin())
    with serving(server, tls_server) as (target, seen):
        call(client, target, on_channel, own=own)
    assert contexts == [(f"https://{target}/test.Secure", "Call")]
    metadata = [pair for pair in seen.metadata[0] if pair[0] != "user-agent"]
    assert metadata == [("authorization", "Bearer channel"), ("token", "t")]


@pairs
def test_a_plugin_that_fails(client: Any, server: Any) -> None:
    class Plugin(client.AuthMetadataPlugin):
        def __call__(self, context: Any, callback: Any) -> None:
            raise ValueError("no token today")

    own = client.metadata_call_credentials(Plugin())
    with serving(server, tls_server) as (target, seen):
        error = failure(client, target, tls_client, own=own)
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert error.details() == "Getting metadata from plugin failed with error: no token today"
    assert not seen.metadata


@pairs
def test_call_credentials_on_an_insecure_channel(client: Any, server: Any) -> None:
    token = client.access_token_call_credentials("token")
    with serving(server, None) as (target, seen):
        error = failure(client, target, None, own=token)
    assert error.code() is client.StatusCode.UNAUTHENTICATED
    assert "sufficient security level to transfer call credential" in error.details()
    assert not seen.metadata


@pairs
def test_a_port_whose_credentials_cant_be_read(client: Any, server: Any) -> None:
    with futures.ThreadPoolExecutor(1) as pool:
        made = server.server(pool)
        with pytest.raises(RuntimeError, match="Failed to bind to address localhost:0"):
            made.add_secure_port("localhost:0", server.ssl_server_credentials([(b"garbage", b"garbage")]))
        made.stop(None)
