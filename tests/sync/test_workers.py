"""Workers that read on behind a call, and when they don't."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest

import pygrpc
from pygrpc.sync import server_transport, workers
from pygrpc.sync.server_transport import ServerTransport
from pygrpc.sync.workers import Workers
from tests.sync.peers import BOUND, ECHO, SERVICE, Gate, handlers, wait


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a worker wait for the next call for as long as it takes, so that no test depends on its speed."""
    monkeypatch.setattr(server_transport, "_LINGER", BOUND)


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> list[ServerTransport]:
    """The connections that a worker has taken over, once for each time."""
    seen: list[ServerTransport] = []
    original = ServerTransport.take_over

    def take_over(transport: ServerTransport) -> bool:
        taken = original(transport)
        if taken:
            seen.append(transport)
        return taken

    monkeypatch.setattr(ServerTransport, "take_over", take_over)
    return seen


@contextlib.contextmanager
def serving(pool: Any, **behaviours: Any) -> Iterator[str]:
    """Runs a server in an executor; yields its target. Channels are to be closed before the end."""
    server = pygrpc.server(pool, handlers=[handlers(pygrpc, behaviours)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    if not server._service.io.can_pause:
        pytest.skip("on this system a worker can't take over a connection")
    yield f"127.0.0.1:{port}"
    server.stop(None)
    pool.shutdown()


def in_a_habit(call: Any) -> None:
    """Makes calls one after the other, until the server counts on the next one."""
    for _ in range(server_transport._HABIT):
        call(b"")


def thread_name(request: bytes, context: Any) -> bytes:
    return threading.current_thread().name.encode()


def test_calls_that_follow_each_other_stay_with_one_worker() -> None:
    with serving(futures.ThreadPoolExecutor(4), uu=thread_name) as target, pygrpc.insecure_channel(target) as channel:
        call = channel.unary_unary(f"/{SERVICE}/uu")
        in_a_habit(call)
        assert len({call(b"") for _ in range(50)}) == 1


def test_connections_have_a_worker_each() -> None:
    with (
        serving(futures.ThreadPoolExecutor(4), uu=thread_name) as target,
        pygrpc.insecure_channel(target) as one,
        pygrpc.insecure_channel(target) as other,
    ):
        calls = [channel.unary_unary(f"/{SERVICE}/uu") for channel in (one, other)]
        for call in calls:
            in_a_habit(call)
        names = [[call(b"") for call in calls] for _ in range(10)]
    assert len(set(names[0])) == 2
    assert all(pair == names[0] for pair in names)


def test_a_connection_is_read_while_a_handler_runs() -> None:
    gate = Gate()
    with (
        serving(futures.ThreadPoolExecutor(4), uu=gate, uu_echo=ECHO["uu"]) as target,
        pygrpc.insecure_channel(target) as channel,
    ):
        echo = channel.unary_unary(f"/{SERVICE}/uu_echo")
        in_a_habit(echo)
        # The worker that has lingered serves this one.
        slow = channel.unary_unary(f"/{SERVICE}/uu").future(b"")
        wait(gate.entered)
        assert [echo(b"%d" % number) for number in range(10)] == [b"%d" % number for number in range(10)]
        slow.cancel()
        wait(gate.ended)
        gate.leave.set()


def test_a_connection_with_other_calls_is_not_taken_over(taken_over: list[ServerTransport]) -> None:
    gate = Gate()
    with (
        serving(futures.ThreadPoolExecutor(4), uu=gate, uu_echo=ECHO["uu"]) as target,
        pygrpc.insecure_channel(target) as channel,
    ):
        slow = channel.unary_unary(f"/{SERVICE}/uu").future(b"")
        wait(gate.entered)
        echo = channel.unary_unary(f"/{SERVICE}/uu_echo")
        in_a_habit(echo)
        in_a_habit(echo)
        assert taken_over == []
        gate.leave.set()
        assert slow.result(BOUND) == b"through"
        in_a_habit(echo)
        assert len(taken_over) == 1


class Counting(futures.ThreadPoolExecutor):
    """An executor of the user's own, which is asked for each call."""

    asked = 0

    def submit(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        return super().submit(*arguments, **keywords)


@pytest.mark.parametrize("pool", [futures.ThreadPoolExecutor(1), Counting(4)], ids=["one worker", "not plain"])
def test_a_worker_that_others_may_need_goes_back(pool: Any, taken_over: list[ServerTransport]) -> None:
    with serving(pool, uu=ECHO["uu"]) as target, pygrpc.insecure_channel(target) as channel:
        for _ in range(5):
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
    assert taken_over == []
    assert getattr(pool, "asked", 5) == 5


def test_a_worker_goes_back_after_so_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_transport, "_HABIT", 1)
    monkeypatch.setattr(workers, "_IN_A_ROW", 3)
    pool = futures.ThreadPoolExecutor(4)
    asked: list[Any] = []
    submit = pool.submit
    monkeypatch.setattr(pool, "submit", lambda *arguments: (asked.append(arguments), submit(*arguments))[1])
    with serving(pool, uu=ECHO["uu"]) as target, pygrpc.insecure_channel(target) as channel:
        for _ in range(7):
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
    assert len(asked) == 3


def test_a_method_with_an_executor_of_its_own_runs_there() -> None:
    def handler(request: bytes, context: Any) -> bytes:
        return thread_name(request, context)

    own = futures.ThreadPoolExecutor(1, thread_name_prefix="own")
    handler.experimental_thread_pool = own  # type: ignore[attr-defined]
    with (
        serving(futures.ThreadPoolExecutor(4), uu=ECHO["uu"], uu_own=handler) as target,
        pygrpc.insecure_channel(target) as channel,
    ):
        for _ in range(3):
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
            assert channel.unary_unary(f"/{SERVICE}/uu_own")(b"").startswith(b"own")
    own.shutdown()


def test_the_executor_is_idle_again_when_the_client_has_gone(taken_over: list[ServerTransport]) -> None:
    pool = futures.ThreadPoolExecutor(4)
    with serving(pool, uu=ECHO["uu"]) as target:
        with pygrpc.insecure_channel(target) as channel:
            in_a_habit(channel.unary_unary(f"/{SERVICE}/uu"))
        assert len(taken_over) == 1
        pool.shutdown()
        with pygrpc.insecure_channel(target) as channel, pytest.raises(pygrpc.RpcError, match="takes no work"):
            channel.unary_unary(f"/{SERVICE}/uu")(b"a")


def test_a_connection_is_given_back_when_its_worker_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Transport:
        may_be_taken_over = True

        def take_over(self) -> bool:
            told.append("take over")
            return True

        def give_back(self) -> None:
            told.append("give back")

    class Context:
        variables = contextvars.Context()
        transport = Transport()
        behavior = None
        connection_is_ours = False

    def serve(context: Any) -> None:
        context.worker.take_over(context)
        raise SystemExit

    monkeypatch.setattr(workers, "serve", serve)
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pool = futures.ThreadPoolExecutor(4)
    submit = pool.submit
    monkeypatch.setattr(pool, "submit", lambda *arguments: seen.put(submit(*arguments)))
    made = Workers(pool, None)
    assert made.admit()
    made.submit(Context())  # type: ignore[arg-type]
    assert isinstance(seen.get(timeout=BOUND).exception(BOUND), SystemExit)
    assert told == ["take over", "give back"]
    assert made._lingering == 0
    pool.shutdown()
