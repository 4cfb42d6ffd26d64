"""Balancing over sockets, with servers of pygrpc and of grpcio behind one target."""

from __future__ import annotations

import itertools
import queue
import random
import time
from typing import Any

import pytest

import pygrpc
import pygrpc.balancing
from pygrpc import resolvers
from pygrpc.health.v1 import health, health_pb2, health_pb2_grpc
from tests.health.serving import SERVERS, running
from tests.sync.backends import METHOD, MIXED, Run, backends, service_config, until
from tests.sync.peers import BOUND

FAILURES = {"threshold": 50, "minimumHosts": 1, "requestVolume": 2}


def call(channel: Any) -> bool:
    """Makes a call; returns whether it went well."""
    try:
        channel.unary_unary(METHOD)(b"", timeout=BOUND, wait_for_ready=True)
    except pygrpc.RpcError as error:
        assert error.code() is pygrpc.StatusCode.UNAVAILABLE
        return False
    return True


def call_all(channel: Any, servers: Any) -> None:
    """Makes calls until each server has had one: all are connected."""
    until(lambda: all(server.calls for server in servers), lambda: call(channel))


def call_only(channel: Any, others: Any, times: int = 6) -> None:
    """Makes calls until several in a row went well, none of them to these servers."""
    run = Run(others, times)

    def step() -> None:
        before = run.counts()
        run.count(call(channel), before)

    until(lambda: run.over, step)


def test_round_robin_takes_turns() -> None:
    config = service_config("round_robin")
    with backends(*MIXED, "pygrpc") as (target, servers), pygrpc.insecure_channel(target, config) as channel:
        call_all(channel, servers)
        before = [server.calls for server in servers]
        for _ in range(9):
            assert call(channel)
        assert [server.calls - count for server, count in zip(servers, before, strict=True)] == [3, 3, 3]


def test_round_robin_goes_on_without_a_server_that_stops() -> None:
    with backends() as (target, servers), pygrpc.insecure_channel(target, service_config("round_robin")) as channel:
        call_all(channel, servers)
        servers[0].stop()
        call_only(channel, servers[:1])


def test_least_request_spares_who_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    # One after the other is drawn, so that both are looked at for each call.
    draws = itertools.cycle([0.1, 0.9])
    monkeypatch.setattr(random, "random", lambda: next(draws))
    config = service_config("least_request")
    with backends() as (target, servers), pygrpc.insecure_channel(target, config) as channel:
        for server in servers:
            server.go.clear()
        held: list[Any] = []

        def hold_one() -> None:
            held.append(channel.unary_unary(METHOD).future(b"", timeout=BOUND))
            until(lambda: sum(server.calls for server in servers) == len(held), lambda: time.sleep(0))

        until(lambda: all(server.calls for server in servers), hold_one)
        busy, free = servers
        free.go.set()
        until(lambda: sum(future.done() for future in held) == free.calls, lambda: time.sleep(0))
        count = busy.calls
        for _ in range(6):
            assert call(channel)
        assert busy.calls == count
        busy.go.set()
        assert [future.result(BOUND) for future in held] == [b""] * len(held)


@pytest.mark.parametrize("library", MIXED)
def test_weights_follow_the_reports_of_servers(library: str) -> None:
    with backends(library, library) as (target, servers):
        for server, load in zip(servers, (0.25, 0.75), strict=True):
            report = pygrpc.balancing.LoadReport(cpu_utilization=load, rps_fractional=100)
            server.trailers = (report.metadata(),)
        settings = {"blackoutPeriod": "0s", "weightUpdatePeriod": "0.1s"}
        with pygrpc.insecure_channel(target, service_config("weighted_round_robin", settings)) as channel:
            call_all(channel, servers)

            def twelve() -> list[int]:
                before = [server.calls for server in servers]
                for _ in range(12):
                    call(channel)
                return [server.calls - count for server, count in zip(servers, before, strict=True)]

            seen: list[list[int]] = []
            until(lambda: seen[-1:] == [[9, 3]], lambda: seen.append(twelve()))


@pytest.mark.parametrize("library", MIXED)
def test_ring_hash_keeps_a_key_with_its_server(library: str) -> None:
    with backends(library, library) as (target, servers):
        config = service_config("ring_hash", {"requestHashHeader": "session"})
        with pygrpc.insecure_channel(target, config) as channel:
            method = channel.unary_unary(METHOD)
            for key in range(8):
                before = [server.calls for server in servers]
                for _ in range(3):
                    method(b"", timeout=BOUND, metadata=(("session", str(key)),))
                got = [server.calls - count for server, count in zip(servers, before, strict=True)]
                assert sorted(got) == [0, 3]


