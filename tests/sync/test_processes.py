"""What only a process of its own can show: Ctrl-C, exit with calls in flight, fork."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pygrpc.sync import fork  # noqa: F401 - what is tested in other processes
from tests.sync.peers import BOUND

ROOT = Path(__file__).resolve().parents[2]

#: A server whose methods wait until it is killed, apart from ``uu_echo``.
SERVER = """
import os, threading
from concurrent import futures
import pygrpc
from tests.sync.peers import ECHO, handlers

def hang(request, context):
    os.write(1, b"entered\\n")
    threading.Event().wait()

made = handlers(pygrpc, {"uu": hang, "us": hang, "su": hang, "ss": hang, "uu_echo": ECHO["uu"], "ss_echo": ECHO["ss"]})
server = pygrpc.server(futures.ThreadPoolExecutor(20), handlers=[made])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""

PROLOGUE = """
import faulthandler, os, signal, sys, threading
import pygrpc
# Whoever waits for too long says where.
faulthandler.dump_traceback_later(15, exit=True)
channel = pygrpc.insecure_channel("127.0.0.1:" + sys.argv[1])
def method(name):
    kinds = {"u": "unary", "s": "stream"}
    return getattr(channel, kinds[name[0]] + "_" + kinds[name[1]])("/sync.Peer/" + name)
echo = method("uu_echo")
def requests():
    while True:
        yield bytes(1000)
"""


def python(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, text=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
    )


@pytest.fixture
def server() -> Any:
    process = python(SERVER)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    yield process, port
    process.kill()
    process.communicate()


def run(server: Any, program: str, interrupt: bool = False) -> tuple[int, str, str]:
    """Runs a program that uses the server; interrupts it when its call has reached a handler."""
    server_process, port = server
    process = python(PROLOGUE + textwrap.dedent(program), port)
    try:
        if interrupt:
            assert server_process.stdout.readline().strip() == "entered"
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=2 * BOUND)
    finally:
        process.kill()
    return process.returncode, out, err


