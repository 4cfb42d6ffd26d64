"""The names of grpc.experimental."""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest

import pygrpc
import pygrpc.experimental
from pygrpc import experimental
from pygrpc.experimental import channel_cache, eventloop, gevent, session_cache, simple_stubs
from pygrpc.experimental.channel_cache import ChannelCache


class Echo(pygrpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        if kind == "sleep":
            return pygrpc.unary_unary_rpc_method_handler(self.sleep)
        return getattr(pygrpc, f"{kind}_rpc_method_handler")(getattr(self, kind))

    def sleep(self, request: bytes, context: Any) -> bytes:
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait(20)
        return request

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        return b",".join([request, *(value.encode() for key, value in context.invocation_metadata() if key == "x")])

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield request
        yield b"more"

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b",".join(requests)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    server = pygrpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo()])
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait(20)


@pytest.fixture(autouse=True)
def warned_already(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
    monkeypatch.setattr(experimental, "_warned", {*kinds, "ssl_channel_credentials_with_custom_signer"})


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives each test a cache of its own, which is empty behind it, so that its thread has ended."""
    monkeypatch.setattr(ChannelCache, "_instance", None)
    yield
    made = ChannelCache._instance
    if made is not None:
        expire(made)


def expire(cache: ChannelCache) -> None:
    """Makes all channels of a cache too old, and waits until they are closed."""
    with cache._condition:
        thread = cache._thread
        for key, (channel, _) in list(cache._channels.items()):
            cache._channels[key] = (channel, 0.0)
        cache._condition.notify()
    if thread is not None:
        thread.join(20)
    assert len(cache) == 0
    assert cache._thread is None


def test_calls_without_a_channel(target: str) -> None:
    assert experimental.unary_unary(b"x", target, "/s/unary_unary", insecure=True) == b"x"
    assert list(experimental.unary_stream(b"x", target, "/s/unary_stream", insecure=True)) == [b"x", b"more"]
    assert experimental.stream_unary(iter([b"x", b"y"]), target, "/s/stream_unary", insecure=True) == b"x,y"
    assert list(experimental.stream_stream(iter([b"x"]), target, "/s/stream_stream", insecure=True)) == [b"x"]
    # All four shared one channel.
    assert len(ChannelCache.get()) == ChannelCache.get()._test_only_channel_count() == 1


def test_parameters_are_passed_on(target: str) -> None:
    assert (
        experimental.unary_unary(
            "x",
            target,
            "/s/unary_unary",
            request_serializer=str.encode,
            response_deserializer=bytes.decode,
            options=[("grpc.max_send_message_length", 10)],
            channel_credentials=experimental.insecure_channel_credentials(),
            compression=pygrpc.Compression.Gzip,
            wait_for_ready=False,
            timeout=20,
            metadata=[("x", "1")],
        )
        == "x,1"
    )
    with pytest.raises(pygrpc.RpcError) as caught:
        experimental.unary_unary(b"x", target, "/s/sleep", insecure=True, timeout=0.05)
    assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED


def test_insecure_and_credentials_exclude_each_other(target: str) -> None:
    credentials = pygrpc.local_channel_credentials()
    with pytest.raises(ValueError, match="mutually exclusive"):
        experimental.unary_unary(b"x", target, "/s/m", insecure=True, channel_credentials=credentials)


class FakeChannel:
    def __init__(self, *parameters: Any) -> None:
        self.parameters = parameters
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def test_channels_differ_by_what_they_are_made_of() -> None:
    cache = ChannelCache(FakeChannel)
    local = pygrpc.local_channel_credentials()
    gzip = pygrpc.Compression.Gzip
    parameters: list[tuple[Any, ...]] = [
        ("a", (), None, True, None),
        ("b", (), None, True, None),
        ("a", (("key", 1),), None, True, None),
        ("a", (), None, False, None),
        ("a", (), local, False, None),
        ("a", (), local, False, gzip),
    ]
    channels = [cache.channel(*each) for each in parameters]
    assert len({id(channel) for channel in channels}) == len(cache) == len(parameters)
    assert [cache.channel(*each) for each in parameters] == channels
    assert channels[5].parameters == ("a", local, (), gzip)
    expire(cache)
    assert all(channel.closed.is_set() for channel in channels)


def test_old_channels_are_closed() -> None:
    cache = ChannelCache(FakeChannel, eviction=0.0)
    channel = cache.channel("a", (), None, True, None)
    assert channel.closed.wait(20)
    again = cache.channel("a", (), None, True, None)
    assert again is not channel
    assert again.closed.wait(20)
    expire(cache)


def test_the_least_recently_used_of_too_many_goes_first() -> None:
    cache = ChannelCache(FakeChannel, maximum=2)
    first, second = (cache.channel(name, (), None, True, None) for name in "ab")
    assert cache.channel("a", (), None, True, None) is first
    third = cache.channel("c", (), None, True, None)
    assert second.closed.wait(20)
    assert not first.closed.is_set()
    assert not third.closed.is_set()
    expire(cache)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_PYTHON_MANAGED_CHANNEL_EVICTION_SECONDS", "2.5")
    monkeypatch.setenv("GRPC_PYTHON_MANAGED_CHANNEL_MAXIMUM", "7")
    cache = ChannelCache.get()
    assert (cache._eviction, cache._maximum) == (2.5, 7)
    assert ChannelCache.get() is cache
    assert simple_stubs._DEFAULT_TIMEOUT == 60.0
    assert channel_cache.ChannelCache is ChannelCache


def test_an_experimental_api_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @experimental.experimental_api
    def function(value: int) -> int:
        """Doubles."""
        return 2 * value

    assert function.__doc__ == "Doubles."
    with pytest.warns(experimental.ExperimentalApiWarning, match="'function' is an experimental API"):
        assert function(1) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(2) == 4


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_wrapping_a_handler(kind: str) -> None:
    def behaviour() -> str:
        return "behaviour"

    def wrapper(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        return lambda: f"wrapped {wrapped()}"

    handler = getattr(pygrpc, f"{kind}_rpc_method_handler")(behaviour, bytes.decode, str.encode)
    wrapped = experimental.wrap_server_method_handler(wrapper, handler)
    assert getattr(wrapped, kind)() == "wrapped behaviour"
    assert getattr(handler, kind)() == "behaviour"
    assert (wrapped.request_streaming, wrapped.response_streaming) == (  # type: ignore[union-attr]
        handler.request_streaming,
        handler.response_streaming,
    )
    assert experimental.wrap_server_method_handler(wrapper, None) is None


async def test_a_custom_signer_says_that_it_cant_be_used() -> None:
    credentials = experimental.ssl_channel_credentials_with_custom_signer(
        private_key_sign_fn=lambda *_: b"", certificate_chain=b""
    )
    async with pygrpc.aio.secure_channel("localhost:1", credentials) as channel:
        with pytest.raises(pygrpc.RpcError, match="can't sign with a function"):
            await channel.unary_unary("/a.B/C")(b"", timeout=20)


def test_submodules() -> None:
    gevent.init_gevent()
    assert eventloop.__doc__
    assert isinstance(session_cache.ssl_session_cache_lru(3), session_cache.SSLSessionCache)
    assert importlib.import_module("pygrpc.experimental.aio") is pygrpc.aio
    assert experimental.ChannelOptions.SingleThreadedUnaryStream == "SingleThreadedUnaryStream"
    assert issubclass(experimental.UsageError, Exception)
    assert pygrpc.experimental is experimental