def test_outlier_detection_avoids_who_fails() -> None:
    with backends() as (target, servers):
        settings = {
            "interval": "0.1s",
            "baseEjectionTime": "100s",
            "maxEjectionPercent": 50,
            "failurePercentageEjection": FAILURES,
            "childPolicy": [{"round_robin": {}}],
        }
        with pygrpc.insecure_channel(target, service_config("outlier_detection", settings)) as channel:
            call_all(channel, servers)
            servers[1].fails = True
            call_only(channel, servers[1:], 12)


def test_calls_go_to_servers_that_say_that_they_serve() -> None:
    with backends() as (target, servers):
        servers[0].say(2)
        config = service_config("round_robin", healthCheckConfig={"serviceName": "a.B"})
        with pygrpc.insecure_channel(target, config) as channel:
            for _ in range(4):
                assert call(channel)
            assert [server.calls for server in servers] == [0, 4]
            servers[0].say(1)
            call_all(channel, servers)
            servers[1].say(2)
            call_only(channel, servers[1:])
        assert [server.watches for server in servers] == [1, 1]


def test_a_server_without_health_checks_gets_calls(caplog: pytest.LogCaptureFixture) -> None:
    with backends("pygrpc") as (target, servers):
        config = service_config("round_robin", healthCheckConfig={"serviceName": "a.B"})
        with pygrpc.insecure_channel(target, [*config, ("grpc.inhibit_health_checking", 1)]) as channel:
            servers[0].say(2)
            assert call(channel)
        assert servers[0].watches == 0
    assert not caplog.records


@pytest.mark.parametrize("library", MIXED)
def test_calls_beyond_the_streams_of_one_connection_get_another(library: str) -> None:
    with backends(library, options=[("grpc.max_concurrent_streams", 1)]) as (target, (server,)):
        server.go.clear()
        config = service_config("pick_first", connectionScaling={"maxConnectionsPerSubchannel": 3})
        with pygrpc.insecure_channel(target, config) as channel:
            pending = [channel.unary_unary(METHOD).future(b"", timeout=BOUND) for _ in range(4)]
            for _ in range(3):
                server.arrivals.get(timeout=BOUND)
            # Each has a connection of its own, and the fourth one waits.
            assert len(set(server.peers)) == server.calls == 3
            server.go.set()
            assert [future.result(BOUND) for future in pending] == [b""] * 4


def test_policies_take_over_from_each_other_and_no_call_fails() -> None:
    listeners: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Mine(resolvers.Resolver):
        def __init__(self, target: resolvers.Target, listener: resolvers.Listener) -> None:
            listeners.put(listener)

    resolvers.register("changing", Mine)
    try:
        with backends(*MIXED, "pygrpc") as (_, servers), pygrpc.insecure_channel("changing:x") as channel:
            addresses = [f"127.0.0.1:{server.port}" for server in servers]
            first = channel.unary_unary(METHOD).future(b"", timeout=BOUND)
            listener = listeners.get(timeout=BOUND)
            listener.update(addresses[:1])
            assert first.result(BOUND) == b""
            child = [{"round_robin": {}}]
            for policy in ({"round_robin": {}}, {"outlier_detection": {"childPolicy": child}}, {"ring_hash": {}}) * 3:
                listener.update(addresses, {"loadBalancingConfig": [policy]})
                for _ in range(4):
                    channel.unary_unary(METHOD)(b"", timeout=BOUND)
                addresses.append(addresses.pop(0))
            call_all(channel, servers)
    finally:
        resolvers.unregister("changing")


@pytest.mark.parametrize("api", SERVERS)
def test_the_standard_health_service_is_understood(api: str) -> None:
    def register(server: Any) -> Any:
        servicer = (health.aio.HealthServicer if api.endswith("aio") else health.HealthServicer)()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        echo = pygrpc.unary_unary_rpc_method_handler(aio_echo if api.endswith("aio") else lambda request, _: request)
        handler = pygrpc.method_handlers_generic_handler("balancing.Test", {"Call": echo})
        server.add_generic_rpc_handlers((handler,))
        return servicer

    async def aio_echo(request: bytes, context: Any) -> bytes:
        return request

    held: list[Any] = []
    with running(api, lambda server: held.append(register(server))) as server:
        server.run(held[0].set, "a.B", health_pb2.HealthCheckResponse.NOT_SERVING)
        config = service_config("round_robin", healthCheckConfig={"serviceName": "a.B"})
        with pygrpc.insecure_channel(server.target, config) as channel:
            with pytest.raises(pygrpc.RpcError) as caught:
                channel.unary_unary(METHOD)(b"", timeout=BOUND)
            assert caught.value.details().endswith("the service 'a.B' is NOT_SERVING")
            waiting = channel.unary_unary(METHOD).future(b"x", timeout=BOUND, wait_for_ready=True)
            server.run(held[0].set, "a.B", health_pb2.HealthCheckResponse.SERVING)
            assert waiting.result(BOUND) == b"x"
