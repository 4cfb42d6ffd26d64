"""Answers that are kept."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import pygrpc
from pygrpc import StatusCode, aio
from pygrpc.services.guards import Authentication, GuardError, Identity, StaticTokens
from pygrpc.services.guards.cache import Cache, Cached
from tests.services.guards.support import KINDS, Clock, Codes, Guarded, bearer, guarded, path, until

READ = path("unary_unary")
ANN, BOB = "token-of-ann-0123456", "token-of-bob-0123456"
AUTHENTICATION = Authentication([StaticTokens({ANN: Identity("ann"), BOB: Identity("bob")})])


def cache(*writers: str, clock: Clock | None = None, **options: Any) -> Cache:
    return Cache({READ: Cached(10, writers)}, clock=clock or Clock(), **options)


async def read(server: Guarded, request: bytes = b"x", **options: Any) -> str:
    """Reads, and returns what was said of the cache."""
    call = server.start("unary_unary", request, **options)
    assert await call == request
    status: str = dict(await call.initial_metadata())["x-cache"]
    return status


async def test_an_answer_is_kept_for_its_time(client_aio: ModuleType) -> None:
    clock = Clock()
    async with guarded(client_aio, cache(clock=clock)) as server:
        assert [await read(server), await read(server), await read(server, b"y")] == ["miss", "hit", "miss"]
        clock.now = 9.99
        assert [await read(server), await read(server, b"y")] == ["hit", "hit"]
        clock.now = 10
        assert [await read(server), await read(server)] == ["miss", "hit"]
        assert server.methods.served == 3


async def test_other_methods_are_not_kept(client_aio: ModuleType) -> None:
    table = {path(kind): Cached(10) for kind in KINDS[1:]}
    async with guarded(client_aio, Cache(table)) as server:
        for kind in KINDS:
            for _ in range(2):
                call = server.start(kind)
                assert "x-cache" not in dict(await call.initial_metadata())
                assert [each async for each in call] if kind.endswith("stream") else await call
        assert (await server.failure("unary_unary", method="/a.B/C")).code == "UNIMPLEMENTED"


async def test_nobody_gets_what_another_one_was_answered() -> None:
    async with guarded(aio, AUTHENTICATION, cache()) as server:
        assert [await read(server, metadata=bearer(who)) for who in (ANN, BOB, ANN, BOB)] == [
            "miss",
            "miss",
            "hit",
            "hit",
        ]


async def test_answers_may_depend_on_metadata() -> None:
    async with guarded(aio, cache(vary=["accept-language"])) as server:
        statuses = [
            await read(server, metadata=[("accept-language", language), ("other", str(number))])
            for number, language in enumerate(["de", "en", "de"])
        ]
        assert statuses == ["miss", "miss", "hit"]


@pytest.mark.parametrize("request_", [b"abort", b"fail"])
async def test_errors_are_not_kept(client_aio: ModuleType, request_: bytes) -> None:
    async with guarded(client_aio, cache()) as server:
        codes = {(await server.failure("unary_unary", request_)).code for _ in range(2)}
        assert server.methods.served == 2
    assert codes == {"NOT_FOUND" if request_ == b"abort" else "UNKNOWN"}


async def sets_a_code(request: bytes, context: Any) -> bytes:
    context.set_code(StatusCode.ABORTED)
    context.set_details("in vain")
    return request


async def sets_details(request: bytes, context: Any) -> bytes:
    context.set_details("nothing to add")
    return request


async def sets_trailers(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("x-own", "1"),))
    return request


def in_a_thread(request: bytes, context: Any) -> bytes:
    return request


@pytest.mark.parametrize("behaviour", [sets_a_code, sets_details, sets_trailers, in_a_thread])
async def test_answers_with_more_to_say_are_not_kept(behaviour: Callable[..., Any]) -> None:
    handler = pygrpc.unary_unary_rpc_method_handler(behaviour)
    generic = pygrpc.method_handlers_generic_handler("test.More", {"More": handler})
    results = []
    for guards in ((), (Cache({"/test.More/More": Cached(10)}),)):
        async with guarded(aio, *guards, handlers=[generic]) as server:
            for _ in range(2):
                call = server.channel.unary_unary("/test.More/More")(b"x", timeout=20)
                trailers = [pair for pair in await call.trailing_metadata() if pair[0] != "x-cache"]
                results.append((await call.code(), await call.details(), trailers))
                assert dict(await call.initial_metadata()).get("x-cache", "miss") == "miss"
    assert results[1:] == results[:-1]


def broken(message: Any) -> Any:
    raise ValueError("a mistake")


@pytest.mark.parametrize(
    ("deserializer", "serializer"), [(broken, None), (None, broken), (bytes.decode, str.encode), (None, None)]
)
async def test_what_turns_messages_into_bytes_does_as_before(deserializer: Any, serializer: Any) -> None:
    async def same(request: Any, context: Any) -> Any:
        return request

    handler = pygrpc.unary_unary_rpc_method_handler(same, deserializer, serializer)
    generic = pygrpc.method_handlers_generic_handler("test.Same", {"Same": handler})
    results = []
    for guards in ((), (Cache({"/test.Same/Same": Cached(10)}),)):
        async with guarded(aio, *guards, handlers=[generic]) as server:
            for _ in range(2):
                call = server.channel.unary_unary("/test.Same/Same")(b"x", timeout=20)
                results.append((await call.code(), await call.details()))
                if results[-1][0] is StatusCode.OK:
                    assert await call == b"x"
    assert len(set(results)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_write_invalidates(client_aio: ModuleType, kind: str) -> None:
    made = cache("/test.Writes/Write")

    async with guarded(aio) as other:
        handlers = other.methods.handlers()

    class Writes(pygrpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            if handler_call_details.method == "/test.Writes/Write":
                return handlers.service(_Details(path(kind)))
            return None

    async with guarded(client_aio, made, handlers=[Writes()]) as server:
        assert [await read(server), await read(server)] == ["miss", "hit"]
        await server.call(kind, method="/test.Writes/Write")
        assert [await read(server), await read(server)] == ["miss", "hit"]
        # It may have changed something before it failed.
        await server.failure(kind, b"fail", method="/test.Writes/Write")
        assert [await read(server), await read(server)] == ["miss", "hit"]


class _Details:
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


async def test_a_read_that_began_before_a_write_is_not_kept() -> None:
    made = cache()
    async with guarded(aio, made) as server:
        old = server.start("unary_unary", b"wait")
        await server.methods.begun.wait()
        made.invalidate(READ)
        server.methods.go_on.set()
        assert await read(server, b"wait") == "miss"
        assert await old == b"wait"
        assert await read(server, b"wait") == "hit"


async def test_equal_reads_at_the_same_time_are_one(client_aio: ModuleType) -> None:
    async with guarded(client_aio, cache()) as server:
        calls = [server.start("unary_unary", b"wait") for _ in range(10)]
        await server.methods.begun.wait()
        other = server.start("unary_unary", b"y")
        assert await other == b"y"
        server.methods.go_on.set()
        assert [await call for call in calls] == [b"wait"] * 10
        assert server.methods.served == 2


class CountingCache(Cache):
    """Knows how many calls have come so far that they are served, or wait for another one."""

    asked = 0

    def _key_of(self, call: Any, payload: bytes) -> Any:
        self.asked += 1
        return super()._key_of(call, payload)


async def test_what_ends_the_first_of_equal_reads_is_not_for_the_others() -> None:
    made = CountingCache({READ: Cached(10)})
    async with guarded(aio, made) as server:
        first = server.start("unary_unary", b"wait")
        await server.methods.begun.wait()
        calls = [server.start("unary_unary", b"wait") for _ in range(4)]
        await until(lambda: made.asked == 5)
        first.cancel()
        # They do not wait for one another a second time.
        await until(lambda: server.methods.served == 5)
        server.methods.go_on.set()
        assert [await call for call in calls] == [b"wait"] * 4
        assert made._flights == {}


async def test_who_waits_for_another_one_may_give_up() -> None:
    made, codes = CountingCache({READ: Cached(10)}), Codes()
    async with guarded(aio, codes, made) as server:
        calls = [server.start("unary_unary", b"wait") for _ in range(3)]
        await until(lambda: made.asked == 3)
        calls[2].cancel()
        await until(lambda: bool(codes.ended_with))
        server.methods.go_on.set()
        assert [await calls[0], await calls[1]] == [b"wait", b"wait"]
        assert server.methods.served == 1


@pytest.mark.parametrize(
    ("control", "statuses"),
    [
        ("no-cache", ["bypass", "bypass", "hit"]),
        ("max-age=0, No-Store", ["bypass", "bypass", "miss"]),
        ("max-age=0", ["miss", "hit", "hit"]),
    ],
)
async def test_a_client_asks_for_a_fresh_answer(client_aio: ModuleType, control: str, statuses: list[str]) -> None:
    async with guarded(client_aio, cache()) as server:
        metadata = [("cache-control", control)]
        found = [await read(server, metadata=metadata), await read(server, metadata=metadata), await read(server)]
        assert found == statuses


async def test_the_size_is_bounded() -> None:
    made = cache(size=5000)
    async with guarded(aio, made) as server:
        for number in range(50):
            assert await read(server, bytes([number]) * 500) == "miss"
            assert made._kept.currsize <= 5000
        assert await read(server, bytes([49]) * 500) == "hit"
        assert await read(server, bytes([0]) * 500) == "miss"
        # One that is too large drives out nothing.
        for _ in range(2):
            assert await read(server, b"x" * 5000) == "miss"
        assert await read(server, bytes([49]) * 500) == "hit"


@pytest.mark.parametrize(("seconds", "size"), [(0, 1), (-1, 1), (1, 0)])
def test_a_cache_for_nothing(seconds: float, size: int) -> None:
    with pytest.raises(GuardError, match="above 0"):
        Cache({READ: Cached(seconds)}, size=size)
