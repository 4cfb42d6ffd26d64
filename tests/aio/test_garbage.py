"""Servers that are dropped without being stopped, and calls that are over."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pygrpc import StatusCode, aio
from tests.aio.support import connected, failure, make_server, method, never, turns, until


async def started(**settings: Any) -> tuple[aio.Server, int]:
    server = make_server(options=[("grpc.so_reuseport", 0)], **settings)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def until_free(port: int) -> None:
    """Waits until nobody listens on a port any more."""

    def free() -> bool:
        try:
            make_server(options=[("grpc.so_reuseport", 0)]).add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError:
            return False
        return True

    await until(free)


async def until_dead(server: weakref.ref[aio.Server]) -> None:
    """Waits until a server has stopped and is gone, with what the collector has to find."""
    while server() is not None:
        await asyncio.sleep(0)
        gc.collect()


async def test_a_server_that_is_dropped_stops() -> None:
    server, port = await started()
    gone = weakref.ref(server)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
        del server
        gc.collect()
        await until_free(port)
        assert (await failure(method(channel, "uu")(b"x"))).code() is StatusCode.UNAVAILABLE
    await until_dead(gone)


@pytest.mark.parametrize("in_a_cycle", [True, False])
async def test_a_server_that_is_dropped_ends_its_calls(in_a_cycle: bool) -> None:
    async def stuck(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"begun"
        await never()

    server, port = await started(us=stuck)
    gone = weakref.ref(server)
    if in_a_cycle:
        server.itself = server  # type: ignore[attr-defined]
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = method(channel, "us")(b"x")
        assert await call.read() == b"begun"
        del server
        gc.collect()
        assert (await failure(call.read())).code() is StatusCode.UNAVAILABLE
    await until_free(port)
    await until_dead(gone)


async def test_who_waits_for_a_server_keeps_it() -> None:
    server, port = await started()
    waiting = asyncio.create_task(server.wait_for_termination())
    await asyncio.sleep(0)
    gone = weakref.ref(server)
    del server
    gc.collect()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await method(channel, "uu")(b"x") == b"x"
    kept = gone()
    assert kept is not None
    await kept.stop(None)
    await waiting


HEDGED = '{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "100s"}}]}'


@pytest.mark.parametrize("config", ["{}", HEDGED])
@pytest.mark.parametrize("arity", ["uu", "ss"])
async def test_a_call_that_is_over_is_freed_without_the_garbage_collector(arity: str, config: str) -> None:
    async with connected([("grpc.service_config", config)]) as channel:
        multicallable = method(channel, arity)
        for _ in range(2):
            gc.disable()
            try:
                call = multicallable(b"x" if arity[0] == "u" else iter([b"x"]))
                if arity[1] == "u":
                    assert await call == b"x"
                else:
                    assert [response async for response in call] == [b"x"]
                await turns()
                gone = weakref.ref(call._core)
                del call
                assert gone() is None
            finally:
                gc.enable()


@pytest.mark.parametrize("timeout", [None, 20])
async def test_a_served_call_is_freed_without_the_garbage_collector(timeout: float | None) -> None:
    contexts: list[weakref.ref[Any]] = []

    async def behavior(request: bytes, context: Any) -> bytes:
        contexts.append(weakref.ref(context))
        return request

    async with connected(uu=behavior) as channel:
        for _ in range(2):
            gc.disable()
            try:
                assert await method(channel, "uu")(b"x", timeout=timeout) == b"x"
                await turns()
                assert contexts[-1]() is None
            finally:
                gc.enable()
