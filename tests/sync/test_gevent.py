"""The synchronous API under gevent: threads are greenlets there, and whoever waits lets others run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pygrpc.experimental import gevent as module

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import faulthandler
import threading
from concurrent import futures

import gevent

# Whoever waits for too long says where.
faulthandler.dump_traceback_later(30, exit=True)

import pygrpc
from pygrpc.testing import in_process_channel
from tests.sync.peers import ECHO, handlers

entered, gate = threading.Event(), threading.Event()
together = threading.Barrier(100)

def waits(request, context):
    entered.set()
    gate.wait()
    return request

def meets(request, context):
    together.wait()
    return request

def hangs(request, context):
    over = threading.Event()
    if context.add_callback(over.set):
        entered.set()
        over.wait()
    return b""

made = handlers(pygrpc, {**ECHO, "uu_waits": waits, "uu_meets": meets, "uu_hangs": hangs})
server = pygrpc.server(futures.ThreadPoolExecutor(120), handlers=[made])
port = server.add_insecure_port("127.0.0.1:0")
server.start()

def check(channel):
    def method(kind, name):
        return getattr(channel, kind)("/sync.Peer/" + name)

    echo = method("unary_unary", "uu")
    assert echo(b"a") == b"a"
    assert echo.future(b"a").result() == b"a"
    assert list(method("unary_stream", "us")(b"a")) == [b"a"] * 3
    assert method("stream_unary", "su")(iter([b"a", b"b"])) == b"a,b"
    assert list(method("stream_stream", "ss")(iter([b"a", b"b"]))) == [b"a", b"b"]
    pygrpc.channel_ready_future(channel).result()

    # Another greenlet goes on while this one waits for a response.
    entered.clear()
    gate.clear()
    def let_go():
        entered.wait()
        gate.set()
    other = gevent.spawn(let_go)
    assert method("unary_unary", "uu_waits")(b"a") == b"a"
    other.get()

    # A hundred at once: no handler returns before all have begun.
    requests = [str(number).encode() for number in range(100)]
    greenlets = [gevent.spawn(method("unary_unary", "uu_meets"), request) for request in requests]
    assert [greenlet.get() for greenlet in greenlets] == requests

    # A wait that ends otherwise: the deadline, gevent's own timeouts, and a greenlet that is killed.
    hang = method("unary_unary", "uu_hangs")
    try:
        hang(b"", timeout=0.05)
    except pygrpc.RpcError as error:
        assert error.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
    try:
        with gevent.Timeout(0.05):
            hang(b"")
    except gevent.Timeout:
        pass
    entered.clear()
    greenlet = gevent.spawn(hang, b"")
    entered.wait()
    greenlet.kill()
    assert echo(b"a") == b"a"

with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    check(channel)
with pygrpc.insecure_channel(f"localhost:{port}") as channel:
    assert channel.unary_unary("/sync.Peer/uu")(b"a") == b"a"
with in_process_channel(server) as channel:
    check(channel)

pygrpc.install()
import grpc.experimental.gevent
grpc.experimental.gevent.init_gevent()
server.stop(None).wait()
print("done")
"""


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
def test_client_and_server_in_greenlets() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, "done\n"), process.stderr


def test_there_is_nothing_to_set_up() -> None:
    module.init_gevent()
