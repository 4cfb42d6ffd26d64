"""Programs in processes of their own, and a server for them."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sync.peers import BOUND

ROOT = Path(__file__).resolve().parents[2]

#: A server whose methods wait for the end of their call, apart from ``uu_echo`` and ``ss_echo``. It says whose call has
#: come: a client of these tests puts a name of its own into the user agent.
SERVER = """
import os, threading
from concurrent import futures
import pygrpc
from tests.sync.peers import ECHO, handlers

def hang(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    agent = dict(context.invocation_metadata())["user-agent"]
    os.write(1, agent.split()[0].encode() + b"\\n")
    over.wait()

made = handlers(pygrpc, {"uu": hang, "us": hang, "su": hang, "ss": hang, "uu_echo": ECHO["uu"], "ss_echo": ECHO["ss"]})
server = pygrpc.server(futures.ThreadPoolExecutor(20), handlers=[made])
os.write(1, b"%d\\n" % server.add_insecure_port("127.0.0.1:0"))
server.start()
server.wait_for_termination()
"""

PROLOGUE = """
import faulthandler, os, signal, sys, threading
import pygrpc
# Whoever waits for too long says where.
faulthandler.dump_traceback_later(30, exit=True)
channel = pygrpc.insecure_channel("127.0.0.1:" + sys.argv[1], options=[("grpc.primary_user_agent", str(os.getpid()))])
def method(name):
    kinds = {"u": "unary", "s": "stream"}
    return getattr(channel, kinds[name[0]] + "_" + kinds[name[1]])("/sync.Peer/" + name)
echo = method("uu_echo")
def requests():
    while True:
        yield bytes(1000)
"""


def python(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    # In a group of its own, so that ``end`` reaches the children of a process too.
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", *arguments],
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **settings,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process and those that it has forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with process:
        pass


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits until a process has come to its end by itself."""
    try:
        out, err = process.communicate(timeout=3 * BOUND)
    finally:
        end(process)
    return process.returncode, out, err


@dataclass
class Server:
    """A server in another process."""

    process: subprocess.Popen[str]
    port: str

    def wait_for_call_of(self, client: subprocess.Popen[str]) -> None:
        """Waits until the call of a client has reached a handler; forgets of other calls."""
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline().strip()) != str(client.pid):
            assert line, "the server has ended"


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Runs a server in another process."""
    process = python(SERVER)
    try:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
    finally:
        end(process)


def start(server: Server, program: str) -> subprocess.Popen[str]:
    """Starts a program that uses the server."""
    return python(PROLOGUE + textwrap.dedent(program), server.port)


def run(server: Server, program: str) -> tuple[int, str, str]:
    """Runs a program that uses the server."""
    return finish(start(server, program))
