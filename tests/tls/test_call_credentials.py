"""Call credentials: plugins, tokens, where they may go, and what their failures look like."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

import pygrpc
from pygrpc import call_credentials, credentials
from tests.tls import certificates
from tests.tls.peers import METHOD, RPC_ERRORS, aio_pairs, call, pairs, serving


def tls_server(module: Any) -> Any:
    return module.ssl_server_credentials([certificates.server()])


def tls_client(module: Any) -> Any:
    return module.ssl_channel_credentials(certificates.roots())


def plugin(module: Any, behave: Callable[[Any, Any], None]) -> Any:
    class Plugin(module.AuthMetadataPlugin):
        def __call__(self, context: Any, callback: Any) -> None:
            behave(context, callback)

    return Plugin()


def custom(metadata: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [pair for pair in metadata if pair[0] != "user-agent"]


@pairs
async def test_a_plugin_is_told_of_the_call(client: Any, server: Any) -> None:
    contexts = []

    def behave(context: Any, callback: Any) -> None:
        contexts.append((context.service_url, context.method_name))
        callback((("token", "t"), ("token-bin", b"\0")), None)

    own = client.metadata_call_credentials(plugin(client, behave))
    async with serving(server, tls_server) as (target, seen):
        await call(client, target, tls_client, call_credentials=own)
    assert contexts == [(f"https://{target}/test.Secure", "Call")]
    assert custom(seen.metadata[0]) == [("token", "t"), ("token-bin", b"\0")]


@pairs
async def test_a_plugin_may_answer_later_from_another_thread(client: Any, server: Any) -> None:
    threads = []

    def behave(context: Any, callback: Any) -> None:
        threads.append(threading.Thread(target=callback, args=((("token", "late"),), None)))
        threads[0].start()

    own = client.metadata_call_credentials(plugin(client, behave))
    async with serving(server, tls_server) as (target, seen):
        await call(client, target, tls_client, call_credentials=own)
    threads[0].join(20)
    assert custom(seen.metadata[0]) == [("token", "late")]


@pairs
async def test_the_channels_credentials_come_before_the_calls(client: Any, server: Any) -> None:
    def on_channel(module: Any) -> Any:
        token = module.access_token_call_credentials("channel")
        return module.composite_channel_credentials(tls_client(module), token)

    own = client.composite_call_credentials(
        client.access_token_call_credentials("first"), client.access_token_call_credentials("second")
    )
    async with serving(server, tls_server) as (target, seen):
        await call(client, target, on_channel, call_credentials=own)
        await call(client, target, on_channel)
    assert [value for _, value in custom(seen.metadata[0])] == ["Bearer channel", "Bearer first", "Bearer second"]
    assert custom(seen.metadata[1]) == [("authorization", "Bearer channel")]


def fails(context: Any, callback: Any) -> None:
    callback(None, ValueError("no token today"))


def raises(context: Any, callback: Any) -> None:
    raise ValueError("no token today")


def illegal_key(context: Any, callback: Any) -> None:
    callback((("No Key", "x"),), None)


def illegal_value(context: Any, callback: Any) -> None:
    callback((("key", "x\n"),), None)


@pairs
@pytest.mark.parametrize(
    ("behave", "details"),
    [
        (fails, "Getting metadata from plugin failed with error: no token today"),
        (raises, "Getting metadata from plugin failed with error: no token today"),
        (illegal_key, "Illegal metadata"),
        (illegal_value, "Illegal metadata"),
    ],
)
async def test_a_plugin_that_fails(client: Any, server: Any, behave: Any, details: str) -> None:
    own = client.metadata_call_credentials(plugin(client, behave))
    async with serving(server, tls_server) as (target, seen):
        with pytest.raises(RPC_ERRORS) as caught:
            await call(client, target, tls_client, call_credentials=own)
    assert caught.value.code() is client.StatusCode.UNAVAILABLE
    assert caught.value.details().startswith(details)
    assert not seen.metadata


@aio_pairs
async def test_an_insecure_channel_refuses_them(client: Any, server: Any) -> None:
    async with serving(server, None) as (target, seen):
        token = client.access_token_call_credentials("token")
        with pytest.raises(client.aio.UsageError, match="only valid on secure channels"):
            await call(client, target, None, call_credentials=token)
    assert not seen.metadata


@pairs
async def test_a_secure_channel_without_privacy_refuses_them(client: Any, server: Any) -> None:
    insecure = client.experimental.insecure_channel_credentials()
    token = client.access_token_call_credentials("token")
    async with serving(server, None) as (target, seen):
        assert await call(client, target, lambda m: insecure) == b"ping"
        with pytest.raises(RPC_ERRORS) as caught:
            await call(client, target, lambda m: m.composite_channel_credentials(insecure, token))
    assert caught.value.code() is client.StatusCode.UNAUTHENTICATED
    assert "sufficient security level to transfer call credential" in caught.value.details()
    assert len(seen.metadata) == 1


@pairs
async def test_local_credentials_allow_them(client: Any, server: Any) -> None:
    token = client.access_token_call_credentials("token")
    async with serving(server, lambda m: m.local_server_credentials()) as (target, seen):
        await call(client, target, lambda m: m.local_channel_credentials(), call_credentials=token)
    assert custom(seen.metadata[0]) == [("authorization", "Bearer token")]


@aio_pairs
async def test_a_deadline_while_the_plugin_works(client: Any, server: Any) -> None:
    release = threading.Event()

    def behave(context: Any, callback: Any) -> None:
        release.wait(20)
        callback((), None)

    own = client.metadata_call_credentials(plugin(client, behave))
    async with serving(server, tls_server) as (target, seen):
        channel = client.aio.secure_channel(target, tls_client(client))
        try:
            with pytest.raises(RPC_ERRORS) as caught:
                await channel.unary_unary(METHOD)(b"", timeout=0.1, credentials=own)
        finally:
            release.set()
        assert caught.value.code() is client.StatusCode.DEADLINE_EXCEEDED
        await channel.unary_unary(METHOD)(b"", timeout=20)
        await channel.close()
    assert len(seen.metadata) == 1


async def test_cancelling_and_closing_while_plugins_work() -> None:
    release = threading.Event()
    asked = threading.Event()

    def behave(context: Any, callback: Any) -> None:
        asked.set()
        release.wait(20)
        callback((), None)

    own = pygrpc.metadata_call_credentials(plugin(pygrpc, behave))
    async with serving(pygrpc, tls_server) as (target, seen):
        channel = pygrpc.aio.secure_channel(target, tls_client(pygrpc))
        cancelled = channel.unary_unary(METHOD)(b"", credentials=own)
        closed = channel.unary_unary(METHOD)(b"", credentials=own)
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 20)
        cancelled.cancel()
        await channel.close()
        release.set()
        for each in (cancelled, closed):
            assert await each.code() is pygrpc.StatusCode.CANCELLED
    assert not seen.metadata


def test_a_callback_takes_one_answer() -> None:
    answers: list[Any] = []

    def behave(context: Any, callback: Any) -> None:
        callback((("a", "1"),), None)
        with pytest.raises(RuntimeError, match="invoked more than once"):
            callback((("a", "2"),), None)
        raise ValueError("behind its answer, so that it counts no more")

    plugins = call_credentials.call_plugins(pygrpc.metadata_call_credentials(plugin(pygrpc, behave)))
    context = call_credentials.plugin_context("https", "host:443", "/package.Service/Method")
    call_credentials.request_metadata(plugins, context, lambda *answer: answers.append(answer))
    assert answers == [((("a", "1"),), None)]
    assert context == ("https://host/package.Service", "Method")


def test_plugins_run_with_the_context_variables_of_their_credentials() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("then")
    seen: list[str] = []

    def behave(context: Any, callback: Any) -> None:
        seen.append(variable.get())

    own = pygrpc.metadata_call_credentials(plugin(pygrpc, behave))
    variable.set("now")
    context = call_credentials.plugin_context("", "host", "/s/m")
    call_credentials.request_metadata(call_credentials.call_plugins(own), context, lambda *_: None)
    assert seen == ["then"]


def test_names_of_plugins() -> None:
    (named,) = call_credentials.call_plugins(pygrpc.metadata_call_credentials(plugin(pygrpc, fails), "name"))
    (unnamed,) = call_credentials.call_plugins(pygrpc.metadata_call_credentials(plugin(pygrpc, fails)))
    assert (named.name, unnamed.name) == ("name", "Plugin")


WRONG: dict[str, Callable[[Any], Any]] = {
    "roots that are text": lambda m: m.ssl_channel_credentials("text"),
    "a server key that is text": lambda m: m.ssl_server_credentials([("key", b"chain")]),
    "no pair": lambda m: m.ssl_server_credentials([]),
    "no pair in a configuration": lambda m: m.ssl_server_certificate_configuration([]),
    "no configuration": lambda m: m.dynamic_ssl_server_credentials(None, lambda: None),
    "no fetcher": lambda m: m.dynamic_ssl_server_credentials(
        m.ssl_server_certificate_configuration([certificates.server()]), None
    ),
    "no roots for clients": lambda m: m.ssl_server_credentials([(b"key", b"chain")], None, True),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_wrong_parameters_are_errors_of_the_same_type(make: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as ours:
        make(pygrpc)
    with pytest.raises((TypeError, ValueError)) as theirs:
        make(grpc)
    assert type(ours.value) is type(theirs.value)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: pygrpc.aio.secure_channel("localhost:1", None), "see ssl_channel_credentials"),  # type: ignore[arg-type]
        (lambda: pygrpc.aio.server().add_secure_port("localhost:0", None), "see ssl_server_credentials"),
        (lambda: pygrpc.composite_call_credentials("token"), "see metadata_call_credentials"),  # type: ignore[arg-type]
        (lambda: pygrpc.xds_channel_credentials("x"), "expected ChannelCredentials"),  # type: ignore[arg-type]
    ],
)
async def test_what_is_no_credentials(make: Callable[[], Any], expected: str) -> None:
    with pytest.raises(TypeError, match=expected):
        make()


async def test_what_needs_a_cloud_says_so_when_it_is_used() -> None:
    token = pygrpc.access_token_call_credentials("x")
    for made in (pygrpc.alts_channel_credentials(["account"]), pygrpc.compute_engine_channel_credentials(token)):
        async with serving(pygrpc, None) as (target, _), pygrpc.aio.secure_channel(target, made) as channel:
            with pytest.raises(pygrpc.RpcError, match="ALTS works only inside Google Cloud") as caught:
                await channel.unary_unary(METHOD)(b"")
            assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
            with (
                pygrpc.secure_channel(target, made) as blocking,
                pytest.raises(pygrpc.RpcError, match="ALTS works only inside Google Cloud"),
            ):
                await asyncio.to_thread(blocking.unary_unary(METHOD), b"")
    with pytest.raises(NotImplementedError, match="ALTS works only inside Google Cloud"):
        pygrpc.aio.server().add_secure_port("localhost:0", pygrpc.alts_server_credentials())


def test_xds_credentials_without_a_fallback_are_tls() -> None:
    description = credentials.channel_description(pygrpc.xds_channel_credentials())
    assert isinstance(description.transport, credentials.ClientTls)
