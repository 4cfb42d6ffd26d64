"""Resolvers that programs register, behind channels of the sync API; and the example of docs/naming.md."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc import resolvers
from tests.source_tree import ROOT
from tests.sync.peers import BOUND, ECHO, SERVICE, serve


class Mine(resolvers.Resolver):
    """Tells the test that it was made, and leaves the rest to it."""

    made: queue.SimpleQueue[Mine]

    def __init__(self, target: resolvers.Target, listener: resolvers.Listener) -> None:
        self.listener = listener
        self.thread = threading.current_thread()
        self.hinted = threading.Event()
        self.closed = threading.Event()
        self.made.put(self)

    def request_resolution(self) -> None:
        self.hinted.set()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def made() -> Iterator[queue.SimpleQueue[Mine]]:
    Mine.made = queue.SimpleQueue()
    resolvers.register("mine", Mine)
    yield Mine.made
    resolvers.unregister("mine")


def uu(channel: Any) -> Any:
    return channel.unary_unary(f"/{SERVICE}/uu")


def test_a_call_goes_where_the_resolver_says(made: queue.SimpleQueue[Mine]) -> None:
    with serve(**ECHO) as link, pygrpc.insecure_channel("mine:a") as channel:
        future = uu(channel).future(b"x")
        mine = made.get(timeout=BOUND)
        assert mine.thread is not threading.current_thread()
        mine.listener.update([link.target])
        assert future.result(BOUND) == b"x"
        assert not mine.closed.is_set()
        channel.close()
        assert mine.closed.wait(BOUND)
        mine.listener.update([link.target])
        mine.listener.error("late")


def test_a_resolver_may_answer_from_within_its_factory() -> None:
    with serve(**ECHO) as link:

        def factory(target: resolvers.Target, listener: resolvers.Listener) -> resolvers.Resolver:
            listener.update([link.target])
            return resolvers.Resolver()

        resolvers.register("mine", factory)
        with pygrpc.insecure_channel("mine:a") as channel:
            assert uu(channel)(b"x", timeout=BOUND) == b"x"
            assert uu(channel).with_call(b"x")[1].code() is pygrpc.StatusCode.OK


def test_a_resolver_may_block(made: queue.SimpleQueue[Mine]) -> None:
    leave = threading.Event()

    def factory(target: resolvers.Target, listener: resolvers.Listener) -> Mine:
        assert leave.wait(BOUND)
        return Mine(target, listener)

    resolvers.register("mine", factory)
    with serve(**ECHO) as link, pygrpc.insecure_channel("mine:a") as channel:
        with pytest.raises(pygrpc.RpcError) as caught:
            uu(channel)(b"", timeout=0.05)
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        leave.set()
        made.get(timeout=BOUND).listener.update([link.target])
        assert uu(channel)(b"x", timeout=BOUND) == b"x"


def test_closing_does_not_wait_for_a_resolver_that_blocks(made: queue.SimpleQueue[Mine]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def factory(target: resolvers.Target, listener: resolvers.Listener) -> Mine:
        entered.set()
        assert leave.wait(BOUND)
        return Mine(target, listener)

    resolvers.register("mine", factory)
    channel = pygrpc.insecure_channel("mine:a")
    future = uu(channel).future(b"")
    assert entered.wait(BOUND)
    channel.close()
    assert future.code() is pygrpc.StatusCode.CANCELLED
    leave.set()
    # It was made too late, and is closed at once.
    assert made.get(timeout=BOUND).closed.wait(BOUND)


def test_an_error_fails_the_calls_and_asks_again(made: queue.SimpleQueue[Mine]) -> None:
    options = (("grpc.initial_reconnect_backoff_ms", 100),)
    with serve(**ECHO) as link, pygrpc.insecure_channel("mine:a", options) as channel:
        future, patient = uu(channel).future(b""), uu(channel).future(b"p", wait_for_ready=True)
        mine = made.get(timeout=BOUND)
        mine.listener.error("nobody home")
        assert future.code() is pygrpc.StatusCode.UNAVAILABLE
        assert future.details() == "nobody home"
        assert mine.hinted.wait(BOUND)
        mine.listener.update([link.target])
        assert patient.result(BOUND) == b"p"


def test_a_resolver_that_raises_fails_the_calls(caplog: pytest.LogCaptureFixture) -> None:
    resolvers.register("mine", lambda target, listener: 1 / 0)  # type: ignore[arg-type, return-value]
    with pygrpc.insecure_channel("mine:a") as channel, pytest.raises(pygrpc.RpcError) as caught:
        uu(channel)(b"", timeout=BOUND)
    assert caught.value.details() == "the resolver of 'mine' raised ZeroDivisionError: division by zero"


def test_the_service_config_holds_for_the_first_call(made: queue.SimpleQueue[Mine]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(request: bytes, context: Any) -> bytes:
        entered.set()
        leave.wait(BOUND)
        return request

    with serve(uu=slow) as link, pygrpc.insecure_channel("mine:a") as channel:
        future = uu(channel).future(b"x")
        mine = made.get(timeout=BOUND)
        mine.listener.update([link.target], {"methodConfig": [{"name": [{"service": SERVICE}], "timeout": "0.3s"}]})
        assert future.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        leave.set()


def test_a_caller_that_blocks_is_woken_at_the_deadline_of_the_config() -> None:
    remaining: queue.SimpleQueue[float] = queue.SimpleQueue()
    leave = threading.Event()

    def slow(request: bytes, context: Any) -> bytes:
        remaining.put(context.time_remaining())
        leave.wait(BOUND)
        return request

    config = {"methodConfig": [{"name": [{"service": SERVICE, "method": "uu"}], "timeout": "0.5s"}]}
    with serve(uu=slow) as link:

        def factory(target: resolvers.Target, listener: resolvers.Listener) -> resolvers.Resolver:
            listener.update([link.target], config)
            return resolvers.Resolver()

        resolvers.register("mine", factory)
        with pygrpc.insecure_channel("mine:a") as channel, pytest.raises(pygrpc.RpcError) as caught:
            uu(channel)(b"x")
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        assert remaining.get(timeout=BOUND) < 1.0
        leave.set()


def test_a_service_config_that_is_invalid_names_the_field(made: queue.SimpleQueue[Mine]) -> None:
    with pygrpc.insecure_channel("mine:a") as channel:
        future = uu(channel).future(b"x")
        made.get(timeout=BOUND).listener.update(["127.0.0.1:1"], '{"methodConfig": 5}')
        assert future.code() is pygrpc.StatusCode.UNAVAILABLE
        assert "methodConfig must be" in future.details()


def test_news_of_a_resolver_move_the_calls(made: queue.SimpleQueue[Mine]) -> None:
    with (
        serve(uu=lambda r, c: b"1") as one,
        serve(uu=lambda r, c: b"2") as two,
        pygrpc.insecure_channel("mine:a") as channel,
    ):
        future = uu(channel).future(b"")
        listener = made.get(timeout=BOUND).listener
        listener.update([one.target])
        assert future.result(BOUND) == b"1"
        listener.update([two.target])
        assert uu(channel)(b"", timeout=BOUND) == b"2"


def test_the_example_of_the_documentation_runs() -> None:
    text = (ROOT / "docs" / "naming.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "b'Hello, Ada'\n", "")
