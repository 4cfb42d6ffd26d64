"""Balancing over sockets in an event loop, with servers of pygrpc and of grpcio behind one target."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pygrpc
from pygrpc import aio
from tests.sync.backends import METHOD, MIXED, Backend, Run, backends, service_config
from tests.sync.peers import BOUND

FAILURES = {"threshold": 50, "minimumHosts": 1, "requestVolume": 2}


async def until(so: Callable[[], bool], step: Callable[[], Awaitable[object]]) -> None:
    end = time.monotonic() + BOUND
    while not so():
        assert time.monotonic() < end, "it did not come about"
        await step()


async def call(channel: aio.Channel) -> bool:
    """Makes a call; returns whether it went well."""
    try:
        await channel.unary_unary(METHOD)(b"", timeout=BOUND, wait_for_ready=True)
    except aio.AioRpcError as error:
        assert error.code() is pygrpc.StatusCode.UNAVAILABLE
        return False
    return True


async def call_all(channel: aio.Channel, servers: list[Backend]) -> None:
    """Makes calls until each server has had one: all are connected."""
    await until(lambda: all(server.calls for server in servers), lambda: call(channel))


async def call_only(channel: aio.Channel, others: list[Backend], times: int = 6) -> None:
    """Makes calls until several in a row went well, none of them to these servers."""
    run = Run(others, times)

    async def step() -> None:
        before = run.counts()
        run.count(await call(channel), before)

    await until(lambda: run.over, step)


async def test_round_robin_takes_turns() -> None:
    with backends(*MIXED, "pygrpc") as (target, servers):
        async with aio.insecure_channel(target, service_config("round_robin")) as channel:
            await call_all(channel, servers)
            before = [server.calls for server in servers]
            for _ in range(9):
                assert await call(channel)
            assert [server.calls - count for server, count in zip(servers, before, strict=True)] == [3, 3, 3]


async def test_least_request_spares_who_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    # One after the other is drawn, so that both are looked at for each call.
    draws = itertools.cycle([0.1, 0.9])
    monkeypatch.setattr(random, "random", lambda: next(draws))
    with backends() as (target, servers):
        async with aio.insecure_channel(target, service_config("least_request")) as channel:
            for server in servers:
                server.go.clear()
            held: list[Any] = []

            async def hold_one() -> None:
                held.append(asyncio.ensure_future(channel.unary_unary(METHOD)(b"", timeout=BOUND)))
                await until(lambda: sum(server.calls for server in servers) == len(held), lambda: asyncio.sleep(0))

            await until(lambda: all(server.calls for server in servers), hold_one)
            busy, free = servers
            free.go.set()
            await until(lambda: sum(future.done() for future in held) == free.calls, lambda: asyncio.sleep(0))
            count = busy.calls
            for _ in range(6):
                assert await call(channel)
            assert busy.calls == count
            busy.go.set()
            assert await asyncio.gather(*held) == [b""] * len(held)


async def test_outlier_detection_avoids_who_fails() -> None:
    with backends() as (target, servers):
        settings = {
            "interval": "0.1s",
            "baseEjectionTime": "100s",
            "maxEjectionPercent": 50,
            "failurePercentageEjection": FAILURES,
            "childPolicy": [{"round_robin": {}}],
        }
        async with aio.insecure_channel(target, service_config("outlier_detection", settings)) as channel:
            await call_all(channel, servers)
            servers[1].fails = True
            await call_only(channel, servers[1:], 12)


async def test_calls_go_to_servers_that_say_that_they_serve() -> None:
    with backends() as (target, servers):
        servers[0].say(2)
        config = service_config("round_robin", healthCheckConfig={"serviceName": "a.B"})
        async with aio.insecure_channel(target, config) as channel:
            for _ in range(4):
                assert await call(channel)
            assert [server.calls for server in servers] == [0, 4]
            servers[0].say(1)
            await call_all(channel, servers)
            servers[1].say(2)
            await call_only(channel, servers[1:])
        assert [server.watches for server in servers] == [1, 1]


@pytest.mark.parametrize("library", MIXED)
async def test_calls_beyond_the_streams_of_one_connection_get_another(library: str) -> None:
    with backends(library, options=[("grpc.max_concurrent_streams", 1)]) as (target, (server,)):
        server.go.clear()
        config = service_config("pick_first", connectionScaling={"maxConnectionsPerSubchannel": 3})
        async with aio.insecure_channel(target, config) as channel:
            method = channel.unary_unary(METHOD)
            pending = [asyncio.ensure_future(method(b"", timeout=BOUND)) for _ in range(4)]
            await until(lambda: server.calls == 3, lambda: asyncio.sleep(0))
            # Each has a connection of its own, and the fourth one waits.
            assert len(set(server.peers)) == 3
            server.go.set()
            assert await asyncio.gather(*pending) == [b""] * 4
