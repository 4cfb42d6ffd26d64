"""What a handler sees of its call, and what becomes of what it does."""

import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc import interfaces
from pygrpc.handlers import behavior_of
from tests.sync.peers import BOUND, ECHO, Gate, serve, wait

#: The servers of these tests are pygrpc's; clients are both.
clients = pytest.mark.parametrize("client", ["pygrpc", "grpc"])


def error_of(link: Any, arity: str = "uu", request: bytes = b"", **arguments: Any) -> Any:
    """Makes a call that has to fail; returns its error."""
    method = link.method(arity)
    with pytest.raises(link.client.RpcError) as caught:
        result = method(request, **arguments) if arity[0] == "u" else method(iter([request]), **arguments)
        if arity[1] == "s":
            list(result)
    return caught.value


def code(link: Any, name: str) -> Any:
    return getattr(link.client.StatusCode, name)


@clients
def test_the_context_of_a_call(client: str) -> None:
    contexts: list[Any] = []

    def handler(request: bytes, context: Any) -> bytes:
        contexts.append(context)
        assert isinstance(context, interfaces.ServicerContext)
        assert context.is_active()
        assert context.peer().startswith("ipv4:127.0.0.1:")
        assert (context.peer_identities(), context.peer_identity_key()) == (None, None)
        assert context.auth_context()["transport_security_type"] == [b"insecure"]
        assert (context.code(), context.details(), context.trailing_metadata()) == (None, None, None)
        return b"%f" % context.time_remaining()

    with serve((client, "pygrpc"), uu=handler) as link:
        # grpcio rounds a timeout up when it is written down.
        assert 0 < float(link.method("uu")(b"", timeout=BOUND)) <= BOUND + 1
        # As in grpcio: no deadline is a very late one.
        assert float(link.method("uu")(b"")) > 1e9
        for context in contexts:
            while context.is_active():
                pass
            assert not context.deadline_binds()


@clients
def test_metadata_of_types_that_only_grpcio_allows(client: str) -> None:
    def handler(request: bytes, context: Any) -> bytes:
        context.send_initial_metadata(((b"key", b"1"), ("none", None)))
        context.set_trailing_metadata(((b"key-bin", b"\xff"),))
        return b""

    with serve((client, "pygrpc"), uu=handler) as link:
        _, call = link.method("uu").with_call(b"", timeout=BOUND)
        assert call.initial_metadata() == (("key", "1"), ("none", ""))
        assert call.trailing_metadata() == (("key-bin", b"\xff"),)


@clients
def test_abort(client: str) -> None:
    def handler(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("key", "value"),))
        try:
            context.abort(pygrpc.StatusCode.NOT_FOUND, "not hére")
        except Exception as error:
            assert type(error) is Exception
            raise
        raise AssertionError("abort returned")

    with serve((client, "pygrpc"), uu=handler) as link:
        error = error_of(link)
        assert (error.code(), error.details()) == (code(link, "NOT_FOUND"), "not hére")
        assert tuple(error.trailing_metadata()) == (("key", "value"),)


