import queue
import threading
from typing import Any

import pytest

import pygrpc
from pygrpc.sync.ready import channel_ready_future
from tests.sync.peers import BOUND, ECHO, serve


def test_a_channel_becomes_ready() -> None:
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with serve(**ECHO) as link:
        future = channel_ready_future(link.channel)
        assert isinstance(future, pygrpc.Future)
        future.add_done_callback(seen.put)
        assert future.result(timeout=BOUND) is None
        assert seen.get(timeout=BOUND) is future
        assert future.exception(BOUND) is None
        assert future.traceback(BOUND) is None
        assert (future.done(), future.running(), future.cancelled(), future.cancel()) == (True, False, False, False)
        future.add_done_callback(seen.put)
        assert seen.get(timeout=BOUND) is future
        assert pygrpc.channel_ready_future(link.channel).result(BOUND) is None


def test_an_intercepted_channel_becomes_ready() -> None:
    class Interceptor(pygrpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(details, request)

    with serve(**ECHO) as link:
        channel = pygrpc.intercept_channel(link.channel, Interceptor())
        channel_ready_future(channel).result(BOUND)
        assert channel.unary_unary("/sync.Peer/uu")(b"a") == b"a"


def test_a_channel_that_does_not_become_ready() -> None:
    with pygrpc.insecure_channel("127.0.0.1:1") as channel:
        future = channel_ready_future(channel)
        with pytest.raises(pygrpc.FutureTimeoutError):
            future.result(timeout=0.01)
        with pytest.raises(pygrpc.FutureTimeoutError):
            future.result(timeout=-1)
        assert future.running()
        threads = [threading.Thread(target=future.cancel) for _ in range(2)]
        for thread in threads:
            thread.start()
        with pytest.raises(pygrpc.FutureCancelledError):
            future.result()
        for thread in threads:
            thread.join(BOUND)
        assert future.cancelled()


def test_a_callback_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def fail(future: Any) -> None:
        raise KeyError("broken")

    with pygrpc.insecure_channel("127.0.0.1:1") as channel:
        future = channel_ready_future(channel)
        future.add_done_callback(fail)
        future.add_done_callback(seen.append)
        assert future.cancel()
    assert seen == [future]
    assert 'Exception calling connectivity future "done" callback!' in caplog.text
