"""Call credentials: whoever is asked for metadata may block, or call back later, or fail."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc.sync.authentication import NOT_PRIVATE
from tests.sync.peers import BOUND, ECHO, SERVICE, handlers, serve, wait


class Plugin(pygrpc.AuthMetadataPlugin):
    """Calls a function with the context and the callback."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, context: Any, callback: Any) -> None:
        self._function(context, callback)


def tokens(request: bytes, context: Any) -> bytes:
    return ",".join(str(value) for key, value in context.invocation_metadata() if key == "token").encode()


@pytest.fixture
def channel() -> Iterator[Any]:
    from concurrent import futures

    server = pygrpc.server(futures.ThreadPoolExecutor(4), handlers=[handlers(pygrpc, {**ECHO, "uu": tokens})])
    port = server.add_secure_port("127.0.0.1:0", pygrpc.local_server_credentials())
    server.start()
    with pygrpc.secure_channel(f"127.0.0.1:{port}", pygrpc.local_channel_credentials()) as channel:
        yield channel
    server.stop(None)


def credentials(function: Any) -> Any:
    return pygrpc.metadata_call_credentials(Plugin(function))


def uu(channel: Any) -> Any:
    return channel.unary_unary(f"/{SERVICE}/uu")


def test_metadata_of_a_plugin(channel: Any) -> None:
    seen: list[Any] = []

    def plugin(context: Any, callback: Any) -> None:
        seen.append((context.service_url, context.method_name))
        callback((("token", "a"),), None)

    arguments = {"metadata": (("token", "b"),), "credentials": credentials(plugin)}
    assert uu(channel)(b"", **arguments) == b"b,a"
    assert uu(channel).future(b"", **arguments).result(BOUND) == b"b,a"
    assert list(channel.stream_stream(f"/{SERVICE}/ss")(iter([b"c"]), credentials=credentials(plugin))) == [b"c"]
    assert channel.stream_unary(f"/{SERVICE}/su")(iter([b"c"]), credentials=credentials(plugin)) == b"c"
    assert seen[0][0].endswith(f"/{SERVICE}")
    assert [method for _, method in seen] == ["uu", "uu", "ss", "su"]


def test_a_token() -> None:
    def handler(request: bytes, context: Any) -> bytes:
        return str(dict(context.invocation_metadata())["authorization"]).encode()

    from concurrent import futures

    server = pygrpc.server(futures.ThreadPoolExecutor(1), handlers=[handlers(pygrpc, {"uu": handler})])
    port = server.add_secure_port("127.0.0.1:0", pygrpc.local_server_credentials())
    server.start()
    token = pygrpc.access_token_call_credentials("secret")
    combined = pygrpc.composite_channel_credentials(pygrpc.local_channel_credentials(), token)
    with pygrpc.secure_channel(f"127.0.0.1:{port}", combined) as channel:
        assert uu(channel)(b"") == b"Bearer secret"
    server.stop(None)


def test_a_plugin_that_calls_back_later(channel: Any) -> None:
    callbacks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    future = uu(channel).future(b"", credentials=credentials(lambda context, callback: callbacks.put(callback)))
    callback = callbacks.get(timeout=BOUND)
    assert not future.done()
    callback((("token", "late"),), None)
    assert future.result(BOUND) == b"late"


def test_a_plugin_that_blocks_holds_up_no_deadline(channel: Any) -> None:
    leave, left = threading.Event(), threading.Event()

    def plugin(context: Any, callback: Any) -> None:
        wait(leave)
        callback((("token", "late"),), None)
        left.set()

    with pytest.raises(pygrpc.RpcError) as caught:
        uu(channel)(b"", credentials=credentials(plugin), timeout=0.05)
    assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
    leave.set()
    wait(left)


def test_a_plugin_may_make_calls_on_the_same_channel(channel: Any) -> None:
    def plugin(context: Any, callback: Any) -> None:
        callback((("token", uu(channel)(b"", metadata=(("token", "inner"),)).decode()),), None)

    assert uu(channel)(b"", credentials=credentials(plugin), timeout=BOUND) == b"inner"


def test_a_plugin_that_fails(channel: Any) -> None:
    def failing(context: Any, callback: Any) -> None:
        callback(None, KeyError("broken"))

    def raising(context: Any, callback: Any) -> None:
        raise KeyError("broken")

    for function in (failing, raising):
        with pytest.raises(pygrpc.RpcError) as caught:
            uu(channel)(b"", credentials=credentials(function))
        assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
        assert "Getting metadata from plugin failed with error: 'broken'" in caught.value.details()


def test_a_plugin_with_metadata_that_can_not_be_sent(channel: Any) -> None:
    with pytest.raises(pygrpc.RpcError) as caught:
        uu(channel)(b"", credentials=credentials(lambda context, callback: callback((("Upper", "a"),), None)))
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "Illegal metadata" in caught.value.details()


def test_closing_ends_a_call_that_waits_for_its_plugin(channel: Any) -> None:
    callbacks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    future = uu(channel).future(b"", credentials=credentials(lambda context, callback: callbacks.put(callback)))
    callback = callbacks.get(timeout=BOUND)
    channel.close()
    assert future.code() is pygrpc.StatusCode.CANCELLED
    callback((), None)
    assert future.details() == "Channel closed!"


def test_credentials_do_not_go_over_an_insecure_channel() -> None:
    with serve(**ECHO) as link:
        token = pygrpc.access_token_call_credentials("secret")
        with pytest.raises(pygrpc.RpcError) as caught:
            link.method("uu")(b"", credentials=token)
        assert caught.value.code() is pygrpc.StatusCode.UNAUTHENTICATED
        assert caught.value.details() == NOT_PRIVATE.details
        with pytest.raises(TypeError):
            link.method("uu")(b"", credentials=7)
