"""TLS with either implementation at either end: who is trusted, what is known of the peer, what failures say."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

import pygrpc
import pygrpc.aio
from pygrpc import _tls, _tls_contexts
from tests.tls import certificates
from tests.tls.peers import GRPC_SYNC, PYGRPC_SYNC, Sync, call, failure, is_ours, ours, pairs, serving


def tls_server(module: Any) -> Any:
    return module.ssl_server_credentials([certificates.server()])


def mtls_server(module: Any) -> Any:
    return module.ssl_server_credentials([certificates.server()], certificates.roots(), True)


def tls_client(module: Any) -> Any:
    return module.ssl_channel_credentials(certificates.roots())


def mtls_client(module: Any) -> Any:
    return module.ssl_channel_credentials(certificates.roots(), *certificates.client())


@pairs
async def test_tls(client: Any, server: Any) -> None:
    large = b"x" * 1_000_000
    async with serving(server, tls_server) as (target, seen):
        assert await call(client, target, tls_client, request=large) == large
    (context,) = seen.auth_contexts
    assert context["transport_security_type"] == [b"ssl"]
    assert context["security_level"] == [b"TSI_PRIVACY_AND_INTEGRITY"]
    assert context["ssl_session_reused"] == [b"false"]
    assert not any(key.startswith("x509") for key in context)
    assert seen.identities == [(None, None)]


@pairs
async def test_mutual_tls(client: Any, server: Any) -> None:
    async with serving(server, mtls_server) as (target, seen):
        assert await call(client, target, mtls_client) == b"ping"
    (context,) = seen.auth_contexts
    names = [b"someone@example.org", b"client.example", b"10.1.2.3"]
    assert context["x509_common_name"] == [b"the client"]
    assert context["x509_subject_alternative_name"] == names
    assert context["peer_email"] == names[:1]
    assert context["peer_dns"] == names[1:2]
    assert context["peer_ip"] == names[2:]
    leaf = certificates.client().chain.partition(b"-----END")[0]
    assert context["x509_pem_cert"][0].startswith(leaf)
    (subject,) = context["x509_subject"]
    assert subject.startswith(b"CN=the client,OU=")
    assert subject.endswith(b",O=trustme v" + subject.rpartition(b"O=trustme v")[2])
    assert seen.identities == [("x509_subject_alternative_name", names)]


#: What a version of OpenSSL has chosen, and Python before 3.15 doesn't tell.
UNKNOWN = {"ssl_negotiated_key_exchange_group"}


@pytest.mark.parametrize("credentials", [tls_client, mtls_client], ids=["tls", "mtls"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("client", [pygrpc, PYGRPC_SYNC], ids=["aio", "sync"])
async def test_every_server_says_the_same_of_a_client(client: Any, host: str, credentials: Any) -> None:
    server = mtls_server if credentials is mtls_client else tls_server
    found = []
    for module in (grpc, pygrpc, GRPC_SYNC, PYGRPC_SYNC):
        async with serving(module, server) as (target, seen):
            await call(client, target.replace("localhost", host), credentials)
        found.append({key: values for key, values in seen.auth_contexts[0].items() if key not in UNKNOWN})
    assert found == [found[0]] * 4
    assert found[0].get("ssl_requested_server_name") == ([b"localhost"] if host == "localhost" else None)
    assert ("x509_pem_cert_chain" in found[0]) is (credentials is mtls_client)


@pairs
async def test_a_client_without_a_certificate_is_refused(client: Any, server: Any) -> None:
    async with serving(server, mtls_server) as (target, seen):
        error = await failure(client, target, tls_client)
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert not seen.auth_contexts
    if is_ours(client):
        assert "(it may expect another client certificate)" in error.details()


@pairs
async def test_a_client_with_a_certificate_of_strangers_is_refused(client: Any, server: Any) -> None:
    stranger = certificates.identity("stranger.example", ca="strangers")
    async with serving(server, mtls_server) as (target, seen):
        error = await failure(client, target, lambda m: m.ssl_channel_credentials(certificates.roots(), *stranger))
    assert error.code() is client.StatusCode.UNAVAILABLE
    assert not seen.auth_contexts


@pairs
async def test_a_server_that_nobody_vouches_for(client: Any, server: Any) -> None:
    strangers = certificates.roots("strangers")
    async with serving(server, tls_server) as (target, _):
        error = await failure(client, target, lambda m: m.ssl_channel_credentials(strangers))
    assert error.code() is client.StatusCode.UNAVAILABLE
    if is_ours(client):
        assert "the server's certificate was refused" in error.details()
        assert "root_certificates must vouch for it" in error.details()


@pairs
async def test_a_certificate_for_another_name(client: Any, server: Any) -> None:
    other = certificates.identity("other.example")
    async with serving(server, lambda m: m.ssl_server_credentials([other])) as (target, seen):
        error = await failure(client, target, tls_client)
        assert error.code() is client.StatusCode.UNAVAILABLE
        if is_ours(client):
            assert "ssl_target_name_override" in error.details()
        override = [("grpc.ssl_target_name_override", "other.example")]
        assert await call(client, target, tls_client, override) == b"ping"
    assert len(seen.auth_contexts) == 1


@pairs
async def test_tls_with_a_server_without(client: Any, server: Any) -> None:
    async with serving(server, None) as (target, _):
        error = await failure(client, target, tls_client)
    assert error.code() is client.StatusCode.UNAVAILABLE
    if is_ours(client):
        assert "does not speak TLS (use insecure_channel for it)" in error.details()


@pairs
async def test_no_tls_with_a_server_that_wants_it(client: Any, server: Any) -> None:
    async with serving(server, tls_server) as (target, _):
        error = await failure(client, target, None)
    assert error.code() is client.StatusCode.UNAVAILABLE
    if is_ours(client):
        assert "it may expect TLS" in error.details()


@pairs
async def test_without_tls_the_peer_is_unknown(client: Any, server: Any) -> None:
    async with serving(server, None) as (target, seen):
        await call(client, target, None)
    assert seen.auth_contexts == [{"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}]
    assert seen.identities == [(None, None)]


@pairs
async def test_local_credentials_over_tcp(client: Any, server: Any) -> None:
    async with serving(server, lambda m: m.local_server_credentials()) as (target, seen):
        await call(client, target, lambda m: m.local_channel_credentials())
    assert seen.auth_contexts == [
        {"transport_security_type": [b"local"], "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"]}
    ]
    assert seen.identities == [("transport_security_type", [b"local"])]


@pairs
async def test_local_credentials_over_a_unix_socket(client: Any, server: Any, tmp_path: Path) -> None:
    def on_server(module: Any) -> Any:
        return module.local_server_credentials(module.LocalConnectionType.UDS)

    def on_client(module: Any) -> Any:
        return module.local_channel_credentials(module.LocalConnectionType.UDS)

    async with serving(server, on_server, f"unix:{tmp_path}/s") as (target, seen):
        await call(client, target, on_client)
    assert seen.identities == [("transport_security_type", [b"local"])]


@pairs
async def test_tls_over_a_unix_socket(client: Any, server: Any, tmp_path: Path) -> None:
    options = [("grpc.ssl_target_name_override", "localhost")]
    async with serving(server, tls_server, f"unix:{tmp_path}/s") as (target, _):
        assert await call(client, target, tls_client, options) == b"ping"


@pairs
async def test_xds_credentials_fall_back(client: Any, server: Any) -> None:
    def on_server(module: Any) -> Any:
        if module is grpc or module is GRPC_SYNC:
            # grpcio takes such credentials only with an xDS server, which asyncio servers can't be.
            return tls_server(module)
        return module.xds_server_credentials(tls_server(module))

    async with serving(server, on_server) as (target, _):
        assert await call(client, target, lambda m: m.xds_channel_credentials(tls_client(m))) == b"ping"


@ours
async def test_a_context_of_the_user(api: Any) -> None:
    on_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    on_server.maximum_version = ssl.TLSVersion.TLSv1_2
    with _tls_contexts._as_file(b"\n".join(certificates.server())) as path:
        on_server.load_cert_chain(path)
    on_client = ssl.create_default_context(cadata=certificates.roots().decode())
    async with serving(api, lambda m: m.ssl_context_server_credentials(on_server)) as (target, _):
        assert await call(api, target, lambda m: m.ssl_context_channel_credentials(on_client)) == b"ping"
        on_client.minimum_version = ssl.TLSVersion.TLSv1_3
        error = await failure(api, target, lambda m: m.ssl_context_channel_credentials(on_client))
    assert "TLS handshake" in error.details()


@ours
async def test_roots_from_the_environment(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(b"# \xc3\xa9\n" + certificates.roots())
    async with serving(api, tls_server) as (target, _):
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(path))
        assert await call(api, target, lambda m: m.ssl_channel_credentials()) == b"ping"
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(tmp_path / "none"))
        error = await failure(api, target, lambda m: m.ssl_channel_credentials())
    assert "the server's certificate was refused" in error.details()
    assert "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH is not used" in caplog.text


@ours
async def test_the_certificate_is_chosen_by_name(api: Any) -> None:
    first = certificates.identity("first.example", ca="first")
    second = certificates.identity("*.second.example", ca="second")
    roots = certificates.roots("first") + certificates.roots("second")
    async with serving(api, lambda m: m.ssl_server_credentials([first, second])) as (target, _):
        for name in ("first.example", "a.second.example"):
            options = [("grpc.ssl_target_name_override", name)]
            for client in (api, grpc):
                assert await call(client, target, lambda m: m.ssl_channel_credentials(roots), options) == b"ping"


async def test_ciphers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_SSL_CIPHER_SUITES", "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    security = _tls.ClientSecurity(pygrpc.ssl_channel_credentials(certificates.roots()))
    context = security.context()
    assert context is not None
    older = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert older == ["ECDHE-ECDSA-AES256-GCM-SHA384"]


@ours
async def test_ciphers_that_do_not_exist(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "GRPC_SSL_CIPHER_SUITES=garbage can't be used: No cipher can be selected"
    async with serving(api, tls_server) as (target, _):
        monkeypatch.setenv("GRPC_SSL_CIPHER_SUITES", "garbage")
        error = await failure(api, target, tls_client)
        assert expected in error.details()
        with pytest.raises(RuntimeError, match=expected):
            async with serving(api, tls_server):
                pass


@ours
async def test_a_server_that_does_not_offer_http2(api: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _tls_contexts._as_file(b"\n".join(certificates.server())) as path:
        context.load_cert_chain(path)
    credentials = pygrpc.ssl_context_server_credentials(context)
    context.set_alpn_protocols(["http/1.1"])
    async with serving(api, lambda m: credentials) as (target, _):
        error = await failure(api, target, tls_client)
    assert "did not choose h2 by ALPN" in error.details()


@ours
@pytest.mark.parametrize(
    ("roots", "key", "chain", "text"),
    [
        (b"garbage", None, None, "the root certificates can't be read"),
        (None, b"garbage", b"garbage", "the private key and the certificate chain can't be used"),
    ],
)
async def test_credentials_that_cant_be_read_fail_the_calls(
    api: Any, roots: bytes | None, key: bytes | None, chain: bytes | None, text: str
) -> None:
    async with serving(api, tls_server) as (target, _):
        error = await failure(api, target, lambda m: m.ssl_channel_credentials(roots, key, chain))
    assert error.code() is pygrpc.StatusCode.UNAVAILABLE
    assert text in error.details()


@pytest.mark.parametrize("module", [pygrpc, grpc, PYGRPC_SYNC, GRPC_SYNC])
async def test_a_port_whose_credentials_cant_be_read(module: Any) -> None:
    server = module.server(None) if isinstance(module, Sync) else module.aio.server()
    with pytest.raises(RuntimeError, match="Failed to bind to address localhost:0") as caught:
        server.add_secure_port("localhost:0", module.ssl_server_credentials([(b"garbage", b"garbage")]))
    if is_ours(module):
        assert "the private key and the certificate chain can't be used" in str(caught.value)
    stopped = server.stop(None)
    if not isinstance(module, Sync):
        await stopped


def test_a_local_connection_from_elsewhere_is_refused() -> None:
    security = _tls.ServerSecurity(pygrpc.local_server_credentials())
    for address in (("127.0.0.1", 1), ("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1, 0, 0)):
        security.check(address)
    for address in (("192.0.2.1", 1), ("2001:db8::1", 1, 0, 0), ("fe80::1%lo", 1, 0, 0), ""):
        with pytest.raises(ConnectionError, match="LOCAL_TCP"):
            security.check(address)
    with pytest.raises(ConnectionError, match="UDS"):
        _tls.ServerSecurity(pygrpc.local_server_credentials(pygrpc.LocalConnectionType.UDS)).check(("127.0.0.1", 1))


def test_key_files_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _tls_contexts._as_file(b"secret") as path:
        assert Path(path).read_bytes() == b"secret"
        assert Path(path).stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_default_credentials_share_a_context() -> None:
    first, second = (_tls.ClientSecurity(pygrpc.ssl_channel_credentials()).context() for _ in range(2))
    assert first is second


def test_options_about_tls_are_taken_out() -> None:
    cache = _tls_contexts.SessionCache(1)
    others, options = _tls.split_options(
        [(b"grpc.ssl_target_name_override", b"name"), ("grpc.ssl_session_cache", cache), ("grpc.other", 1)]
    )
    assert others == [("grpc.other", 1)]
    assert options == _tls.TlsOptions("name", cache)
    with pytest.raises(ValueError, match="ssl_session_cache"):
        _tls.split_options([("grpc.ssl_session_cache", 1)])
    with pytest.raises(ValueError, match="ssl_target_name_override"):
        _tls.split_options([("grpc.ssl_target_name_override", 1)])


@pytest.fixture(autouse=True)
def quiet_grpcio(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_closed_channel_leaves_no_connection_though_its_server_does_not_answer_the_goodbye_of_tls() -> None:
    async with serving(grpc, tls_server) as (target, _):
        channel = pygrpc.aio.secure_channel(target, tls_client(pygrpc))
        assert await channel.unary_unary("/test.Secure/Call")(b"ping") == b"ping"
        await channel.close()
        assert not channel._connections.transports  # type: ignore[attr-defined]
