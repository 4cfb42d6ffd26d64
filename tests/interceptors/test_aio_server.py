"""Server interceptors of the asyncio API, with the servers of either library; the client is pygrpc's."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import grpc.experimental
import pytest

import pygrpc
import pygrpc.aio
import pygrpc.experimental
from pygrpc.aio import handler_search
from tests.interceptors.test_aio_client import KINDS, finish, start

LIBRARIES = pytest.mark.parametrize("lib", [pygrpc, grpc], ids=["pygrpc", "grpcio"])

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def methods(lib: Any, log: list[str]) -> Any:
    async def note(request: bytes) -> bytes:
        log.append(f"handler {variable.get()}")
        return request

    class Methods(lib.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            kind = details.method.rpartition("/")[2]
            factory = getattr(lib, f"{kind}_rpc_method_handler", None)
            return factory and factory(getattr(self, kind))

        async def unary_unary(self, request: bytes, context: Any) -> bytes:
            return await note(request)

        async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield await note(request)

        async def stream_unary(self, requests: Any, context: Any) -> bytes:
            return await note(b",".join([request async for request in requests]))

        async def stream_stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
            async for request in requests:
                yield await note(request)

    return Methods()


def interceptor(lib: Any, function: Any) -> Any:
    class Interceptor(lib.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            return await function(continuation, handler_call_details)

    return Interceptor()


@contextlib.asynccontextmanager
async def channel(
    lib: Any, *functions: Any, log: list[str] | None = None, **options: Any
) -> AsyncIterator[pygrpc.aio.Channel]:
    handlers = [methods(lib, [] if log is None else log)]
    server = lib.aio.server(
        handlers=handlers, interceptors=[interceptor(lib, function) for function in functions], **options
    )
    port = server.add_insecure_port("localhost:0")
    await server.start()
    try:
        async with pygrpc.aio.insecure_channel(f"localhost:{port}") as made:
            yield made
    finally:
        await server.stop(None)


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_interceptor_is_asked_first(lib: Any, kind: str) -> None:
    log: list[str] = []

    def named(name: str) -> Any:
        async def intercept(continuation: Any, details: Any) -> Any:
            metadata = [tuple(pair) for pair in details.invocation_metadata if pair[0] == "x-own"]
            log.append(f"{name} {details.method} {metadata} {variable.get()}")
            variable.set(name)
            return await continuation(details)

        return intercept

    async with channel(lib, named("a"), named("b"), log=log) as made:
        call = start(made, kind, b"x", metadata=[("x-own", "1")])
        assert await finish(call, kind) == ([b"x"] if kind.endswith("stream") else b"x")
    metadata = [("x-own", "1")]
    assert log == [f"a /s/{kind} {metadata} unset", f"b /s/{kind} {metadata} a", "handler b"]


@LIBRARIES
async def test_context_variables_of_a_call_are_its_own(lib: Any) -> None:
    log: list[str] = []

    async def look(continuation: Any, details: Any) -> Any:
        log.append(variable.get())
        variable.set("set")
        return await continuation(details)

    async with channel(lib, look) as made:
        for _ in range(2):
            await start(made, "unary_unary", b"x")
    assert log == ["unset", "unset"]


@LIBRARIES
async def test_another_handler(lib: Any) -> None:
    async def louder(continuation: Any, details: Any) -> Any:
        handler = await continuation(details)

        def wrapper(behaviour: Any) -> Any:
            async def wrapped(request: bytes, context: Any) -> Any:
                response: bytes = await behaviour(request, context)
                return response.upper()

            return wrapped

        return lib.experimental.wrap_server_method_handler(wrapper, handler)

    async with channel(lib, louder) as made:
        assert await start(made, "unary_unary", b"x") == b"X"


@LIBRARIES
async def test_no_handler(lib: Any) -> None:
    async def nobody(continuation: Any, details: Any) -> Any:
        return None

    async with channel(lib, nobody) as made:
        with pytest.raises(pygrpc.aio.AioRpcError) as caught:
            await start(made, "unary_unary", b"x")
    assert caught.value.code() is pygrpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == "Method not found!"


@LIBRARIES
async def test_an_unknown_method_passes_the_interceptors(lib: Any) -> None:
    seen = []

    async def look(continuation: Any, details: Any) -> Any:
        seen.append(await continuation(details))
        return seen[0]

    async with channel(lib, look) as made:
        with pytest.raises(pygrpc.aio.AioRpcError) as caught:
            await made.unary_unary("/s/unknown")(b"x", timeout=20)
    assert caught.value.code() is pygrpc.StatusCode.UNIMPLEMENTED
    assert seen == [None]


@LIBRARIES
async def test_what_an_interceptor_raises(lib: Any) -> None:
    async def raises(continuation: Any, details: Any) -> Any:
        raise ValueError("a mistake")

    async with channel(lib, raises) as made:
        with pytest.raises(pygrpc.aio.AioRpcError) as caught:
            await start(made, "unary_unary", b"x")
    assert caught.value.code() is pygrpc.StatusCode.UNKNOWN
    assert caught.value.details() == "Unexpected <class 'ValueError'>: a mistake"


async def test_the_client_goes_away_while_an_interceptor_works() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stuck(continuation: Any, details: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with channel(pygrpc, stuck) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
        call.cancel()
        await ended.wait()


async def test_the_deadline_passes_while_an_interceptor_works() -> None:
    ended = asyncio.Event()

    async def stuck(continuation: Any, details: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(20), channel(pygrpc, stuck) as made:
        # The call has to be at the server when its time is up.
        await made.channel_ready()
        with pytest.raises(pygrpc.aio.AioRpcError) as caught:
            await start(made, "unary_unary", b"x", timeout=0.5)
        assert caught.value.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        await ended.wait()


async def test_the_server_stops_while_an_interceptor_works() -> None:
    begun = asyncio.Event()

    async def stuck(continuation: Any, details: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with channel(pygrpc, stuck) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
    assert await call.code() in (pygrpc.StatusCode.UNAVAILABLE, pygrpc.StatusCode.CANCELLED)


async def test_calls_that_are_being_intercepted_count() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(continuation: Any, details: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await continuation(details)

    async with channel(pygrpc, slow, maximum_concurrent_rpcs=1) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
        with pytest.raises(pygrpc.aio.AioRpcError) as caught:
            await start(made, "unary_unary", b"y")
        assert caught.value.code() is pygrpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        assert await call == b"x"


async def test_a_call_without_its_request() -> None:
    async def passing(continuation: Any, details: Any) -> Any:
        return await continuation(details)

    async with channel(pygrpc, passing) as made:
        # The client takes the method for one with a stream of requests, and sends none.
        call = made.stream_unary("/s/unary_unary")(iter([]), timeout=20)
        assert await call.code() is pygrpc.StatusCode.UNIMPLEMENTED
        assert "without the message" in await call.details()


async def test_a_search_that_nobody_asked_for() -> None:
    """What the core may tell a call at any time has no effect on a search that has not begun."""

    class Call:
        remote_ended = False

    search = handler_search.HandlerSearch(Call(), (), None, None, None)  # type: ignore[arg-type]
    search.on_requests()
    search.on_writable()
    search.on_cancelled()
    search.on_closed()
    assert search.task is None


@LIBRARIES
async def test_what_is_no_interceptor(lib: Any) -> None:
    with pytest.raises(ValueError, match=r"Interceptor must be ServerInterceptor, ?the following are invalid"):
        lib.aio.server(interceptors=[object()])


class Junk(pygrpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        return "junk"


class JunkInterceptor(pygrpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return "junk"


@pytest.mark.parametrize("arguments", [{"handlers": [Junk()]}, {"interceptors": [JunkInterceptor()]}], ids=str)
async def test_what_is_no_handler(arguments: Any) -> None:
    server = pygrpc.aio.server(**arguments)
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with asyncio.timeout(20), pygrpc.aio.insecure_channel(f"localhost:{port}") as channel:
        call = channel.unary_unary("/a.B/C")(b"x")
        assert await call.code() is pygrpc.StatusCode.UNKNOWN
        assert "expected an RpcMethodHandler or None for /a.B/C, not 'junk'" in await call.details()
    await server.stop(None)


# What only pygrpc tells its interceptors.


async def test_who_calls() -> None:
    seen: list[Any] = []

    async def look(continuation: Any, details: Any) -> Any:
        seen.append((details.peer(), details.auth_context()["transport_security_type"], details.code()))
        return await continuation(details)

    async with channel(pygrpc, look) as made:
        await start(made, "unary_unary", b"x")
    [(peer, security, code)] = seen
    assert peer.startswith(("ipv4:127.0.0.1:", "ipv6:"))
    assert (security, code) == ([b"insecure"], None)


@pytest.mark.parametrize("kind", KINDS)
async def test_metadata_of_an_interceptor_go_with_the_headers(kind: str) -> None:
    added: list[bool] = []

    async def add(continuation: Any, details: Any) -> Any:
        added.append(details.add_initial_metadata([("x-first", "1")]))
        added.append(details._replace(method=details.method).add_initial_metadata([("x-second-bin", b"2")]))
        return await continuation(details)

    async with channel(pygrpc, add) as made:
        call = start(made, kind, b"x")
        assert list(await call.initial_metadata()) == [("x-first", "1"), ("x-second-bin", b"2")]
        await finish(call, kind)
    assert added == [True, True]


async def test_metadata_of_an_interceptor_come_too_late_behind_the_headers() -> None:
    results: list[tuple[bool, Any]] = []

    async def add(continuation: Any, details: Any) -> Any:
        async def behaviour(request: bytes, context: Any) -> bytes:
            await context.send_initial_metadata([("x-own", "1")])
            results.append((details.add_initial_metadata([("x-late", "1")]), details.code()))
            return request

        return pygrpc.unary_unary_rpc_method_handler(behaviour)

    async with channel(pygrpc, add) as made:
        call = start(made, "unary_unary", b"x")
        assert list(await call.initial_metadata()) == [("x-own", "1")]
        assert await call == b"x"
    assert results == [(False, None)]


async def ends(made: Any, call: Any) -> None:
    assert await call == b"x"


async def cancels(made: Any, call: Any) -> None:
    call.cancel()


@pytest.mark.parametrize(
    ("end", "code"), [(ends, pygrpc.StatusCode.OK), (cancels, pygrpc.StatusCode.CANCELLED)], ids=["ends", "cancels"]
)
async def test_what_a_call_has_ended_with(end: Any, code: pygrpc.StatusCode) -> None:
    begun, over = asyncio.Event(), asyncio.Event()
    codes: list[Any] = []

    async def look(continuation: Any, details: Any) -> Any:
        def tell(task: Any) -> None:
            codes.append(details.code())
            over.set()

        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(tell)

        async def behaviour(request: bytes, context: Any) -> bytes:
            begun.set()
            if end is cancels:
                await asyncio.Event().wait()
            return request

        return pygrpc.unary_unary_rpc_method_handler(behaviour)

    async with channel(pygrpc, look) as made:
        call = start(made, "unary_unary", b"x")
        await begun.wait()
        await end(made, call)
        await over.wait()
    assert codes == [code]
