"""Many connections and many channels: what each of them costs."""

import contextlib
import gc
import queue
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent import futures

import pytest

import pygrpc
from tests.sync.peers import BOUND, ECHO, handlers, serve

CONNECTIONS = 200
CHANNELS = 500
#: Bytes: 24 MiB for a thousand idle connections, on h2 too, and 25 MiB for five thousand idle channels.
CONNECTION_COST = 24_000
CHANNEL_COST = 5_000


@contextlib.contextmanager
def measured() -> Iterator[list[int]]:
    """Gives how many bytes what is made meanwhile has in Python's heap, once it is made."""
    cost: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        yield cost
        gc.collect()
        cost.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()


def idle_connection(port: int) -> socket.socket:
    """A client that says hello, and nothing else; returns when the server has answered."""
    client = socket.create_connection(("127.0.0.1", port), timeout=BOUND)
    # RFC 9113, section 3.4: the preface and an empty SETTINGS frame.
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
    assert client.recv(9)[3] == 4
    return client


def test_idle_connections_have_no_thread_and_little_memory() -> None:
    with serve(**ECHO) as link, contextlib.ExitStack() as stack:
        assert link.method("uu")(b"a") == b"a"
        before = set(threading.enumerate())
        with measured() as cost:
            for _ in range(CONNECTIONS):
                stack.enter_context(idle_connection(link.port))
        assert not set(threading.enumerate()) - before
        assert cost[0] / CONNECTIONS < CONNECTION_COST
        assert link.method("uu")(b"a") == b"a"


def test_idle_channels_have_no_thread_and_little_memory() -> None:
    with contextlib.ExitStack() as stack:
        # What the first one loads is not counted.
        stack.enter_context(pygrpc.insecure_channel("localhost:1"))
        before = set(threading.enumerate())
        with measured() as cost:
            for _ in range(CHANNELS):
                stack.enter_context(pygrpc.insecure_channel("localhost:1"))
        assert not set(threading.enumerate()) - before
        assert cost[0] / CHANNELS < CHANNEL_COST


def test_a_server_that_nobody_holds_stops() -> None:
    states: queue.SimpleQueue[pygrpc.ChannelConnectivity] = queue.SimpleQueue()
    with futures.ThreadPoolExecutor(1) as pool:
        server = pygrpc.server(pool, handlers=[handlers(pygrpc, ECHO)])
        port = server.add_insecure_port("127.0.0.1:0")
        before = set(threading.enumerate())
        server.start()
        (thread,) = set(threading.enumerate()) - before
        with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            echo = channel.unary_unary("/sync.Peer/uu")
            assert echo(b"a") == b"a"
            channel.subscribe(states.put)
            assert states.get(timeout=BOUND) is pygrpc.ChannelConnectivity.READY
            del server
            gc.collect()
            assert states.get(timeout=BOUND) is pygrpc.ChannelConnectivity.IDLE
            thread.join(BOUND)
            assert not thread.is_alive()
            with pytest.raises(pygrpc.RpcError) as caught:
                echo(b"a")
            assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
