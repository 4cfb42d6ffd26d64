"""The states of a channel as its subscribers are told them, compared with grpcio's."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest

import pygrpc
from pygrpc.sync import connecting
from tests.sync.peers import BOUND, ECHO, SERVICE, handlers
from tests.sync.test_channel import reserved_port

EAGER = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
)

each_client = pytest.mark.parametrize("name", ["pygrpc", "grpc"])


class States:
    """What a subscription was told, by name; without CONNECTING, which grpcio looks for too seldom to see it always."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __call__(self, state: Any) -> None:
        if state.name != "CONNECTING":
            self._news.put(state.name)

    def next(self) -> str:
        return self._news.get(timeout=BOUND)

    @property
    def quiet(self) -> bool:
        return self._news.empty()


@contextlib.contextmanager
def server(port: int) -> Iterator[None]:
    """Runs a server on a port that is its own."""
    with futures.ThreadPoolExecutor(2) as pool:
        running = pygrpc.server(pool, handlers=[handlers(pygrpc, ECHO)])
        assert running.add_insecure_port(f"127.0.0.1:{port}") == port
        running.start()
        try:
            yield
        finally:
            running.stop(None).wait(BOUND)


def call(channel: Any, **arguments: Any) -> bytes:
    answer: bytes = channel.unary_unary(f"/{SERVICE}/uu")(b"x", timeout=BOUND, **arguments)
    return answer


@each_client
def test_a_server_that_goes_and_comes_back(name: str) -> None:
    api = importlib.import_module(name)
    states = States()
    with reserved_port() as port, api.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
        with server(port):
            channel.subscribe(states, try_to_connect=True)
            assert [states.next(), states.next()] == ["IDLE", "READY"]
        assert states.next() == "IDLE"
        with server(port):
            assert states.quiet
            assert call(channel, wait_for_ready=True) == b"x"
            assert states.next() == "READY"
        assert states.next() == "IDLE"


@each_client
def test_a_server_that_is_down_and_comes_up(name: str) -> None:
    api = importlib.import_module(name)
    states, late, gone = States(), States(), States()
    with reserved_port() as port, api.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
        channel.subscribe(states, try_to_connect=True)
        channel.subscribe(gone)
        assert [states.next(), states.next()] == ["IDLE", "TRANSIENT_FAILURE"]
        channel.unsubscribe(gone)
        channel.subscribe(late)
        assert late.next() == "TRANSIENT_FAILURE"
        with server(port):
            assert states.next() == late.next() == "READY"
        assert states.next() == late.next() == "IDLE"
        # Who left may have been told of what was so before that.
        while not gone.quiet:
            assert gone.next() in ("IDLE", "TRANSIENT_FAILURE")


@each_client
def test_to_watch_makes_no_channel_connect(name: str) -> None:
    api = importlib.import_module(name)
    states = States()
    with reserved_port() as port, api.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
        channel.subscribe(states)
        assert states.next() == "IDLE"
        with pytest.raises(api.RpcError):
            call(channel)
        assert states.next() == "TRANSIENT_FAILURE"


@each_client
def test_idleness(name: str) -> None:
    api = importlib.import_module(name)
    states = States()
    options = [("grpc.client_idle_timeout_ms", 1000)]
    with reserved_port() as port, server(port), api.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        channel.subscribe(states)
        for _ in range(2):
            assert states.next() == "IDLE"
            call(channel)
            assert states.next() == "READY"


@each_client
def test_the_future_waits_for_a_server_that_comes_up(name: str) -> None:
    api = importlib.import_module(name)
    with reserved_port() as port, api.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
        future = api.channel_ready_future(channel)
        other = api.channel_ready_future(channel)
        with pytest.raises(api.FutureTimeoutError):
            future.result(timeout=0.3)
        assert (future.done(), future.running(), future.cancelled()) == (False, True, False)
        assert other.cancel()
        with server(port):
            assert future.result(timeout=BOUND) is None
            assert future.exception() is None
            assert future.done()
            assert not future.cancel()
            assert call(channel) == b"x"
        with pytest.raises(api.FutureCancelledError):
            other.result()


# Many failures.


def test_many_failures_leave_nothing_behind_and_are_not_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: queue.SimpleQueue[None] = queue.SimpleQueue()
    begin = connecting.begin_to_connect

    def counted(address: Any) -> socket.socket:
        attempts.put(None)
        return begin(address)

    monkeypatch.setattr("pygrpc.sync.channel.begin_to_connect", counted)
    descriptors, threads = set(os.listdir("/proc/self/fd")), set(threading.enumerate())
    with reserved_port() as port:
        with pygrpc.insecure_channel(f"127.0.0.1:{port}", EAGER) as channel:
            made = 0
            calls = 0
            while made < 8:
                for _ in range(20):
                    with pytest.raises(pygrpc.RpcError):
                        call(channel)
                    calls += 1
                attempts.get(timeout=BOUND)
                made += 1
            connections = channel._connections  # type: ignore[attr-defined]
            assert len(connections.core._subchannels) == 1
            assert len(connections.transports) <= 1
            assert connections.core._appointments.next() is None
            driver = channel.driver  # type: ignore[attr-defined]
        watcher = driver._watcher
        if watcher is not None:
            watcher.join(BOUND)
    assert attempts.qsize() < calls
    # Only what is new counts: threads that other tests have left may end meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    assert set(threading.enumerate()) <= threads
