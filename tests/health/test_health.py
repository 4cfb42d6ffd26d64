"""The health service: one list of behaviours over the servers and clients of both libraries and both APIs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc_health.v1.health
import grpc_health.v1.health_pb2_grpc
import pytest

import pygrpc
import pygrpc.aio
from pygrpc.health.v1 import _async, _statuses, health, health_pb2, health_pb2_grpc
from tests.health.serving import BOUND, CLIENTS, SERVERS, Running, running

NAME = "test.v1.Service"
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.ServingStatus.values()
STUBS = {"pygrpc": health_pb2_grpc.HealthStub, "grpc": grpc_health.v1.health_pb2_grpc.HealthStub}


class Link:
    """A server with a health servicer, and a client of it."""

    def __init__(self, api: str, server: Running, servicer: Any, channel: Any, client: str) -> None:
        self.api = api
        self.server = server
        self.servicer = servicer
        self.channel = channel
        self.client = importlib.import_module(client)
        self.stub = STUBS[client](channel)

    def set(self, service: str, status: Any) -> None:
        self.server.run(self.servicer.set, service, status)

    def check(self, service: str) -> Any:
        return self.stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=BOUND).status

    def watch(self, service: str) -> Any:
        return self.stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=BOUND)

    def error_of(self, call: Callable[[], Any]) -> Any:
        with pytest.raises(self.client.RpcError) as caught:
            call()
        return caught.value.code().name, caught.value.details()

    def code(self, name: str) -> str:
        """The code that a client sees: the sync server of grpcio takes none but those of its own enum."""
        return "UNKNOWN" if self.api == "grpc" else name


@contextlib.contextmanager
def linked(api: str, client: str, workers: int = 4, servicer: Any = None, options: Any = ()) -> Iterator[Link]:
    if servicer is None:
        servicer = health.aio.HealthServicer() if api.endswith(".aio") else health.HealthServicer()
    with (
        running(api, lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server), workers) as server,
        importlib.import_module(client).insecure_channel(server.target, options=options) as channel,
    ):
        yield Link(api, server, servicer, channel, client)


@pytest.fixture(params=list(itertools.product(SERVERS, CLIENTS)), ids="-".join)
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with linked(*request.param) as link:
        yield link


def test_check(link: Link) -> None:
    assert link.check(health.OVERALL_HEALTH) == SERVING
    code, details = link.error_of(lambda: link.check(NAME))
    assert code == link.code("NOT_FOUND")
    assert NAME in details
    for status in (NOT_SERVING, UNKNOWN, SERVING):
        link.set(NAME, status)
        assert link.check(NAME) == status
    link.set("", "NOT_SERVING")
    assert link.check("") == NOT_SERVING


def test_list(link: Link) -> None:
    link.set(NAME, NOT_SERVING)
    statuses = link.stub.List(health_pb2.HealthListRequest(), timeout=BOUND).statuses
    assert {service: response.status for service, response in statuses.items()} == {"": SERVING, NAME: NOT_SERVING}


def test_a_list_that_is_too_long(link: Link) -> None:
    # "The maximum number of services to return is 100": health.proto of the grpc-proto repository. "" is one of them.
    for number in range(99):
        link.set(f"service-{number}", SERVING)
    assert len(link.stub.List(health_pb2.HealthListRequest(), timeout=BOUND).statuses) == 100
    link.set("one more", SERVING)
    code, details = link.error_of(lambda: link.stub.List(health_pb2.HealthListRequest(), timeout=BOUND))
    assert code == link.code("RESOURCE_EXHAUSTED")
    assert "Check" in details


def test_watch(link: Link) -> None:
    call = link.watch(NAME)
    assert next(call).status == SERVICE_UNKNOWN
    for status in (SERVING, NOT_SERVING, UNKNOWN, SERVING):
        link.set(NAME, status)
        # Neither the same status again nor that of another service is a change.
        link.set(NAME, status)
        link.set("another", status)
        assert next(call).status == status
    call.cancel()


def test_several_watchers(link: Link) -> None:
    calls = [link.watch(NAME) for _ in range(3)]
    overall = link.watch("")
    assert next(overall).status == SERVING
    assert [next(call).status for call in calls] == [SERVICE_UNKNOWN] * 3
    link.set(NAME, SERVING)
    assert [next(call).status for call in calls] == [SERVING] * 3
    link.set("", NOT_SERVING)
    assert next(overall).status == NOT_SERVING
    for call in (*calls, overall):
        call.cancel()


def test_a_graceful_shutdown(link: Link) -> None:
    link.set(NAME, SERVING)
    calls = {service: link.watch(service) for service in ("", NAME, "unknown")}
    assert [next(call).status for call in calls.values()] == [SERVING, SERVING, SERVICE_UNKNOWN]
    for _ in range(2):
        link.server.run(link.servicer.enter_graceful_shutdown)
    assert [next(calls[service]).status for service in ("", NAME)] == [NOT_SERVING] * 2
    for service in ("", NAME, "unknown"):
        link.set(service, SERVING)
    assert [link.check(service) for service in ("", NAME)] == [NOT_SERVING] * 2
    assert link.error_of(lambda: link.check("unknown"))[0] == link.code("NOT_FOUND")
    for call in calls.values():
        call.cancel()


def test_a_watcher_that_left_is_forgotten(link: Link) -> None:
    attribute = (
        "_server_watchers" if isinstance(link.servicer, health.aio.HealthServicer) else "_send_response_callbacks"
    )
    forgotten = threading.Event()

    class Watchers(defaultdict[str, Any]):
        def __delitem__(self, service: str) -> None:
            super().__delitem__(service)
            forgotten.set()

    setattr(link.servicer, attribute, Watchers(set))
    call = link.watch(NAME)
    assert next(call).status == SERVICE_UNKNOWN
    assert list(getattr(link.servicer, attribute)) == [NAME]
    call.cancel()
    assert forgotten.wait(BOUND)
    assert not getattr(link.servicer, attribute)
    link.set(NAME, SERVING)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("api", ["pygrpc", "grpc"])
def test_watching_needs_no_thread(api: str, client: str) -> None:
    with linked(api, client, workers=1) as link:
        calls = [link.watch(NAME) for _ in range(20)]
        assert {next(call).status for call in calls} == {SERVICE_UNKNOWN}
        assert link.check("") == SERVING
        link.set(NAME, NOT_SERVING)
        assert {next(call).status for call in calls} == {NOT_SERVING}
        for call in calls:
            call.cancel()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("api", ["pygrpc", "grpc", "pygrpc.aio"])
def test_a_servicer_that_watches_with_threads(api: str, client: str) -> None:
    servicer = health.HealthServicer(experimental_non_blocking=False)
    with linked(api, client, workers=1, servicer=servicer) as link:
        call = link.watch(NAME)
        assert next(call).status == SERVICE_UNKNOWN
        for status in (SERVING, NOT_SERVING):
            servicer.set(NAME, status)
            servicer.set(NAME, status)
            assert next(call).status == status
        call.cancel()
        # The only thread is free again.
        assert link.check("") == SERVING


@pytest.mark.parametrize("api", ["pygrpc", "grpc"])
def test_an_executor_for_watching(api: str) -> None:
    class Recording(futures.ThreadPoolExecutor):
        submitted = 0

        def submit(self, *arguments: Any, **keywords: Any) -> Any:
            self.submitted += 1
            return super().submit(*arguments, **keywords)

    with Recording(1) as pool, linked(api, "pygrpc", servicer=health.HealthServicer(True, pool)) as link:
        assert link.check("") == SERVING
        assert pool.submitted == 0
        call = link.watch("")
        assert next(call).status == SERVING
        assert pool.submitted == 1
        call.cancel()


def test_each_servicer_has_settings_of_its_own() -> None:
    first, second = health.HealthServicer(False), health.HealthServicer(True)
    assert [servicer.Watch.experimental_non_blocking for servicer in (first, second)] == [False, True]  # type: ignore[attr-defined]


def test_statuses_that_threads_set_at_once(link: Link) -> None:
    call = link.watch(NAME)
    seen = [next(call).status]

    def flap() -> None:
        for _ in range(25):
            link.set(NAME, SERVING)
            link.set(NAME, NOT_SERVING)

    threads = [threading.Thread(target=flap) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    # It is the only time that anyone says so: whatever came before, it has to come last.
    link.set(NAME, UNKNOWN)
    while seen[-1] != UNKNOWN:
        seen.append(next(call).status)
    assert all(one != other for one, other in itertools.pairwise(seen))
    call.cancel()


#: More changes than a call that nobody reads has room for: 7 bytes each.
MANY_CHANGES = 60_000
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535))


def test_a_watcher_that_does_not_read_is_cancelled() -> None:
    with linked("pygrpc", "pygrpc", options=SMALL_WINDOW) as link:
        call = link.watch(NAME)
        assert next(call).status == SERVICE_UNKNOWN
        for number in range(MANY_CHANGES):
            link.set(NAME, (SERVING, NOT_SERVING)[number % 2])
            if not link.servicer._send_response_callbacks:
                break
        else:
            pytest.fail("the call that nobody reads goes on")
        assert link.error_of(lambda: list(call))[0] == "CANCELLED"
        call = link.watch(NAME)
        assert next(call).status in (SERVING, NOT_SERVING)
        call.cancel()


def test_a_watcher_that_reads_late_with_asyncio() -> None:
    with linked("pygrpc.aio", "pygrpc", options=SMALL_WINDOW) as link:
        call = link.watch(NAME)
        assert next(call).status == SERVICE_UNKNOWN

        async def flap() -> None:
            for number in range(MANY_CHANGES // 2):
                await link.servicer.set(NAME, (SERVING, NOT_SERVING)[number % 2])
                await asyncio.sleep(0)
            await link.servicer.set(NAME, UNKNOWN)

        link.server.run(flap)
        while next(call).status != UNKNOWN:
            pass
        call.cancel()


class Context:
    """The context of a call that a test controls."""

    def __init__(self, over: bool = False) -> None:
        self.over = over
        self.cancelled = 0

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return not self.over

    def cancel(self) -> None:
        self.cancelled += 1


def watch(servicer: Any, context: Context, send: Callable[[Any], Any]) -> None:
    servicer.Watch(health_pb2.HealthCheckRequest(service=NAME), context, send)


def test_a_call_that_is_over_before_it_is_watched() -> None:
    servicer, sent = health.HealthServicer(), []
    watch(servicer, Context(over=True), sent.append)
    servicer.set(NAME, SERVING)
    assert sent == []
    assert not servicer._send_response_callbacks


def test_nothing_is_sent_to_a_call_that_could_not_take_it() -> None:
    servicer, context, sent = health.HealthServicer(), Context(), []

    def send(response: Any) -> bool:
        sent.append(response.status)
        return len(sent) < 2

    watch(servicer, context, send)
    for status in (SERVING, NOT_SERVING, SERVING):
        servicer.set(NAME, status)
    assert sent == [SERVICE_UNKNOWN, SERVING]
    assert context.cancelled == 1


def test_what_is_set_while_a_status_is_sent_follows_it() -> None:
    servicer, sent = health.HealthServicer(), []

    def send(response: Any) -> None:
        sent.append(response.status)
        if response.status == SERVICE_UNKNOWN:
            # As another thread would: the first sending is not over. Only the last status is of interest then.
            servicer.set(NAME, SERVING)
            servicer.set(NAME, NOT_SERVING)

    watch(servicer, Context(), send)
    assert sent == [SERVICE_UNKNOWN, NOT_SERVING]


@pytest.mark.parametrize(
    ("service", "status", "error", "text"),
    [
        (5, SERVING, TypeError, "5 is no name of a service"),
        (NAME, 9, ValueError, "9 is no status: take one of HealthCheckResponse"),
        (NAME, None, ValueError, "None is no status"),
        (NAME, "WELL", ValueError, "WELL"),
    ],
)
async def test_what_can_not_be_set(service: Any, status: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        health.HealthServicer().set(service, status)
    with pytest.raises(error, match=text):
        await health.aio.HealthServicer().set(service, status)


async def test_a_stub_of_the_asyncio_api() -> None:
    server = pygrpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with pygrpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=BOUND)
        assert response.status == SERVING
        call = stub.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=BOUND)
        assert (await call.read()).status == SERVICE_UNKNOWN
        await servicer.set(NAME, SERVING)
        assert (await call.read()).status == SERVING
        call.cancel()
    await server.stop(None)


def test_the_names_are_those_of_grpcio_health_checking() -> None:
    theirs = grpc_health.v1.health
    for name in ("SERVICE_NAME", "OVERALL_HEALTH"):
        assert getattr(health, name) == getattr(theirs, name)
    assert health.aio is _async
    assert _statuses.OVERALL_HEALTH == ""
    for ours, other in ((health, theirs), (health.aio, theirs.aio)):
        public = {name for name in dir(other.HealthServicer) if not name.startswith("_")}
        assert public <= set(dir(ours.HealthServicer))
    for ours, other in ((health_pb2, grpc_health.v1.health_pb2), (health_pb2_grpc, grpc_health.v1.health_pb2_grpc)):
        defined = {name for name in dir(other) if name.startswith(("Health", "DESCRIPTOR", "add_"))}
        assert defined <= set(dir(ours))
