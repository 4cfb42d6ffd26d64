"""Server interceptors of the sync API, with the servers of either library; the client is grpcio's."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

import grpc
import pytest

import pygrpc
from pygrpc import hooks

LIBRARIES = pytest.mark.parametrize("lib", [pygrpc, grpc], ids=["pygrpc", "grpcio"])
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]

Intercept = Callable[[Callable[[Any], Any], Any], Any]


class Details(NamedTuple):
    method: str
    invocation_metadata: Any


def interceptor(lib: Any, function: Intercept) -> Any:
    class Interceptor(lib.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            return function(continuation, handler_call_details)

    return Interceptor()


def methods(lib: Any) -> Any:
    def unary(request: bytes, context: Any) -> bytes:
        return request

    def joined(requests: Iterator[bytes], context: Any) -> bytes:
        return b",".join(requests)

    def streamed(request: bytes, context: Any) -> Iterator[bytes]:
        yield request

    def echoed(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    made = zip(KINDS, (unary, streamed, joined, echoed), strict=True)
    handlers = {kind: getattr(lib, f"{kind}_rpc_method_handler")(behaviour) for kind, behaviour in made}
    return lib.method_handlers_generic_handler("test.Service", handlers)


@contextlib.contextmanager
def calls(lib: Any, *functions: Intercept) -> Iterator[Callable[..., Any]]:
    """Runs a server with interceptors; yields what calls a method of it."""
    with futures.ThreadPoolExecutor(4) as pool:
        interceptors = [interceptor(lib, function) for function in functions]
        server = lib.server(pool, handlers=[methods(lib)], interceptors=interceptors)
        port = server.add_insecure_port("localhost:0")
        server.start()
        try:
            with grpc.insecure_channel(f"localhost:{port}") as channel:

                def call(kind: str = "unary_unary", method: str | None = None) -> Any:
                    multicallable = getattr(channel, kind)(f"/test.Service/{method or kind}")
                    request = b"x" if kind.startswith("unary") else iter([b"x"])
                    response = multicallable(request, timeout=20, metadata=(("k", "v"),))
                    return response if kind.endswith("unary") else list(response)

                yield call
        finally:
            server.stop(None).wait(20)


def failure(call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code(), caught.value.details()


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_interceptor_is_asked_first(lib: Any, kind: str) -> None:
    seen: list[Any] = []

    def note(name: str) -> Intercept:
        def intercept(continuation: Any, details: Any) -> Any:
            metadata = [tuple(pair) for pair in details.invocation_metadata if pair[0] == "k"]
            seen.append((name, details.method, metadata))
            return continuation(details)

        return intercept

    with calls(lib, note("first"), note("second")) as call:
        assert call(kind) == (b"x" if kind.endswith("unary") else [b"x"])
    assert seen == [(name, f"/test.Service/{kind}", [("k", "v")]) for name in ("first", "second")]


@LIBRARIES
def test_no_handler(lib: Any) -> None:
    with calls(lib, lambda continuation, details: None) as call:
        assert failure(call) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    with calls(lib, lambda continuation, details: continuation(details)) as call:
        assert failure(call, "unary_unary", "Unknown") == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


@LIBRARIES
def test_what_an_interceptor_raises(lib: Any) -> None:
    def intercept(continuation: Any, details: Any) -> Any:
        raise ValueError("not today")

    with calls(lib, intercept) as call:
        code, details = failure(call)
        assert (code, details) == (grpc.StatusCode.UNKNOWN, "Error in service handler!")


def test_what_is_no_handler(caplog: pytest.LogCaptureFixture) -> None:
    # grpcio's server leaves such a call, and all that come behind it, without an answer.
    with calls(pygrpc, lambda continuation, details: "junk") as call:
        assert failure(call) == (grpc.StatusCode.UNKNOWN, "Error in service handler!")
    assert "expected an RpcMethodHandler or None for /test.Service/unary_unary, not 'junk'" in caplog.text


@LIBRARIES
def test_another_handler(lib: Any) -> None:
    def refuse(request: bytes, context: Any) -> Any:
        context.abort(lib.StatusCode.UNAUTHENTICATED, "who are you?")

    refusing = lib.unary_unary_rpc_method_handler(refuse)
    with calls(lib, lambda continuation, details: refusing) as call:
        assert failure(call) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        # It need not be of the arity that the client has in mind.
        assert failure(call, "unary_stream") == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")


@LIBRARIES
def test_another_method(lib: Any) -> None:
    def redirect(continuation: Any, details: Any) -> Any:
        return continuation(Details("/test.Service/unary_unary", details.invocation_metadata))

    with calls(lib, redirect) as call:
        assert call("unary_unary", "Unknown") == b"x"


@LIBRARIES
def test_context_variables_reach_the_handler(lib: Any) -> None:
    user = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    def intercept(continuation: Any, details: Any) -> Any:
        seen.append(user.get())
        user.set("somebody")
        handler = continuation(details)

        def behaviour(request: bytes, context: Any) -> Any:
            seen.append(user.get())
            return handler.unary_unary(request, context)

        return lib.unary_unary_rpc_method_handler(behaviour)

    with calls(lib, intercept) as call:
        for _ in range(2):
            assert call() == b"x"
    assert seen == ["nobody", "somebody"] * 2


def test_hooks_beside_interceptors() -> None:
    told: list[str] = []

    class Telling(hooks.CallHooks):
        def on_end(self, end: hooks.CallEnd) -> None:
            told.append(f"{end.code.name} {end.details}")

    def begin(call: hooks.CallInfo) -> hooks.CallHooks:
        told.append(call.method)
        return Telling()

    hooked = hooks.server_interceptor(begin)
    with calls(pygrpc, hooked.intercept_service) as call:
        assert call("stream_stream") == [b"x"]
    assert told == ["/test.Service/stream_stream", "OK "]
