"""Calls of all arities, from a client to a server, each of pygrpc or grpcio."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc.sync.call import COLLECTED
from tests.sync.peers import BOUND, ECHO, Gate, serve, wait


def test_calls_of_all_arities(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        assert link.method("uu")(b"a") == b"a"
        assert list(link.method("us")(b"b")) == [b"b"] * 3
        assert link.method("su")(iter([b"a", b"b"])) == b"a,b"
        assert list(link.method("ss")(iter([b"a", b"b"]))) == [b"a", b"b"]


def test_with_call_and_future(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        response, call = link.method("uu").with_call(b"a")
        assert (response, call.code(), call.details()) == (b"a", link.client.StatusCode.OK, "")
        response, call = link.method("su").with_call(iter([b"a"]))
        assert (response, call.code(), call.is_active()) == (b"a", link.client.StatusCode.OK, False)
        assert link.method("uu").future(b"c").result(BOUND) == b"c"
        assert link.method("su").future(iter([b"a", b"d"])).result(BOUND) == b"a,d"


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_messages_of_all_sizes(pair: tuple[str, str], size: int) -> None:
    payload = bytes(size)
    with serve(pair, **ECHO) as link:
        assert link.method("uu")(payload) == payload
        assert list(link.method("ss")(iter([payload] * 3))) == [payload] * 3


def test_a_long_stream_in_both_directions(pair: tuple[str, str]) -> None:
    requests = [b"%d" % number * 50 for number in range(2000)]
    with serve(pair, **ECHO) as link:
        assert list(link.method("ss")(iter(requests))) == requests


def test_a_conversation(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call = link.method("ss")(iter(said.get, None))
        for number in range(20):
            said.put(b"%d" % number)
            assert next(call) == b"%d" % number
        said.put(None)
        assert list(call) == []
        assert call.code() is link.client.StatusCode.OK


def test_metadata_goes_both_ways(pair: tuple[str, str]) -> None:
    def handler(request: bytes, context: Any) -> bytes:
        received = {key: value for key, value in context.invocation_metadata() if key.startswith("x-")}
        assert received == {"x-text": "a", "x-bytes-bin": b"\x00\xff"}
        assert [each.key for each in context.invocation_metadata() if each.value == "a"] == ["x-text"]
        context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\x01")))
        context.set_trailing_metadata([("trailing", "2"), ("trailing-bin", b"\x02")])
        return request

    with serve(pair, uu=handler) as link:
        metadata = (("x-text", "a"), ("x-bytes-bin", b"\x00\xff"))
        _, call = link.method("uu").with_call(b"", metadata=metadata)
        assert tuple(call.initial_metadata()) == (("initial", "1"), ("initial-bin", b"\x01"))
        assert tuple(call.trailing_metadata()) == (("trailing", "2"), ("trailing-bin", b"\x02"))
        assert call.trailing_metadata()[0].key == "trailing"
        future = link.method("uu").future(b"", metadata=metadata)
        assert dict(future.initial_metadata())["initial"] == "1"
        assert dict(future.trailing_metadata())["trailing"] == "2"


def test_initial_metadata_comes_before_the_first_response(pair: tuple[str, str]) -> None:
    leave = threading.Event()

    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        context.send_initial_metadata((("initial", "1"),))
        wait(leave)
        yield request

    with serve(pair, us=handler) as link:
        call = link.method("us")(b"a")
        assert tuple(call.initial_metadata()) == (("initial", "1"),)
        leave.set()
        assert list(call) == [b"a"]


def test_serializers(pair: tuple[str, str]) -> None:
    serializers = {"request_deserializer": bytes.decode, "response_serializer": str.encode}
    with serve(pair, serializers=serializers, uu=lambda request, _: request + "!") as link:
        method = link.method("uu", request_serializer=str.encode, response_deserializer=bytes.decode)
        assert method("é") == "é!"


def raising(_: Any) -> bytes:
    raise KeyError("broken")


@pytest.mark.parametrize("serializer", [raising, lambda _: None])
def test_a_serializer_that_fails(pair: tuple[str, str], serializer: Any) -> None:
    with serve(pair, **ECHO) as link:
        for start in (
            link.method("uu", request_serializer=serializer),
            link.method("us", request_serializer=serializer),
        ):
            with pytest.raises(link.client.RpcError) as caught:
                start(b"a")
            assert caught.value.code() is link.client.StatusCode.INTERNAL
            assert caught.value.details() == "Exception serializing request!"
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu", request_serializer=serializer).future(b"a")
        with pytest.raises(link.client.RpcError) as caught:
            link.method("su", request_serializer=serializer)(iter([b"a"]))
        assert caught.value.details() == "Exception serializing request!"


@pytest.mark.parametrize("deserializer", [raising, lambda _: None])
def test_a_deserializer_that_fails(pair: tuple[str, str], deserializer: Any) -> None:
    with serve(pair, **ECHO) as link:
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu", response_deserializer=deserializer)(b"a")
        assert caught.value.code() is link.client.StatusCode.INTERNAL
        assert caught.value.details() == "Exception deserializing response!"
        future = link.method("uu", response_deserializer=deserializer).future(b"a")
        assert future.exception(BOUND) is future
        assert future.details() == "Exception deserializing response!"
        with pytest.raises(link.client.RpcError) as caught:
            list(link.method("us", response_deserializer=deserializer)(b"a"))
        assert caught.value.details() == "Exception deserializing response!"


def test_a_request_that_is_not_bytes_is_an_error_at_once(pair: tuple[str, str]) -> None:
    with serve(pair, **ECHO) as link:
        for start in (link.method("uu"), link.method("uu").future, link.method("us")):
            with pytest.raises(TypeError):
                start("text")
        with pytest.raises(TypeError):
            link.method("uu", request_serializer=lambda _: "text")(b"")


def broken_requests() -> Iterator[bytes]:
    yield b"a"
    raise KeyError("broken")


@pytest.mark.parametrize("requests", [broken_requests, lambda: [b"a"], lambda: 7])
def test_requests_that_can_not_be_iterated_over(pair: tuple[str, str], requests: Any) -> None:
    with serve(pair, **ECHO) as link:
        for call in (link.method("su").future(requests()), link.method("ss")(requests())):
            assert call.code() is link.client.StatusCode.UNKNOWN
            assert call.details() == "Exception iterating requests!"
        with pytest.raises(link.client.RpcError) as caught:
            link.method("su")(requests())
        assert caught.value.code() is link.client.StatusCode.UNKNOWN


@pytest.mark.parametrize(("metadata", "code"), [((("Upper", "a"),), "INTERNAL"), ((("text", "\n"),), "INTERNAL")])
def test_metadata_that_can_not_be_sent(pair: tuple[str, str], metadata: Any, code: str) -> None:
    with serve(pair, **ECHO) as link:
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu")(b"", metadata=metadata)
        assert caught.value.code() is getattr(link.client.StatusCode, code)
        assert link.method("uu").future(b"", metadata=metadata).code() is getattr(link.client.StatusCode, code)
        with pytest.raises(link.client.RpcError) as caught:
            list(link.method("ss")(iter([b""]), metadata=metadata))
        assert caught.value.code() is getattr(link.client.StatusCode, code)
        with pytest.raises(TypeError):
            link.method("uu")(b"", metadata=7)


def test_the_message_says_what_is_wrong_with_metadata() -> None:
    with serve(**ECHO) as link, pytest.raises(pygrpc.RpcError, match="'Upper' may hold only"):
        link.method("uu")(b"", metadata=(("Upper", "a"),))


# Deadlines.


def test_a_deadline_ends_a_call(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate, us=gate) as link:
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu")(b"", timeout=0.05)
        assert caught.value.code() is link.client.StatusCode.DEADLINE_EXCEEDED
        wait(gate.ended)
        assert not gate.context.is_active()
        assert link.method("uu").future(b"", timeout=0.05).code() is link.client.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(link.client.RpcError) as caught:
            list(link.method("us")(b"", timeout=0.05))
        assert caught.value.code() is link.client.StatusCode.DEADLINE_EXCEEDED
        gate.leave.set()


def test_a_deadline_ends_a_call_that_nobody_waits_for(pair: tuple[str, str]) -> None:
    gate = Gate()
    over = threading.Event()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"", timeout=0.05)
        # On a busy machine the deadline may have passed by now.
        if future.add_callback(over.set):
            wait(over)
        assert future.code() is link.client.StatusCode.DEADLINE_EXCEEDED
        gate.leave.set()


def test_a_passed_deadline_ends_a_call_before_it_starts() -> None:
    with serve(**ECHO) as link, pytest.raises(pygrpc.RpcError) as caught:
        link.method("uu")(b"", timeout=-1)
    assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED


def test_an_enormous_timeout_is_none() -> None:
    with serve(**ECHO) as link:
        assert link.method("uu")(b"a", timeout=9e18) == b"a"
        assert link.method("uu").future(b"a", timeout=9e18).result(9e18) == b"a"


def test_time_remaining(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        assert link.method("uu").future(b"").time_remaining() is None
        future = link.method("uu").future(b"", timeout=BOUND)
        remaining = future.time_remaining()
        assert remaining is not None and 0 < remaining <= BOUND
        gate.leave.set()
        assert future.result(BOUND) == b"through"


# Cancellation.


def test_cancelling_from_another_thread(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        canceller = threading.Thread(target=lambda: (wait(gate.entered), future.cancel()))
        canceller.start()
        with pytest.raises(link.client.FutureCancelledError):
            future.result(BOUND)
        canceller.join(BOUND)
        assert future.code() is link.client.StatusCode.CANCELLED
        assert future.details() == "Locally cancelled by application!"
        wait(gate.ended)
        gate.leave.set()


def test_cancelling_a_stream_while_another_thread_reads_it(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, us=gate) as link:
        call = link.method("us")(b"")
        canceller = threading.Thread(target=lambda: (wait(gate.entered), call.cancel()))
        canceller.start()
        with pytest.raises(link.client.RpcError) as caught:
            next(call)
        assert caught.value.code() is link.client.StatusCode.CANCELLED
        assert caught.value is call
        canceller.join(BOUND)
        gate.leave.set()


def test_a_dropped_stream_is_cancelled(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, us=gate, ss=gate) as link:
        call = link.method("us")(b"")
        wait(gate.entered)
        del call
        wait(gate.ended)
        gate.leave.set()
    assert COLLECTED.details == "Cancelled upon garbage collection!"


def test_the_writer_of_a_dropped_stream_ends() -> None:
    ended = threading.Event()

    def requests() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            ended.set()

    gate = Gate()
    with serve(ss=gate) as link:
        call = link.method("ss")(requests())
        wait(gate.entered)
        del call
        wait(ended)
        gate.leave.set()


# Many threads.


def test_many_threads_on_one_channel(pair: tuple[str, str]) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(25):
                payload = b"%d-%d" % (number, turn)
                assert link.method("uu")(payload, timeout=BOUND) == payload
                if turn % 5 == number % 5:
                    assert list(link.method("ss")(iter([payload] * 4))) == [payload] * 4
                    assert link.method("uu").future(payload).result(BOUND) == payload
        except BaseException as error:
            failures.append(error)

    with serve(pair, **ECHO) as link:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * BOUND)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_threads_with_their_own_deadlines_on_one_channel() -> None:
    gate = Gate()
    codes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work(number: int) -> None:
        try:
            link.method("uu", "uu_wait")(b"", timeout=0.05 + number / 100)
        except pygrpc.RpcError as error:
            codes.put(error.code())

    with serve(uu=ECHO["uu"], uu_wait=gate, workers=16) as link:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            assert link.method("uu")(b"a") == b"a"
        for thread in threads:
            thread.join(BOUND)
        gate.leave.set()
    assert [codes.get(timeout=BOUND) for _ in threads] == [pygrpc.StatusCode.DEADLINE_EXCEEDED] * 8


def test_two_threads_read_one_stream() -> None:
    numbers = [b"%d" % number for number in range(500)]
    seen: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read(call: Any) -> None:
        for response in call:
            seen.put(response)

    with serve(us=lambda request, _: iter(numbers)) as link:
        call = link.method("us")(b"")
        threads = [threading.Thread(target=read, args=(call,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
    assert sorted(seen.get(timeout=BOUND) for _ in numbers) == sorted(numbers)
