"""Deadlines pass from a call to the calls that its handler makes."""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pygrpc
from pygrpc import aio, propagation
from pygrpc.propagation import effective_timeout


class _Served:
    def __init__(self, remaining: float | None, ended: bool = False) -> None:
        self._remaining, self._ended = remaining, ended

    def time_remaining(self) -> float | None:
        return self._remaining

    def deadline_binds(self) -> bool:
        return self._remaining is not None and not self._ended


@pytest.mark.parametrize(
    ("served", "given", "expected"),
    [
        (None, None, None),
        (None, 3.0, 3.0),
        (None, math.inf, None),
        (_Served(2.0), None, 2.0),
        (_Served(2.0), 3.0, 2.0),
        (_Served(2.0), 1.0, 1.0),
        (_Served(2.0), math.inf, None),
        (_Served(None), 3.0, 3.0),
        (_Served(0.0, ended=True), 3.0, 3.0),
    ],
)
def test_the_earlier_deadline_wins(served: _Served | None, given: float | None, expected: float | None) -> None:
    def run() -> float | None:
        if served is not None:
            propagation.serve(served)
        return effective_timeout(given)

    assert contextvars.copy_context().run(run) == expected


@pytest.mark.parametrize("timeout", [math.nan, -math.inf])
def test_what_is_no_time_is_over(timeout: float) -> None:
    assert effective_timeout(timeout) == 0.0


def test_a_timeout_is_a_number() -> None:
    with pytest.raises(TypeError, match="must be a number of seconds, or None, not 'a'"):
        effective_timeout("a")  # type: ignore[arg-type]


Behavior = Callable[[bytes, Any], Awaitable[bytes]]


async def _ask_front(
    front: Callable[[aio.UnaryUnaryMultiCallable[Any, Any]], Behavior], timeout: float | None
) -> bytes:
    """Calls a front server whose handler may call a back server; the back server answers whether it has a deadline."""

    async def tell(request: bytes, context: Any) -> bytes:
        return b"none" if context.time_remaining() is None else b"some"

    def handler(name: str, behavior: Behavior) -> pygrpc.GenericRpcHandler:
        method = pygrpc.unary_unary_rpc_method_handler(behavior)
        return pygrpc.method_handlers_generic_handler("test.Service", {name: method})

    back, server = aio.server(), aio.server()
    back.add_generic_rpc_handlers((handler("Tell", tell),))
    back_port = back.add_insecure_port("127.0.0.1:0")
    await back.start()
    async with aio.insecure_channel(f"127.0.0.1:{back_port}") as back_channel:
        server.add_generic_rpc_handlers((handler("Ask", front(back_channel.unary_unary("/test.Service/Tell"))),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer: bytes = await channel.unary_unary("/test.Service/Ask")(b"", timeout=timeout)
    await server.stop(None)
    await back.stop(None)
    return answer


def _passes_on(tell: aio.UnaryUnaryMultiCallable[Any, Any]) -> Behavior:
    async def ask(request: bytes, context: Any) -> bytes:
        return await tell(request)

    return ask


def _opts_out(tell: aio.UnaryUnaryMultiCallable[Any, Any]) -> Behavior:
    async def ask(request: bytes, context: Any) -> bytes:
        return await tell(request, timeout=math.inf)

    return ask


async def test_a_call_from_a_handler_inherits_the_deadline() -> None:
    assert await _ask_front(_passes_on, timeout=30) == b"some"


async def test_without_a_deadline_there_is_nothing_to_inherit() -> None:
    assert await _ask_front(_passes_on, timeout=None) == b"none"


async def test_a_call_can_opt_out() -> None:
    assert await _ask_front(_opts_out, timeout=30) == b"none"


async def test_what_goes_on_after_the_call_is_not_bound_by_it() -> None:
    background: list[asyncio.Task[bytes]] = []
    ended = asyncio.Event()

    def front(tell: aio.UnaryUnaryMultiCallable[Any, Any]) -> Behavior:
        async def later() -> bytes:
            await ended.wait()
            answer: bytes = await tell(b"")
            return answer

        async def ask(request: bytes, context: Any) -> bytes:
            context.add_done_callback(lambda _: ended.set())
            background.append(asyncio.create_task(later()))
            return b""

        return ask

    async def tell(request: bytes, context: Any) -> bytes:
        return b"none" if context.time_remaining() is None else b"some"

    server = aio.server()
    method = pygrpc.unary_unary_rpc_method_handler(tell)
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("test.Service", {"Tell": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = pygrpc.unary_unary_rpc_method_handler(front(channel.unary_unary("/test.Service/Tell")))
        server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("test.Front", {"Ask": ask}),))
        await server.start()
        await channel.unary_unary("/test.Front/Ask")(b"", timeout=30)
        assert await background[0] == b"none"
    await server.stop(None)