@clients
def test_abort_in_a_stream(client: str, caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        yield b"first"
        context.abort(pygrpc.StatusCode.ABORTED, "enough")

    with serve((client, "pygrpc"), us=handler) as link:
        call = link.method("us")(b"")
        assert next(call) == b"first"
        with pytest.raises(link.client.RpcError):
            next(call)
        assert (call.code(), call.details()) == (code(link, "ABORTED"), "enough")
    assert not caplog.records


@clients
@pytest.mark.parametrize("chosen", [pygrpc.StatusCode.OK, 5, "text"])
def test_abort_with_a_code_that_is_none(client: str, chosen: Any) -> None:
    def handler(request: bytes, context: Any) -> None:
        context.abort(chosen, "details")

    with serve((client, "pygrpc"), uu=handler) as link:
        error = error_of(link)
        assert error.code() is code(link, "UNKNOWN")
        assert error.details() == ("" if chosen is pygrpc.StatusCode.OK else "details")


@clients
def test_abort_with_status(client: str) -> None:
    class Status(pygrpc.Status):
        code = pygrpc.StatusCode.DATA_LOSS
        details = "lost"
        trailing_metadata = (("key", "value"),)

    with serve((client, "pygrpc"), uu=lambda request, context: context.abort_with_status(Status())) as link:
        error = error_of(link)
        assert (error.code(), error.details()) == (code(link, "DATA_LOSS"), "lost")
        assert tuple(error.trailing_metadata()) == (("key", "value"),)


@clients
@pytest.mark.parametrize(("chosen", "expected"), [(pygrpc.StatusCode.NOT_FOUND, "NOT_FOUND"), (5, "UNKNOWN")])
def test_set_code_and_details(client: str, chosen: Any, expected: str) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: Any) -> bytes | None:
        context.set_code(chosen)
        context.set_details("détails")
        seen.append((context.code(), context.details()))
        return request or None

    with serve((client, "pygrpc"), uu=handler) as link:
        for request in (b"", b"a"):
            error = error_of(link, request=request)
            assert (error.code(), error.details()) == (code(link, expected), "détails")
    assert seen == [(chosen, "détails".encode())] * 2


def test_a_code_without_a_response_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with serve(uu=lambda request, context: context.set_code(pygrpc.StatusCode.NOT_FOUND)) as link:
        assert error_of(link).code() is pygrpc.StatusCode.NOT_FOUND
    assert not caplog.records


@clients
def test_a_handler_that_raises(client: str, caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Any, context: Any) -> bytes:
        raise KeyError("broken")

    with serve((client, "pygrpc"), uu=handler, us=handler, su=handler, ss=handler) as link:
        for arity in ECHO:
            error = error_of(link, arity)
            assert (error.code(), error.details()) == (
                code(link, "UNKNOWN"),
                "Exception calling application: 'broken'",
            )
            assert "Exception calling application: 'broken'" in error.debug_error_string()
    assert "KeyError: 'broken'" in caplog.text


@clients
def test_a_handler_that_raises_with_a_code(client: str) -> None:
    def handler(request: Any, context: Any) -> bytes:
        context.set_code(pygrpc.StatusCode.OUT_OF_RANGE)
        context.set_details("mine")
        raise KeyError("broken")

    with serve((client, "pygrpc"), uu=handler) as link:
        error = error_of(link)
        assert (error.code(), error.details()) == (code(link, "OUT_OF_RANGE"), "mine")


def test_an_error_that_can_not_be_shown() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise KeyError("broken")

    def handler(request: Any, context: Any) -> bytes:
        raise Unprintable

    with serve(uu=handler) as link:
        assert error_of(link).details() == "Calling application raised unprintable Exception!"


@clients
def test_system_exit_ends_the_call(client: str) -> None:
    def handler(request: Any, context: Any) -> bytes:
        raise SystemExit(3)

    with serve((client, "pygrpc"), uu=handler) as link:
        assert error_of(link, timeout=BOUND).code() is code(link, "UNKNOWN")


@clients
def test_a_stream_that_raises(client: str) -> None:
    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        yield b"first"
        raise KeyError("broken")

    with serve((client, "pygrpc"), us=handler) as link:
        error = error_of(link, "us")
        assert (error.code(), error.details()) == (code(link, "UNKNOWN"), "Exception iterating responses: 'broken'")


@clients
def test_what_is_no_iterator_of_responses(client: str) -> None:
    with serve((client, "pygrpc"), us=lambda request, context: None) as link:
        assert error_of(link, "us").details().startswith("Exception iterating responses: ")


@clients
def test_a_stream_that_yields_none_has_ended(client: str) -> None:
    def handler(request: bytes, context: Any) -> Iterator[Any]:
        yield b"first"
        yield None
        raise AssertionError("nobody asked for more")

    with serve((client, "pygrpc"), us=handler) as link:
        assert list(link.method("us")(b"")) == [b"first"]


