"""What a call is to its user: a Call, a Future, an iterator and an error."""

import copy
import pickle
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc.core.status import Status
from pygrpc.sync.rendezvous import _InactiveRpcError, _MultiThreadedRendezvous
from tests.sync.peers import BOUND, ECHO, Gate, serve, wait


def refuse(request: Any, context: Any) -> bytes:
    context.set_trailing_metadata((("trailing", "1"),))
    context.abort(context_code(context).NOT_FOUND, "not here")
    return b""


def context_code(context: Any) -> Any:
    """The StatusCode enum of the server's package."""
    return pygrpc.StatusCode if type(context).__module__.startswith("pygrpc") else __import__("grpc").StatusCode


def refuse_late(request: Any, context: Any) -> Iterator[bytes]:
    yield b"first"
    refuse(request, context)


def test_the_error_of_a_blocking_call(pair: tuple[str, str]) -> None:
    with serve(pair, uu=refuse) as link:
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu")(b"")
        error: Any = caught.value
        assert isinstance(error, link.client.Call)
        assert isinstance(error, link.client.Future)
        assert (error.code(), error.details()) == (link.client.StatusCode.NOT_FOUND, "not here")
        assert tuple(error.trailing_metadata()) == (("trailing", "1"),)
        assert tuple(error.initial_metadata()) == ()
        assert error.debug_error_string() == "NOT_FOUND:not here"
        assert (error.cancel(), error.cancelled(), error.running(), error.done()) == (False, False, False, True)
        assert error.exception() is error
        assert error.traceback() is not None
        with pytest.raises(link.client.RpcError):
            error.result()
        seen: list[Any] = []
        error.add_done_callback(seen.append)
        assert seen == [error]
        assert str(error) == repr(error)
        assert str(error) == (
            "<_InactiveRpcError of RPC that terminated with:\n"
            "\tstatus = StatusCode.NOT_FOUND\n"
            '\tdetails = "not here"\n'
            '\tdebug_error_string = "NOT_FOUND:not here"\n'
            ">"
        )


def test_an_error_can_be_pickled_and_copied() -> None:
    with serve(uu=refuse) as link, pytest.raises(pygrpc.RpcError) as caught:
        link.method("uu")(b"")
    for error in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (error.code(), error.details()) == (pygrpc.StatusCode.NOT_FOUND, "not here")
        assert error.trailing_metadata() == (("trailing", "1"),)


def test_an_error_that_is_made_of_a_text() -> None:
    error = _InactiveRpcError("wrapped by somebody")
    assert error.code() is pygrpc.StatusCode.INTERNAL
    assert "wrapped by somebody" in error.details()
    assert _InactiveRpcError().code() is pygrpc.StatusCode.INTERNAL
    assert not error.is_active()
    assert error.time_remaining() is None
    assert not error.add_callback(lambda: None)


def test_debug_text_has_what_the_status_has_for_developers() -> None:
    status = Status(pygrpc.StatusCode.UNAVAILABLE, "gone", debug="more")
    assert _InactiveRpcError(status).debug_error_string() == "UNAVAILABLE:gone:more"


def test_a_stream_raises_itself(pair: tuple[str, str]) -> None:
    with serve(pair, us=refuse_late) as link:
        call = link.method("us")(b"")
        assert isinstance(call, link.client.Call)
        assert isinstance(call, link.client.Future)
        assert next(call) == b"first"
        with pytest.raises(link.client.RpcError) as caught:
            next(call)
        assert caught.value is call
        with pytest.raises(link.client.RpcError):
            call.next()
        with pytest.raises(link.client.RpcError):
            call.result()
        assert call.exception() is call
        assert call.traceback() is not None
        assert (call.code(), call.details()) == (link.client.StatusCode.NOT_FOUND, "not here")
        assert tuple(call.trailing_metadata()) == (("trailing", "1"),)
        assert (call.is_active(), call.running(), call.done(), call.cancelled()) == (False, False, True, False)
        assert call.cancel() is False
        assert str(call).startswith("<_MultiThreadedRendezvous of RPC that terminated with:\n\tstatus = ")


