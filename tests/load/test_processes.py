"""A test in several processes, and what happens when one of them or the server is not there."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

from pygrpc.load import processes, worker
from pygrpc.load.errors import LoadError
from pygrpc.load.plan import Plan
from pygrpc.load.processes import run
from pygrpc.load.requests import Requests, read_requests
from pygrpc.load.result import LoadResult
from pygrpc.load.worker import packed, unpacked, work
from tests.load import virtual_time
from tests.load.servers import SERVICE, serving
from tests.load.test_runner import Server
from tests.protos.grpc.testing import messages_pb2

BOUND = 20.0
NUMBERED = read_requests(['{"response_size": "{{call}}"}'], messages_pb2.SimpleRequest.DESCRIPTOR)


@pytest.mark.parametrize("number", [1, 3])
async def test_the_work_is_shared_and_no_number_is_used_twice(number: int) -> None:
    with serving() as (target, service):
        plan = Plan(target, f"{SERVICE}/UnaryCall", NUMBERED, concurrency=4, connections=number, calls=50)
        result = await run(plan, number)
        assert (result.calls, result.unfinished, list(result.codes)) == (50, 0, ["OK"])
        # 50 calls of 3 processes: two make 17, which are numbered 1, 4, 7 ... and 2, 5, 8 ..., and one makes 16.
        assert sorted(request.response_size for request in service.requests) == list(range(1, 51))
        assert len(service.peers) == number


async def test_processes_stop_and_report() -> None:
    with serving() as (target, service):
        plan = Plan(target, f"{SERVICE}/UnaryCall", NUMBERED, concurrency=2, connections=2)
        stop = asyncio.Event()
        running = asyncio.create_task(run(plan, 2, stop))
        assert await asyncio.to_thread(service.called.acquire, timeout=BOUND)
        stop.set()
        result = await running
        assert result.interrupted
        assert result.calls <= len(service.requests)


def test_calls_of_a_warm_up_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(0.1)

    async def connect(plan: Plan) -> list[Any]:
        return []

    monkeypatch.setattr(worker.calls, "connect", connect)
    monkeypatch.setattr(worker.calls, "Calls", lambda plan, channels: server)
    plan = Plan("host:1", "a.B/C", NUMBERED, concurrency=2, calls=10, warmup=0.95)
    result = virtual_time.run(work(plan, asyncio.Event()))
    assert (result.calls, result.seconds) == (10, pytest.approx(0.5))
    # Each number is used once, in the warm-up or after it.
    assert sorted(number for _, number, _ in server.begun) == list(range(30))


async def test_an_interrupted_warm_up_has_no_calls() -> None:
    with serving() as (target, service):
        stop = asyncio.Event()
        plan = Plan(target, f"{SERVICE}/UnaryCall", NUMBERED, warmup=1000.0)
        running = asyncio.create_task(run(plan, 1, stop))
        assert await asyncio.to_thread(service.called.acquire, timeout=BOUND)
        stop.set()
        assert await running == LoadResult(interrupted=True)


async def test_a_server_that_is_not_there() -> None:
    with serving() as (target, _):
        pass
    with pytest.raises(LoadError, match=f"^{target} can't be reached"):
        await run(Plan(target, "a.B/C", NUMBERED, concurrency=2), 2)


async def test_fewer_calls_than_processes() -> None:
    with pytest.raises(LoadError, match="3 processes can't share 2 calls in flight"):
        await run(Plan("host:1", "a.B/C", NUMBERED, concurrency=2), 3)


async def test_a_process_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROGRAM", "raise SystemExit(7)")
    with pytest.raises(LoadError, match="a process of the load test ended with status 7 before it had a result"):
        await run(Plan("host:1", "a.B/C", Requests((b"",)), concurrency=2), 2)


async def test_work_begins_when_it_may() -> None:
    with serving() as (target, service):
        order = []

        async def begin() -> None:
            order.append(len(service.requests))

        plan = Plan(target, f"{SERVICE}/UnaryCall", NUMBERED, concurrency=1, calls=3)
        assert (await work(plan, asyncio.Event(), begin)).calls == 3
        assert order == [0]


async def test_values_pass_between_processes() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(packed(LoadResult(missed=3)) + packed(None))
    reader.feed_eof()
    assert await unpacked(reader) == LoadResult(missed=3)
    assert await unpacked(reader) is None
    with pytest.raises(asyncio.IncompleteReadError):
        await unpacked(reader)


def test_a_process_ends_with_whoever_directs_it() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", processes._PROGRAM]
    ended = subprocess.run(command, input=b"", capture_output=True, timeout=BOUND, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert pickle.loads(ended.stdout[4:]) == LoadResult(interrupted=True)