def raising(_: Any) -> bytes:
    raise KeyError("broken")


@clients
@pytest.mark.parametrize("broken", [raising, lambda _: None])
def test_deserializers_and_serializers_that_fail(client: str, broken: Any) -> None:
    for which, details in (
        ("request_deserializer", "Exception deserializing request!"),
        ("response_serializer", "Failed to serialize response!"),
    ):
        with serve((client, "pygrpc"), serializers={which: broken}, **ECHO) as link:
            for arity in ECHO:
                error = error_of(link, arity, b"a")
                assert (error.code(), error.details()) == (code(link, "INTERNAL"), details)


@clients
@pytest.mark.parametrize("response", [None, "text", 7])
def test_a_response_that_is_not_bytes(client: str, response: Any) -> None:
    with serve((client, "pygrpc"), uu=lambda request, context: response) as link:
        error = error_of(link)
        assert (error.code(), error.details()) == (code(link, "INTERNAL"), "Failed to serialize response!")


# Metadata.


def test_initial_metadata_is_sent_once() -> None:
    def handler(request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("key", "1"),))
        with pytest.raises(ValueError, match="Initial metadata no longer allowed!"):
            context.send_initial_metadata((("key", "2"),))
        return request

    with serve(uu=handler) as link:
        _, call = link.method("uu").with_call(b"")
        assert call.initial_metadata() == (("key", "1"),)


@clients
def test_metadata_that_can_not_be_sent(client: str) -> None:
    def initial(request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("Upper", "1"),))
        return request

    def trailing(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("Upper", "1"),))
        return request

    for handler in (initial, trailing):
        with serve((client, "pygrpc"), uu=handler) as link:
            error = error_of(link)
            assert error.code() is code(link, "INTERNAL")
            assert "'Upper' may hold only" in error.details()


# The end.


@clients
def test_callbacks(client: str) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    contexts: list[Any] = []

    def fail() -> None:
        raise KeyError("broken")

    def handler(request: bytes, context: Any) -> bytes:
        contexts.append(context)
        assert context.add_callback(lambda: seen.put("first"))
        assert context.add_callback(fail)
        assert context.add_callback(lambda: seen.put("second"))
        return request

    with serve((client, "pygrpc"), uu=handler) as link:
        link.method("uu")(b"")
        assert [seen.get(timeout=BOUND) for _ in range(2)] == ["first", "second"]
        assert contexts[0].add_callback(lambda: None) is False


@clients
def test_cancelling_in_the_handler(client: str) -> None:
    ended = threading.Event()

    def handler(request: bytes, context: Any) -> bytes:
        context.add_callback(ended.set)
        context.cancel()
        wait(ended)
        assert not context.is_active()
        return request

    with serve((client, "pygrpc"), uu=handler) as link:
        assert error_of(link).code() is code(link, "CANCELLED")


