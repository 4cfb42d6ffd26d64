"""Client interceptors of the sync API, with the channels of either library; the server is grpcio's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

import pygrpc
from pygrpc import interceptors
from pygrpc.handlers import HandlerCallDetails

LIBRARIES = pytest.mark.parametrize("lib", [pygrpc, grpc], ids=["pygrpc", "grpcio"])
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


class Methods(grpc.GenericRpcHandler):
    """Echoes; the metadata that came is sent back as trailing metadata. A request ``fail`` ends with NOT_FOUND."""

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        return getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, kind))

    def note(self, request: bytes, context: Any) -> bytes:
        pairs = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        context.set_trailing_metadata(pairs)
        if request == b"fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")
        return request

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        return self.note(request, context)

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield self.note(request, context)
        yield b"more"

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self.note(b",".join(requests), context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield self.note(request, context)


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Methods()])
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait(20)


def every_kind(lib: Any, intercept: Any) -> Any:
    """Makes an interceptor of all four kinds of one function."""
    bases = tuple(
        getattr(lib, f"{''.join(part.title() for part in kind.split('_'))}ClientInterceptor") for kind in KINDS
    )
    hooks = {f"intercept_{kind}": lambda self, *arguments: intercept(*arguments) for kind in KINDS}
    return type("Interceptor", bases, hooks)()


@contextlib.contextmanager
def channel(lib: Any, target: str, *functions: Any) -> Iterator[Any]:
    with lib.insecure_channel(target) as plain:
        yield lib.intercept_channel(plain, *(every_kind(lib, function) for function in functions))


def call(channel: Any, kind: str, request: bytes, **options: Any) -> Any:
    """Calls a method with one request; returns the response, or all of them."""
    callable_ = getattr(channel, kind)(f"/s/{kind}")
    options = {"timeout": 20, **options}
    result = callable_(iter([request]) if kind.startswith("stream") else request, **options)
    return list(result) if kind.endswith("stream") else result


def adding(name: str) -> Any:
    """Adds a pair of metadata."""

    def intercept(continuation: Any, details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), ("x-seen", name)]
        return continuation(details._replace(metadata=metadata), request)

    return intercept


def trailing(call: Any) -> list[tuple[str, str]]:
    return [(key, value) for key, value in call.trailing_metadata()]


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_interceptor_is_asked_first(lib: Any, kind: str, target: str) -> None:
    order = []

    def named(name: str) -> Any:
        def intercept(continuation: Any, details: Any, request: Any) -> Any:
            order.append((name, details.method))
            return continuation(details, request)

        return intercept

    with channel(lib, target, named("first"), named("second")) as intercepted:
        expected = [b"ping"] if kind == "stream_stream" else [b"ping", b"more"]
        response = call(intercepted, kind, b"ping")
        assert response == (expected if kind.endswith("stream") else b"ping")
    assert order == [("first", f"/s/{kind}"), ("second", f"/s/{kind}")]


@LIBRARIES
def test_details_are_passed_on(lib: Any, target: str) -> None:
    seen = []

    def look(continuation: Any, details: Any, request: Any) -> Any:
        seen.append(details)
        return continuation(details, request)

    with channel(lib, target, adding("first"), look, adding("second")) as intercepted:
        _, made = intercepted.unary_unary("/s/unary_unary").with_call(
            b"x", timeout=20, metadata=[("x-own", "1")], wait_for_ready=True, compression=lib.Compression.Gzip
        )
        assert trailing(made) == [("x-own", "1"), ("x-seen", "first"), ("x-seen", "second")]
    (details,) = seen
    assert isinstance(details, lib.ClientCallDetails)
    assert details.method == "/s/unary_unary"
    assert details.timeout == 20
    assert list(details.metadata) == [("x-own", "1"), ("x-seen", "first")]
    assert details.credentials is None
    assert details.wait_for_ready is True
    assert details.compression is lib.Compression.Gzip


@LIBRARIES
def test_details_may_lack_what_stays_as_it_is(lib: Any, target: str) -> None:
    class Details(lib.ClientCallDetails):
        method = "/s/unary_unary"

    def intercept(continuation: Any, details: Any, request: Any) -> Any:
        return continuation(Details(), request)

    with channel(lib, target, intercept) as intercepted:
        _, made = intercepted.unary_unary("/s/another").with_call(b"x", timeout=20, metadata=[("x-own", "1")])
        assert trailing(made) == [("x-own", "1")]


@LIBRARIES
@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
def test_a_failed_call_comes_out_of_the_continuation(lib: Any, kind: str, target: str) -> None:
    codes = []

    def look(continuation: Any, details: Any, request: Any) -> Any:
        made = continuation(details, request)
        codes.append((made.code(), made.details(), isinstance(made.exception(), lib.RpcError)))
        return made

    with channel(lib, target, look) as intercepted:
        with pytest.raises(lib.RpcError) as caught:
            call(intercepted, kind, b"fail")
        assert caught.value.code() is lib.StatusCode.NOT_FOUND
    assert codes == [(lib.StatusCode.NOT_FOUND, "nothing here", True)]


@LIBRARIES
def test_a_call_may_be_made_again(lib: Any, target: str) -> None:
    def retry(continuation: Any, details: Any, request: Any) -> Any:
        made = continuation(details, request)
        return continuation(details, b"again") if made.code() is lib.StatusCode.NOT_FOUND else made

    with channel(lib, target, retry) as intercepted:
        assert call(intercepted, "unary_unary", b"fail") == b"again"


@LIBRARIES
def test_futures(lib: Any, target: str) -> None:
    with channel(lib, target, adding("i")) as intercepted:
        started = intercepted.unary_unary("/s/unary_unary").future(b"x", timeout=20)
        assert started.result(20) == b"x"
        assert trailing(started) == [("x-seen", "i")]
        failed = intercepted.stream_unary("/s/stream_unary").future(iter([b"fail"]), timeout=20)
        with pytest.raises(lib.RpcError):
            failed.result(20)
        assert failed.code() is lib.StatusCode.NOT_FOUND


@LIBRARIES
def test_responses_may_be_replaced(lib: Any, target: str) -> None:
    def louder(continuation: Any, details: Any, request: Any) -> Any:
        return (response.upper() for response in continuation(details, request))

    with channel(lib, target, louder) as intercepted:
        assert call(intercepted, "unary_stream", b"x") == [b"X", b"MORE"]
        assert call(intercepted, "stream_stream", b"x") == [b"X"]


@LIBRARIES
def test_requests_may_be_replaced(lib: Any, target: str) -> None:
    def doubled(continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details, (request * 2 for request in requests))

    with channel(lib, target, doubled) as intercepted:
        assert call(intercepted, "stream_unary", b"ab") == b"abab"


@LIBRARIES
def test_what_an_interceptor_raises(lib: Any, target: str) -> None:
    class Mistake(Exception):
        pass

    def raises(continuation: Any, details: Any, request: Any) -> Any:
        raise Mistake

    with channel(lib, target, raises) as intercepted:
        for kind in ("unary_unary", "stream_unary"):
            with pytest.raises(Mistake):
                call(intercepted, kind, b"x")
            request = b"x" if kind == "unary_unary" else iter([b"x"])
            outcome = getattr(intercepted, kind)("/s/m").future(request)
            with pytest.raises(Mistake):
                outcome.result()
            assert isinstance(outcome.exception(), Mistake)
            assert outcome.traceback() is not None
            assert outcome.code() is lib.StatusCode.INTERNAL
            assert outcome.details() == "Exception raised while intercepting the RPC"
            assert outcome.initial_metadata() is None
            assert outcome.trailing_metadata() is None
            assert outcome.time_remaining() is None
            assert outcome.done()
            assert not (outcome.running() or outcome.cancelled() or outcome.cancel() or outcome.is_active())
            assert not outcome.add_callback(lambda: None)
            told: list[Any] = []
            outcome.add_done_callback(told.append)
            assert told == [outcome]
        for kind in ("unary_stream", "stream_stream"):
            with pytest.raises(Mistake):
                call(intercepted, kind, b"x")


@LIBRARIES
def test_what_an_inner_interceptor_raises_is_an_outcome_for_the_outer(lib: Any, target: str) -> None:
    class Mistake(Exception):
        pass

    def raises(continuation: Any, details: Any, request: Any) -> Any:
        raise Mistake

    seen = []

    def look(continuation: Any, details: Any, request: Any) -> Any:
        made = continuation(details, request)
        seen.append((made.code(), type(made.exception())))
        return made

    with channel(lib, target, look, raises) as intercepted, pytest.raises(Mistake):
        call(intercepted, "unary_unary", b"x")
    assert seen == [(lib.StatusCode.INTERNAL, Mistake)]


@LIBRARIES
def test_the_outcome_of_a_call_that_blocked(lib: Any, target: str) -> None:
    outcomes = []

    def look(continuation: Any, details: Any, request: Any) -> Any:
        outcomes.append(continuation(details, request))
        return outcomes[0]

    with channel(lib, target, look) as intercepted:
        response, made = intercepted.unary_unary("/s/unary_unary").with_call(b"x", timeout=20)
    (outcome,) = outcomes
    assert made is outcome
    assert isinstance(outcome, lib.Call)
    assert isinstance(outcome, lib.Future)
    assert response == outcome.result() == b"x"
    assert outcome.exception() is None
    assert outcome.traceback() is None
    assert outcome.code() is lib.StatusCode.OK
    assert outcome.details() == ""
    assert trailing(outcome) == []
    assert list(outcome.initial_metadata()) == []
    assert outcome.done()
    assert not (outcome.running() or outcome.cancelled() or outcome.is_active())
    outcome.cancel()
    assert not outcome.add_callback(lambda: None)
    told: list[Any] = []
    outcome.add_done_callback(told.append)
    assert told == [outcome]


@LIBRARIES
def test_an_interceptor_leaves_other_kinds_alone(lib: Any, target: str) -> None:
    class OnlyUnary(lib.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return continuation(client_call_details, b"changed")

    with lib.insecure_channel(target) as plain:
        intercepted = lib.intercept_channel(plain, OnlyUnary())
        assert call(intercepted, "unary_unary", b"x") == b"changed"
        assert call(intercepted, "stream_unary", b"x") == b"x"


@LIBRARIES
def test_the_channel_is_that_of_the_user(lib: Any, target: str) -> None:
    with channel(lib, target, adding("i")) as intercepted:
        assert isinstance(intercepted, lib.Channel)
        states: list[Any] = []
        intercepted.subscribe(states.append)
        lib.channel_ready_future(intercepted).result(20)
        intercepted.unsubscribe(states.append)
        intercepted.close()
        with pytest.raises(ValueError, match="closed channel"):
            call(intercepted, "unary_unary", b"x")
    with lib.intercept_channel(lib.insecure_channel(target)) as without:
        assert call(without, "unary_unary", b"x") == b"x"


@LIBRARIES
def test_what_is_no_interceptor(lib: Any, target: str) -> None:
    with lib.insecure_channel(target) as plain, pytest.raises(TypeError, match=r"grpc.UnaryUnaryClientInterceptor or"):
        lib.intercept_channel(plain, object())


def test_a_handler_is_found_by_way_of_interceptors() -> None:
    order: list[str] = []
    handler = pygrpc.unary_unary_rpc_method_handler(lambda request, context: request)

    class Named(pygrpc.ServerInterceptor):
        def __init__(self, name: str) -> None:
            self.name = name

        def intercept_service(self, continuation: Any, handler_call_details: HandlerCallDetails) -> Any:
            order.append(f"{self.name} {handler_call_details.method}")
            return continuation(handler_call_details)

    class Refusing(pygrpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, handler_call_details: HandlerCallDetails) -> Any:
            return None

    class Details:
        method = "/s/m"
        invocation_metadata = ()

    def find(details: Any) -> Any:
        return handler

    assert interceptors.find_handler([], find, Details()) is handler
    assert interceptors.find_handler([Named("a"), Named("b")], find, Details()) is handler
    assert interceptors.find_handler([Named("c"), Refusing(), Named("d")], find, Details()) is None
    assert order == ["a /s/m", "b /s/m", "c /s/m"]


@LIBRARIES
def test_one_response_does_not_look_like_a_stream(lib: Any, target: str) -> None:
    found: list[tuple[bool, bool]] = []

    def intercept(continuation: Any, details: Any, request: Any) -> Any:
        response = continuation(details, request)
        found.append((hasattr(response, "__next__"), hasattr(response, "__iter__")))
        return response

    with channel(lib, target, intercept) as made:
        call(made, "unary_unary", b"x")
        call(made, "unary_stream", b"x")
    assert found == [(False, False), (True, True)]


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_by_name(lib: Any, kind: str, target: str) -> None:
    seen: list[Any] = []

    def intercept(continuation: Any, details: Any, request: Any) -> Any:
        seen.append((details.method, details.timeout, details.metadata, details.wait_for_ready, details.compression))
        return continuation(details, request)

    name, request = ("request", b"x") if kind.startswith("unary") else ("request_iterator", iter([b"x"]))
    wrong = "request_iterator" if name == "request" else "request"
    options = {"timeout": 20, "metadata": (("a", "b"),), "wait_for_ready": True, "compression": lib.Compression.Gzip}
    with channel(lib, target, intercept) as made:
        make = getattr(made, kind)
        multicallable = make(method=f"/s/{kind}", request_serializer=None, response_deserializer=None)
        response = multicallable(**{name: request}, **options)
        assert response == b"x" if kind.endswith("unary") else next(response) == b"x"
        for mistake in ({wrong: request}, {}, {name: request, "unknown": 1}, {name: request, "timeouts": 1}):
            with pytest.raises(TypeError):
                multicallable(**mistake)
    assert seen == [(f"/s/{kind}", 20, (("a", "b"),), True, lib.Compression.Gzip)]