def test_a_stream_that_ends_well(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        call = link.method("us")(b"a")
        assert iter(call) is call
        assert list(call) == [b"a"] * 3
        assert list(call) == []
        assert call.result(BOUND) is None
        assert call.exception(BOUND) is None
        assert call.traceback(BOUND) is None
        assert call.debug_error_string() == ""
        assert str(call) == (
            '<_MultiThreadedRendezvous of RPC that terminated with:\n\tstatus = StatusCode.OK\n\tdetails = ""\n>'
        )


def test_a_future_in_flight(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        assert repr(future) == "<_MultiThreadedRendezvous object>"
        assert (future.is_active(), future.running(), future.done(), future.cancelled()) == (True, True, False, False)
        for ask in (future.result, future.exception, future.traceback):
            with pytest.raises(link.client.FutureTimeoutError):
                ask(timeout=0.01)
        gate.leave.set()
        assert future.result() == b"through"
        assert future.exception() is None


def test_a_cancelled_future(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        assert future.cancel() is True
        assert future.cancelled()
        assert future.cancel() is False
        for ask in (future.result, future.exception, future.traceback):
            with pytest.raises(link.client.FutureCancelledError):
                ask()
        assert future.details() == "Locally cancelled by application!"
        assert tuple(future.initial_metadata()) == tuple(future.trailing_metadata()) == ()
        gate.leave.set()


def test_done_becomes_true_without_anybody_waiting() -> None:
    gate = Gate()
    with serve(uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        gate.leave.set()
        wait(gate.ended)
        while not future.done():
            pass
        assert future.result() == b"through"


def test_callbacks_run_in_order_and_behind_the_end(pair: tuple[str, str]) -> None:
    gate = Gate()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        future.add_done_callback(lambda call: seen.put((call, call.result())))
        assert future.add_callback(lambda: seen.put("second"))
        future.add_done_callback(lambda call: seen.put(threading.current_thread()))
        gate.leave.set()
        assert seen.get(timeout=BOUND) == (future, b"through")
        assert seen.get(timeout=BOUND) == "second"
        assert seen.get(timeout=BOUND) is not threading.current_thread()
        assert future.done()
        future.add_done_callback(lambda call: seen.put(threading.current_thread()))
        assert seen.get(timeout=BOUND) is threading.current_thread()


def test_callbacks_of_a_call_that_is_over() -> None:
    with serve(**ECHO) as link:
        _, call = link.method("uu").with_call(b"a")
        assert call.add_callback(lambda: None) is False


def test_a_callback_may_fail_and_may_make_calls(caplog: pytest.LogCaptureFixture) -> None:
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def fail(call: Any) -> None:
        raise KeyError("broken")

    with serve(**ECHO) as link:
        future = link.method("uu").future(b"a")
        future.add_done_callback(fail)
        future.add_done_callback(lambda call: seen.put(link.method("uu")(b"b")))
        future.add_done_callback(lambda call: seen.put(link.method("uu").future(b"c").result(BOUND)))
        assert [seen.get(timeout=BOUND) for _ in range(2)] == [b"b", b"c"]
    assert "a callback raised" in caplog.text or not caplog.text


def test_a_callback_comes_although_everything_is_dropped() -> None:
    gate = Gate()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with serve(uu=gate) as link:
        channel = link.open_channel()
        channel.unary_unary("/sync.Peer/uu").future(b"").add_done_callback(lambda call: seen.put(call.result()))
        del channel
        wait(gate.entered)
        gate.leave.set()
        assert seen.get(timeout=BOUND) == b"through"


def test_many_futures_at_once(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        futures = [link.method("uu").future(b"%d" % number) for number in range(200)]
        assert [future.result(BOUND) for future in reversed(futures)] == [b"%d" % n for n in reversed(range(200))]


def test_several_threads_wait_for_one_future() -> None:
    gate = Gate()
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with serve(uu=gate) as link:
        future = link.method("uu", response_deserializer=lambda raw: [raw]).future(b"")
        threads = [threading.Thread(target=lambda: results.put(future.result(BOUND))) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait(gate.entered)
        gate.leave.set()
        seen = [results.get(timeout=BOUND) for _ in threads]
        for thread in threads:
            thread.join(BOUND)
    assert all(each is seen[0] for each in seen)
    assert isinstance(future, _MultiThreadedRendezvous)
