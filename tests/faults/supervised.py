"""A program with workers: ``python -m tests.faults.supervised WAY START_METHOD ADDRESS WORKERS GRACE``.

The ways are the servers of ``program`` and ways to fail. Each server prints its process and its address.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pygrpc
from tests.faults.program import make_server


def sync(address: str) -> Any:
    server = make_server("pygrpc-sync")
    server.add_insecure_port(address)
    say(address)
    return server


async def aio(address: str) -> Any:
    server = make_server("pygrpc-aio")
    server.add_insecure_port(address)
    say(address)
    return server


def say(address: str) -> None:
    os.write(1, f"{os.getpid()} {address}\n".encode())


def raises(address: str) -> Any:
    raise ValueError("no such database")


def refuses(address: str) -> Any:
    """Says why it can't serve, which is no defect."""
    raise SystemExit("no such database")


async def refuses_to_start(address: str) -> Any:
    class Server:
        async def start(self) -> None:
            raise SystemExit("no such database")

        async def stop(self, grace: float) -> None: ...

    return Server()


def dies(address: str) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def forgets(address: str) -> Any:
    """Returns no server."""


def started(address: str) -> Any:
    server = sync(address)
    server.start()
    return server


def plain_aio(address: str) -> Any:
    return make_server("pygrpc-aio")


async def sync_in_a_coroutine(address: str) -> Any:
    return make_server("pygrpc-sync")


def fails_later(address: str) -> Any:
    """Serves the first time, and from then on fails until the file is gone that it makes."""
    mark = Path(os.environ["MARK"])
    if mark.exists():
        os.write(1, b"failed\n")
        raise ValueError("not now")
    mark.touch()
    return sync(address)


def taken(address: str) -> Any:
    """Another program listens on the port."""
    server = make_server("pygrpc-sync")
    server.add_insecure_port(os.environ["TAKEN"])
    return server


if __name__ == "__main__":
    _, way, method, address, workers, grace = sys.argv
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    serve = globals().get(way, lambda address: None)
    pygrpc.run_workers(serve, address, int(workers) or None, grace=float(grace), start_method=method)
    print("over", flush=True)