WAITS = {
    "blocking": "method('uu')(b'')",
    "stream-unary": "method('su')(requests())",
    "result": "method('uu').future(b'').result()",
    "iteration": "next(method('us')(b''))",
    "conversation": "next(method('ss')(requests()))",
    "metadata": "method('us')(b'').initial_metadata()",
    "follower": """
        threading.Thread(target=lambda: method('uu').future(b'').exception(), daemon=True).start()
        while channel.driver._polls_for is None:
            pass
        method('uu')(b'')
    """,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_control_c_interrupts_every_wait(server: Any, wait: str) -> None:
    program = "try:\n" + textwrap.indent(textwrap.dedent(wait).strip(), "    ")
    program += (
        "\nexcept KeyboardInterrupt:\n    assert echo(b'a') == b'a'\n    channel.close()\n    print('interrupted')"
    )
    code, out, err = run(server, program, interrupt=True)
    assert (code, out.strip()) == (0, "interrupted"), err
    assert "Traceback" not in err


def test_control_c_interrupts_the_wait_for_a_connection(server: Any) -> None:
    program = """
        lonely = pygrpc.insecure_channel("127.0.0.1:1")
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            lonely.unary_unary("/a/b")(b"", wait_for_ready=True)
        except KeyboardInterrupt:
            lonely.close()
            print("interrupted")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "interrupted"), err


def test_control_c_interrupts_a_server_that_waits_for_its_end() -> None:
    process = python(SERVER)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=BOUND)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err


def test_a_signal_handler_may_cancel_and_exit(server: Any) -> None:
    program = """
        future = method("uu").future(b"")
        def handle(signum, frame):
            print(future.cancel(), flush=True)
            sys.exit(0)
        signal.signal(signal.SIGINT, handle)
        future.result()
    """
    code, out, err = run(server, program, interrupt=True)
    assert (code, out.strip()) == (0, "True"), err


EXITS = {
    "idle": "echo(b'a')",
    "unused": "pass",
    "futures": "futures = [method('uu').future(b'') for _ in range(3)]\nfor each in futures: each.add_callback(print)",
    "streams": "calls = [method('us')(b''), method('ss')(requests()), method('ss')(iter([b'']))]",
    "threads": "for _ in range(3): threading.Thread(target=method('uu'), args=(b'',), daemon=True).start()",
    "connectivity": "channel.subscribe(lambda state: None, try_to_connect=True)",
    "nobody listens": "pygrpc.insecure_channel('127.0.0.1:1').subscribe(lambda state: None, try_to_connect=True)",
    "server": """
from concurrent import futures
server = pygrpc.server(futures.ThreadPoolExecutor(1))
server.add_insecure_port("127.0.0.1:0")
server.start()
""",
    "unstarted server": """
from concurrent import futures
server = pygrpc.server(futures.ThreadPoolExecutor(1))
server.add_insecure_port("127.0.0.1:0")
""",
}


@pytest.mark.parametrize("program", EXITS.values(), ids=EXITS)
def test_exit_with_work_in_flight_is_quick_and_quiet(server: Any, program: str) -> None:
    code, out, err = run(server, program)
    assert (code, out, err) == (0, "", "")


def test_the_child_of_a_fork_connects_afresh(server: Any) -> None:
    program = """
        assert echo(b"a") == b"a"
        # It must not be over when the process forks: what has arrived by then stays with the child too.
        last = threading.Event()
        def one():
            yield b"a"
            last.wait()
        stream = method("ss_echo")(one())
        pending = method("uu").future(b"")
        states = []
        channel.subscribe(states.append)
        pid = os.fork()
        if pid == 0:
            try:
                assert echo(b"child") == b"child"
                assert echo.future(b"child").result(10) == b"child"
                assert list(method("ss_echo")(iter([b"child"] * 3))) == [b"child"] * 3
                for call in (pending, stream):
                    assert call.code() is pygrpc.StatusCode.CANCELLED, call
                    assert call.details() == "Call cancelled in fork child"
                channel.close()
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        # The parent's connection has not suffered.
        last.set()
        assert list(stream) == [b"a"]
        assert echo(b"a") == b"a"
        pending.cancel()
        channel.close()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_a_fork_while_other_threads_are_in_calls(server: Any) -> None:
    program = """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert echo(b"a") == b"a"
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if echo(b"child", timeout=15) == b"child" else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_a_server_goes_on_when_a_handler_forks() -> None:
    program = """
import os
from concurrent import futures
import pygrpc

def handler(request, context):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return request

handlers = pygrpc.method_handlers_generic_handler("a", {"b": pygrpc.unary_unary_rpc_method_handler(handler)})
server = pygrpc.server(futures.ThreadPoolExecutor(2), handlers=[handlers])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    for _ in range(3):
        assert channel.unary_unary("/a/b")(b"a", timeout=15) == b"a"
server.stop(None)
print("done")
"""
    process = python(program)
    out, err = process.communicate(timeout=2 * BOUND)
    assert (process.returncode, out.strip()) == (0, "done"), err


def test_the_child_of_a_fork_drops_the_server() -> None:
    program = """
import os
from concurrent import futures
import pygrpc

server = pygrpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
read, write = os.pipe()
read_ready, write_ready = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(write)
    assert server.stop(None).is_set()
    assert server.wait_for_termination(10) is False
    # The parent closes its server; the port must be free then, although this process lives.
    os.write(write_ready, b"x")
    os.read(read, 1)
    os._exit(0)
os.read(read_ready, 1)
server.stop(None)
again = pygrpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
assert again.add_insecure_port(f"127.0.0.1:{port}") == port
os.write(write, b"x")
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    process = python(program)
    out, err = process.communicate(timeout=2 * BOUND)
    assert (process.returncode, out.strip()) == (0, "done"), err


def test_who_is_told_of_forks() -> None:
    program = """
import logging, os, threading
import pygrpc
from pygrpc.sync import fork

logging.basicConfig()

class Thing:
    def __init__(self):
        self.fork_lock = threading.RLock()
        self.told = False

    def after_fork(self):
        self.told = True

class Broken(Thing):
    def after_fork(self):
        raise KeyError("broken")

things = [Thing(), Broken(), Thing()]
for thing in things:
    fork.register(thing)
# Nobody else is at work in a thing while the process forks.
working, forked = threading.Event(), threading.Event()
def work():
    with things[0].fork_lock:
        working.set()
        things[0].half_done = True
        os.write(1, b"working\\n")
        things[0].half_done = False
worker = threading.Thread(target=work)
worker.start()
working.wait()
pid = os.fork()
if pid == 0:
    ok = things[0].told and things[2].told and not things[0].half_done
    os._exit(0 if ok else 1)
worker.join()
assert os.waitpid(pid, 0)[1] == 0
assert not things[0].told
for thing in things:
    assert thing.fork_lock.acquire(blocking=False)
# The child of a child has nothing to do with it either.
pid = os.fork()
if pid == 0:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    process = python(program)
    out, err = process.communicate(timeout=2 * BOUND)
    assert (process.returncode, out.split()) == (0, ["working", "done"]), err
    assert "could not be reset in the child of a fork" in err
