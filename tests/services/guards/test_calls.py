"""What guards share: the record of a call, wrappers and refusals."""

from __future__ import annotations

import asyncio
import gc
from types import ModuleType
from typing import Any

import pytest

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.errors import RequestError
from pygrpc.services.guards import (
    AccessLog,
    GuardError,
    Identity,
    Metrics,
    Rate,
    RateLimit,
    RequestIds,
    current_identity,
    current_request_id,
    identified,
)
from pygrpc.services.guards.calls import GuardedCall, Observation, Wrapped, current_call, entered, refused, remade
from pygrpc.testing import in_process_channel
from tests.services.guards.support import KINDS, SERVICE, Methods, guarded, path, until


class Guard(aio.ServerInterceptor):
    """Calls a function for each call."""

    def __init__(self, look: Any) -> None:
        self._look = look

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self._look(entered(handler_call_details)) or await continuation(handler_call_details)


def test_outside_of_calls_nothing_is_known() -> None:
    assert (current_call(), current_identity(), current_request_id(), identified(None)) == (None, None, "", "")


@pytest.mark.parametrize("kind", KINDS)
async def test_all_guards_of_a_call_and_its_handler_see_the_same(client_aio: ModuleType, kind: str) -> None:
    seen: list[GuardedCall] = []

    def first(call: GuardedCall) -> None:
        call.identity = Identity("ann")
        call.request_id = "1"
        seen.append(call)

    async with guarded(client_aio, Guard(first), Guard(seen.append)) as server:
        await server.call(kind)
        await server.call(kind)
    assert seen[0] is seen[1] is server.methods.seen[0]
    assert seen[2] is seen[3] is server.methods.seen[-1]
    assert seen[0] is not seen[2]


async def test_handlers_in_threads_know_who_calls() -> None:
    def answer(request: bytes, context: Any) -> bytes:
        return f"{identified(context)} {current_request_id()}".encode()

    def known(call: GuardedCall) -> None:
        call.identity = Identity("ann")
        call.request_id = "1"

    methods = {"Plain": pygrpc.unary_unary_rpc_method_handler(answer)}
    generic = pygrpc.method_handlers_generic_handler("test.Plain", methods)
    async with guarded(aio, Guard(known), handlers=[generic]) as server:
        assert await server.call("unary_unary", method="/test.Plain/Plain") == b"ann 1"


async def test_a_call_in_the_same_process_is_another_one() -> None:
    """A server that is called through memory may inherit the context variables of who calls it."""
    seen: list[GuardedCall] = []
    inner = aio.server(handlers=[Methods().handlers()], interceptors=[Guard(seen.append)])
    await inner.start()

    async def forward(request: bytes, context: Any) -> bytes:
        async with in_process_channel(inner) as channel:
            response: bytes = await channel.unary_unary(path("unary_unary"))(request, timeout=20)
            return response

    handler = pygrpc.unary_unary_rpc_method_handler(forward)
    generic = pygrpc.method_handlers_generic_handler("test.Outer", {"Forward": handler})
    async with guarded(aio, Guard(seen.append), handlers=[generic]) as server:
        assert await server.call("unary_unary", method="/test.Outer/Forward") == b"x"
    await inner.stop(None)
    assert [call.details.method for call in seen] == ["/test.Outer/Forward", path("unary_unary")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_call_ends_with_its_error_and_without_a_handler(client_aio: ModuleType, kind: str) -> None:
    error = RequestError(StatusCode.FAILED_PRECONDITION, "not today")
    async with guarded(client_aio, Guard(lambda call: refused(call, error))) as server:
        failure = await server.failure(kind)
        assert server.methods.served == 0
    assert (failure.code, failure.message) == ("FAILED_PRECONDITION", "not today")
    assert failure.status.message == "not today"


async def test_a_refusal_does_not_wait_for_the_request() -> None:
    error = RequestError(StatusCode.FAILED_PRECONDITION, "not today")
    async with guarded(aio, Guard(lambda call: refused(call, error))) as server:
        # To the server this is a unary method whose request does not come.
        call = server.channel.stream_unary(path("unary_unary"))(timeout=20)
        assert await call.code() is StatusCode.FAILED_PRECONDITION


async def test_details_of_another_server_are_told_what_is_missing() -> None:
    class Plain:
        method = "/a.B/C"
        invocation_metadata = ()

    with pytest.raises(GuardError, match=r"pass on as they are, or changed by _replace\(\)"):
        entered(Plain())


async def test_an_observer_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    class Observer:
        def __init__(self, name: str, error: Exception | None = None) -> None:
            self._name = name
            self._error = error

        def ended(self, call: GuardedCall, observation: Observation) -> None:
            ended.append(f"{self._name} {observation.began} {call.details.code()}")
            if self._error is not None:
                raise self._error

    def look(call: GuardedCall) -> None:
        call.observe(Observation(Observer("a", ValueError("a mistake")), 1.0))
        call.observe(Observation(Observer("b"), 2.0))

    async with guarded(aio, Guard(look)) as server:
        await server.call("unary_unary")
        await until(lambda: len(ended) == 2)
    assert ended == ["a 1.0 StatusCode.OK", "b 2.0 StatusCode.OK"]
    assert "failed at the end of a call" in caplog.text and "a mistake" in caplog.text


def test_a_handler_is_wrapped_once() -> None:
    made: list[Any] = []

    def wrap(handler: pygrpc.RpcMethodHandler) -> pygrpc.RpcMethodHandler:
        made.append(handler)
        return remade(handler)

    wrapped = Wrapped(wrap)
    handlers = [pygrpc.unary_unary_rpc_method_handler(len) for _ in range(2)]
    assert wrapped.of(handlers[0]) is wrapped.of(handlers[0]) is not wrapped.of(handlers[1])
    assert made == handlers


def test_handlers_that_are_made_as_they_are_needed_do_not_pile_up() -> None:
    wrapped = Wrapped(remade)
    for _ in range(5000):
        wrapped.of(pygrpc.unary_unary_rpc_method_handler(len))
    assert len(wrapped._made) <= 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_is_made_of_another(kind: str) -> None:
    original = getattr(pygrpc, f"{kind}_rpc_method_handler")(len, bytes, repr)
    same, other = remade(original), remade(original, print, str, ascii)
    assert (getattr(same, kind), same.request_deserializer, same.response_serializer) == (len, bytes, repr)
    assert (getattr(other, kind), other.request_deserializer, other.response_serializer) == (print, str, ascii)
    assert (same.request_streaming, same.response_streaming) == (original.request_streaming, same.response_streaming)
    assert SERVICE in path(kind)


def kept() -> list[GuardedCall]:
    return [each for each in gc.get_objects() if isinstance(each, GuardedCall)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("observed", [True, False], ids=["observed", "alone"])
async def test_nothing_is_left_of_a_call_that_is_over(kind: str, observed: bool) -> None:
    """What the guards keep of a call goes with it, without the help of the garbage collector."""
    guards = [RequestIds(), AccessLog(), Metrics()] if observed else [RequestIds()]
    async with guarded(aio, *guards, RateLimit({"*": Rate(1, 100)})) as server:
        await server.call(kind)
        # Other tests may have left some, and the one above.
        before = {id(each): each for each in kept()}
        gc.collect()
        gc.disable()
        try:
            for request in (b"x", b"abort", b"x"):
                server.methods.seen.clear()
                await asyncio.gather(server.call(kind, request), return_exceptions=True)
            server.methods.seen.clear()
            await until(lambda: all(id(each) in before for each in kept()))
        finally:
            gc.enable()
