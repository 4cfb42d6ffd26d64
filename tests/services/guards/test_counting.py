"""Counting messages, and noticing the end of each call."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.guards import Authentication, Identity, StaticTokens
from pygrpc.services.guards.calls import GuardedCall, Observation
from pygrpc.services.guards.counting import ObservingInterceptor
from tests.services.guards.support import KINDS, Clock, guarded, path, until

REFUSING = Authentication([StaticTokens({"token-of-ann-0123456": Identity("ann")})])


class Watch(ObservingInterceptor):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(Clock(7))
        self.begins: list[str] = []
        self.ends: list[tuple[Any, ...]] = []
        self.codes: list[StatusCode | None] = []

    def begun(self, call: GuardedCall, observation: Observation) -> None:
        self.begins.append(call.arity)
        observation.note = len(self.begins)

    def ended(self, call: GuardedCall, observation: Observation) -> None:
        assert (observation.began, observation.note) == (7, len(self.ends) + 1)
        self.codes.append(call.details.code())
        self.ends.append((call.requests, call.request_bytes, call.responses, call.response_bytes))


COUNTS = {
    "unary_unary": (1, 3, 1, 3),
    "unary_stream": (1, 3, 2, 4),
    "stream_unary": (2, 6, 1, 6),
    "stream_stream": (2, 6, 2, 6),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_are_counted_once_for_all(client_aio: ModuleType, kind: str) -> None:
    watches = [Watch(), Watch()]
    async with guarded(client_aio, *watches) as server:
        await server.call(kind, b"abc")
        for watch in watches:
            await until(lambda watch=watch: watch.ends)  # type: ignore[misc]
            assert (watch.begins, watch.codes, watch.ends) == ([kind], [StatusCode.OK], [COUNTS[kind]])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_ends(client_aio: ModuleType, kind: str) -> None:
    watch = Watch()
    async with guarded(client_aio, watch) as server:
        call = server.start(kind, b"wait")
        await server.methods.begun.wait()
        assert not watch.ends
        call.cancel()
        await until(lambda: bool(watch.ends))
        assert (watch.begins, watch.codes, watch.ends) == ([kind], [StatusCode.CANCELLED], [(1, 4, 0, 0)])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_past_its_deadline_ends(client_aio: ModuleType, kind: str) -> None:
    watch = Watch()
    async with guarded(client_aio, watch) as server:
        await server.call("unary_unary")
        # On a machine that is busy the time may be up before the call is there.
        while not server.methods.begun.is_set():
            failure = await server.failure(kind, b"wait", timeout=0.5)
            assert failure.code == "DEADLINE_EXCEEDED"
        await until(lambda: len(watch.ends) == len(watch.begins))
        # The client may notice first, and then it resets the stream.
        assert watch.codes[-1] in (StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("request_", "code"), [(b"abort", StatusCode.NOT_FOUND), (b"fail", StatusCode.UNKNOWN)])
async def test_a_call_that_fails_ends(client_aio: ModuleType, kind: str, request_: bytes, code: StatusCode) -> None:
    watch = Watch()
    async with guarded(client_aio, watch) as server:
        assert (await server.failure(kind, request_)).code == code.name
        await until(lambda: bool(watch.ends))
        assert watch.codes == [code]


async def test_a_call_whose_request_never_comes_ends() -> None:
    watch = Watch()
    async with guarded(aio, watch) as server:
        call = server.channel.stream_unary(path("unary_unary"))(timeout=20)
        await until(lambda: bool(watch.begins))
        call.cancel()
        await until(lambda: bool(watch.ends))
        assert (watch.codes, watch.ends) == ([StatusCode.CANCELLED], [(0, 0, 0, 0)])
        # And one that comes without it.
        call = server.channel.stream_unary(path("unary_unary"))(iter([]), timeout=20)
        assert await call.code() is StatusCode.UNIMPLEMENTED
        await until(lambda: len(watch.ends) == 2)
        assert watch.codes[1] is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_the_end_of_the_server_ends(kind: str) -> None:
    watch = Watch()
    async with guarded(aio, watch) as server:
        call = server.start(kind, b"wait")
        await server.methods.begun.wait()
    assert await call.code() is not StatusCode.OK
    await until(lambda: bool(watch.ends))
    assert watch.codes[0] in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)


async def test_unknown_and_refused_methods_have_no_arity(client_aio: ModuleType) -> None:
    watch = Watch()
    async with guarded(client_aio, watch) as server:
        assert (await server.failure("unary_unary", method="/a.B/C")).code == "UNIMPLEMENTED"
        await until(lambda: len(watch.ends) == 1)
    async with guarded(client_aio, watch, REFUSING) as server:
        assert (await server.failure("unary_unary")).code == "UNAUTHENTICATED"
        await until(lambda: len(watch.ends) == 2)
    assert watch.begins == ["", ""]
    assert watch.codes == [StatusCode.UNIMPLEMENTED, StatusCode.UNAUTHENTICATED]


async def test_an_interceptor_that_raises_ends_the_call_too() -> None:
    class Raises(aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            raise ValueError("a mistake")

    watch = Watch()
    async with guarded(aio, watch, Raises()) as server:
        assert (await server.failure("unary_unary")).code == "UNKNOWN"
        await until(lambda: bool(watch.ends))
    assert (watch.begins, watch.codes) == ([""], [StatusCode.UNKNOWN])


def broken(message: Any) -> Any:
    raise ValueError("a mistake")


def text(payload: bytes) -> str:
    return payload.decode()


@pytest.mark.parametrize(
    ("deserializer", "serializer", "expected"),
    [
        (None, None, (1, 1, 1, 1)),
        (text, str.encode, (1, 1, 1, 1)),
        (broken, None, (1, 1, 0, 0)),
        (None, broken, (1, 1, 0, 0)),
        (text, None, (1, 1, 0, 0)),
    ],
)
async def test_what_turns_messages_into_bytes_does_as_before(
    deserializer: Any, serializer: Any, expected: tuple[int, ...]
) -> None:
    async def same(request: Any, context: Any) -> Any:
        return request

    handler = pygrpc.unary_unary_rpc_method_handler(same, deserializer, serializer)
    generic = pygrpc.method_handlers_generic_handler("test.Same", {"Same": handler})
    results = []
    watch = Watch()
    for guards in ((), (watch,)):
        async with guarded(aio, *guards, handlers=[generic]) as server:
            call = server.channel.unary_unary("/test.Same/Same")(b"x", timeout=20)
            results.append((await call.code(), await call.details()))
            await asyncio.sleep(0)
    assert results[0] == results[1]
    assert (watch.codes, watch.ends) == ([results[0][0]], [expected])


@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
async def test_handlers_in_threads_are_counted(kind: str) -> None:
    def joined(requests: Any, context: Any) -> bytes:
        return b"".join([requests] if kind == "unary_unary" else requests)

    handler = getattr(pygrpc, f"{kind}_rpc_method_handler")(joined)
    generic = pygrpc.method_handlers_generic_handler("test.Plain", {"Plain": handler})
    watch = Watch()
    async with guarded(aio, watch, handlers=[generic]) as server:
        await server.call(kind, b"abc", method="/test.Plain/Plain")
        await until(lambda: bool(watch.ends))
    assert watch.ends == [COUNTS[kind]]