@clients
def test_requests_of_a_call_that_the_client_ends(client: str, caplog: pytest.LogCaptureFixture) -> None:
    started = threading.Event()
    ended: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    leave = threading.Event()

    def handler(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        try:
            for request in requests:
                started.set()
                yield request
        except BaseException as error:
            ended.put(error)
            raise

    def requests() -> Iterator[bytes]:
        yield b"a"
        wait(leave)

    with serve((client, "pygrpc"), ss=handler) as link:
        call = link.method("ss")(requests())
        assert next(call) == b"a"
        wait(started)
        call.cancel()
        assert isinstance(ended.get(timeout=BOUND), pygrpc.RpcError)
        leave.set()
    # The handler has made no mistake.
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_sending_metadata_of_a_call_that_the_client_has_ended() -> None:
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    entered, cancelled = threading.Event(), threading.Event()

    def handler(request: bytes, context: Any) -> bytes:
        context.add_callback(cancelled.set)
        entered.set()
        wait(cancelled)
        try:
            context.send_initial_metadata(())
        except BaseException as error:
            raised.put(error)
            raise
        return request

    with serve(uu=handler) as link:
        future = link.method("uu").future(b"")
        wait(entered)
        future.cancel()
        assert isinstance(raised.get(timeout=BOUND), pygrpc.RpcError)


def test_requests_behind_the_end_of_the_stream() -> None:
    def handler(requests: Any, context: Any) -> bytes:
        assert requests.next() == b"a"
        assert list(requests) == []
        assert list(requests) == []
        return b"done"

    with serve(su=handler) as link:
        assert link.method("su")(iter([b"a"])) == b"done"


def test_a_handler_that_does_not_read_its_requests() -> None:
    with serve(su=lambda requests, context: b"done") as link:
        assert link.method("su")(iter([bytes(100_000)] * 50)) == b"done"


# Messages.


def test_a_slow_reader_holds_up_the_handler() -> None:
    sent = 0

    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        nonlocal sent
        for _ in range(400):
            sent += 1
            yield bytes(100_000)

    with serve(us=handler, uu=ECHO["uu"]) as link:
        call = link.method("us")(b"")
        assert len(next(call)) == 100_000
        # Other calls of the connection go on meanwhile.
        for _ in range(20):
            assert link.method("uu")(b"a") == b"a"
        assert sent < 300
        assert sum(len(response) for response in call) == 399 * 100_000
        assert sent == 400


def test_compression_of_responses() -> None:
    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        context.set_compression(pygrpc.Compression.Gzip)
        yield request
        context.disable_next_message_compression()
        # Too late, and of no effect, as in grpcio.
        context.set_compression(pygrpc.Compression.NoCompression)
        yield request

    with serve(us=handler) as link:
        assert list(link.method("us")(bytes(10_000))) == [bytes(10_000)] * 2


@clients
def test_a_handler_that_sends_by_callback(client: str) -> None:
    def handler(request: bytes, context: Any, send: Any) -> None:
        for _ in range(3):
            send(request)
        send(None)

    handler.experimental_non_blocking = True  # type: ignore[attr-defined]
    with serve((client, "pygrpc"), us=handler) as link:
        assert list(link.method("us")(b"a")) == [b"a"] * 3


def test_a_handler_that_sends_by_callback_without_waiting() -> None:
    sent: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handler(request: bytes, context: Any, send: Any) -> None:
        count = 1
        while send.without_waiting(bytes(100_000)):
            count += 1
        sent.put(count)
        send.without_waiting(None)

    handler.experimental_non_blocking = True  # type: ignore[attr-defined]
    with serve(us=handler) as link:
        call = link.method("us")(b"")
        # The client reads nothing until the handler has been told that it would have to wait.
        count = sent.get(timeout=BOUND)
        assert [len(response) for response in call] == [100_000] * count


def test_the_deadline_reaches_the_calls_of_a_handler() -> None:
    gate = Gate()
    seen: queue.SimpleQueue[pygrpc.StatusCode] = queue.SimpleQueue()
    with serve(uu=gate) as behind:

        def handler(request: bytes, context: Any) -> bytes:
            try:
                response: bytes = behind.method("uu")(request)
            except pygrpc.RpcError as error:
                seen.put(error.code())
                raise
            return response

        with serve(uu=handler) as link:
            # Long enough for the call behind to begin, also on a busy machine. Which call ends first is open.
            error_of(link, timeout=1)
            assert seen.get(timeout=BOUND) is pygrpc.StatusCode.DEADLINE_EXCEEDED
            wait(gate.ended)
            gate.leave.set()


def test_the_function_of_a_handler() -> None:
    for arity, behaviour in ECHO.items():
        names = {"u": "unary", "s": "stream"}
        factory = getattr(pygrpc, f"{names[arity[0]]}_{names[arity[1]]}_rpc_method_handler")
        assert behavior_of(factory(behaviour)) is behaviour
