"""The channel: connecting, failing, watching, closing."""

import contextlib
import gc
import queue
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc import interfaces
from pygrpc.sync import call as call_module
from pygrpc.sync import channel as channel_module
from pygrpc.sync.channel import Channel
from tests.sync.peers import BOUND, ECHO, NAMES, Gate, serve, wait

IDLE, CONNECTING, READY, FAILED, SHUTDOWN = pygrpc.ChannelConnectivity


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port of this machine on which nobody listens."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class States:
    """What a subscription was told."""

    def __init__(self) -> None:
        self.seen: list[pygrpc.ChannelConnectivity] = []
        self._news: queue.SimpleQueue[pygrpc.ChannelConnectivity] = queue.SimpleQueue()

    def __call__(self, state: pygrpc.ChannelConnectivity) -> None:
        self.seen.append(state)
        self._news.put(state)

    def until(self, state: pygrpc.ChannelConnectivity) -> None:
        while self._news.get(timeout=BOUND) is not state:
            pass


def test_a_channel_is_one_of_the_interface() -> None:
    channel = pygrpc.insecure_channel("localhost:1")
    assert isinstance(channel, Channel)
    assert isinstance(channel, interfaces.Channel)
    channel.close()


@pytest.mark.parametrize("target", ["", "host:port", "localhost:99999", "dns:///", b"localhost:-1"])
def test_a_bad_target_fails_the_calls(target: Any) -> None:
    with pygrpc.insecure_channel(target) as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary("/a/b")(b"", wait_for_ready=True)
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "Failed to create channel to" in caught.value.details()


def test_a_name_without_an_address_fails_the_calls() -> None:
    with pygrpc.insecure_channel("does-not-exist.invalid:1") as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary("/a/b")(b"")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "DNS resolution failed for does-not-exist.invalid:1" in caught.value.details()


def test_nobody_listens() -> None:
    with reserved_port() as port, pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a/b")
        for _ in range(3):
            with pytest.raises(pygrpc.RpcError) as caught:
                call(b"")
            assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
            assert f"ipv4:127.0.0.1:{port}: Failed to connect to remote host" in caught.value.details()
        assert channel.unary_unary("/a/b").future(b"").code() is pygrpc.StatusCode.UNAVAILABLE
        with pytest.raises(pygrpc.RpcError):
            next(channel.stream_stream("/a/b")(iter([b""])))
        with pytest.raises(pygrpc.RpcError) as caught:
            call(b"", wait_for_ready=True, timeout=0.05)
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED


def test_a_peer_that_speaks_something_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while sock.recv(1000):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(pygrpc.RpcError) as caught:
            channel.unary_unary("/a/b")(b"")
        thread.join(BOUND)
    assert "speaks HTTP/1" in caught.value.details()


