"""Resolving names, and attempts to connect to several addresses."""

import errno
import queue
import socket
import threading
import time
from typing import Any

import pytest

import pygrpc
from pygrpc import _naming
from pygrpc.sync import connecting
from tests.sync.peers import BOUND, ECHO, SERVICE, serve


def test_the_next_address_is_tried_when_one_refuses() -> None:
    with serve(**ECHO) as link:
        target = f"ipv4:127.0.0.1:1,127.0.0.1:{link.port}"
        with pygrpc.insecure_channel(target) as channel:
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"


def test_the_next_address_gets_a_turn_when_one_does_not_answer() -> None:
    # Somebody accepts there, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent, serve(**ECHO) as link:
        target = f"ipv4:127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{link.port}"
        with pygrpc.insecure_channel(target) as channel:
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a", timeout=BOUND) == b"a"
        sock, _ = silent.accept()
        with sock:
            sock.settimeout(BOUND)
            while sock.recv(1000):
                pass


def test_a_peer_that_closes_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(pygrpc.RpcError) as caught:
            channel.unary_unary("/a/b")(b"")
        thread.join(BOUND)
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert f"ipv4:127.0.0.1:{port}: " in caught.value.details()


def test_an_attempt_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = (("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100))
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with pygrpc.insecure_channel(target, options) as channel, pytest.raises(pygrpc.RpcError) as caught:
            channel.unary_unary("/a/b")(b"", timeout=BOUND)
    assert f"ipv4:{target}: no answer within 0." in caught.value.details()


def test_closing_ends_an_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel = pygrpc.insecure_channel(f"127.0.0.1:{silent.getsockname()[1]}")
        future = channel.unary_unary("/a/b").future(b"")
        channel.close()
        assert future.code() is pygrpc.StatusCode.CANCELLED
        sock, _ = silent.accept()
        with sock:
            sock.settimeout(BOUND)
            while sock.recv(1000):
                pass


def test_a_slow_resolver_holds_up_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = threading.Event()
    original = socket.getaddrinfo

    def getaddrinfo(host: bytes, *arguments: Any, **options: Any) -> Any:
        if host == b"localhost":
            assert leave.wait(BOUND)
        return original(host, *arguments, **options)

    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo)
    with serve(**ECHO) as link, pygrpc.insecure_channel(f"localhost:{link.port}") as channel:
        started = time.monotonic()
        with pytest.raises(pygrpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/uu")(b"", timeout=0.05)
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - started < BOUND
        leave.set()
        assert channel.unary_unary(f"/{SERVICE}/uu")(b"a", timeout=BOUND) == b"a"


def test_a_resolver_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = threading.Event()
    original = socket.getaddrinfo
    asked: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()

    def getaddrinfo(host: bytes, *arguments: Any, **options: Any) -> Any:
        if host == b"localhost":
            asked.put(threading.current_thread())
            assert leave.wait(BOUND)
        return original(host, *arguments, **options)

    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo)
    channel = pygrpc.insecure_channel("localhost:1")
    future = channel.unary_unary("/a/b").future(b"")
    resolver = asked.get(timeout=BOUND)
    channel.close()
    leave.set()
    resolver.join(BOUND)
    assert future.details() == "Channel closed!"


def test_sockets_that_can_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*arguments: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    with pygrpc.insecure_channel("127.0.0.1:1") as channel:
        monkeypatch.setattr(connecting.socket, "socket", no_socket)
        with pytest.raises(pygrpc.RpcError) as caught:
            channel.unary_unary("/a/b")(b"")
        monkeypatch.undo()
    assert "Too many open files" in caught.value.details()