OPTIONS = (("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50))


def echo_server(port: int) -> Any:
    from concurrent import futures

    handler = pygrpc.method_handlers_generic_handler("a", {"b": pygrpc.unary_unary_rpc_method_handler(ECHO["uu"])})
    server = pygrpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def test_wait_for_ready_waits_for_a_server() -> None:
    with reserved_port() as port, pygrpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        states = States()
        channel.subscribe(states)
        future = channel.unary_unary("/a/b").future(b"a", wait_for_ready=True)
        states.until(FAILED)
        server = echo_server(port)
        assert future.result(BOUND) == b"a"
        server.stop(None)


def test_a_channel_connects_again_when_the_server_is_back() -> None:
    with reserved_port() as port, pygrpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        call = channel.unary_unary("/a/b")
        states = States()
        channel.subscribe(states)
        for _ in range(3):
            server = echo_server(port)
            assert call(b"a", wait_for_ready=True, timeout=BOUND) == b"a"
            states.until(READY)
            server.stop(None)
            # A call that meets the goodbye halfway ends with UNAVAILABLE; it is not repeated by itself yet.
            states.until(IDLE)
        with pytest.raises(pygrpc.RpcError) as caught:
            call(b"a")
        assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE


def test_states_are_told_in_order() -> None:
    with serve(**ECHO) as link:
        states, late = States(), States()
        link.channel.subscribe(states)
        states.until(IDLE)
        link.channel.subscribe(late, try_to_connect=True)
        states.until(READY)
        late.until(READY)
        assert states.seen == [IDLE, CONNECTING, READY]
        assert late.seen in ([IDLE, CONNECTING, READY], [CONNECTING, READY], [READY])
        link.channel.unsubscribe(late)
        link.server.stop(None)
        states.until(IDLE)
        assert late.seen[-1] is READY


def test_a_server_that_nobody_can_reach_is_told() -> None:
    with reserved_port() as port, pygrpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        states = States()
        channel.subscribe(states, try_to_connect=True)
        states.until(FAILED)
        channel.unsubscribe(states)
        channel.unsubscribe(states)


def test_an_idle_channel_answers_pings_and_sees_the_end() -> None:
    # The server says goodbye in two steps, and the second one comes when the client has answered a PING.
    with serve(**ECHO) as link:
        assert link.method("uu")(b"a") == b"a"
        assert link.server.stop(BOUND).wait(BOUND)


def test_a_graceful_stop_lets_calls_finish(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        stopped = link.server.stop(BOUND)
        assert not stopped.is_set()
        gate.leave.set()
        assert future.result(BOUND) == b"through"
        wait(stopped)


@pytest.mark.parametrize("server", NAMES)
def test_close_ends_calls(server: str) -> None:
    gate = Gate()
    with serve(("pygrpc", server), uu=gate, us=gate, ss=gate) as link:
        calls = [link.method("uu").future(b""), link.method("us")(b""), link.method("ss")(iter([b""]))]
        wait(gate.entered)
        link.channel.close()
        for call in calls:
            assert call.code() is link.client.StatusCode.CANCELLED
            assert not call.cancelled()
        gate.leave.set()


def test_close_wakes_a_blocked_caller() -> None:
    gate = Gate()
    entered = threading.Semaphore(0)
    failures: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handler(request: bytes, context: Any) -> bytes:
        entered.release()
        return gate(request, context)

    def call() -> None:
        try:
            link.method("uu")(b"")
        except pygrpc.RpcError as error:
            failures.put(error)

    with serve(uu=handler) as link:
        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert entered.acquire(timeout=BOUND)
        link.channel.close()
        for _ in threads:
            error = failures.get(timeout=BOUND)
            assert (error.code(), error.details()) == (pygrpc.StatusCode.CANCELLED, "Channel closed!")
        for thread in threads:
            thread.join(BOUND)
        gate.leave.set()


@pytest.mark.parametrize("server", NAMES)
def test_a_closed_channel_refuses_calls(server: str) -> None:
    with serve(("pygrpc", server), **ECHO) as link:
        link.channel.close()
        link.channel.close()
        for start in (link.method("uu"), link.method("uu").future, link.method("us")):
            with pytest.raises(ValueError, match=r"[Cc]hannel"):
                start(b"")
        for start in (link.method("su"), link.method("ss")):
            with pytest.raises(ValueError, match=r"[Cc]hannel"):
                start(iter([b""]))
        link.channel.subscribe(lambda state: None)


def new_watchers(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in set(threading.enumerate()) - before if thread.name == "pygrpc-watcher"]


def test_closing_ends_the_watcher() -> None:
    with serve(**ECHO) as link:
        before = set(threading.enumerate())
        channel = link.open_channel()
        assert channel.unary_unary("/sync.Peer/uu")(b"a") == b"a"
        watchers = new_watchers(before)
        assert len(watchers) == 1
        channel.close()
        for thread in watchers:
            thread.join(BOUND)
            assert not thread.is_alive()


def test_a_channel_that_is_collected_closes_its_connection() -> None:
    with serve(**ECHO) as link:
        before = set(threading.enumerate())
        channel = link.open_channel()
        assert channel.unary_unary("/sync.Peer/uu")(b"a") == b"a"
        watchers = new_watchers(before)
        reference = weakref.ref(channel)
        del channel
        for thread in watchers:
            # The watcher itself may hold the channel for a moment, so one collection can come too early.
            for _ in range(100):
                gc.collect()
                thread.join(BOUND / 100)
                if not thread.is_alive():
                    break
            assert not thread.is_alive()
        assert reference() is None


def test_a_stub_keeps_its_channel() -> None:
    with serve(**ECHO) as link:
        call = link.open_channel().unary_unary("/sync.Peer/uu")
        gc.collect()
        assert call(b"a") == b"a"
        call._parameters.channel.close()


def test_user_agent_and_authority() -> None:
    seen: dict[str, Any] = {}

    def handler(request: bytes, context: Any) -> bytes:
        seen.update(context.invocation_metadata())
        return request

    options = (("grpc.primary_user_agent", "mine"), ("grpc.secondary_user_agent", "behind"))
    with serve(uu=handler, channel={"options": options}) as link:
        link.method("uu")(b"")
    assert seen["user-agent"].startswith("mine grpc-python-pygrpc/")
    assert seen["user-agent"].endswith(" behind")


def test_message_limits(pair: tuple[str, str]) -> None:
    options = (("grpc.max_send_message_length", 100), ("grpc.max_receive_message_length", 50))
    with serve(pair, uu=lambda request, _: request * 2, channel={"options": options}) as link:
        assert link.method("uu")(bytes(25)) == bytes(50)
        for size in (26, 101):
            with pytest.raises(link.client.RpcError) as caught:
                link.method("uu")(bytes(size))
            assert caught.value.code() is link.client.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [1, 2])
def test_compression(pair: tuple[str, str], compression: int) -> None:
    with serve(pair, **ECHO) as link:
        chosen = link.client.Compression(compression)
        assert link.method("uu")(bytes(50_000), compression=chosen) == bytes(50_000)
        with link.open_channel(compression=chosen) as channel:
            assert list(channel.stream_stream("/sync.Peer/ss")(iter([bytes(50_000)] * 2))) == [bytes(50_000)] * 2


def test_a_unix_socket(tmp_path: Any) -> None:
    from concurrent import futures

    handler = pygrpc.method_handlers_generic_handler("a", {"b": pygrpc.unary_unary_rpc_method_handler(ECHO["uu"])})
    server = pygrpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    assert server.add_insecure_port(f"unix:{tmp_path}/socket") == 1
    server.start()
    with pygrpc.insecure_channel(f"unix:{tmp_path}/socket") as channel:
        assert channel.unary_unary("/a/b")(b"a") == b"a"
    server.stop(None)
    assert not (tmp_path / "socket").exists()
    with pygrpc.insecure_channel(f"unix:{tmp_path}/socket") as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary("/a/b")(b"a")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE


# Not with a server of grpcio, which may refuse a stream that replaces one that it has just ended.
@pytest.mark.parametrize("client", ["pygrpc", "grpc"])
def test_a_limit_of_streams_makes_calls_wait_in_line(client: str) -> None:
    with serve((client, "pygrpc"), **ECHO, server={"options": (("grpc.max_concurrent_streams", 2),)}) as link:
        futures = [link.method("uu").future(b"%d" % number) for number in range(20)]
        assert [future.result(BOUND) for future in futures] == [b"%d" % number for number in range(20)]


def test_a_destructor_at_the_end_of_the_process_needs_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter clears modules before it collects what is left.
    with serve(**ECHO) as link:
        call = link.method("us")(b"a")
        with monkeypatch.context() as patch:
            patch.setattr(channel_module, "ChannelConnectivity", None)
            patch.setattr(channel_module, "_CLOSED", None)
            patch.setattr(call_module, "COLLECTED", None)
            link.channel.__del__(lambda: True)
            call.__del__(lambda: True)
        assert list(call) == [b"a"] * 3
